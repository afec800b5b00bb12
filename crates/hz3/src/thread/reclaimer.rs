//! The reclaimer: who gives memory back, and when.
//!
//! ```text
//!            enough to give back, and the process has threads
//!   Inline ----------------------------------------------------> Starting --> Running
//!     ^  slow paths do the work                                     |            |
//!     '------------------------------------------------------------'            |
//!     '--------------- nothing left to do, or no other thread left --------------'
//! ```
//!
//! In a process without threads the slow paths do the work: what may be resident and free stays
//! below a bound whatever the program does next, even nothing ([`Heap::trim`]), and what the program
//! has not used for a while goes at a tick. A process with threads gets one more, an ordinary thread
//! of the C library, while there is work. A slow path that finds enough work asks for it; the entry
//! point that knows who called ([`crate::raw::start_reclaimer`]) starts it, because the C library
//! calls `malloc` and `free` under locks that `pthread_create` takes too.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::word;
use crate::base::absence;
use crate::cache::{Front, ThreadCache};
use crate::heap::Heap;
use crate::options::{Background, Config, Policy};
use crate::os::Os;
use crate::os::linux::Linux;
use crate::os::lock::futex_wake_one;
use crate::os::thread;
use crate::reclaim::Next;

/// Less than this is not worth a thread or a tick, in bytes.
const WORTH_A_TICK: u64 = 8 * 1024 * 1024;
/// So much is free only when the reclaimer is behind, or gone: the slow paths look after it.
const OVERDUE: u64 = 4 * WORTH_A_TICK;
/// How long a reclaimer may be silent while so much is free, in milliseconds; then it is taken for
/// dead. A filter of system calls may have killed it, or this is a child of a bare `fork`.
const LONGEST_SILENCE_MS: u64 = 3000;
/// How many slow paths a thread runs between two estimates of all that could be given back.
const SLOW_PATHS_AN_ESTIMATE: u64 = 64;
/// Ticks after which the reclaimer leaves a process that has no other thread any more.
const TICKS_ALONE: u32 = 8;

const OFF: u32 = 0;
const INLINE: u32 = 1;
const STARTING: u32 = 2;
const RUNNING: u32 = 3;

static STATE: AtomicU32 = AtomicU32::new(OFF);
/// The state in which a process begins, a forked child as well.
static FIRST_STATE: AtomicU32 = AtomicU32::new(OFF);
static TICK_MS: AtomicU32 = AtomicU32::new(0);
/// Whether a thread may be started: never, or also in a process that has none.
static NEVER: AtomicBool = AtomicBool::new(false);
static ALWAYS: AtomicBool = AtomicBool::new(false);
/// A slow path found enough work for a thread.
static IS_WANTED: AtomicBool = AtomicBool::new(false);
/// The process that this memory belongs to; a child of `vfork` only borrows it.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// The number of the present reclaimer; one with another number leaves. The thread sleeps on it.
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// When the reclaimer last began a tick, in milliseconds.
static LAST_TICK: AtomicU64 = AtomicU64::new(0);
/// When the next inline tick is due, in milliseconds.
static NEXT_TICK: AtomicU64 = AtomicU64::new(0);

/// Takes the configuration over; before the first allocation is served.
pub(super) fn configure(config: &Config) {
    thread::note_cpus();
    note_process();
    let state = if config.policy == Policy::Off { OFF } else { INLINE };
    NEVER.store(config.background == Background::Never, Ordering::Relaxed);
    ALWAYS.store(config.background == Background::Always, Ordering::Relaxed);
    TICK_MS.store(config.tick_ms.get(), Ordering::Relaxed);
    FIRST_STATE.store(state, Ordering::Relaxed);
    STATE.store(state, Ordering::Relaxed);
}

fn process() -> u32 {
    // SAFETY: getpid has no precondition.
    unsafe { libc::getpid() }.cast_unsigned()
}

fn note_process() {
    PROCESS.store(process(), Ordering::Relaxed);
}

/// After a slow path, with no lock held: sees to it that memory is looked after.
#[inline]
pub(super) fn poll(heap: &'static Heap<Linux>) {
    heap.relieve_if_pressed(front);
    match absence::look(&STATE) {
        INLINE => {
            look_after(heap);
            if let Some(own) = word::own() {
                own.runs.note_looked_after(NUMBER.load(Ordering::Relaxed));
            }
        }
        RUNNING if heap.may_hold(OVERDUE) => replace_if_dead(heap),
        _ => {}
    }
    epoch_by_count(heap);
}

/// As [`poll`], after a large block went into the cache of the calling thread, and nowhere else. What
/// was held before when the memory was looked after needs no other look; but the clock that large frees
/// are goes on.
#[inline]
pub(super) fn poll_kept(heap: &'static Heap<Linux>, cache: &ThreadCache) {
    let is_inline = absence::look(&STATE) == INLINE;
    let is_looked_after = !is_inline || cache.runs.is_looked_after(NUMBER.load(Ordering::Relaxed));
    if !is_looked_after || cache.large_frees().is_multiple_of(SLOW_PATHS_AN_ESTIMATE) {
        poll_slowly(heap);
    }
}

#[cold]
#[inline(never)]
fn poll_slowly(heap: &'static Heap<Linux>) {
    poll(heap);
}

fn front() -> Front<'static> {
    word::own().map_or(Front::Direct, Front::Cache)
}

/// An epoch after so many slow paths of this thread, if the policy is made of epochs.
fn epoch_by_count(heap: &'static Heap<Linux>) {
    let interval = u64::from(heap.epoch_interval());
    if interval == 0 {
        return;
    }
    if let Some(own) = word::own()
        && own.counts.is_epoch_due(own.slow_paths(), interval)
    {
        // SAFETY: the cache is this thread's, and no lock is held.
        unsafe { heap.tick(Front::Cache(own)) };
    }
}

/// As [`poll`], for a thread that has just given its cache back. It may hold locks of the C library
/// and starts no other.
pub(super) fn poll_ending(heap: &'static Heap<Linux>) {
    match absence::look(&STATE) {
        INLINE => {
            // SAFETY: this thread has no cache any more.
            unsafe { heap.trim(Front::Direct, true) };
            tick_if_due(heap);
        }
        // A process that has come to one thread has no other again; and one that ends with its last
        // thread must not end with the reclaimer.
        RUNNING if !wants_thread(heap) => {
            end();
            // SAFETY: this thread has no cache any more.
            unsafe { heap.hand_over(Front::Direct) };
        }
        _ => {}
    }
}

/// Asks the reclaimer to end now.
#[cold]
fn end() {
    NUMBER.fetch_add(1, Ordering::Relaxed);
    STATE.store(FIRST_STATE.load(Ordering::Relaxed), Ordering::Relaxed);
    futex_wake_one(&NUMBER);
}

/// Does what is to be done, or asks for a thread that does.
#[cold]
fn look_after(heap: &'static Heap<Linux>) {
    let is_due = is_estimate_due();
    if !wants_thread(heap) {
        // SAFETY: the front is this thread's.
        unsafe { heap.trim(front(), is_due) };
        if is_due || heap.has_free_pages(WORTH_A_TICK) {
            tick_if_due(heap);
        }
        return;
    }
    // Freed large blocks that the thread's cache keeps are not in what is free yet.
    let worth = WORTH_A_TICK.saturating_sub(word::own().map_or(0, |own| own.runs.bytes()));
    // Free pages, and what caches may come to hold, count at once: a program may free ten large
    // blocks and then nothing more, and a free that a cache serves looks at nothing. What lies in
    // slabs is estimated once in a while.
    let is_worth = heap.may_hold(worth) || (is_due && heap.has_returnable(WORTH_A_TICK));
    if is_worth && IS_WANTED.swap(true, Ordering::Relaxed) {
        // Nobody could start it since the last slow path.
        // SAFETY: the front is this thread's.
        unsafe { heap.trim(front(), is_due) };
        tick_if_due(heap);
    }
}

/// Whether a thread may do the work: the process has other threads, or does not mind one.
fn wants_thread(heap: &'static Heap<Linux>) -> bool {
    !NEVER.load(Ordering::Relaxed) && (heap.threads() > 1 || ALWAYS.load(Ordering::Relaxed))
}

/// Whether so many slow paths of this thread have passed that an estimate is worth its time. They
/// and its large frees are a clock that every program moves.
fn is_estimate_due() -> bool {
    word::own().is_some_and(|own| {
        let slow_paths = own.slow_paths() + own.large_frees();
        own.counts.is_estimate_due(slow_paths, SLOW_PATHS_AN_ESTIMATE)
    })
}

fn tick_if_due(heap: &'static Heap<Linux>) {
    let now = heap.os().now_ms();
    let due = NEXT_TICK.load(Ordering::Relaxed);
    if now < due {
        return;
    }
    let next = now + u64::from(TICK_MS.load(Ordering::Relaxed));
    // The thread that moves the deadline does the work.
    if NEXT_TICK.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        // SAFETY: the cache, if there is one, is this thread's.
        unsafe { heap.tick(front()) };
    }
}

/// Whether a slow path asked for a thread.
#[inline]
pub(super) fn is_wanted() -> bool {
    IS_WANTED.load(Ordering::Relaxed)
}

/// Starts the thread. The caller holds no lock, of hz3's or of the C library's.
#[cold]
pub(super) fn start() {
    // A child of `vfork` would take the thread with it when it calls `exec`, and what a bare `fork`
    // left of the C library may not start one: the slow paths go on.
    if process() != PROCESS.load(Ordering::Relaxed) || super::existing_heap().is_none() {
        return;
    }
    IS_WANTED.store(false, Ordering::Relaxed);
    let begun = STATE.compare_exchange(INLINE, STARTING, Ordering::Relaxed, Ordering::Relaxed);
    if begun.is_err() {
        return;
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    LAST_TICK.store(Linux.now_ms(), Ordering::Relaxed);
    let started = thread::start(run, ptr::without_provenance_mut(number as usize));
    if !started {
        // The system has none to give, and will hardly have one soon.
        NEVER.store(true, Ordering::Relaxed);
    }
    let state = if started { RUNNING } else { INLINE };
    // The thread may have left already.
    let _left = STATE.compare_exchange(STARTING, state, Ordering::Relaxed, Ordering::Relaxed);
}

/// The thread. It never allocates.
extern "C" fn run(number: *mut c_void) -> *mut c_void {
    thread::settle_in(c"hz3-reclaimer");
    if let (Some(heap), Ok(number)) = (super::existing_heap(), u32::try_from(number.addr())) {
        work(heap, number);
    }
    ptr::null_mut()
}

/// Ticks until nothing is left to do.
fn work(heap: &'static Heap<Linux>, number: u32) {
    let mut alone = 0;
    loop {
        if !thread::sleep(&NUMBER, number, TICK_MS.load(Ordering::Relaxed)) {
            // It would spin. The slow paths do the work from now on.
            NEVER.store(true, Ordering::Relaxed);
            STATE.store(INLINE, Ordering::Relaxed);
            return;
        }
        if NUMBER.load(Ordering::Relaxed) != number {
            return;
        }
        LAST_TICK.store(heap.os().now_ms(), Ordering::Relaxed);
        // SAFETY: this thread has no cache.
        let next = unsafe { heap.tick(Front::Direct) };
        alone = if wants_thread(heap) { 0 } else { alone + 1 };
        if (next == Next::Rest || alone > TICKS_ALONE) && leave(heap, alone > TICKS_ALONE) {
            return;
        }
    }
}

/// Leaves, unless there is work left that nobody else may come to look after.
fn leave(heap: &'static Heap<Linux>, is_alone: bool) -> bool {
    if !is_alone {
        // The next free of every cached class runs a slow path.
        heap.close_caches();
    }
    let is_quiet = || is_alone || heap.is_quiet();
    absence::leave(&STATE, RUNNING, INLINE, || heap.os().barrier(), is_quiet)
}

/// Gives up on a reclaimer that has not run for long.
#[cold]
fn replace_if_dead(heap: &'static Heap<Linux>) {
    let silence = heap.os().now_ms().saturating_sub(LAST_TICK.load(Ordering::Relaxed));
    if silence > LONGEST_SILENCE_MS + u64::from(TICK_MS.load(Ordering::Relaxed)) {
        end();
    }
}

/// The thread did not come along.
pub(super) fn after_fork_in_child() {
    note_process();
    IS_WANTED.store(false, Ordering::Relaxed);
    NUMBER.fetch_add(1, Ordering::Relaxed);
    STATE.store(FIRST_STATE.load(Ordering::Relaxed), Ordering::Relaxed);
}
