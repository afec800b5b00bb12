//! Handles blocks of other allocators: of the C library before hz3 was loaded, or of a library with
//! its own `malloc`.
//!
//! It passes them to the next `free`, `realloc` or `malloc_usable_size` in the search order. It
//! looks that function up at the first such block, and holds no lock then, because `dlsym` may
//! allocate. For an address that no allocator can have returned, it aborts with a line that names
//! the address. That is every address if the C library comes next and has given out no block: its
//! `free` may crash on one that is not its own.

use core::ffi::c_void;
use core::mem::{MaybeUninit, transmute};
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use hz3_alloc::raw;

use crate::lookup::{Symbol, hz3_weak_find_object, hz3_weak_stack_end};
use crate::report::MallInfo2;

type Free = unsafe extern "C" fn(*mut c_void);
type Realloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type UsableSize = unsafe extern "C" fn(*mut c_void) -> usize;
type Describe = unsafe extern "C" fn() -> MallInfo2;
type FindObject = unsafe extern "C" fn(*const c_void, *mut Object) -> i32;

static NEXT_FREE: Symbol = Symbol::new(c"free");
static NEXT_REALLOC: Symbol = Symbol::new(c"realloc");
static NEXT_USABLE_SIZE: Symbol = Symbol::new(c"malloc_usable_size");

/// The description of glibc's heap, since 2.33.
static NEXT_DESCRIBE: Symbol = Symbol::new(c"mallinfo2");
/// Whether the next allocator may have given out blocks.
static MAY_HAVE_BLOCKS: AtomicBool = AtomicBool::new(false);

/// The smallest alignment that every allocator guarantees, in bytes.
const LEAST_ALIGN: usize = 8;

/// The most bytes that Linux keeps free below the main thread's stack for its growth.
const LARGEST_STACK_GAP: usize = 128 << 20;

/// glibc's `struct dl_find_object`: the fields that hz3 reads, and room for the others.
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
    // SAFETY: the caller's contract; hz3 does not manage the block, so the next allocator does.
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
    // SAFETY: the caller's contract; hz3 does not manage the block, so the next allocator does.
    unsafe { next(block.cast(), size) }.cast()
}

/// Returns the usable bytes of a block of another allocator.
///
/// # Safety
/// `block` is what the program passed to `malloc_usable_size`, and not a block of hz3.
pub(crate) unsafe fn usable_size(block: *mut u8) -> usize {
    let next = owner(block, &NEXT_USABLE_SIZE);
    // SAFETY: `next` is the `malloc_usable_size` that dlsym found.
    let next = unsafe { transmute::<*mut c_void, UsableSize>(next) };
    // SAFETY: the caller's contract; hz3 does not manage the block, so the next allocator does.
    unsafe { next(block.cast()) }
}

/// Returns the next allocator's function for `block`. Aborts if there is none, or if no allocator
/// can have returned `block`.
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
    // An allocator may serve its first blocks from a static buffer in its own image.
    let image = image_around(block);
    if image.contains(&address) && !image.contains(&next.addr()) {
        raw::fatal("invalid pointer (in the data of a program or library)", address);
    }
    if !may_have_blocks(next) {
        raw::fatal("invalid pointer (not of hz3, and no other allocator is in use)", address);
    }
    next
}

/// Returns whether the allocator with the function `next` may have given out blocks. Those that
/// cannot tell may.
fn may_have_blocks(next: *const c_void) -> bool {
    if MAY_HAVE_BLOCKS.load(Ordering::Relaxed) {
        return true;
    }
    let is_used = match NEXT_DESCRIBE.next() {
        Some(describe) if image_around(next.cast()).contains(&describe.addr()) => {
            // SAFETY: it is the `mallinfo2` that dlsym found, of the same library.
            let describe = unsafe { transmute::<*mut c_void, Describe>(describe) };
            // SAFETY: the function has no preconditions.
            unsafe { describe() }.has_memory()
        }
        _ => true,
    };
    // Once it is in use, that is not asked again: the answer takes time.
    MAY_HAVE_BLOCKS.store(is_used, Ordering::Relaxed);
    is_used
}

/// Returns whether no memory is mapped at `address`. A freed large block may have been unmapped.
fn is_unmapped(address: usize) -> bool {
    let page = raw::page_size();
    let mut answer = 0;
    let start = ptr::without_provenance_mut(address / page * page);
    // SAFETY: mincore takes any address, and writes one byte for one page.
    let failed = unsafe { libc::mincore(start, page, &raw mut answer) } != 0;
    // SAFETY: the C library returns the address of this thread's errno, valid while it runs.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: `errno` is this thread's, see above.
    failed && unsafe { errno.read() } == libc::ENOMEM
}

/// Returns whether `address` lies in the stack of the main thread.
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

/// Returns how far the main thread's stack may grow, in bytes. The kernel keeps that range free.
fn main_stack_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) } != 0 {
        return 0;
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Returns whether `address` lies in the stack of the calling thread, if that is not the main one.
fn in_thread_stack(address: usize) -> bool {
    let here = ptr::from_ref(&address).addr();
    #[allow(clippy::cast_possible_truncation, reason = "an integer of 64 bits or a pointer")]
    // SAFETY: no preconditions.
    let descriptor = unsafe { libc::pthread_self() } as usize;
    // The descriptor of a thread lies at the upper end of its stack, so the first test rejects
    // nearly all addresses without the slow call. The call is needed, because a coroutine runs on
    // another stack.
    (here..descriptor).contains(&address) && thread_stack().contains(&address)
}

/// Returns the stack that the calling thread was created with. May allocate.
fn thread_stack() -> Range<usize> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: no preconditions.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: the thread is alive, and there is room for its attributes.
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

/// Returns the addresses of the program or library whose image contains `block`; empty if none
/// does.
fn image_around(block: *const u8) -> Range<usize> {
    if hz3_weak_find_object.is_null() {
        return 0..0;
    }
    // SAFETY: the weak word is glibc's `_dl_find_object`.
    let find = unsafe { transmute::<*mut c_void, FindObject>(hz3_weak_find_object) };
    let mut object = Object { flags: 0, start: 0, end: 0, reserved: [0; 29] };
    // SAFETY: the function takes any address; `object` is larger than the structure glibc writes.
    if unsafe { find(block.cast(), &raw mut object) } != 0 {
        return 0..0;
    }
    object.start..object.end
}
