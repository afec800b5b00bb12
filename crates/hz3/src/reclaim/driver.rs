//! The driver: when memory goes back, and which thread does it.
//!
//! ```text
//!            enough to give back, and the process has threads
//!   Inline ----------------------------------------------------> Starting --> Running
//!     ^  slow paths do the work                                     |            |
//!     '------------------------------------------------------------'            |
//!     '--------------- nothing left to do, or no other thread left --------------'
//! ```
//!
//! Two entries: after a slow path ([`Reclaim::after_slow_path`]), and the turn of the reclaimer's thread
//! ([`Reclaim::thread_turn`]). In either state a slow path that finds the heap near its memory limit
//! releases what is free at once.
//!
//! In a process without threads the slow paths do the work: what may be resident and free stays
//! below a bound whatever the program does next, even nothing ([`super::trim`]), and what the program
//! has not used for a while goes at a tick. A process with threads gets one more while there is work.
//! A slow path that finds enough work asks for it; `thread::reclaimer` starts it.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::source::{Layers, Source};
use super::{Next, Reclaim};
use crate::base::eventcount;
use crate::base::sync::AtomicU32;
use crate::cache::ThreadCache;
use crate::options::{Background, Config, Policy};
use crate::os::Os;
use crate::os::lock::futex_wake_one;

/// Bytes that are worth a thread or a tick.
const WORTH_A_TICK: u64 = 8 * 1024 * 1024;
/// So many bytes are free only when the reclaimer is behind, or gone: the slow paths look after it.
const OVERDUE: u64 = 4 * WORTH_A_TICK;
/// How long a reclaimer may be silent while so much is free, in milliseconds; then it is taken for
/// dead. A filter of system calls may have killed it, or this is a child of a bare `fork`.
const LONGEST_SILENCE_MS: u64 = 3000;
/// Slow paths of a thread between two estimates of all that could be given back.
const SLOW_PATHS_AN_ESTIMATE: u64 = 64;
/// Ticks after which the reclaimer leaves a process that has no other thread any more.
const TICKS_ALONE: u32 = 8;

/// Nothing goes back by itself.
const OFF: u32 = 0;
/// Slow paths do the work.
const INLINE: u32 = 1;
/// A thread is being started.
const STARTING: u32 = 2;
/// The thread does the work.
const RUNNING: u32 = 3;

/// The state machine.
#[derive(Debug)]
pub(crate) struct Driver {
    state: AtomicU32,
    /// The state in which a process begins, a forked child as well.
    first_state: u32,
    tick_ms: u32,
    /// Whether a thread may be started: configured, and not refused by the system so far.
    may_start: AtomicBool,
    /// Whether one may be started in a process that has no other thread.
    may_be_second: bool,
    /// A slow path found enough work for a thread.
    is_wanted: AtomicBool,
    /// The number of the present reclaimer; one with another number leaves. The thread sleeps on it.
    number: AtomicU32,
    /// When the reclaimer last began a tick, in milliseconds.
    last_tick: AtomicU64,
    /// When the next inline tick is due, in milliseconds.
    next_tick: AtomicU64,
}

/// One run of the reclaimer's thread.
#[derive(Debug)]
pub(crate) struct Turns {
    number: u32,
    /// Ticks since the process had another thread.
    alone: u32,
}

impl Driver {
    pub(super) fn new(config: &Config) -> Driver {
        let first_state = if config.policy == Policy::Off { OFF } else { INLINE };
        Driver {
            state: AtomicU32::new(first_state),
            first_state,
            tick_ms: config.tick_ms.get(),
            may_start: AtomicBool::new(config.background != Background::Never),
            may_be_second: config.background == Background::Always,
            is_wanted: AtomicBool::new(false),
            number: AtomicU32::new(0),
            last_tick: AtomicU64::new(0),
            next_tick: AtomicU64::new(0),
        }
    }

    /// Whether a slow path asked for a thread.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Forgets that a thread is wanted, and claims its start; `None` when there is one already.
    pub(crate) fn begin_start(&self, now_ms: u64) -> Option<u32> {
        self.is_wanted.store(false, Ordering::Relaxed);
        let (from, to) = (INLINE, STARTING);
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        self.last_tick.store(now_ms, Ordering::Relaxed);
        Some(self.number.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }

    /// Ends what [`Driver::begin_start`] began. A system that has no thread to give will hardly have
    /// one soon.
    pub(crate) fn end_start(&self, has_started: bool) {
        if !has_started {
            self.may_start.store(false, Ordering::Relaxed);
        }
        let state = if has_started { RUNNING } else { INLINE };
        // The thread may have left already.
        let _left =
            self.state.compare_exchange(STARTING, state, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// What the thread sleeps on, and for how many milliseconds.
    pub(crate) fn sleep_on(&self) -> (&AtomicU32, u32) {
        (&self.number, self.tick_ms)
    }

    /// The thread cannot sleep and would spin: the slow paths do the work from now on.
    pub(crate) fn give_up(&self) {
        self.may_start.store(false, Ordering::Relaxed);
        self.state.store(INLINE, Ordering::Relaxed);
    }

    /// Asks the reclaimer to end now.
    #[cold]
    fn end(&self) {
        self.forget_number();
        futex_wake_one(&self.number);
    }

    fn forget_number(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
        self.state.store(self.first_state, Ordering::Relaxed);
    }

    /// In a forked child: the thread did not come along.
    pub(super) fn forget_thread(&self) {
        self.is_wanted.store(false, Ordering::Relaxed);
        self.forget_number();
    }

    /// Whether a thread may do the work: the process has other threads, or does not mind one.
    fn wants_thread(&self, threads: usize) -> bool {
        self.may_start.load(Ordering::Relaxed) && (threads > 1 || self.may_be_second)
    }
}

impl Turns {
    /// For the thread of this number.
    pub(crate) fn new(number: u32) -> Turns {
        Turns { number, alone: 0 }
    }
}

impl Reclaim {
    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// After a slow path, with no lock held: sees to it that memory is looked after.
    #[inline]
    pub(crate) fn after_slow_path<O: Os>(&self, layers: Layers<'_, O>) {
        if layers.segments().limit().take_pressure() {
            self.release_under_pressure(layers);
        }
        match eventcount::state_after_post(&self.driver.state) {
            INLINE => {
                self.look_after(layers);
                if let Some(own) = layers.own() {
                    own.runs.note_poll(self.driver.number.load(Ordering::Relaxed));
                }
            }
            RUNNING if may_hold(layers, OVERDUE) => self.replace_if_dead(layers.os().now_ms()),
            _ => {}
        }
        if let Some(experiment) = &self.experiment
            && layers.own().is_some_and(|own| experiment.is_due(own))
        {
            experiment.tick(self, layers);
        }
    }

    /// Whether [`Reclaim::after_slow_path`] is due after a large block went into the calling thread's
    /// cache, and nowhere else. What was held before when the memory was looked after needs no other
    /// look; but the clock that large frees are goes on.
    #[inline]
    pub(crate) fn is_look_due(&self, own: &ThreadCache) -> bool {
        let is_inline = eventcount::state_after_post(&self.driver.state) == INLINE;
        let number = self.driver.number.load(Ordering::Relaxed);
        let is_looked_after = !is_inline || own.runs.is_poll_current(number);
        !is_looked_after || own.large_frees().is_multiple_of(SLOW_PATHS_AN_ESTIMATE)
    }

    /// As [`Reclaim::after_slow_path`], for a thread that has just given its cache back. It may hold
    /// locks of the C library and starts no other.
    pub(crate) fn after_thread_end<O: Os>(&self, layers: Layers<'_, O>) {
        match eventcount::state_after_post(&self.driver.state) {
            INLINE => {
                self.trim_unless_experiment(layers, true);
                self.tick_if_due(layers);
            }
            // A process that has come to one thread has no other again; and one that ends with its last
            // thread must not end with the reclaimer.
            RUNNING if !self.wants_thread(layers) => {
                self.driver.end();
                if self.experiment.is_none() {
                    self.hand_over(layers);
                }
            }
            _ => {}
        }
    }

    /// A turn of the reclaimer's thread, after each sleep. Returns whether it goes on.
    pub(crate) fn thread_turn<O: Os>(&self, layers: Layers<'_, O>, turns: &mut Turns) -> bool {
        let driver = &self.driver;
        if driver.number.load(Ordering::Relaxed) != turns.number {
            return false;
        }
        driver.last_tick.store(layers.os().now_ms(), Ordering::Relaxed);
        let next = self.tick(layers);
        turns.alone = if self.wants_thread(layers) { 0 } else { turns.alone + 1 };
        let is_alone = turns.alone > TICKS_ALONE;
        !((next == Next::Rest || is_alone) && self.leave(layers, is_alone))
    }

    /// One tick of the default policy, or one epoch of an experiment.
    pub(crate) fn tick<O: Os>(&self, layers: Layers<'_, O>) -> Next {
        match &self.experiment {
            None => self.default_tick(layers),
            Some(experiment) => experiment.tick(self, layers),
        }
    }

    /// Does what is to be done, or asks for a thread that does.
    #[cold]
    fn look_after<O: Os>(&self, layers: Layers<'_, O>) {
        let is_due = layers.own().is_some_and(is_estimate_due);
        if !self.wants_thread(layers) {
            self.trim_unless_experiment(layers, is_due);
            if is_due || layers.pages().offer() >= WORTH_A_TICK {
                self.tick_if_due(layers);
            }
            return;
        }
        // Freed large blocks that the thread's cache keeps are not in what is free yet.
        let worth = WORTH_A_TICK.saturating_sub(layers.own().map_or(0, |own| own.runs.bytes()));
        // Free pages, and what caches may come to hold, count at once: a program may free ten large
        // blocks and then nothing more, and a free that a cache serves looks at nothing. What lies in
        // slabs is estimated once in a while.
        let is_worth = may_hold(layers, worth) || (is_due && offers(layers, WORTH_A_TICK));
        if is_worth && self.driver.is_wanted.swap(true, Ordering::Relaxed) {
            // Nobody could start it since the last slow path.
            self.trim_unless_experiment(layers, is_due);
            self.tick_if_due(layers);
        }
    }

    /// An experiment keeps what it likes.
    fn trim_unless_experiment<O: Os>(&self, layers: Layers<'_, O>, counts_slabs: bool) {
        if self.experiment.is_none() {
            self.trim(layers, counts_slabs);
        }
    }

    fn wants_thread<O: Os>(&self, layers: Layers<'_, O>) -> bool {
        self.driver.wants_thread(layers.registry.in_use())
    }

    fn tick_if_due<O: Os>(&self, layers: Layers<'_, O>) {
        let driver = &self.driver;
        let now = layers.os().now_ms();
        let due = driver.next_tick.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let next = now + u64::from(driver.tick_ms);
        // The thread that moves the deadline does the work.
        let moved =
            driver.next_tick.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() {
            self.tick(layers);
        }
    }

    /// Gives up on a reclaimer that has not run for long.
    #[cold]
    fn replace_if_dead(&self, now_ms: u64) {
        let silence = now_ms.saturating_sub(self.driver.last_tick.load(Ordering::Relaxed));
        if silence > LONGEST_SILENCE_MS + u64::from(self.driver.tick_ms) {
            self.driver.end();
        }
    }

    /// Leaves, unless there is work left that nobody else may come to look after.
    fn leave<O: Os>(&self, layers: Layers<'_, O>, is_alone: bool) -> bool {
        if !is_alone && self.experiment.is_none() {
            // The next free of every cached class runs a slow path; else it would be a hit that asks for
            // no reclaimer. The experiments count on slow paths alone.
            layers.registry.iter().for_each(ThreadCache::arm_slow_paths);
        }
        let is_quiet = || is_alone || self.is_quiet(layers);
        eventcount::leave(&self.driver.state, RUNNING, INLINE, || layers.os().barrier(), is_quiet)
    }

    /// Whether nothing has happened since the last tick that a tick would have to look at.
    pub(super) fn is_quiet<O: Os>(&self, layers: Layers<'_, O>) -> bool {
        match &self.experiment {
            None => self.is_settled(layers),
            Some(experiment) => experiment.is_quiet(layers),
        }
    }
}

/// Whether so many slow paths of a thread have passed that an estimate is worth its time. They and its
/// large frees are a clock that every program moves.
fn is_estimate_due(own: &ThreadCache) -> bool {
    let slow_paths = own.slow_paths() + own.large_frees();
    own.counts.is_estimate_due(slow_paths, SLOW_PATHS_AN_ESTIMATE)
}

/// Whether at least `bytes` could go back to the system, now or after frees that the caches serve and
/// nobody sees; a hint that costs next to nothing. What lies in slabs is not seen.
fn may_hold<O: Os>(layers: Layers<'_, O>, bytes: u64) -> bool {
    // What the caches may hold, but no more than there is.
    let granted = layers.registry.granted().load(Ordering::Relaxed);
    let cached = granted.min(layers.segments().account().active_bytes());
    layers.pages().offer() + cached >= bytes
}

/// Whether the layers offer at least `bytes`. All of that lies in what is dirty or in use, so a small
/// heap is done with two loads; else it takes time in proportion to the number of caches.
fn offers<O: Os>(layers: Layers<'_, O>, bytes: u64) -> bool {
    let dirty = layers.pages().offer();
    let in_use = || layers.slabs().offer() + layers.transfers().offer() + layers.caches().offer();
    dirty + layers.segments().account().active_bytes() >= bytes && dirty + in_use() >= bytes
}
