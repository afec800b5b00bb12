//! The README's main command: a real program on hz3, and the table of what hz3 did.

use hz3_programs::{Result, packages};

use crate::shell;

/// Builds everything in release and runs a Python program on hz3 and on the system's malloc.
pub(crate) fn run() -> Result {
    let python = packages::find("python3")?;
    shell::run(&mut shell::cargo(&["build", "--release", "--package", "hz3-c"]))?;
    shell::run(&mut shell::cargo(&["build", "--release", "--package", "hz3-lab"]))?;
    let mut command = shell::program(shell::target().join("release/hz3"));
    shell::run(
        command.args(["run", "--", python.path]).arg(shell::root().join("xtask/demo/index.py")),
    )
}
