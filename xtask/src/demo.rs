//! The README's main command: a real program on hz3, and the table of what hz3 did.

use hz3_programs::Result;

use crate::shell;

/// Builds everything in release and runs gcc on hz3 and on the system's malloc: the one large
/// program that every machine with the README's prerequisites has.
pub(crate) fn run() -> Result {
    shell::run(&mut shell::cargo(&["build", "--release", "--package", "hz3-c"]))?;
    shell::run(&mut shell::cargo(&["build", "--release", "--package", "hz3-lab"]))?;
    let mut command = shell::program(shell::target().join("release/hz3"));
    command.args(["run", "--", "gcc", "-O2", "-c", "-o", "/dev/null"]);
    shell::run(command.arg(shell::root().join("xtask/demo/functions.c")))
}
