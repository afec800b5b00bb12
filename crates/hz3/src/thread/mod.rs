//! One process-wide heap, and each thread's way into and out of it.
//!
//! A thread's first allocation attaches it: it gets a cache. Its end, by a `pthread` key's
//! destructor, takes the cache back. What the thread does after that, in later destructors, goes
//! straight to central. The first attachment also registers the fork handlers and the report at
//! exit, with the thread's cache already in place, because both registrations may allocate.

mod cgroup;
#[cfg(feature = "check")]
mod check;
mod emergency;
mod environment;
mod errno;
mod file;
mod fork;
mod reclaimer;
mod report;
mod shut;
#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "tests play the program: each owns the blocks that it frees"
)]
mod tests;
mod tls;

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::base::size_class::{MAX_SMALL, MIN_ALIGN, SizeClass};
use crate::cache::{Counts, Front, ThreadCache};
use crate::heap::{Foreign, Heap};
use crate::options::{Config, Report};
use crate::os::linux::Linux;
use crate::os::lock::Lock;
use crate::os::{order, pin, rank};
use crate::stats::Stats;

/// The heap of the process, made by the first call that needs it.
struct Global {
    ready: AtomicPtr<Heap<Linux>>,
    place: UnsafeCell<MaybeUninit<Heap<Linux>>>,
    start: Lock<Option<Config>, { rank::START }>,
    counting: AtomicBool,
    exit_key: AtomicU32,
    registered: AtomicBool,
}

// SAFETY: `place` is written once, under the lock `start`, before `ready` is published.
unsafe impl Sync for Global {}

static GLOBAL: Global = Global {
    ready: AtomicPtr::new(core::ptr::null_mut()),
    place: UnsafeCell::new(MaybeUninit::uninit()),
    start: Lock::new(None),
    counting: AtomicBool::new(false),
    exit_key: AtomicU32::new(u32::MAX),
    registered: AtomicBool::new(false),
};

/// The heap; `None` when the system has no room for one.
fn heap() -> Option<&'static Heap<Linux>> {
    // Acquire pairs with the release store in `start_heap`.
    let ready = GLOBAL.ready.load(Ordering::Acquire);
    // SAFETY: null or the heap in `place`, which stays for ever.
    unsafe { ready.as_ref() }.or_else(start_heap)
}

/// The heap if it exists already.
fn existing_heap() -> Option<&'static Heap<Linux>> {
    // Acquire pairs with the release store in `start_heap`.
    let ready = GLOBAL.ready.load(Ordering::Acquire);
    // SAFETY: null or the heap in `place`, which stays for ever.
    unsafe { ready.as_ref() }
}

#[cold]
fn start_heap() -> Option<&'static Heap<Linux>> {
    let mut start = GLOBAL.start.lock();
    if let Some(heap) = existing_heap() {
        return Some(heap);
    }
    let config = start.get_or_insert(Config::new());
    environment::read(config);
    config.limit = cgroup::resolve(config.limit);
    let heap = Heap::create(Linux, config).ok()?;
    GLOBAL.counting.store(config.count, Ordering::Relaxed);
    reclaimer::prepare();
    #[cfg(feature = "check")]
    check::configure(config);
    let mut key: libc::pthread_key_t = 0;
    // SAFETY: the destructor is a function of this program; the call allocates nothing.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(on_thread_exit)) } == 0 {
        GLOBAL.exit_key.store(key, Ordering::Relaxed);
    }
    let place = GLOBAL.place.get();
    // SAFETY: the lock is held and nothing was published: nobody else accesses the place.
    let place = unsafe { &mut *place };
    let heap = place.write(heap);
    // Release pairs with the acquire loads of `ready`.
    GLOBAL.ready.store(heap, Ordering::Release);
    Some(heap)
}

/// Sets the configuration that the heap will start with; does nothing once it has started.
pub(crate) fn configure(config: &Config) {
    if existing_heap().is_none() && !shut::is_shut() {
        GLOBAL.start.lock().get_or_insert(*config);
    }
}

/// Makes the heap, if that is still to be done, and the calling thread's cache.
pub(crate) fn start() {
    if !shut::is_shut()
        && let Some(heap) = heap()
    {
        front(heap);
    }
}

/// The cache that the calling thread's hot path uses.
#[inline(always)]
pub(crate) fn hot_cache() -> &'static ThreadCache {
    tls::hot()
}

fn is_hot(sentinel: &'static ThreadCache) -> bool {
    core::ptr::eq(tls::hot(), sentinel)
}

/// The calling thread's front, attaching the thread if it is new.
fn front(heap: &'static Heap<Linux>) -> Front<'static> {
    if let Some(cache) = tls::own() {
        return Front::Cache(cache);
    }
    if is_hot(&tls::ENDED) {
        return Front::Direct;
    }
    attach(heap)
}

#[cold]
fn attach(heap: &'static Heap<Linux>) -> Front<'static> {
    let Some(cache) = heap.attach() else { return Front::Direct };
    let counting = GLOBAL.counting.load(Ordering::Relaxed);
    tls::set(if counting { &tls::COUNTING } else { cache }, Some(cache));
    let key = GLOBAL.exit_key.load(Ordering::Relaxed);
    if key != u32::MAX {
        order::may_call("pthread_setspecific");
        // SAFETY: the key exists. The call may allocate: the cache is in place.
        unsafe { libc::pthread_setspecific(key, core::ptr::from_ref(cache).cast()) };
    }
    if !GLOBAL.registered.swap(true, Ordering::Relaxed) {
        register_process_hooks();
    }
    Front::Cache(cache)
}

/// What must happen once a process and may allocate.
#[cold]
fn register_process_hooks() {
    pin::stay_loaded();
    fork::register();
    let reports = GLOBAL.start.lock().is_some_and(|config| config.report != Report::None);
    if reports {
        order::may_call("atexit");
        // SAFETY: the handler is a function of this program that stays loaded.
        unsafe { libc::atexit(report_at_exit) };
    }
}

/// The destructor of the thread's key: gives the thread's cache back.
unsafe extern "C" fn on_thread_exit(_cache: *mut c_void) {
    let (Some(heap), Some(cache)) = (existing_heap(), tls::own()) else { return };
    tls::set(&tls::ENDED, None);
    if shut::is_shut() {
        // A signal handler ends the thread inside an operation: its cache is lost.
        return;
    }
    // SAFETY: the cache came from `attach`; the words do not lead to it any more.
    unsafe { heap.detach(cache) };
    heap.after_thread_end();
}

extern "C" fn report_at_exit() {
    if shut::is_shut() {
        report::refuse();
        return;
    }
    let Some(config) = *GLOBAL.start.lock() else { return };
    if let Some(heap) = existing_heap() {
        report::write(heap, &stats(), &config.report);
    }
}

/// Counts a request when calls are counted. Returns whether they are.
fn count(request: bool) -> bool {
    if !is_hot(&tls::COUNTING) {
        return false;
    }
    if let Some(cache) = tls::own() {
        Counts::count(if request { &cache.counts.requests } else { &cache.counts.frees });
    }
    true
}

/// Address of a block for a C-like caller.
fn address(block: Option<NonNull<u8>>) -> *mut u8 {
    block.map_or(core::ptr::null_mut(), NonNull::as_ptr)
}

/// A large block that the calling thread freed last: what leaves nothing to give back and needs no
/// lock.
#[inline(always)]
pub(crate) fn take_freed(size: usize) -> Option<*mut u8> {
    // A sentinel has none.
    Some(existing_heap()?.take_freed(tls::hot(), size)?.as_ptr())
}

/// Frees a large block into the calling thread's cache, if there is room. False: nothing was done.
///
/// # Safety
/// The block, if it is hz3's, is not used again by the program.
#[inline(always)]
pub(crate) unsafe fn keep_freed(block: *mut u8) -> bool {
    let cache = tls::hot();
    // In a sentinel no address is in the arena, and it has no room.
    if cache.class_of(block) != Some(SizeClass::NONE) {
        return false;
    }
    let Some(heap) = existing_heap() else { return false };
    let is_kept = heap.keep_freed(cache, block.addr());
    if is_kept {
        reclaimer::poll_kept(heap, cache);
    }
    is_kept
}

/// What follows a miss of [`crate::hot::malloc`]: NULL on exhaustion.
///
/// # Safety
/// The hot path has just missed with this size on this thread, once.
pub(crate) unsafe fn malloc_miss(size: usize) -> *mut u8 {
    let missed_on_own = tls::own().is_some_and(|own| core::ptr::eq(own, tls::hot()));
    if shut::is_shut() {
        if missed_on_own && size <= MAX_SMALL {
            tls::hot().stack(SizeClass::of_size(size)).undo_pop();
        }
        return shut::aligned(MIN_ALIGN, size);
    }
    let Some(heap) = heap() else { return core::ptr::null_mut() };
    // What the thread freed last leaves nothing to give back.
    if missed_on_own
        && size > MAX_SMALL
        && let Some(block) = heap.take_freed(tls::hot(), size)
    {
        return block.as_ptr();
    }
    let block = match front(heap) {
        // SAFETY: the hot path has just missed on this thread's own cache.
        Front::Cache(cache) if missed_on_own => unsafe { heap.allocate_miss(cache, size) },
        front => {
            count(true);
            // SAFETY: the front is this thread's; the miss was on a sentinel.
            unsafe { heap.allocate(front, size) }
        }
    };
    reclaimer::poll(heap);
    address(block)
}

/// What follows a miss of [`crate::hot::free`].
///
/// # Safety
/// The block, if it is hz3's, is not used again by the program.
pub(crate) unsafe fn free_miss(block: *mut u8) -> Result<(), Foreign> {
    if block.is_null() {
        // The C library frees NULL in every thread that ends, after all else: it gets no cache.
        return Ok(());
    }
    if shut::is_shut() {
        return shut::free(block);
    }
    // Before the heap exists every block is somebody else's.
    let Some(heap) = existing_heap() else { return Err(Foreign) };
    let missed_on_own = tls::own().is_some_and(|own| core::ptr::eq(own, tls::hot()));
    let front = front(heap);
    if missed_on_own {
        // SAFETY: the front is this thread's, and the hot path has just missed on it.
        let freed = unsafe { heap.free_miss(front, block) };
        reclaimer::poll(heap);
        return freed.or_else(|Foreign| free_emergency(block));
    }
    count(false);
    // SAFETY: the front is this thread's; the miss was on a sentinel.
    let freed = unsafe { heap.free(front, block) };
    reclaimer::poll(heap);
    freed.or_else(|Foreign| free_emergency(block))
}

/// Frees a block that a call got while the heap was shut to it.
#[cold]
fn free_emergency(block: *mut u8) -> Result<(), Foreign> {
    if emergency::free(block.addr()) { Ok(()) } else { Err(Foreign) }
}

/// A block at a multiple of `align`, a power of two; NULL on exhaustion.
pub(crate) fn aligned(align: usize, size: usize) -> *mut u8 {
    if shut::is_shut() {
        return shut::aligned(align, size);
    }
    let Some(heap) = heap() else { return core::ptr::null_mut() };
    let front = front(heap);
    count(true);
    // SAFETY: the front is this thread's.
    let block = unsafe { heap.allocate_aligned(front, align, size) };
    reclaimer::poll(heap);
    address(block)
}

/// As [`aligned`], reading as zero.
pub(crate) fn aligned_zeroed(align: usize, size: usize) -> *mut u8 {
    if shut::is_shut() {
        return shut::aligned(align, size);
    }
    let Some(heap) = heap() else { return core::ptr::null_mut() };
    let front = front(heap);
    count(true);
    // SAFETY: the front is this thread's.
    let block = unsafe { heap.allocate_zeroed(front, align, size) };
    reclaimer::poll(heap);
    address(block)
}

/// Changes the size of a block. `Ok(NULL)`: exhausted, the block is what it was.
///
/// # Safety
/// The block is the caller's, and only the result is used afterwards, unless it is NULL.
pub(crate) unsafe fn reallocate(block: NonNull<u8>, size: usize) -> Result<*mut u8, Foreign> {
    if shut::is_shut() {
        // SAFETY: the caller's promise.
        return unsafe { shut::reallocate(block, size) };
    }
    let Some(heap) = existing_heap() else { return Err(Foreign) };
    let front = front(heap);
    count(true);
    // SAFETY: the front is this thread's; the rest is the caller's promise.
    let moved = unsafe { heap.reallocate(front, block, size) };
    reclaimer::poll(heap);
    match moved {
        Ok(moved) => Ok(address(moved)),
        // SAFETY: the caller's promise.
        Err(Foreign) => unsafe { reallocate_emergency(block, size) },
    }
}

/// As [`reallocate`], for a block that a call got while the heap was shut to it.
///
/// # Safety
/// As for [`reallocate`].
#[cold]
unsafe fn reallocate_emergency(block: NonNull<u8>, size: usize) -> Result<*mut u8, Foreign> {
    let present = emergency::usable_size(block.addr().get()).ok_or(Foreign)?;
    let allocate = |size| aligned(MIN_ALIGN, size);
    // SAFETY: the caller's promise; the block holds `present` bytes.
    unsafe { shut::grow(block, present, size, allocate, free_emergency) }
}

/// Bytes that the block at an address holds; `None` when it is not hz3's.
pub(crate) fn usable_size(address: usize) -> Option<usize> {
    if shut::is_shut() {
        return shut::usable_size(address);
    }
    existing_heap()?.usable_size(address).or_else(|| emergency::usable_size(address))
}

/// See [`crate::collect`] and [`crate::raw::trim`].
pub(crate) fn collect(keep: usize) -> usize {
    if shut::is_shut() {
        return 0;
    }
    let Some(heap) = existing_heap() else { return 0 };
    heap.collect(front(heap), keep)
}

/// See [`crate::raw::epoch_force`].
pub(crate) fn tick() {
    if shut::is_shut() {
        return;
    }
    if let Some(heap) = existing_heap() {
        // SAFETY: the front is this thread's.
        unsafe { heap.tick(front(heap)) };
    }
}

/// See [`crate::raw::wants_reclaimer`].
#[inline]
pub(crate) fn wants_reclaimer() -> bool {
    existing_heap().is_some_and(|heap| heap.driver().is_wanted())
}

/// See [`crate::raw::start_reclaimer`].
pub(crate) fn start_reclaimer() {
    if !shut::is_shut() {
        reclaimer::start();
    }
}

/// See [`crate::stats()`].
pub(crate) fn stats() -> Stats {
    if shut::is_shut() {
        return Stats::default();
    }
    let mut stats = existing_heap().map(Heap::stats).unwrap_or_default();
    stats.resident = report::resident_bytes();
    stats
}
