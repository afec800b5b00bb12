//! The jobs of `program/mod.rs` on hz3.

mod program;

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

fn main() {
    program::main();
}
