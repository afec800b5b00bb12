//! Feature `override`: the malloc family of the C library, so that C code in a Rust program uses
//! the same heap.
//!
//! These functions never start the reclaimer's thread: the C library may call them while it holds a
//! lock that `pthread_create` takes. The next slow path of the global allocator starts it.

use crate::raw::family::Exporter;
use crate::raw::fatal;

/// The program. No other allocator serves it, so a foreign block is a mistake.
enum Program {}

// SAFETY: the misses are those of the family.
unsafe impl Exporter for Program {
    unsafe fn free_foreign(block: *mut u8) {
        fatal("free of a block that is not hz3's", block.addr());
    }

    unsafe fn realloc_foreign(block: *mut u8, _size: usize) -> *mut u8 {
        fatal("realloc of a block that is not hz3's", block.addr())
    }

    unsafe fn usable_size_foreign(block: *mut u8) -> usize {
        fatal("malloc_usable_size of a block that is not hz3's", block.addr())
    }
}

crate::malloc_family!(Program);
