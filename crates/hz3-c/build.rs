//! Passes the linker what `libhz3.so` needs. No C compiler is involved.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let options = [
        // cargo gives a cdylib no name; programs linked with -lhz3 look for this one.
        "-Wl,-soname,libhz3.so",
        // After dlclose threads would still use caches and blocks of hz3, so it stays loaded.
        "-Wl,-z,nodelete",
        // The constructor runs before those of other libraries, so that hz3 registers its fork
        // handlers first. Before a fork the handlers run in reverse order of registration: those of
        // hz3, which take every lock, must run last.
        "-Wl,-z,initfirst",
        // No lazy binding: the first malloc of a program must not enter the dynamic linker.
        "-Wl,-z,now",
        // The C library, whose `atexit` is linked statically. The crate `libc` asks for it only
        // when its feature `std` is off, which another crate of the same build may switch on.
        "-lc",
    ];
    for option in options {
        println!("cargo:rustc-cdylib-link-arg={option}");
    }
}
