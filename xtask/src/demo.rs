//! The README's main command: builds hz3 and its benchmark tool, then compares it with what is
//! here.

use hz3_tools::Result;

use crate::{setup, shell};

/// The allocators that Debian 12 packages.
const PEERS: [&str; 3] = ["libjemalloc2", "libtcmalloc-minimal4", "libmimalloc2.0"];

/// Builds the library and the benchmark tool in release, and runs `hz3 demo`; first installs the
/// allocators that Debian has, if that was asked for.
pub(crate) fn run(with_peers: bool) -> Result {
    println!("Building hz3 takes a few minutes; the comparison then says how long it takes.");
    if with_peers {
        setup::apt(&[&["install", "-y", "-q"][..], &PEERS].concat())?;
    }
    for package in ["hz3-c", "hz3-lab"] {
        shell::run(&mut shell::cargo(&["build", "--release", "--package", package]))?;
    }
    shell::run(shell::program(shell::target().join("release/hz3")).arg("demo"))
}
