//! The reclaimer: one thread a process that gives memory back while the program does other things,
//! or nothing.
//!
//! ```text
//!   Absent --(enough to give back)--> Starting --> Awake <--(a slow path)-- Asleep
//!                                        |           \\--(nothing left)------^
//!                                        v (no thread to be had)
//!                                      Inline: slow paths tick
//! ```
//!
//! It is started by a slow path, without any lock held, when there is enough to give back, so a
//! small tool stays single-threaded. Its signals are blocked. It ticks while there is work and
//! sleeps without a deadline when there is none. A forked child starts its own when it needs one.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::word;
use crate::base::doze::{self, ASLEEP, AWAKE};
use crate::base::units::wide;
use crate::cache::{Front, ThreadCache};
use crate::heap::Heap;
use crate::options::{Background, Config, Policy};
use crate::os::Os;
use crate::os::linux::Linux;
use crate::os::lock::{futex_wait, futex_wake_one};
use crate::os::thread;
use crate::reclaim::Next;

/// Less than this is not worth a thread, in bytes.
const WORTH_A_THREAD: u64 = 8 * 1024 * 1024;
/// How many slow paths a thread runs between two estimates of all that could be given back.
const SLOW_PATHS_AN_ESTIMATE: u64 = 64;

const OFF: u32 = 0;
const ABSENT: u32 = 1;
const STARTING: u32 = 2;
const INLINE: u32 = 5;

static STATE: AtomicU32 = AtomicU32::new(OFF);
static TICK_MS: AtomicU32 = AtomicU32::new(0);
/// Whether a thread is wanted at all; read when a forked child begins anew.
static FIRST_STATE: AtomicU32 = AtomicU32::new(OFF);
/// The cache and the count of slow paths of the last estimate.
static LAST_ESTIMATE: AtomicU64 = AtomicU64::new(0);
/// When the next inline tick is due, in milliseconds.
static NEXT_TICK: AtomicU64 = AtomicU64::new(0);

/// Takes the configuration over; before the first allocation is served.
pub(super) fn configure(config: &Config) {
    let state = match (config.policy, config.background) {
        (Policy::Off, _) => OFF,
        (_, Background::Auto | Background::Always) => ABSENT,
        (_, Background::Never) => INLINE,
    };
    TICK_MS.store(config.tick_ms.get(), Ordering::Relaxed);
    FIRST_STATE.store(state, Ordering::Relaxed);
    STATE.store(state, Ordering::Relaxed);
}

/// After a slow path, with no lock held: sees to it that memory is looked after.
#[inline]
pub(super) fn nudge(heap: &'static Heap<Linux>) {
    heap.relieve_if_pressed(|| word::own().map_or(Front::Direct, Front::Cache));
    match doze::look(&STATE) {
        OFF | STARTING | AWAKE => {}
        ASLEEP => wake(),
        _ => look(heap),
    }
    epoch_by_count(heap);
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

/// As [`nudge`], for a thread that has just given its cache back.
pub(super) fn nudge_ending(heap: &'static Heap<Linux>) {
    match doze::look(&STATE) {
        ASLEEP => wake(),
        // A thread that ends may hold locks of the C library: it starts no other.
        INLINE => tick_if_due(heap),
        _ => {}
    }
}

#[cold]
fn wake() {
    doze::wake(&STATE, futex_wake_one);
}

/// Starts the thread if there may be enough for it to do, or does its work.
///
/// Free pages, and what caches may come to hold, count at once: a program may free ten large
/// blocks and then nothing more, and a free that a cache serves looks at nothing. What lies in slabs
/// is estimated once in a while.
#[cold]
fn look(heap: &'static Heap<Linux>) {
    let is_inline = STATE.load(Ordering::Relaxed) == INLINE;
    let is_worth = heap.may_hold(WORTH_A_THREAD)
        || (is_estimate_due(heap) && (is_inline || heap.has_returnable(WORTH_A_THREAD)));
    match (is_worth, is_inline) {
        (false, _) => {}
        (true, true) => tick_if_due(heap),
        (true, false) => start(),
    }
}

/// Whether so many slow paths have passed that an estimate is worth its time.
fn is_estimate_due(heap: &'static Heap<Linux>) -> bool {
    let own = word::own();
    // The count of slow paths, large frees among them, is a clock that every program moves.
    let slow_paths = own.map_or(0, ThreadCache::slow_paths) + heap.large_frees();
    // A call that moves no count must not estimate again and again.
    let this = slow_paths + (wide(own.map_or(0, ThreadCache::number)) << 32);
    slow_paths.is_multiple_of(SLOW_PATHS_AN_ESTIMATE)
        && LAST_ESTIMATE.swap(this, Ordering::Relaxed) != this
}

fn tick_if_due(heap: &'static Heap<Linux>) {
    let now = heap.os().now_ms();
    let due = NEXT_TICK.load(Ordering::Relaxed);
    if now < due {
        return;
    }
    let next = now + u64::from(TICK_MS.load(Ordering::Relaxed));
    // Whoever moves the deadline does the work.
    if NEXT_TICK.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        // SAFETY: the cache, if there is one, is this thread's.
        unsafe { heap.tick(word::own().map_or(Front::Direct, Front::Cache)) };
    }
}

#[cold]
fn start() {
    let begun = STATE.compare_exchange(ABSENT, STARTING, Ordering::Relaxed, Ordering::Relaxed);
    if begun.is_ok() {
        // SAFETY: the state admits one, and a forked child begins without; `run` and what it calls
        // use no thread-local memory: an access would fault.
        let started = unsafe { thread::start(run) };
        STATE.store(if started { AWAKE } else { INLINE }, Ordering::Relaxed);
    }
}

/// The thread. It never returns, and never allocates.
extern "C" fn run(_nothing: *mut c_void) -> c_int {
    thread::set_name(c"hz3-reclaimer");
    let Some(heap) = super::existing_heap() else { return 0 };
    loop {
        thread::sleep_ms(TICK_MS.load(Ordering::Relaxed));
        // SAFETY: this thread has no cache.
        if unsafe { heap.tick(Front::Direct) } == Next::Rest {
            rest(heap);
        }
    }
}

/// Sleeps without a deadline until a slow path runs.
fn rest(heap: &'static Heap<Linux>) {
    heap.close_caches();
    let wait = |state: &AtomicU32| futex_wait(state, ASLEEP);
    doze::sleep(&STATE, || heap.os().barrier(), || heap.is_quiet(), wait);
}

/// The thread did not come along.
pub(super) fn after_fork_in_child() {
    thread::forget();
    STATE.store(FIRST_STATE.load(Ordering::Relaxed), Ordering::Relaxed);
}
