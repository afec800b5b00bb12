//! Passes the linker what `libhz3.so` needs. No C compiler is involved.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let options = [
        // cargo gives a cdylib no name; programs linked with -lhz3 look for this one.
        "-Wl,-soname,libhz3.so",
        // Threads hold caches and blocks of ours when somebody calls dlclose: we never unmap.
        "-Wl,-z,nodelete",
        // Our constructor runs before those of other libraries. Fork handlers run in reverse
        // order of registration before the fork: ours, which hold every lock, must come last.
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
