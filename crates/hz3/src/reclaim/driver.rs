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
//! There are two entries: after a slow path ([`Reclaim::after_slow_path`]), and the turn of the
//! reclaimer's thread ([`Reclaim::thread_turn`]). In either state, a slow path that finds the heap
//! near its memory limit releases free memory at once.
//!
//! In a process with one thread, slow paths do the work: they keep free memory that may be resident
//! below a bound ([`super::trim`]). The bound holds even if the program then does nothing. Memory
//! that the program has not used for a while goes at a tick. In a process with several threads, a
//! slow path that finds enough work asks for a reclaimer. `thread::reclaimer` starts it, and it
//! leaves when no work is left.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::source::{Layers, Source};
use super::{Next, Reclaim};
use crate::base::eventcount;
use crate::base::sync::AtomicU32;
use crate::cache::ThreadCache;
use crate::options::{Background, Config, Policy};
use crate::os::Os;
use crate::os::futex::futex_wake_one;

/// Bytes that justify a thread or a tick.
const WORTH_A_TICK: u64 = 8 * 1024 * 1024;
/// If this many bytes could go back, the reclaimer is late or dead, so slow paths check on it.
const OVERDUE: u64 = 4 * WORTH_A_TICK;
/// How long a reclaimer may be silent while so much is free, in milliseconds, before it counts as
/// dead. A filter of system calls may have killed it, or the process may be a child of a bare
/// `fork`.
const LONGEST_SILENCE_MS: u64 = 3000;
/// Slow paths of a thread between two estimates of the memory that could be given back.
const SLOW_PATHS_AN_ESTIMATE: u64 = 64;
/// Ticks after which the reclaimer leaves a process that has no other thread.
const TICKS_ALONE: u32 = 8;

/// No memory goes back by itself.
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
    /// Whether the policy is `off`.
    is_off: AtomicBool,
    tick_ms: AtomicU32,
    /// Whether a thread may be started: configured, and not refused by the system so far.
    may_start: AtomicBool,
    /// Whether the reclaimer may be started in a process with only one thread.
    may_be_second: bool,
    /// Whether a slow path found enough work for a thread.
    is_wanted: AtomicBool,
    /// The number of the present reclaimer, on which its thread sleeps. A reclaimer with another
    /// number leaves.
    number: AtomicU32,
    /// When the reclaimer last began a tick, in milliseconds.
    last_tick: AtomicU64,
    /// When the next inline tick is due, in milliseconds.
    next_tick: AtomicU64,
    /// The longest time that the reclaimer may rest while slow paths run, in milliseconds; 0 for
    /// any.
    max_rest_ms: AtomicU32,
    /// Whether a slow path found the statistics page due for an update.
    is_stats_page_due: AtomicBool,
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
        let is_off = config.policy == Policy::Off;
        Driver {
            state: AtomicU32::new(if is_off { OFF } else { INLINE }),
            is_off: AtomicBool::new(is_off),
            tick_ms: AtomicU32::new(config.tick_ms.get()),
            may_start: AtomicBool::new(config.background != Background::Never),
            may_be_second: config.background == Background::Always,
            is_wanted: AtomicBool::new(false),
            number: AtomicU32::new(0),
            last_tick: AtomicU64::new(0),
            next_tick: AtomicU64::new(0),
            max_rest_ms: AtomicU32::new(0),
            is_stats_page_due: AtomicBool::new(false),
        }
    }

    /// Sets the longest time that the reclaimer may rest while slow paths run, in milliseconds; 0
    /// for any.
    pub(crate) fn set_max_rest_ms(&self, ms: u32) {
        self.max_rest_ms.store(ms, Ordering::Relaxed);
    }

    /// Returns whether the reclaimer has rested for longer than [`Driver::set_max_rest_ms`] allows.
    pub(super) fn has_rested_too_long(&self, now_ms: impl FnOnce() -> u64) -> bool {
        let max_rest_ms = u64::from(self.max_rest_ms.load(Ordering::Relaxed));
        max_rest_ms > 0 && now_ms() >= self.last_tick.load(Ordering::Relaxed) + max_rest_ms
    }

    /// Returns whether the caller must update the statistics page, once every tick at most.
    #[inline]
    pub(crate) fn take_stats_page_due(&self) -> bool {
        self.is_stats_page_due.load(Ordering::Relaxed)
            && self.is_stats_page_due.swap(false, Ordering::Relaxed)
    }

    /// Returns the milliseconds between two ticks.
    pub(crate) fn tick_ms(&self) -> u32 {
        self.tick_ms.load(Ordering::Relaxed)
    }

    /// Takes the policy and the time between ticks from a changed configuration.
    pub(super) fn reconfigure(&self, config: &Config) {
        self.tick_ms.store(config.tick_ms.get(), Ordering::Relaxed);
        self.next_tick.store(0, Ordering::Relaxed);
        if config.policy == Policy::Off {
            self.is_off.store(true, Ordering::Relaxed);
            // Nothing undoes this store, because all other changes are exchanges. Only the one
            // below begins with `OFF`.
            self.state.store(OFF, Ordering::Relaxed);
            self.end();
        } else {
            self.is_off.store(false, Ordering::Relaxed);
            self.change(OFF, INLINE);
        }
    }

    /// Returns whether no memory goes back by itself.
    pub(super) fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    /// Returns what gives memory back: 0 nothing, 1 the slow paths, 2 a thread that starts, 3 the
    /// thread.
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Relaxed)
    }

    /// Returns whether a tick is due, and schedules the next one. Of several threads that ask, one
    /// gets true.
    fn take_tick_due(&self, now: u64) -> bool {
        let due = self.next_tick.load(Ordering::Relaxed);
        let next = now + u64::from(self.tick_ms());
        let moved = now >= due
            && self
                .next_tick
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if moved {
            self.is_stats_page_due.store(true, Ordering::Relaxed);
        }
        moved
    }

    /// Returns whether a slow path asked for a thread.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Clears the request for a thread and claims its start. Returns `None` if there is a thread
    /// already.
    pub(crate) fn begin_start(&self, now_ms: u64) -> Option<u32> {
        self.is_wanted.store(false, Ordering::Relaxed);
        let (from, to) = (INLINE, STARTING);
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        self.last_tick.store(now_ms, Ordering::Relaxed);
        Some(self.number.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }

    /// Ends a start that [`Driver::begin_start`] began. If the system refused a thread, none is
    /// started again, because the next attempt would most likely fail too.
    pub(crate) fn end_start(&self, has_started: bool) {
        if !has_started {
            self.may_start.store(false, Ordering::Relaxed);
        }
        let state = if has_started { RUNNING } else { INLINE };
        // The thread may run or have left already.
        self.change(STARTING, state);
    }

    /// Changes one state to another, unless the state is a third one: a policy of `off` stays.
    fn change(&self, from: u32, to: u32) {
        let _other = self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Returns whether the thread with this number is still to do the work.
    fn is_at_work(&self, number: u32) -> bool {
        if self.number.load(Ordering::Relaxed) != number {
            return false;
        }
        // The thread that started this one may be slow to say so.
        self.change(STARTING, RUNNING);
        // The policy may have become `off` before this thread got its number.
        self.state.load(Ordering::Relaxed) == RUNNING
    }

    /// Returns the futex on which the thread sleeps, and for how many milliseconds.
    pub(crate) fn sleep_on(&self) -> (&AtomicU32, u32) {
        (&self.number, self.tick_ms())
    }

    /// Leaves the work to slow paths, because the thread cannot sleep and would spin.
    pub(crate) fn give_up(&self) {
        self.may_start.store(false, Ordering::Relaxed);
        self.leave_to_slow_paths();
    }

    fn leave_to_slow_paths(&self) {
        self.change(STARTING, INLINE);
        self.change(RUNNING, INLINE);
    }

    /// Dismisses the reclaimer: its thread leaves at once, and the slow paths do its work.
    #[cold]
    fn end(&self) {
        self.forget_number();
        futex_wake_one(&self.number);
    }

    fn forget_number(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
        self.leave_to_slow_paths();
    }

    /// In a forked child: forgets the thread, which exists only in the parent.
    pub(super) fn forget_thread(&self) {
        self.is_wanted.store(false, Ordering::Relaxed);
        self.forget_number();
    }

    /// Returns whether a thread may do the work: the process has other threads, or the option
    /// allows it.
    fn wants_thread(&self, threads: usize) -> bool {
        self.may_start.load(Ordering::Relaxed) && (threads > 1 || self.may_be_second)
    }
}

impl Turns {
    /// Takes the number under which the thread was started.
    pub(crate) fn new(number: u32) -> Turns {
        Turns { number, alone: 0 }
    }
}

impl Reclaim {
    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Releases memory under pressure, and otherwise reclaims or asks for a reclaimer if enough is
    /// free. Call it after a slow path, with no lock held.
    #[inline]
    pub(crate) fn after_slow_path<O: Os>(&self, layers: Layers<'_, O>) {
        if layers.segments().limit().take_pressure() {
            self.release_under_pressure(layers);
        }
        match eventcount::state_after_post(&self.driver.state) {
            INLINE => {
                self.reclaim_inline(layers);
                if let Some(own) = layers.own() {
                    own.runs.note_poll(self.driver.number.load(Ordering::Relaxed));
                }
            }
            RUNNING if may_hold(layers, OVERDUE) => self.replace_if_dead(layers.os().now_ms()),
            OFF if layers.own().is_some_and(take_estimate_due) => {
                // With this policy no tick runs, but its time is also that of the statistics page.
                self.driver.take_tick_due(layers.os().now_ms());
            }
            _ => {}
        }
        if let Some(experiment) = &self.experiment
            && layers.own().is_some_and(|own| experiment.take_due(own))
        {
            experiment.tick(self, layers);
        }
    }

    /// Returns whether [`Reclaim::after_slow_path`] is due after a large block was freed into the
    /// calling thread's cache. It is not due if the cache holds no more than at the last poll. But
    /// large frees also count as the clock of estimates.
    #[inline]
    pub(crate) fn is_poll_due(&self, own: &ThreadCache) -> bool {
        let is_inline = eventcount::state_after_post(&self.driver.state) == INLINE;
        let number = self.driver.number.load(Ordering::Relaxed);
        let has_checked = !is_inline || own.runs.is_poll_current(number);
        !has_checked || own.large_frees().is_multiple_of(SLOW_PATHS_AN_ESTIMATE)
    }

    /// As [`Reclaim::after_slow_path`], for a thread that has just given its cache back. Such a
    /// thread may hold locks of the C library, so it starts no thread.
    pub(crate) fn after_thread_end<O: Os>(&self, layers: Layers<'_, O>) {
        match eventcount::state_after_post(&self.driver.state) {
            INLINE => {
                self.trim_unless_experiment(layers, true);
                self.tick_if_due(layers);
            }
            // A process that is down to one thread rarely starts another. And if it ends with its
            // last thread, the reclaimer must not keep it alive.
            RUNNING if !self.wants_thread(layers) => {
                self.driver.end();
                if self.experiment.is_none() {
                    self.switch_to_inline(layers);
                }
            }
            _ => {}
        }
    }

    /// Runs a turn of the reclaimer's thread, after each sleep. Returns whether the thread
    /// continues.
    pub(crate) fn thread_turn<O: Os>(&self, layers: Layers<'_, O>, turns: &mut Turns) -> bool {
        let driver = &self.driver;
        if !driver.is_at_work(turns.number) {
            return false;
        }
        driver.last_tick.store(layers.os().now_ms(), Ordering::Relaxed);
        let next = self.tick(layers);
        turns.alone = if self.wants_thread(layers) { 0 } else { turns.alone + 1 };
        let is_alone = turns.alone > TICKS_ALONE;
        !((next == Next::Rest || is_alone) && self.leave(layers, is_alone))
    }

    /// Runs one tick of the default policy, or one epoch of an experiment.
    pub(crate) fn tick<O: Os>(&self, layers: Layers<'_, O>) -> Next {
        match &self.experiment {
            None => self.default_tick(layers),
            Some(experiment) => experiment.tick(self, layers),
        }
    }

    /// Reclaims on the calling thread, or asks for the reclaimer's thread if the process may have
    /// one.
    #[cold]
    fn reclaim_inline<O: Os>(&self, layers: Layers<'_, O>) {
        let is_due = layers.own().is_some_and(take_estimate_due);
        if !self.wants_thread(layers) {
            self.trim_unless_experiment(layers, is_due);
            if is_due || layers.pages().releasable_bytes() >= WORTH_A_TICK {
                self.tick_if_due(layers);
            }
            return;
        }
        // The free pages do not yet include freed large blocks that the thread's cache keeps.
        let worth = WORTH_A_TICK.saturating_sub(layers.own().map_or(0, |own| own.runs.bytes()));
        // Free pages, and memory that caches may come to hold, count at once: a program may free
        // ten large blocks and then nothing more, and a free that a cache serves checks nothing.
        // Free bytes in slabs are estimated only now and then.
        let is_worth = may_hold(layers, worth)
            || (is_due
                && (can_release(layers, WORTH_A_TICK)
                    || self.driver.has_rested_too_long(|| layers.os().now_ms())));
        if is_worth && self.driver.is_wanted.swap(true, Ordering::Relaxed) {
            // No thread could start it since the last slow path.
            self.trim_unless_experiment(layers, is_due);
            self.tick_if_due(layers);
        }
    }

    /// Trims, unless an experiment decides what stays free.
    fn trim_unless_experiment<O: Os>(&self, layers: Layers<'_, O>, counts_slabs: bool) {
        if self.experiment.is_none() {
            self.trim(layers, counts_slabs);
        }
    }

    fn wants_thread<O: Os>(&self, layers: Layers<'_, O>) -> bool {
        self.driver.wants_thread(layers.registry.in_use())
    }

    fn tick_if_due<O: Os>(&self, layers: Layers<'_, O>) {
        // The thread that moves the deadline does the work.
        if self.driver.take_tick_due(layers.os().now_ms()) {
            self.tick(layers);
        }
    }

    /// Ends a reclaimer that has not run for a long time.
    #[cold]
    fn replace_if_dead(&self, now_ms: u64) {
        let silence = now_ms.saturating_sub(self.driver.last_tick.load(Ordering::Relaxed));
        if silence > LONGEST_SILENCE_MS + u64::from(self.driver.tick_ms()) {
            self.driver.end();
        }
    }

    /// Ends the reclaimer's work, unless work is left that no other thread may notice.
    fn leave<O: Os>(&self, layers: Layers<'_, O>, is_alone: bool) -> bool {
        if !is_alone && self.experiment.is_none() {
            // The next free of every cached class must run a slow path; a hit would ask for no
            // reclaimer. The experiments rely on slow paths alone.
            layers.registry.iter().for_each(ThreadCache::arm_slow_paths);
        }
        let is_quiet = || is_alone || self.is_quiet(layers);
        eventcount::leave(&self.driver.state, RUNNING, INLINE, || layers.os().barrier(), is_quiet)
    }

    /// Returns whether a tick, or an epoch of an experiment, would find nothing to do.
    pub(super) fn is_quiet<O: Os>(&self, layers: Layers<'_, O>) -> bool {
        match &self.experiment {
            None => self.is_settled(layers),
            Some(experiment) => experiment.is_quiet(layers),
        }
    }
}

/// Returns whether a thread has run enough slow paths since its last estimate; if so, counts anew.
///
/// Slow paths and large frees are the clock, because every program moves it.
fn take_estimate_due(own: &ThreadCache) -> bool {
    let slow_paths = own.slow_paths() + own.large_frees();
    own.counts.take_estimate_due(slow_paths, SLOW_PATHS_AN_ESTIMATE)
}

/// Returns whether at least `bytes` could go back to the system, now or after frees that only
/// caches see. A hint that costs a few loads. Free bytes in slabs are not counted.
fn may_hold<O: Os>(layers: Layers<'_, O>, bytes: u64) -> bool {
    // The caches may hold as much as they were granted, but no more than is in use.
    let granted = layers.registry.granted().load(Ordering::Relaxed);
    let cached = granted.min(layers.segments().account().active_bytes());
    layers.pages().releasable_bytes() + cached >= bytes
}

/// Returns whether the layers could release at least `bytes`. All of that is dirty or in use, so a
/// small heap needs two loads. Otherwise it takes time in proportion to the number of caches.
fn can_release<O: Os>(layers: Layers<'_, O>, bytes: u64) -> bool {
    let dirty = layers.pages().releasable_bytes();
    let in_use = || {
        layers.slabs().releasable_bytes()
            + layers.transfers().releasable_bytes()
            + layers.caches().releasable_bytes()
    };
    dirty + layers.segments().account().active_bytes() >= bytes && dirty + in_use() >= bytes
}
