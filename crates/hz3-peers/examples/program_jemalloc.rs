//! The jobs of `program/mod.rs` on jemalloc 5.

mod program;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    program::main();
}
