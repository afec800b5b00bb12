//! The README's main command: builds everything, then the laboratory shows what hz3 is for.

use hz3_programs::Result;

use crate::shell;

/// Builds the library and the laboratory in release, and runs `hz3 demo`.
pub(crate) fn run() -> Result {
    for package in ["hz3-c", "hz3-lab"] {
        shell::run(&mut shell::cargo(&["build", "--release", "--package", package]))?;
    }
    shell::run(shell::program(shell::target().join("release/hz3")).arg("demo"))
}
