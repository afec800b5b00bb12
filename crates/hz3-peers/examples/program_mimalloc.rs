//! The jobs of `program/mod.rs` on mimalloc 3.

mod program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    program::main();
}
