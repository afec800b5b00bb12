//! Passes the linker what `libhz3-jemalloc.so` needs. No C compiler is involved.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for option in ["-Wl,-soname,libhz3-jemalloc.so", "-Wl,-z,nodelete", "-Wl,-z,now", "-lc"] {
        println!("cargo:rustc-cdylib-link-arg={option}");
    }
}
