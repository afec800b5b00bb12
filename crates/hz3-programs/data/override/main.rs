//! A Rust program with C code: hz3 serves both.

use std::ffi::{c_char, c_int};
use std::thread;

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

unsafe extern "C" {
    fn part_allocate(size: usize) -> *mut u8;
    fn part_free(block: *mut u8);
    fn part_library_block(kind: c_int) -> *mut c_char;
    fn part_family() -> c_int;
}

fn is_served(block: *const u8) -> bool {
    // SAFETY: the block is in use; other addresses are only looked up.
    !block.is_null() && unsafe { hz3::raw::usable_size(block) }.is_some()
}

fn main() {
    let before = hz3::stats().allocated;
    // SAFETY: the function has no precondition.
    let block = unsafe { part_allocate(64 << 20) };
    assert!(is_served(block));
    assert!(hz3::stats().allocated >= before + (64 << 20));
    // SAFETY: the block is not used again.
    unsafe { part_free(block) };
    assert!(hz3::stats().allocated < before + (64 << 20));

    for kind in 0..3 {
        // SAFETY: the C library made the block; `kind` says by which function.
        let block = unsafe { part_library_block(kind) };
        assert!(is_served(block.cast()), "kind {kind}");
        // SAFETY: the block is not used again.
        unsafe { part_free(block.cast()) };
    }

    let line = thread::scope(|scope| {
        // SAFETY: the function frees only its own blocks.
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| unsafe { part_family() })).collect();
        // Blocks of one side's that the other frees in another thread.
        for size in (1..100_000).step_by(997) {
            let mut bytes = vec![7_u8; size];
            let start = bytes.as_mut_ptr().expose_provenance();
            std::mem::forget(bytes);
            // SAFETY: the vector was forgotten, so this thread alone has the block.
            scope.spawn(move || unsafe { part_free(std::ptr::with_exposed_provenance_mut(start)) });
        }
        workers.into_iter().map(|worker| worker.join().unwrap()).max().unwrap()
    });
    assert_eq!(line, 0, "the check in this line of part.c failed");
    println!("both served");
}
