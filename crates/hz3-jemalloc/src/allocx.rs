//! The functions with flags: alignment and zeroing count; arenas and thread caches are ignored.

use core::ffi::{c_int, c_void};
use core::ptr;

const ZERO: c_int = 0x40;
/// The lower six bits of the flags are the logarithm of the alignment.
const ALIGNMENT: c_int = 0x3f;
/// The alignment of every block.
const MIN_ALIGN: usize = 16;

fn alignment(flags: c_int) -> usize {
    1_usize.checked_shl((flags & ALIGNMENT).cast_unsigned()).unwrap_or(1)
}

/// Allocates at least `size` bytes.
#[unsafe(no_mangle)]
extern "C" fn mallocx(size: usize, flags: c_int) -> *mut c_void {
    let align = alignment(flags);
    if align <= MIN_ALIGN {
        if flags & ZERO == 0 {
            // SAFETY: malloc has no precondition.
            return unsafe { libc::malloc(size) };
        }
        // SAFETY: calloc has no precondition.
        let block = unsafe { libc::calloc(1, size) };
        zero_from(block, size);
        return block;
    }
    let mut block = ptr::null_mut();
    // SAFETY: the result is valid for writing, and the alignment is a power of two above 16.
    if unsafe { libc::posix_memalign(&raw mut block, align, size) } != 0 {
        return ptr::null_mut();
    }
    if flags & ZERO != 0 {
        zero_from(block, 0);
    }
    block
}

/// Zeroes a new block, or NULL, from byte `zeroed` to the end of its real size. A program that lets
/// an array grow relies on that: [`rallocx`] leaves the bytes of the old real size as they are.
fn zero_from(block: *mut c_void, zeroed: usize) {
    // SAFETY: the block is new, or NULL, whose size is 0.
    let bytes = unsafe { libc::malloc_usable_size(block) };
    let rest = block.cast::<u8>().wrapping_add(zeroed);
    // SAFETY: these bytes are a part of the block.
    unsafe { ptr::write_bytes(rest, 0, bytes.saturating_sub(zeroed)) };
}

/// Resizes a block, which may move.
///
/// # Safety
/// `block` is a block of the program's.
#[unsafe(no_mangle)]
unsafe extern "C" fn rallocx(block: *mut c_void, size: usize, flags: c_int) -> *mut c_void {
    // SAFETY: the caller's promise.
    let before = unsafe { libc::malloc_usable_size(block) };
    if alignment(flags) <= MIN_ALIGN && flags & ZERO == 0 {
        // SAFETY: the caller's promise.
        return unsafe { libc::realloc(block, size) };
    }
    let moved = mallocx(size, flags);
    if !moved.is_null() {
        // SAFETY: both blocks hold the smaller of the two sizes, and the new one is another block.
        unsafe { ptr::copy_nonoverlapping(block.cast::<u8>(), moved.cast(), before.min(size)) };
        // SAFETY: the caller gave the block up for the new one.
        unsafe { libc::free(block) };
    }
    moved
}

/// Resizes a block in place, which hz3 does not do; returns its size, as jemalloc does then.
///
/// # Safety
/// `block` is a block of the program's.
#[unsafe(no_mangle)]
unsafe extern "C" fn xallocx(block: *mut c_void, _: usize, _: usize, _: c_int) -> usize {
    // SAFETY: the caller's promise.
    unsafe { libc::malloc_usable_size(block) }
}

/// Returns the bytes that a block holds.
///
/// # Safety
/// `block` is a block of the program's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sallocx(block: *const c_void, _flags: c_int) -> usize {
    // SAFETY: the caller's promise.
    unsafe { libc::malloc_usable_size(block.cast_mut()) }
}

/// Frees a block.
///
/// # Safety
/// `block` is a block of the program's, which does not use it again.
#[unsafe(no_mangle)]
unsafe extern "C" fn dallocx(block: *mut c_void, _flags: c_int) {
    // SAFETY: the caller's promise.
    unsafe { libc::free(block) };
}

/// Frees a block.
///
/// # Safety
/// As for [`dallocx`].
#[unsafe(no_mangle)]
unsafe extern "C" fn sdallocx(block: *mut c_void, _size: usize, _flags: c_int) {
    // SAFETY: the caller's promise.
    unsafe { libc::free(block) };
}

/// Returns the bytes that [`mallocx`] would give; 0 if it would fail. hz3 says so for a real block
/// only, so it makes one.
#[unsafe(no_mangle)]
extern "C" fn nallocx(size: usize, flags: c_int) -> usize {
    let block = mallocx(size, flags & !ZERO);
    if block.is_null() {
        return 0;
    }
    // SAFETY: the block was allocated just now.
    let bytes = unsafe { libc::malloc_usable_size(block) };
    // SAFETY: as above.
    unsafe { libc::free(block) };
    bytes
}
