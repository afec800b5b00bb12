//! The jobs of `program/mod.rs` on snmalloc.

mod program;

#[global_allocator]
static ALLOCATOR: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() {
    program::main();
}
