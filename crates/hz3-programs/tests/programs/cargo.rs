//! Cargo and rustc build a small crate offline, and what they built runs.
//!
//! rustc brings an allocator in its own executable, which comes before any preloaded one; so this
//! also is the test of a process in which the library is loaded and most blocks are not its own.
//! Cargo, the linker and the program that comes out are served by the library.

use std::env;
use std::path::{Path, PathBuf};

use hz3_programs::{Failure, Result, compare};

const MANIFEST: &str = "[package]\nname = \"work\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                        [profile.release]\nstrip = true\n[workspace]\n";

/// The real program of the running toolchain, not rustup's proxy, which needs a home directory.
fn toolchain(name: &str) -> Result<PathBuf> {
    let cargo =
        env::var_os("CARGO").ok_or_else(|| Failure::new("CARGO is not set: run by cargo"))?;
    let path = Path::new(&cargo).with_file_name(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(Failure::new(format!("{} is missing", path.display())))
    }
}

#[test]
fn a_crate_is_built_offline_and_runs() -> Result {
    let (cargo, rustc) = (toolchain("cargo")?, toolchain("rustc")?);
    // Cargo, collect2 and the linker of two executables, and the program itself.
    compare("cargo", 4, |site| {
        site.write("Cargo.toml", MANIFEST)?;
        site.write("src/main.rs", include_str!("../../data/work.rs"))?;
        site.write("build.rs", "fn main() { println!(\"cargo:rustc-env=MADE={}\", 6 * 7) }\n")?;
        site.run_path(&cargo)
            .args(["build", "--release", "--offline", "--quiet", "--jobs=2"])
            .env("RUSTC", &rustc)
            .output()?;
        let mut result = site.read("target/release/work")?;
        result.extend(site.run_path(&site.path("target/release/work")).output()?.stdout);
        Ok(result)
    })
}
