//! The process's heap, and how each thread attaches to it and detaches from it.
//!
//! A thread's first allocation attaches it: the thread gets a cache. When the thread ends, the
//! destructor of a `pthread` key detaches the cache. Calls of later destructors go straight to
//! central. The first attachment also registers the fork handlers and the report at exit. The
//! thread's cache is in place by then, because both registrations may allocate.

mod cgroup;
#[cfg(feature = "check")]
mod check;
pub(crate) mod control;
mod emergency;
mod environment;
mod file;
mod fork;
mod guard;
pub(crate) mod limit;
mod maps;
mod metrics;
mod pressure;
mod process;
pub(crate) mod profile;
mod reclaimer;
mod report;
mod shut;
mod signal;
mod stats_page;
#[cfg(test)]
mod tests;
mod tls;

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::base::size_class::{MAX_SMALL, MIN_ALIGN, SizeClass};
use crate::cache::{Counts, Front, ThreadCache};
use crate::heap::{Foreign, Heap};
use crate::options::{Config, Report};
use crate::os::linux::Linux;
use crate::os::lock::Lock;
use crate::os::{self, order, pin, rank};
use crate::stats::{Stats, Utilization};

/// The heap of the process, which the first call that needs it creates.
struct Global {
    /// The heap in [`PLACE`]; null before it exists.
    ready: AtomicPtr<Heap<Linux>>,
    /// The configuration; `None` before the program or the first call sets it. The lock also guards
    /// the creation of the heap.
    config: Lock<Option<Config>, { rank::CONFIG }>,
    /// Whether calls are counted, so that new threads get the sentinel for that.
    counting: AtomicBool,
    /// The `pthread` key whose destructor detaches a thread; `u32::MAX` if there is none.
    exit_key: AtomicU32,
    /// Whether the process's hooks are registered.
    registered: AtomicBool,
}

static GLOBAL: Global = Global {
    ready: AtomicPtr::new(ptr::null_mut()),
    config: Lock::new(None),
    counting: AtomicBool::new(false),
    exit_key: AtomicU32::new(u32::MAX),
    registered: AtomicBool::new(false),
};

/// The room for the heap, apart from [`GLOBAL`], so that no part of it is read from the library's
/// file.
struct Place(UnsafeCell<MaybeUninit<Heap<Linux>>>);

// SAFETY: the lock `GLOBAL.config` guards the only write, before `GLOBAL.ready` is published.
unsafe impl Sync for Place {}

static PLACE: Place = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// Returns the heap, creating it if necessary; `None` if the system has no memory for it.
fn heap() -> Option<&'static Heap<Linux>> {
    // Acquire pairs with the release store in `start_heap`.
    let ready = GLOBAL.ready.load(Ordering::Acquire);
    // SAFETY: the pointer is null or leads to the heap in `PLACE`, which lives for ever.
    unsafe { ready.as_ref() }.or_else(start_heap)
}

/// Returns the heap if it exists already.
fn existing_heap() -> Option<&'static Heap<Linux>> {
    // Acquire pairs with the release store in `start_heap`.
    let ready = GLOBAL.ready.load(Ordering::Acquire);
    // SAFETY: the pointer is null or leads to the heap in `PLACE`, which lives for ever.
    unsafe { ready.as_ref() }
}

#[cold]
fn start_heap() -> Option<&'static Heap<Linux>> {
    let mut config = GLOBAL.config.lock();
    if let Some(heap) = existing_heap() {
        return Some(heap);
    }
    let config = config.get_or_insert(Config::new());
    environment::read(config);
    let (limit, soft) = cgroup::resolve_at_start(config.limit);
    let heap = Heap::create(Linux, &Config { limit, ..*config }).ok()?;
    // SAFETY: this thread holds the lock and nothing was published, so no other thread accesses it.
    let place = unsafe { &mut *PLACE.0.get() };
    let heap = place.write(heap);
    heap.set_limit(limit, soft);
    GLOBAL.counting.store(config.count, Ordering::Relaxed);
    os::thread::note_cpus();
    process::note_first();
    profile::begin(heap, config);
    if config.guard {
        guard::begin(heap);
    }
    metrics::configure(config);
    heap.driver().set_max_rest_ms(metrics::period_ms());
    #[cfg(feature = "check")]
    check::configure(config);
    let mut key: libc::pthread_key_t = 0;
    // SAFETY: the destructor is a function of an object that stays loaded; the call allocates
    // nothing.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(on_thread_exit)) } == 0 {
        GLOBAL.exit_key.store(key, Ordering::Relaxed);
    }
    // Release pairs with the acquire loads of `ready`.
    GLOBAL.ready.store(heap, Ordering::Release);
    Some(heap)
}

/// Sets the configuration of the heap; does nothing if the heap exists already.
pub(crate) fn configure(config: &Config) {
    if existing_heap().is_none() && !shut::is_shut() {
        GLOBAL.config.lock().get_or_insert(*config);
    }
}

/// Creates the heap if it does not exist yet, and attaches the calling thread.
pub(crate) fn start() {
    if !shut::is_shut()
        && let Some(heap) = heap()
    {
        front(heap);
    }
}

/// Returns the cache that the calling thread's fast path uses; it may be a sentinel.
#[inline(always)]
pub(crate) fn hot_cache() -> &'static ThreadCache {
    tls::hot()
}

fn is_hot(sentinel: &'static ThreadCache) -> bool {
    ptr::eq(tls::hot(), sentinel)
}

/// Returns the calling thread's front; attaches the thread if it is new.
fn front(heap: &'static Heap<Linux>) -> Front<'static> {
    if let Some(own) = tls::own() {
        return Front::Cache(own);
    }
    if is_hot(&tls::ENDED) {
        return Front::Direct;
    }
    attach(heap)
}

/// Frees of a new thread that do not attach it.
///
/// A detached thread that ends may free what the C library keeps for other threads, after the
/// destructors of its keys. A cache that it got then would come back late: `Registry::take_back`.
const MAX_EARLY_FREES: usize = 64;

/// Returns the calling thread's front for a free.
fn front_to_free(heap: &'static Heap<Linux>) -> Front<'static> {
    if is_hot(&tls::FRESH) && tls::count_early_free() < MAX_EARLY_FREES {
        return Front::Direct;
    }
    front(heap)
}

/// Returns the calling thread's front, and never attaches the thread. The reclaimer uses it,
/// because a cache of its own would count it as a thread of the program.
fn present_front() -> Front<'static> {
    tls::own().map_or(Front::Direct, Front::Cache)
}

#[cold]
fn attach(heap: &'static Heap<Linux>) -> Front<'static> {
    let process = process::kernels_id();
    if let Some(process) = process {
        heap.take_back_caches(|id| os::thread::is_gone(process, id));
    }
    let Some(own) = heap.attach() else { return Front::Direct };
    // A child of `vfork` has the TLS slots of its parent's thread, which will go on with the cache.
    if process.is_some() {
        own.counts.owner.store(os::thread::id(), Ordering::Relaxed);
    }
    let counting = GLOBAL.counting.load(Ordering::Relaxed);
    tls::set(if counting { &tls::COUNTING } else { own.shared() }, Some(own));
    let key = GLOBAL.exit_key.load(Ordering::Relaxed);
    if key != u32::MAX {
        order::check_may_call("pthread_setspecific");
        // The call may allocate, and the cache is already in place.
        // SAFETY: the key exists.
        unsafe { libc::pthread_setspecific(key, ptr::from_ref(own.shared()).cast()) };
    }
    if !GLOBAL.registered.swap(true, Ordering::Relaxed) {
        register_process_hooks();
    }
    Front::Cache(own)
}

/// Registers the process's hooks, once; the registrations may allocate.
#[cold]
fn register_process_hooks() {
    pin::stay_loaded();
    fork::register();
    let reports = GLOBAL
        .config
        .lock()
        .is_some_and(|config| config.report != Report::None || profile::is_wanted(&config));
    profile::handle_signal();
    if reports {
        order::check_may_call("atexit");
        // SAFETY: the handler is a function of an object that stays loaded.
        unsafe { libc::atexit(report_at_exit) };
        signal::report_at_termination();
    }
}

/// The destructor of the thread's key: detaches the thread's cache.
unsafe extern "C" fn on_thread_exit(_cache: *mut c_void) {
    let (Some(heap), Some(own)) = (existing_heap(), tls::own()) else { return };
    tls::set(&tls::ENDED, None);
    if shut::is_shut() {
        // A signal handler ends the thread inside an operation, so its cache is lost.
        return;
    }
    // SAFETY: the cache came from `attach`; the thread's TLS slots do not lead to it any more.
    unsafe { heap.detach(own) };
    heap.after_thread_end();
}

extern "C" fn report_at_exit() {
    report_once();
}

/// Writes the report and the profile: at exit, or when SIGTERM ends the process. Whichever is first
/// in a process writes.
fn report_once() {
    static IS_WRITTEN: AtomicBool = AtomicBool::new(false);
    if IS_WRITTEN.swap(true, Ordering::Relaxed) {
        return;
    }
    if shut::is_shut() {
        report::refuse();
        return;
    }
    let Some(config) = *GLOBAL.config.lock() else { return };
    if let Some(heap) = existing_heap() {
        profile::write_at_exit(heap, &config);
        if config.report != Report::None {
            report::write(heap, &stats(), &config.report);
        }
    }
}

/// Counts an allocation (if `request`) or a free, if calls are counted. Returns whether they are.
fn count(request: bool) -> bool {
    if !is_hot(&tls::COUNTING) {
        return false;
    }
    if let Some(cache) = tls::own() {
        Counts::count(if request { &cache.counts.requests } else { &cache.counts.frees });
    }
    true
}

/// Converts a block to its address, and `None` to NULL.
fn address(block: Option<NonNull<u8>>) -> *mut u8 {
    block.map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// Allocates a large block from the runs that the calling thread freed lately, without a lock.
#[inline(always)]
pub(crate) fn allocate_from_cache(size: usize) -> Option<*mut u8> {
    // A sentinel has no such block.
    Some(existing_heap()?.allocate_from_cache(tls::hot(), size)?.as_ptr())
}

/// Frees a large block into the calling thread's cache; returns false if there is no room.
///
/// # Safety
/// If the block is hz3's, the program does not use it again.
#[inline(always)]
pub(crate) unsafe fn free_to_cache(block: *mut u8) -> bool {
    let cache = tls::hot();
    // For a sentinel no address is in the arena.
    let Some(offset) = cache.offset_of(block) else { return false };
    let Some(heap) = existing_heap() else { return false };
    let is_kept = heap.free_to_cache(cache, offset);
    if is_kept {
        reclaimer::poll_kept(heap, cache);
    }
    is_kept
}

/// Returns whether the fast path of the calling thread uses its own cache, and no sentinel.
fn is_own_hot() -> bool {
    tls::own().is_some_and(|own| own.is(tls::hot()))
}

/// Serves a miss of [`crate::hot::malloc`]; returns NULL on exhaustion.
///
/// # Safety
/// The fast path has just missed with this size on this thread, once.
pub(crate) unsafe fn malloc_miss(size: usize) -> *mut u8 {
    let missed_on_own = is_own_hot();
    if shut::is_shut() {
        if missed_on_own && size <= MAX_SMALL {
            tls::hot().stack(SizeClass::of_size(size)).undo_pop();
        }
        return shut::aligned(MIN_ALIGN, size);
    }
    let Some(heap) = heap() else { return ptr::null_mut() };
    // A block that the thread freed lately needs no `poll`, because nothing else becomes free.
    if missed_on_own
        && size > MAX_SMALL
        && let Some(block) = heap.allocate_from_cache(tls::hot(), size)
    {
        return block.as_ptr();
    }
    let refusals = heap.refusals();
    let block = match front(heap) {
        // SAFETY: the fast path has just missed on this thread's own cache.
        Front::Cache(own) if missed_on_own => unsafe { heap.allocate_miss(own, size) },
        front => {
            count(true);
            heap.allocate(front, size)
        }
    };
    let again = || heap.allocate(front(heap), size);
    let block = limit::or_again(block, heap, size, refusals, again);
    reclaimer::poll(heap);
    address(block)
}

/// Serves a miss of [`crate::hot::free`].
///
/// # Safety
/// If the block is hz3's, the program does not use it again.
pub(crate) unsafe fn free_miss(block: *mut u8) -> Result<(), Foreign> {
    if block.is_null() {
        // The C library frees NULL in every ending thread, last of all: that must not attach it.
        return Ok(());
    }
    if shut::is_shut() {
        return shut::free(block);
    }
    // Before the heap exists every block belongs to another allocator.
    let Some(heap) = existing_heap() else { return Err(Foreign) };
    let missed_on_own = is_own_hot();
    let front = front_to_free(heap);
    if missed_on_own {
        // SAFETY: the fast path has just missed on this front; the rest is the caller's promise.
        let freed = unsafe { heap.free_miss(front, block) };
        reclaimer::poll(heap);
        return freed.or_else(|Foreign| free_emergency(block));
    }
    count(false);
    // SAFETY: the caller's promise; the miss was on a sentinel.
    let freed = unsafe { heap.free(front, block) };
    reclaimer::poll(heap);
    freed.or_else(|Foreign| free_emergency(block))
}

/// Frees a block that was allocated while the heap was shut to its caller.
#[cold]
fn free_emergency(block: *mut u8) -> Result<(), Foreign> {
    if emergency::free(block.addr()) { Ok(()) } else { Err(Foreign) }
}

/// Allocates a block at a multiple of `align`, a power of two; returns NULL on exhaustion.
pub(crate) fn aligned(align: usize, size: usize) -> *mut u8 {
    aligned_by(align, size, |heap, front| heap.allocate_aligned(front, align, size))
}

/// Allocates as [`aligned`] does; the block reads as zero.
pub(crate) fn aligned_zeroed(align: usize, size: usize) -> *mut u8 {
    aligned_by(align, size, |heap, front| heap.allocate_zeroed(front, align, size))
}

/// Allocates by a function of the heap, which gets the front of this thread.
#[inline]
fn aligned_by(
    align: usize,
    size: usize,
    allocate: impl Fn(&Heap<Linux>, Front<'static>) -> Option<NonNull<u8>>,
) -> *mut u8 {
    if shut::is_shut() {
        return shut::aligned(align, size);
    }
    let Some(heap) = heap() else { return ptr::null_mut() };
    let (front, refusals) = (front(heap), heap.refusals());
    count(true);
    let attempt = || allocate(heap, front);
    let block = limit::or_again(attempt(), heap, size, refusals, attempt);
    reclaimer::poll(heap);
    address(block)
}

/// Changes the size of a block; returns `Ok(NULL)` on exhaustion, and the block is unchanged.
///
/// # Safety
/// The caller owns the block and uses only the result afterwards, unless it is NULL.
pub(crate) unsafe fn reallocate(block: NonNull<u8>, size: usize) -> Result<*mut u8, Foreign> {
    if shut::is_shut() {
        // SAFETY: the caller's promise.
        return unsafe { shut::reallocate(block, size) };
    }
    let Some(heap) = existing_heap() else { return Err(Foreign) };
    let (front, refusals) = (front(heap), heap.refusals());
    count(true);
    // SAFETY: the caller's promise. A failed attempt leaves the block as it is.
    let resize = || unsafe { heap.reallocate(front, block, size) }.transpose();
    let moved = limit::or_again(resize(), heap, size, refusals, resize);
    reclaimer::poll(heap);
    match moved.transpose() {
        Ok(moved) => Ok(address(moved)),
        // SAFETY: the caller's promise.
        Err(Foreign) => unsafe { reallocate_emergency(block, size) },
    }
}

/// Resizes as [`reallocate`] does, for a block that was allocated while the heap was shut.
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

/// Returns the bytes that the block at an address holds; `None` if hz3 does not manage it.
pub(crate) fn usable_size(address: usize) -> Option<usize> {
    if shut::is_shut() {
        return shut::usable_size(address);
    }
    let heap = existing_heap()?;
    let found = heap.usable_size(address);
    guard::poll(heap);
    found.or_else(|| emergency::usable_size(address))
}

/// Returns how full the slab of the block at an address is; see [`crate::utilization`].
pub(crate) fn utilization(address: usize) -> Option<Utilization> {
    if shut::is_shut() {
        return None;
    }
    existing_heap()?.utilization(address)
}

/// Gives free memory back, except up to `keep` bytes; see [`crate::collect`].
pub(crate) fn collect(keep: usize) -> usize {
    if shut::is_shut() {
        return 0;
    }
    let Some(heap) = existing_heap() else { return 0 };
    heap.collect(front(heap), keep)
}

/// Runs one tick; see [`crate::raw::epoch_force`].
pub(crate) fn tick() {
    if shut::is_shut() {
        return;
    }
    if let Some(heap) = existing_heap() {
        heap.tick(front(heap));
    }
}

/// Returns whether the reclaimer's thread is wanted; see [`crate::raw::wants_reclaimer`].
#[inline]
pub(crate) fn wants_reclaimer() -> bool {
    existing_heap().is_some_and(|heap| heap.driver().is_wanted())
}

/// Starts the reclaimer's thread; see [`crate::raw::start_reclaimer`].
pub(crate) fn start_reclaimer() {
    if !shut::is_shut() {
        reclaimer::start();
    }
}

/// Returns the statistics; all are 0 while the heap is shut to the caller.
pub(crate) fn stats() -> Stats {
    if shut::is_shut() {
        return Stats::default();
    }
    let mut stats = existing_heap().map(Heap::stats).unwrap_or_default();
    stats.resident = report::resident_bytes();
    stats
}
