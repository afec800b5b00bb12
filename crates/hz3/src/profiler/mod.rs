//! The heap profile: samples of allocations, by the stack that made them.
//!
//! An allocation is sampled if a point of a Poisson process over the requested bytes falls into it,
//! one in [`Profile::rate`] bytes on average. A request counts `s` bytes, one more than it asks
//! for, and is sampled with probability `1 - exp(-s / rate)`. So each sample stands for the inverse
//! of that many requests, and sums of these weights are unbiased estimates. Blocks that a cache
//! recycles count like all others, because a sealed stack lets no allocation pass unseen.
//!
//! | file | content |
//! |---|---|
//! | `estimate` | intervals and weights |
//! | `table` | live samples, sites, addresses: one mapping, outside the heap |
//! | `snapshot` | a copy of the tables, for a report |
//! | `pprof` | the profile as a gzipped protocol buffer |
//! | `probes` | the probes of OpenTelemetry |
//! | `guards` | sampled blocks beside inaccessible pages |
//! | `unwind` | the stack of the calling thread |
//!
//! The heap decides where a sampled block lies ([`crate::heap`]); the process, where a profile is
//! written.

pub(crate) mod estimate;
#[expect(unsafe_code, reason = "opens, closes and fills the pages of guarded blocks")]
pub(crate) mod guards;
pub(crate) mod pprof;
#[expect(unsafe_code, reason = "places probes and their semaphores")]
mod probes;
#[expect(unsafe_code, reason = "maps and unmaps the copy of the tables")]
pub(crate) mod snapshot;
#[expect(unsafe_code, reason = "views of the mapping that holds the tables")]
pub(crate) mod table;
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
#[expect(unsafe_code, reason = "reads stacks and unwind tables")]
mod unwind;
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
#[path = "unwind/absent.rs"]
mod unwind;

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use crate::base::units::{counted_bytes, to_u64};
use crate::options::Config;
use crate::os::lock::{Guard, Lock};
use crate::os::{Os, Refused, rank};
use estimate::{sampled_share, standard_exponential};
use guards::Guards;
use table::{FRAMES, Freed, Sample, Table};

/// The profile of a heap.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Whether allocations are sampled, for the tables or for guards.
    is_on: AtomicBool,
    /// Whether samples are entered into the tables.
    is_recording: AtomicBool,
    /// Mean bytes between two samples.
    rate: AtomicU64,
    /// The state of the generator of random numbers.
    random: AtomicU64,
    /// The countdown of all threads without a cache; negative if a sample is due.
    countdown: AtomicI64,
    /// The addresses of the library's own code, whose frames are left out: start and end.
    own_code: [AtomicUsize; 2],
    /// Whether the profile was ever started.
    was_started: AtomicBool,
    /// Whether a tracer watched the probes at the last check.
    is_traced: AtomicBool,
    /// Whether only a tracer wants the profile.
    is_for_tracer: AtomicBool,
    /// Whether a dump is due: see [`Profile::take_dump`].
    is_dump_due: AtomicBool,
    table: Lock<Table, { rank::PROFILE }>,
    guards: Guards,
}

impl Profile {
    pub(crate) fn new(config: &Config) -> Profile {
        Profile {
            is_on: AtomicBool::new(false),
            is_recording: AtomicBool::new(false),
            rate: AtomicU64::new(u64::from(config.profile_rate.get())),
            random: AtomicU64::new(1),
            countdown: AtomicI64::new(-1),
            own_code: [AtomicUsize::new(0), AtomicUsize::new(0)],
            was_started: AtomicBool::new(false),
            is_traced: AtomicBool::new(false),
            is_for_tracer: AtomicBool::new(false),
            is_dump_due: AtomicBool::new(false),
            table: Lock::new(Table::new(to_u64(config.profile_growth))),
            guards: Guards::new(),
        }
    }

    /// Returns whether allocations are sampled now.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Returns whether samples are entered into the tables now.
    pub(crate) fn is_recording(&self) -> bool {
        self.is_recording.load(Ordering::Relaxed)
    }

    /// Returns the guards, of which there may be none.
    pub(crate) fn guards(&self) -> &Guards {
        &self.guards
    }

    /// Starts to guard samples, for ever. `seal` is as for [`Profile::start`].
    ///
    /// # Errors
    /// The system has no memory for the guards; nothing was changed.
    pub(crate) fn start_guards<O: Os>(
        &self,
        os: &O,
        seal: impl FnOnce(bool),
    ) -> Result<(), Refused> {
        let _table = self.table.lock();
        self.guards.map(os)?;
        self.is_on.store(true, Ordering::Relaxed);
        seal(true);
        Ok(())
    }

    /// Returns the mean of the bytes between two samples.
    pub(crate) fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Sets the mean of the bytes between two samples, for the next start or, if samples are taken
    /// already, from now on. `seal` is as for [`Profile::start`].
    pub(crate) fn set_rate(&self, rate: u64, seal: impl FnOnce(bool)) {
        let _table = self.table.lock();
        self.rate.store(rate, Ordering::Relaxed);
        if self.is_on() {
            self.begin_intervals(seal);
        }
    }

    /// Lets every thread begin a new interval at its next allocation. The caller holds the table's
    /// lock, so that of two calls one comes after the other.
    fn begin_intervals(&self, seal: impl FnOnce(bool)) {
        self.countdown.store(-1, Ordering::Relaxed);
        seal(true);
    }

    /// Starts or goes on sampling. `rate` is at least 1; 0 leaves the present one. Keeps what was
    /// sampled before. `seal` makes every cache report its allocations, or ends that.
    ///
    /// # Errors
    /// The system has no memory for the tables; nothing was changed.
    pub(crate) fn start<O: Os>(
        &self,
        os: &O,
        rate: u64,
        seal: impl FnOnce(bool),
    ) -> Result<(), Refused> {
        let mut table = self.table.lock();
        table.map(os)?;
        if rate > 0 {
            self.rate.store(rate, Ordering::Relaxed);
        }
        self.was_started.store(true, Ordering::Relaxed);
        self.is_recording.store(true, Ordering::Relaxed);
        self.is_on.store(true, Ordering::Relaxed);
        self.begin_intervals(seal);
        Ok(())
    }

    /// Ends the recording of samples, and sampling too unless there are guards. Samples that are
    /// live are followed until their blocks are freed.
    pub(crate) fn stop(&self, seal: impl FnOnce(bool)) {
        let _table = self.table.lock();
        self.is_recording.store(false, Ordering::Relaxed);
        if !self.guards.are_mapped() {
            self.is_on.store(false, Ordering::Relaxed);
            seal(false);
        }
    }

    /// Returns whether to start or to stop the profile now, because the first tracer came or the
    /// last one went. A profile that the program wants too goes on.
    #[inline]
    pub(crate) fn take_tracer_wish(&self) -> Option<bool> {
        let is_traced = probes::are_watched();
        if is_traced == self.is_traced.load(Ordering::Relaxed) {
            return None;
        }
        self.note_tracers(is_traced)
    }

    #[cold]
    fn note_tracers(&self, is_traced: bool) -> Option<bool> {
        if self.is_traced.swap(is_traced, Ordering::Relaxed) == is_traced {
            // Another thread does it.
            return None;
        }
        if is_traced {
            let is_for_tracer = !self.is_recording();
            self.is_for_tracer.store(is_for_tracer, Ordering::Relaxed);
            return is_for_tracer.then_some(true);
        }
        self.is_for_tracer.swap(false, Ordering::Relaxed).then_some(false)
    }

    /// Keeps the profile on without a tracer, because the program wants it too.
    pub(crate) fn keep_without_tracer(&self) {
        self.is_for_tracer.store(false, Ordering::Relaxed);
    }

    /// Forgets a tracer for which the profile could not start, so that the next call tries again.
    pub(crate) fn forget_tracer(&self) {
        self.is_traced.store(false, Ordering::Relaxed);
        self.is_for_tracer.store(false, Ordering::Relaxed);
    }

    /// Returns the addresses of the object that contains an address: start and end; `None` if the
    /// loader cannot tell.
    pub(crate) fn loaded_object(address: usize) -> Option<(usize, usize)> {
        unwind::loaded_object(address)
    }

    /// Sets the addresses of the library's own code, whose frames are left out of stacks.
    pub(crate) fn set_own_code(&self, start: usize, end: usize) {
        self.own_code[0].store(start, Ordering::Relaxed);
        self.own_code[1].store(end, Ordering::Relaxed);
    }

    /// Seeds the generator of intervals, so that not every process samples the same requests.
    pub(crate) fn seed(&self, seed: u64) {
        self.random.store(seed, Ordering::Relaxed);
    }

    /// Draws the bytes until the next sample, from an exponential distribution.
    pub(crate) fn draw(&self) -> i64 {
        estimate::scaled(standard_exponential(self.random_word()), self.rate())
    }

    /// Returns 64 random bits.
    pub(crate) fn random_word(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        // The generator SplitMix64: a Weyl sequence, mixed.
        let mut word = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Counts a request of `size` bytes down and returns whether it is to be sampled. The countdown
    /// is the calling thread's.
    pub(crate) fn count_down(&self, countdown: &AtomicI64, size: usize) -> bool {
        let size = counted_bytes(size);
        let mut left = countdown.load(Ordering::Relaxed);
        if left < 0 {
            left = self.draw();
        }
        let is_due = left < size;
        countdown.store(if is_due { self.draw() } else { left - size }, Ordering::Relaxed);
        is_due
    }

    /// As [`Profile::count_down`], for a thread without a cache. If two threads count at once, one
    /// of the two requests may not be counted.
    pub(crate) fn count_down_shared(&self, size: usize) -> bool {
        self.count_down(&self.countdown, size)
    }

    /// Returns the return addresses on the calling thread's stack, without the library's own.
    #[inline(never)]
    pub(crate) fn stack<'a>(&self, frames: &'a mut [usize; FRAMES]) -> &'a [usize] {
        let count = unwind::walk(frames);
        let own = self.own_code.each_ref().map(|end| end.load(Ordering::Relaxed));
        let is_own = |frame: &&usize| **frame >= own[0] && **frame < own[1];
        let skipped = frames[..count].iter().take_while(is_own).count();
        &frames[skipped..count]
    }

    /// Enters a sampled block at `address`, with the stack that allocated it. Returns the number of
    /// its record; `None` if the table is full or there was no start yet.
    #[inline(never)]
    pub(crate) fn enter<O: Os>(
        &self,
        os: &O,
        address: usize,
        sample: Sample,
        stack: &[usize],
    ) -> Option<u32> {
        let weight = 1.0 / sampled_share(counted_bytes(sample.size), self.rate());
        let now = os.now_ns();
        let mut table = self.table.lock();
        let entered = table.enter(address, sample, weight, now, stack);
        if table.take_growth() {
            self.is_dump_due.store(true, Ordering::Relaxed);
        }
        drop(table);
        if entered.is_some() {
            probes::alloc(address, sample.size, estimate::weighted(weight, sample.size), stack);
        }
        entered
    }

    /// Ends the sample of record `number`, whose block is freed. Returns the address of its twin,
    /// or 0 if it has none.
    pub(crate) fn leave<O: Os>(&self, os: &O, number: u32) -> usize {
        let now = os.now_ns();
        let Some(freed) = self.table.lock().leave(number, now) else { return 0 };
        let Freed { address, twin, is_reported } = freed;
        if !is_reported {
            probes::free(address);
        }
        twin
    }

    /// Takes the sample of the huge block at `address` out of the list by address, if it is one, so
    /// that another block may get the address. The sample stays live until [`Profile::leave`] ends
    /// it or [`Profile::put_back`] undoes this. Tracers see the block freed.
    pub(crate) fn withdraw_huge(&self, address: usize) -> Option<u32> {
        if !self.was_started.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.table.lock().huge_at(address)?;
        self.withdraw(number);
        Some(number)
    }

    /// As [`Profile::withdraw_huge`], of any live sample.
    pub(crate) fn withdraw(&self, number: u32) {
        let withdrawn = self.table.lock().withdraw(number);
        if let Some(address) = withdrawn {
            probes::free(address);
        }
    }

    /// Puts a withdrawn sample back. Tracers see its block allocated.
    pub(crate) fn put_back(&self, number: u32) {
        let returned = self.table.lock().put_back(number);
        if let Some((address, size, weight)) = returned {
            probes::alloc(address, size, estimate::weighted(weight, size), &[]);
        }
    }

    /// Ends the sample of the huge block at `address`, if it is one.
    pub(crate) fn leave_huge<O: Os>(&self, os: &O, address: usize) {
        if !self.was_started.load(Ordering::Relaxed) {
            return;
        }
        let now = os.now_ns();
        let mut table = self.table.lock();
        let Some(number) = table.huge_at(address) else { return };
        table.leave(number, now);
        drop(table);
        probes::free(address);
    }

    /// Returns the tables, for a report.
    pub(crate) fn lock(&self) -> Guard<'_, Table, { rank::PROFILE }> {
        self.table.lock()
    }

    /// Asks for a dump at the next slow path of any thread. May be called in a signal handler.
    pub(crate) fn ask_for_dump(&self) {
        self.is_dump_due.store(true, Ordering::Relaxed);
    }

    /// Returns whether a dump is due, and takes the request back.
    #[inline]
    pub(crate) fn take_dump(&self) -> bool {
        self.is_dump_due.load(Ordering::Relaxed) && self.is_dump_due.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn acquire_all(&self) {
        self.table.acquire();
    }

    pub(crate) fn release_all(&self) {
        self.table.release();
    }
}
