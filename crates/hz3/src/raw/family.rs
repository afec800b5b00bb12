//! The malloc family of ISO C, POSIX and glibc, written once for those who export it: `libhz3.so`,
//! and a Rust program with the feature `override`.
//!
//! [`malloc_family!`](crate::malloc_family) defines the exported functions, and
//! [`malloc_functions!`](crate::malloc_functions) some of them under other names. `malloc` and
//! `free` consist of the fast path and a jump to a cold function. All functions preserve `errno`,
//! and set it to `ENOMEM` on exhaustion. Edge cases are as in glibc.

use core::ffi::{c_int, c_void};
use core::ptr;

use super::Foreign;
use crate::base::size_class::MIN_ALIGN;
use crate::os::errno;

/// The largest request in bytes, as in glibc: pointer differences in a block fit `ptrdiff_t`.
const MAX_REQUEST: usize = isize::MAX.cast_unsigned();

/// An exporter of the family: its slow paths, and blocks of other allocators.
///
/// # Safety
/// `malloc_cold` calls [`malloc_missed`] with its size before any other function of hz3, except
/// those that [`super::malloc_miss`] names, and returns its result.
pub unsafe trait Exporter {
    /// Serves a miss of `malloc` itself.
    #[inline(always)]
    fn malloc_cold(size: usize) -> *mut u8 {
        malloc_missed(size)
    }

    /// Serves a miss of `free` itself.
    #[inline(always)]
    fn free_cold(block: *mut u8) {
        free_missed::<Self>(block);
    }

    /// Frees a block that is not hz3's.
    ///
    /// # Safety
    /// The program passed `block` to a function that frees, and hz3 does not manage it.
    unsafe fn free_foreign(block: *mut u8);

    /// Resizes a block that is not hz3's.
    ///
    /// # Safety
    /// The program passed `block` to `realloc`, and hz3 does not manage it.
    unsafe fn realloc_foreign(block: *mut u8, size: usize) -> *mut u8;

    /// Returns the usable bytes of a block that is not hz3's.
    ///
    /// # Safety
    /// The program passed `block` to `malloc_usable_size`, and hz3 does not manage it.
    unsafe fn usable_size_foreign(block: *mut u8) -> usize;
}

/// Runs `call` and restores `errno`, which system calls inside may change.
pub fn keeping_errno<T>(call: impl FnOnce() -> T) -> T {
    let before = errno::get();
    let result = call();
    errno::set(before);
    result
}

/// Runs an allocation of `size` bytes and preserves `errno`; returns NULL with `ENOMEM` on failure.
fn request(size: usize, allocate: impl FnOnce() -> *mut u8) -> *mut c_void {
    if size <= MAX_REQUEST {
        let block = keeping_errno(allocate);
        if !block.is_null() {
            return block.cast();
        }
    }
    fail(libc::ENOMEM)
}

/// Sets `errno` and returns NULL.
fn fail(error: c_int) -> *mut c_void {
    errno::set(error);
    ptr::null_mut()
}

/// Serves a miss of `malloc`'s fast path.
#[cold]
#[inline(never)]
pub fn malloc_missed(size: usize) -> *mut u8 {
    // SAFETY: the fast path has missed with this size and calls this first.
    request(size, || unsafe { super::malloc_miss(size) }).cast()
}

/// Serves a miss of `free`'s fast path.
///
/// # Safety
/// The program passed `block` to a function that frees.
pub unsafe fn free_within<E: Exporter>(block: *mut u8) {
    free_missed::<E>(block);
}

#[cold]
#[inline(never)]
fn free_missed<E: Exporter + ?Sized>(block: *mut u8) {
    keeping_errno(|| {
        // SAFETY: the program passed `block` to free; the core checks it.
        if unsafe { super::free_miss(block) } == Err(Foreign) {
            // SAFETY: as above, and the core has found that the block is foreign.
            unsafe { E::free_foreign(block) };
        }
    });
}

/// Allocates as `malloc` does, for the other functions.
#[inline(never)]
pub fn allocate(size: usize) -> *mut c_void {
    // SAFETY: `malloc_missed` calls `malloc_miss` first.
    unsafe { super::malloc(size, malloc_missed) }.cast()
}

/// Frees as `free` does, for the other functions.
///
/// # Safety
/// As for `free`.
#[inline(never)]
pub unsafe fn release<E: Exporter>(block: *mut c_void) {
    // SAFETY: the program passed `block` to a function that frees; the core checks it.
    unsafe { super::free(block.cast(), free_missed::<E>) };
}

/// Serves `free_sized` if a block of that size would be of another class: `realloc` may have left
/// this one in place.
#[cold]
#[inline(never)]
pub fn free_of_odd_size<E: Exporter>(block: *mut u8, size: usize) {
    super::check_resized(block, size);
    // SAFETY: the program passed `block` to a function that frees.
    unsafe { release::<E>(block.cast()) };
}

/// Allocates at a multiple of `align`, a power of two; returns NULL with `ENOMEM` on failure.
pub fn aligned(align: usize, size: usize) -> *mut c_void {
    if align <= MIN_ALIGN {
        return allocate(size);
    }
    request(size, || super::aligned(align, size))
}

/// Serves `calloc`; `size` is the product, `None` if it overflowed.
pub fn zeroed(size: Option<usize>) -> *mut c_void {
    let Some(size) = size else { return fail(libc::ENOMEM) };
    // SAFETY: `malloc_missed` calls `malloc_miss` first.
    match unsafe { super::zeroed_small(size, malloc_missed) } {
        Some(block) => block.cast(),
        None => zeroed_cold(size),
    }
}

/// Serves `calloc` of a block that is not small.
#[cold]
#[inline(never)]
fn zeroed_cold(size: usize) -> *mut c_void {
    request(size, || super::zeroed(size))
}

/// Serves `realloc` and `reallocarray`; `size` is `None` if the product overflowed. Size 0 frees
/// the block and returns NULL.
///
/// # Safety
/// As for `realloc`.
pub unsafe fn resize<E: Exporter>(block: *mut c_void, size: Option<usize>) -> *mut c_void {
    let Some(size) = size else { return fail(libc::ENOMEM) };
    if block.is_null() {
        return allocate(size);
    }
    if size == 0 {
        // SAFETY: the caller's contract is the same.
        unsafe { release::<E>(block) };
        return ptr::null_mut();
    }
    // SAFETY: `block` is what the program passed to realloc; `malloc_missed` calls `malloc_miss`
    // first.
    match unsafe { super::realloc_small(block.cast(), size, malloc_missed, free_missed::<E>) } {
        Some(moved) => moved.cast(),
        // SAFETY: the caller's contract is the same.
        None => unsafe { resize_cold::<E>(block, size) },
    }
}

/// Serves `realloc` if one of the two blocks is not small.
///
/// # Safety
/// As for `realloc`; the block is not NULL.
#[cold]
#[inline(never)]
unsafe fn resize_cold<E: Exporter>(block: *mut c_void, size: usize) -> *mut c_void {
    request(size, || {
        // SAFETY: `block` is what the program passed to realloc, not NULL; the core checks it.
        match unsafe { super::realloc(block.cast(), size) } {
            Ok(moved) => moved,
            // SAFETY: as above, and the core has found that the block is foreign.
            Err(Foreign) => unsafe { E::realloc_foreign(block.cast(), size) },
        }
    })
}

/// Serves `aligned_alloc` as C23 and glibc 2.38 do: returns NULL with `EINVAL` if the alignment is
/// no power of two. Any `size` is allowed.
pub fn aligned_strictly(align: usize, size: usize) -> *mut c_void {
    if align.is_power_of_two() { aligned(align, size) } else { fail(libc::EINVAL) }
}

/// Serves `memalign` as glibc does: rounds the alignment up to a power of two. If that is
/// impossible, sets `EINVAL` and returns NULL.
pub fn aligned_rounding(align: usize, size: usize) -> *mut c_void {
    let align = align.checked_next_power_of_two();
    align.map_or_else(|| fail(libc::EINVAL), |align| aligned(align, size))
}

/// Serves `posix_memalign`: writes an aligned block to `*out`, or returns the error and leaves
/// `*out` unchanged. As in glibc, `ENOMEM` is also set in `errno`.
///
/// # Safety
/// `out` is valid for writing a pointer.
pub unsafe fn aligned_into(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let block = aligned(align, size);
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's promise.
    unsafe { out.write(block) };
    0
}

/// Serves `valloc`: the block starts on a page.
pub fn page_aligned(size: usize) -> *mut c_void {
    aligned(super::page_size(), size)
}

/// Serves `pvalloc`: the block consists of whole pages.
pub fn whole_pages(size: usize) -> *mut c_void {
    let page = super::page_size();
    // A size that cannot be rounded up is too large in any case.
    aligned(page, size.checked_next_multiple_of(page).unwrap_or(size))
}

/// Serves `malloc_usable_size`: returns the bytes of a block that the program may use, 0 for NULL.
///
/// # Safety
/// `block` is what an allocation function returned, or NULL.
pub unsafe fn usable_size<E: Exporter>(block: *mut c_void) -> usize {
    match super::usable_size_small(block.cast()) {
        Some(size) => size,
        // SAFETY: the caller's contract is the same.
        None => unsafe { usable_size_cold::<E>(block) },
    }
}

/// Serves `malloc_usable_size` of a block that is not small.
///
/// # Safety
/// As for [`usable_size`].
#[cold]
#[inline(never)]
unsafe fn usable_size_cold<E: Exporter>(block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    keeping_errno(|| {
        // SAFETY: the caller passes what an allocation function returned; the core checks it.
        match unsafe { super::usable_size(block.cast()) } {
            Some(size) => size,
            // SAFETY: as above, and the core has found that the block is foreign.
            None => unsafe { E::usable_size_foreign(block.cast()) },
        }
    })
}

/// Defines and exports `malloc`, `free` and the rest of the family, for an
/// [`Exporter`].
#[macro_export]
macro_rules! malloc_family {
    ($exporter:ty) => {
        $crate::malloc_functions! {
            $exporter;
            malloc = malloc,
            free = free,
            calloc = calloc,
            realloc = realloc,
            reallocarray = reallocarray,
            posix_memalign = posix_memalign,
            memalign = memalign,
            valloc = valloc,
            pvalloc = pvalloc,
        }

        const _: () = {
            use core::ffi::c_void;

            use $crate::raw;
            use $crate::raw::family::{self, Exporter};

            /// Frees a block as in C23. If a small block cannot have that size, the process ends.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn free_sized(block: *mut c_void, size: usize) {
                // SAFETY: the caller's contract is that of free.
                unsafe {
                    raw::free_sized_or(
                        block.cast(),
                        size,
                        <$exporter>::free_cold,
                        family::free_of_odd_size::<$exporter>,
                    )
                };
            }

            /// Frees a block as in C23; hz3 knows its alignment and size and ignores the arguments.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn free_aligned_sized(
                block: *mut c_void,
                _align: usize,
                _size: usize,
            ) {
                // SAFETY: the caller's contract is that of free.
                unsafe { raw::free(block.cast(), <$exporter>::free_cold) };
            }

            /// Allocates an aligned block; an alignment that is no power of two gives `EINVAL`.
            #[unsafe(no_mangle)]
            extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
                family::aligned_strictly(align, size)
            }

            /// Returns the bytes of a block that the program may use; 0 for NULL.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
                // SAFETY: the caller's contract is the same.
                unsafe { family::usable_size::<$exporter>(block) }
            }
        };
    };
}

/// Defines and exports the functions of the family that a C library also has under names of its
/// own, each under the given name.
#[macro_export]
macro_rules! malloc_functions {
    (
        $exporter:ty;
        malloc = $malloc:ident,
        free = $free:ident,
        calloc = $calloc:ident,
        realloc = $realloc:ident,
        reallocarray = $reallocarray:ident,
        posix_memalign = $posix_memalign:ident,
        memalign = $memalign:ident,
        valloc = $valloc:ident,
        pvalloc = $pvalloc:ident,
    ) => {
        const _: () = {
            use core::ffi::{c_int, c_void};

            use $crate::raw;
            use $crate::raw::family::{self, Exporter};

            /// Allocates a block of `size` bytes; a unique one for size 0.
            #[unsafe(no_mangle)]
            extern "C" fn $malloc(size: usize) -> *mut c_void {
                // SAFETY: `malloc_cold` calls `malloc_miss` first.
                unsafe { raw::malloc(size, <$exporter>::malloc_cold) }.cast()
            }

            /// Frees a block and preserves `errno`.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $free(block: *mut c_void) {
                // SAFETY: the caller passes what an allocation function returned, or NULL; the core
                // checks it.
                unsafe { raw::free(block.cast(), <$exporter>::free_cold) };
            }

            /// Allocates a zeroed block for `count` elements of `size` bytes.
            #[unsafe(no_mangle)]
            extern "C" fn $calloc(count: usize, size: usize) -> *mut c_void {
                family::zeroed(count.checked_mul(size))
            }

            /// Grows or shrinks a block. Size 0 frees it and returns NULL, as glibc does.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $realloc(block: *mut c_void, size: usize) -> *mut c_void {
                // SAFETY: the caller's contract is the same.
                unsafe { family::resize::<$exporter>(block, Some(size)) }
            }

            /// Resizes a block to `count` elements of `size` bytes; fails with `ENOMEM` if that
            /// overflows.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $reallocarray(
                block: *mut c_void,
                count: usize,
                size: usize,
            ) -> *mut c_void {
                // SAFETY: the caller's contract is that of realloc.
                unsafe { family::resize::<$exporter>(block, count.checked_mul(size)) }
            }

            /// Writes an aligned block to `*out`, or returns the error.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $posix_memalign(
                out: *mut *mut c_void,
                align: usize,
                size: usize,
            ) -> c_int {
                // SAFETY: POSIX requires that `out` is valid for writing a pointer.
                unsafe { family::aligned_into(out, align, size) }
            }

            /// Allocates an aligned block; an alignment that is no power of two is rounded up to
            /// one.
            #[unsafe(no_mangle)]
            extern "C" fn $memalign(align: usize, size: usize) -> *mut c_void {
                family::aligned_rounding(align, size)
            }

            /// Allocates a block that starts on a page.
            #[unsafe(no_mangle)]
            extern "C" fn $valloc(size: usize) -> *mut c_void {
                family::page_aligned(size)
            }

            /// Allocates a block of whole pages that starts on a page.
            #[unsafe(no_mangle)]
            extern "C" fn $pvalloc(size: usize) -> *mut c_void {
                family::whole_pages(size)
            }
        };
    };
}
