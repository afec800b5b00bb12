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
//! [`super::entries`] asks it after each slow path, and at each turn of the reclaimer's thread.
//!
//! In a process with one thread, slow paths do the work: they keep free memory that may be resident
//! below a bound ([`super::trim`]). The bound holds even if the program then does nothing. Memory
//! that the program has not used for a while goes at a tick. In a process with several threads, a
//! slow path that finds enough work asks for a reclaimer. `thread::reclaimer` starts it, and it
//! leaves when no work is left.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::base::eventcount;
use crate::base::sync::AtomicU32;
use crate::options::{Background, Config, Policy};
use crate::os::futex::futex_wake_one;

/// How long a reclaimer may be silent while so much is free, in milliseconds, before it counts as
/// dead. A filter of system calls may have killed it, or the process may be a child of a bare
/// `fork`.
const LONGEST_SILENCE_MS: u64 = 3000;
/// Ticks after which the reclaimer leaves a process that has no other thread.
const TICKS_ALONE: u32 = 8;

/// No memory goes back by itself.
pub(super) const OFF: u32 = 0;
/// Slow paths do the work.
pub(super) const INLINE: u32 = 1;
/// A thread is being started.
const STARTING: u32 = 2;
/// The thread does the work.
pub(super) const RUNNING: u32 = 3;

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

    /// Returns the state when the caller may have left work. If it is [`INLINE`], the caller does
    /// that work; see [`eventcount::state_after_post`].
    #[inline]
    pub(super) fn state_after_post(&self) -> u32 {
        eventcount::state_after_post(&self.state)
    }

    /// Returns whether a tick is due, and schedules the next one. Of several threads that ask, one
    /// gets true.
    pub(super) fn take_tick_due(&self, now: u64) -> bool {
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

    /// Asks for a thread. Returns whether it was asked for already, and no thread could start it.
    pub(super) fn ask_for_thread(&self) -> bool {
        self.is_wanted.swap(true, Ordering::Relaxed)
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

    /// Returns the number of the present reclaimer, which changes with it.
    pub(super) fn present_number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Begins a turn of the reclaimer's thread. Returns false if the thread is to leave instead.
    pub(super) fn begin_turn(&self, turns: &Turns, now_ms: impl FnOnce() -> u64) -> bool {
        let is_at_work = self.is_at_work(turns.number);
        if is_at_work {
            self.last_tick.store(now_ms(), Ordering::Relaxed);
        }
        is_at_work
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

    /// Leaves the work to slow paths, unless there is some that no other thread may notice. Returns
    /// whether the thread must leave; see [`eventcount::leave`].
    pub(super) fn leave(
        &self,
        barrier: impl FnOnce() -> bool,
        is_quiet: impl FnOnce() -> bool,
    ) -> bool {
        eventcount::leave(&self.state, RUNNING, INLINE, barrier, is_quiet)
    }

    /// Dismisses a reclaimer that has not run for a long time.
    #[cold]
    pub(super) fn end_if_dead(&self, now_ms: u64) {
        let silence = now_ms.saturating_sub(self.last_tick.load(Ordering::Relaxed));
        if silence > LONGEST_SILENCE_MS + u64::from(self.tick_ms()) {
            self.end();
        }
    }

    /// Dismisses the reclaimer: its thread leaves at once, and the slow paths do its work.
    #[cold]
    pub(super) fn end(&self) {
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
    pub(super) fn wants_thread(&self, threads: usize) -> bool {
        self.may_start.load(Ordering::Relaxed) && (threads > 1 || self.may_be_second)
    }
}

impl Turns {
    /// Takes the number under which the thread was started.
    pub(crate) fn new(number: u32) -> Turns {
        Turns { number, alone: 0 }
    }

    /// Notes a tick, in a process that has other threads or none. Returns whether it has had none
    /// for so long that the thread must leave.
    pub(super) fn note_tick(&mut self, has_others: bool) -> bool {
        self.alone = if has_others { 0 } else { self.alone + 1 };
        self.alone > TICKS_ALONE
    }
}
