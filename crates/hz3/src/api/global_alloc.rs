//! The allocators of a Rust program: implementations of [`GlobalAlloc`].
//!
//! All calls keep `errno`, also those that fail. A program reads it after a call of the C library
//! failed, and before that it may have dropped the arguments of that call.

use core::alloc::{GlobalAlloc, Layout};

use crate::base::size_class::MIN_ALIGN;
use crate::heap::Foreign;
use crate::options::Config;
use crate::raw::family::keeping_errno;
use crate::{raw, thread};

/// The allocator with its default configuration.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: hz3::Hz3 = hz3::Hz3;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Hz3;

/// The allocator with a configuration that the program chooses; the environment overrides it.
///
/// ```
/// use hz3::{Config, Configured};
///
/// #[global_allocator]
/// static ALLOCATOR: Configured =
///     Configured::new(Config::new().thread_cache_bytes(1 << 20));
/// ```
///
/// All allocators of a program share one heap. The first allocation determines its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Configured {
    config: Config,
}

impl Configured {
    /// Creates an allocator with this configuration.
    pub const fn new(config: Config) -> Configured {
        Configured { config }
    }
}

/// Serves a miss of [`raw::malloc`], and starts the reclaimer's thread if it is wanted.
///
/// The thread may be started here, because Rust code called and so holds no lock of the C library.
///
/// # Safety
/// As for [`raw::malloc_miss`].
#[cold]
#[inline(never)]
unsafe fn malloc_miss(size: usize) -> *mut u8 {
    keeping_errno(|| {
        // SAFETY: the caller's promise.
        let block = unsafe { raw::malloc_miss(size) };
        start_wanted_reclaimer();
        block
    })
}

fn start_wanted_reclaimer() {
    if raw::wants_reclaimer() {
        raw::start_reclaimer();
    }
}

/// Allocates a block of `layout`, by the fast path if the alignment is at most [`MIN_ALIGN`].
#[inline(always)]
fn allocate(layout: Layout, miss: impl FnOnce(usize) -> *mut u8) -> *mut u8 {
    if layout.align() <= MIN_ALIGN {
        // SAFETY: both callers' misses call `malloc_miss` first.
        return unsafe { raw::malloc(layout.size(), miss) };
    }
    keeping_errno(|| raw::aligned(layout.align(), layout.size()))
}

/// Allocates a block of `layout` that reads as zero. `miss` serves a miss of [`raw::malloc`].
fn allocate_zeroed(layout: Layout, miss: impl FnOnce(usize) -> *mut u8) -> *mut u8 {
    if layout.align() <= MIN_ALIGN
        // SAFETY: both callers' misses call `malloc_miss` first.
        && let Some(block) = unsafe { raw::zeroed_small(layout.size(), miss) }
    {
        return block;
    }
    keeping_errno(|| raw::aligned_zeroed(layout.align(), layout.size()))
}

#[cold]
#[inline(never)]
unsafe fn free_miss(block: *mut u8) {
    keeping_errno(|| {
        // SAFETY: the caller gave the block up.
        if unsafe { raw::free_miss(block) } == Err(Foreign) {
            raw::fatal("free of a block that is not hz3's", block.addr());
        }
        start_wanted_reclaimer();
    });
}

unsafe fn reallocate(block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    if layout.align() > MIN_ALIGN {
        // SAFETY: the caller's promises are those of `move_aligned`.
        return unsafe { move_aligned(block, layout, size) };
    }
    // SAFETY: called after the miss, with its size.
    let malloc_miss = |size| unsafe { malloc_miss(size) };
    // SAFETY: the caller gave the block up.
    let free_miss = |block| unsafe { free_miss(block) };
    // SAFETY: the block is hz3's, the caller's, and not null; the misses are those of the two.
    if let Some(moved) = unsafe { raw::realloc_small(block, size, malloc_miss, free_miss) } {
        return moved;
    }
    // SAFETY: the block is hz3's, the caller's, and not null.
    match keeping_errno(|| unsafe { raw::realloc(block, size) }) {
        Ok(moved) => moved,
        Err(Foreign) => raw::fatal("realloc of a block that is not hz3's", block.addr()),
    }
}

/// Resizes a block with an alignment above 16, which `raw::realloc` would not preserve: the block
/// moves unless the new size fits and is at least half of its present one.
unsafe fn move_aligned(block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    // SAFETY: the block is hz3's.
    let present = keeping_errno(|| unsafe { raw::usable_size(block) }).unwrap_or(layout.size());
    if size <= present && size >= present / 2 {
        return block;
    }
    let target = keeping_errno(|| raw::aligned(layout.align(), size));
    if !target.is_null() {
        // SAFETY: both blocks hold the smaller of the two sizes.
        unsafe { target.copy_from_nonoverlapping(block, layout.size().min(size)) };
        // SAFETY: the caller gave the block up for the new one.
        unsafe { release(block) };
    }
    target
}

#[inline(always)]
unsafe fn release(block: *mut u8) {
    // SAFETY: the caller gave the block up.
    let miss = |block| unsafe { free_miss(block) };
    // SAFETY: as above.
    unsafe { raw::free(block, miss) };
}

// SAFETY: blocks have the size and alignment of their layout and stay in place until they are
// freed. Nothing here unwinds.
unsafe impl GlobalAlloc for Hz3 {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: called after the miss, with its size.
        allocate(layout, |size| unsafe { malloc_miss(size) })
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { release(block) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: called after the miss, with its size.
        allocate_zeroed(layout, |size| unsafe { malloc_miss(size) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { reallocate(block, layout, size) }
    }
}

// SAFETY: as for `Hz3`.
unsafe impl GlobalAlloc for Configured {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > MIN_ALIGN {
            // Such a request takes no fast path, which could miss.
            thread::configure(&self.config);
        }
        let miss = |size| {
            thread::configure(&self.config);
            // SAFETY: called after the miss, with its size; configuring allocates nothing.
            unsafe { malloc_miss(size) }
        };
        allocate(layout, miss)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { release(block) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        thread::configure(&self.config);
        // SAFETY: called after the miss, with its size.
        allocate_zeroed(layout, |size| unsafe { malloc_miss(size) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { reallocate(block, layout, size) }
    }
}
