//! Blocks that another allocator gave out: the C library before we were loaded, a library that
//! brings its own `malloc`.
//!
//! They go to the next `free`, `realloc` or `malloc_usable_size` in the search order, which is
//! looked up at the first such block (`dlsym` may allocate: we hold nothing while it runs).
//! Addresses that no allocator can have given out abort here, with a line that names them.

use core::ffi::c_void;
use core::mem::{MaybeUninit, transmute};
use core::ops::Range;
use core::ptr;

use hz3_alloc::raw;

use crate::lookup::{Symbol, hz3_weak_find_object, hz3_weak_stack_end};

type Free = unsafe extern "C" fn(*mut c_void);
type Realloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type UsableSize = unsafe extern "C" fn(*mut c_void) -> usize;
type FindObject = unsafe extern "C" fn(*const c_void, *mut Object) -> i32;

static NEXT_FREE: Symbol = Symbol::new(c"free");
static NEXT_REALLOC: Symbol = Symbol::new(c"realloc");
static NEXT_USABLE_SIZE: Symbol = Symbol::new(c"malloc_usable_size");

/// Every allocator aligns its blocks at least so.
const LEAST_ALIGN: usize = 8;

/// The most that Linux keeps free below the main thread's stack when its limit is smaller or none.
const LARGEST_STACK_GAP: usize = 128 << 20;

/// glibc's `struct dl_find_object`, as far as we read it, and room for the rest.
#[repr(C)]
struct Object {
    flags: u64,
    start: usize,
    end: usize,
    reserved: [u64; 29],
}

/// Frees a block of another allocator.
///
/// # Safety
/// `block` is what the program passed to `free`, and not a block of hz3.
pub(crate) unsafe fn free(block: *mut u8) {
    let next = owner(block, &NEXT_FREE);
    // SAFETY: `next` is the `free` that dlsym found.
    let next = unsafe { transmute::<*mut c_void, Free>(next) };
    // SAFETY: the caller's contract; the block isn't ours, so it is the next allocator's.
    unsafe { next(block.cast()) };
}

/// Resizes a block of another allocator, which stays with that allocator.
///
/// # Safety
/// `block` is what the program passed to `realloc`, and not a block of hz3.
pub(crate) unsafe fn realloc(block: *mut u8, size: usize) -> *mut u8 {
    let next = owner(block, &NEXT_REALLOC);
    // SAFETY: `next` is the `realloc` that dlsym found.
    let next = unsafe { transmute::<*mut c_void, Realloc>(next) };
    // SAFETY: the caller's contract; the block isn't ours, so it is the next allocator's.
    unsafe { next(block.cast(), size) }.cast()
}

/// The usable bytes of a block of another allocator.
///
/// # Safety
/// `block` is what the program passed to `malloc_usable_size`, and not a block of hz3.
pub(crate) unsafe fn usable_size(block: *mut u8) -> usize {
    let next = owner(block, &NEXT_USABLE_SIZE);
    // SAFETY: `next` is the `malloc_usable_size` that dlsym found.
    let next = unsafe { transmute::<*mut c_void, UsableSize>(next) };
    // SAFETY: the caller's contract; the block isn't ours, so it is the next allocator's.
    unsafe { next(block.cast()) }
}

/// The next allocator's function for `block`. Aborts when there is none, or when no allocator can
/// have given `block` out.
fn owner(block: *const u8, function: &Symbol) -> *mut c_void {
    let address = block.addr();
    if !address.is_multiple_of(LEAST_ALIGN) {
        raw::fatal("invalid pointer (misaligned)", address);
    }
    if in_main_stack(address) || in_thread_stack(address) {
        raw::fatal("invalid pointer (in a stack)", address);
    }
    if is_unmapped(address) {
        raw::fatal("invalid pointer (no memory there: never handed out, or free already)", address);
    }
    let Some(next) = function.next() else {
        raw::fatal("invalid pointer (not of hz3, and no other allocator is loaded)", address);
    };
    // An allocator may serve its first blocks from a static buffer of its own.
    let image = image_around(block);
    if image.contains(&address) && !image.contains(&next.addr()) {
        raw::fatal("invalid pointer (in the data of a program or library)", address);
    }
    next
}

/// Whether no memory is mapped at `address`: that of a large block may be gone since its free.
fn is_unmapped(address: usize) -> bool {
    let page = raw::page_size();
    let mut answer = 0;
    let start = ptr::without_provenance_mut(address / page * page);
    // SAFETY: takes any address; writes one byte for the one page that is asked about.
    let failed = unsafe { libc::mincore(start, page, &raw mut answer) } != 0;
    // SAFETY: the C library returns the address of this thread's errno, valid while it runs.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: `errno` is this thread's, see above.
    failed && unsafe { errno.read() } == libc::ENOMEM
}

/// Whether the stack of the main thread has `address`.
fn in_main_stack(address: usize) -> bool {
    let word = hz3_weak_stack_end.cast::<usize>();
    if word.is_null() {
        return false;
    }
    // SAFETY: the C library's `__libc_stack_end`, set once before any program code runs.
    let end = unsafe { word.read() };
    let near = end.saturating_sub(LARGEST_STACK_GAP)..end;
    near.contains(&address) && end - address <= main_stack_limit()
}

/// How far the main thread's stack may grow. The kernel keeps that much free of other mappings.
fn main_stack_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) } != 0 {
        return 0;
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Whether the stack of the running thread, other than the main one, has `address`.
fn in_thread_stack(address: usize) -> bool {
    let here = ptr::from_ref(&address).addr();
    #[allow(clippy::cast_possible_truncation, reason = "an integer of 64 bits or a pointer")]
    // SAFETY: no preconditions.
    let descriptor = unsafe { libc::pthread_self() } as usize;
    // The descriptor of a thread lies at the upper end of its stack: this sorts out nearly all
    // addresses without the slow question. It must be asked: a coroutine runs on a stack elsewhere.
    (here..descriptor).contains(&address) && thread_stack().contains(&address)
}

/// The stack that the running thread was created with. May allocate.
fn thread_stack() -> Range<usize> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: no preconditions.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: a live thread, and room for its attributes.
    if unsafe { libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) } != 0 {
        return 0..0;
    }
    let mut start = ptr::null_mut();
    let mut size = 0;
    // SAFETY: the attributes were filled above.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size) };
    // SAFETY: the attributes were filled above and aren't used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    start.addr()..start.addr() + size
}

/// The addresses of the program or library whose image has `block`; empty if there is none.
fn image_around(block: *const u8) -> Range<usize> {
    if hz3_weak_find_object.is_null() {
        return 0..0;
    }
    // SAFETY: the weak word is glibc's `_dl_find_object`.
    let find = unsafe { transmute::<*mut c_void, FindObject>(hz3_weak_find_object) };
    let mut object = Object { flags: 0, start: 0, end: 0, reserved: [0; 29] };
    // SAFETY: takes any address; `object` is larger than what glibc writes.
    if unsafe { find(block.cast(), &raw mut object) } != 0 {
        return 0..0;
    }
    object.start..object.end
}
