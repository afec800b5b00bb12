//! The jobs of `program/mod.rs` on the standard library's allocator: the C library's malloc.

mod program;

fn main() {
    program::main();
}
