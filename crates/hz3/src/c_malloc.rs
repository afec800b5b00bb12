//! Feature `override`: the malloc family of the C library, so that C code in a Rust program uses
//! the same heap.
//!
//! Edge cases and `errno` are as in glibc. These functions never start the reclaimer's thread: the
//! C library may call them while it holds a lock that `pthread_create` takes. The next slow path of
//! the global allocator starts it.

use core::ffi::c_int;
use core::ptr;

use crate::heap::Foreign;
use crate::os::errno;
use crate::raw;

/// The largest request, as in glibc: the difference of two pointers into a block fits `ptrdiff_t`.
const MAX_REQUEST: usize = isize::MAX.cast_unsigned();

/// Runs `call` and restores `errno`, which system calls inside may change.
fn keeping_errno<T>(call: impl FnOnce() -> T) -> T {
    let before = errno::get();
    let result = call();
    errno::set(before);
    result
}

/// Runs an allocation of `size` bytes. NULL comes with `ENOMEM`.
fn request(size: usize, allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
    if size <= MAX_REQUEST {
        let block = keeping_errno(allocate);
        if !block.is_null() {
            return block;
        }
    }
    fail(libc::ENOMEM)
}

/// Sets `errno` and returns NULL.
fn fail(error: c_int) -> *mut u8 {
    errno::set(error);
    ptr::null_mut()
}

#[cold]
#[inline(never)]
fn malloc_miss(size: usize) -> *mut u8 {
    // SAFETY: this is the first call after a miss of the fast path, with its size.
    request(size, || unsafe { raw::malloc_miss(size) })
}

#[cold]
#[inline(never)]
fn free_miss(block: *mut u8) {
    // SAFETY: the program passed `block` to a function that frees; the core checks it.
    if keeping_errno(|| unsafe { raw::free_miss(block) }) == Err(Foreign) {
        raw::fatal("free of a block that is not hz3's", block.addr());
    }
}

fn allocate(size: usize) -> *mut u8 {
    // SAFETY: `malloc_miss` begins with `raw::malloc_miss`.
    unsafe { raw::malloc(size, malloc_miss) }
}

fn release(block: *mut u8) {
    // SAFETY: the program passed `block` to a function that frees; the core checks it.
    unsafe { raw::free(block, free_miss) };
}

fn aligned(align: usize, size: usize) -> *mut u8 {
    request(size, || raw::aligned(align, size))
}

/// Returns a block of `size` bytes; one of its own for size 0.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    allocate(size)
}

/// Takes a block back. `errno` stays.
#[unsafe(no_mangle)]
extern "C" fn free(block: *mut u8) {
    release(block);
}

/// C23: `free` with the size of the request. The heap knows it.
#[unsafe(no_mangle)]
extern "C" fn free_sized(block: *mut u8, _size: usize) {
    release(block);
}

/// C23: `free` with alignment and size of the request. The heap knows them.
#[unsafe(no_mangle)]
extern "C" fn free_aligned_sized(block: *mut u8, _align: usize, _size: usize) {
    release(block);
}

/// Returns a zeroed block.
#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut u8 {
    let Some(size) = count.checked_mul(size) else { return fail(libc::ENOMEM) };
    // SAFETY: `malloc_miss` begins with `raw::malloc_miss`.
    let small = unsafe { raw::zeroed_small(size, malloc_miss) };
    small.unwrap_or_else(|| request(size, || raw::zeroed(size)))
}

/// Changes the size of a block. Size 0 frees it and returns NULL, as in glibc.
#[unsafe(no_mangle)]
extern "C" fn realloc(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() {
        return allocate(size);
    }
    if size == 0 {
        release(block);
        return ptr::null_mut();
    }
    // SAFETY: the program gives `block` up for the result; `malloc_miss` begins with
    // `raw::malloc_miss`.
    if let Some(moved) = unsafe { raw::realloc_small(block, size, malloc_miss, free_miss) } {
        return moved;
    }
    request(size, || {
        // SAFETY: the program gives `block`, which is not NULL, up for the result.
        let moved = unsafe { raw::realloc(block, size) };
        moved.unwrap_or_else(|Foreign| {
            raw::fatal("realloc of a block that is not hz3's", block.addr())
        })
    })
}

/// Changes the size of a block to that of `count` elements.
#[unsafe(no_mangle)]
extern "C" fn reallocarray(block: *mut u8, count: usize, size: usize) -> *mut u8 {
    count.checked_mul(size).map_or_else(|| fail(libc::ENOMEM), |size| realloc(block, size))
}

/// Returns an aligned block. An alignment that is no power of two gives `EINVAL`, as in C23.
#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut u8 {
    if align.is_power_of_two() { aligned(align, size) } else { fail(libc::EINVAL) }
}

/// Stores an aligned block in `*out` and returns 0, or returns the error and leaves `*out` alone.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(out: *mut *mut u8, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut u8>() {
        return libc::EINVAL;
    }
    let block = aligned(align, size);
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: POSIX: `out` is where the caller wants the pointer.
    unsafe { out.write(block) };
    0
}

/// Returns an aligned block. An alignment that is no power of two is rounded up to one.
#[unsafe(no_mangle)]
extern "C" fn memalign(align: usize, size: usize) -> *mut u8 {
    let align = align.checked_next_power_of_two();
    align.map_or_else(|| fail(libc::EINVAL), |align| aligned(align, size))
}

/// Returns a block that starts on a page.
#[unsafe(no_mangle)]
extern "C" fn valloc(size: usize) -> *mut u8 {
    aligned(raw::page_size(), size)
}

/// Returns whole pages.
#[unsafe(no_mangle)]
extern "C" fn pvalloc(size: usize) -> *mut u8 {
    let page = raw::page_size();
    // A size that cannot be rounded up is refused as it is.
    aligned(page, size.checked_next_multiple_of(page).unwrap_or(size))
}

/// Returns the bytes of a block that the program may use; 0 for NULL.
#[unsafe(no_mangle)]
extern "C" fn malloc_usable_size(block: *mut u8) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: the program passes what an allocation function returned; the core checks it.
    keeping_errno(|| unsafe { raw::usable_size(block) }).unwrap_or_else(|| {
        raw::fatal("malloc_usable_size of a block that is not hz3's", block.addr())
    })
}
