//! Compiles the C code, as a crate that bundles a C library does.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    let object = Path::new(&env::var_os("OUT_DIR").unwrap()).join("part.o");
    let compiler = env::var("PART_CC").unwrap();
    let flags = ["-O1", "-fPIC", "-Wall", "-Wextra", "-Werror", "-fno-builtin", "-c", "part.c", "-o"];
    assert!(Command::new(compiler).args(flags).arg(&object).status().unwrap().success());
    println!("cargo:rustc-link-arg={}", object.display());
    println!("cargo:rerun-if-changed=part.c");
}
