//! Sampled blocks of the heap profile.
//!
//! A sampled small block lies in a run of its own, so `free` meets it where it meets large blocks.
//! The record of the run's first page says that it is sampled and has the number of the sample. The
//! ordinary block that the request would have got is its *twin*. It stays out, untouched, until the
//! sampled block is freed. So the page of the twin shows what this request keeps resident.
//!
//! A sampled large block is an ordinary one with a mark; a huge block is found by its address. A
//! request whose sample finds no memory gets an ordinary block.
//!
//! With guards a sampled small block lies in their mapping instead, see
//! [`crate::profiler::guards`]. It has a twin and a record only while the profile runs.

use core::ptr::NonNull;

use super::resize::{BlockKind, Sampled};
use super::{Foreign, Heap};
use crate::base::size_class::SizeClass;
use crate::base::units::Run;
use crate::cache::Front;
use crate::central::Central;
use crate::os::{Os, Refused};
use crate::profiler::Profile;
use crate::profiler::guards::Place;
use crate::profiler::snapshot::Snapshot;
use crate::profiler::table::{FRAMES, Sample};
use crate::segment::large::NotABlock;

impl<O: Os> Heap<O> {
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Starts the heap profile with a mean of `rate` bytes between two samples; 0 leaves the
    /// present mean.
    pub(crate) fn start_profile(&self, rate: u64) -> Result<(), Refused> {
        self.profile.start(self.os(), rate, |sealed| self.registry.set_sealed(sealed))
    }

    /// Sets the mean of the bytes between two samples. Starts and ends nothing.
    pub(crate) fn set_profile_rate(&self, rate: u64) {
        self.profile.set_rate(rate, |sealed| self.registry.set_sealed(sealed));
    }

    /// Starts to guard sampled blocks.
    pub(crate) fn start_guards(&self) -> Result<(), Refused> {
        self.profile.start_guards(self.os(), |sealed| self.registry.set_sealed(sealed))
    }

    /// Ends the heap profile. Live samples are followed until they are freed.
    pub(crate) fn stop_profile(&self) {
        self.profile.stop(|sealed| self.registry.set_sealed(sealed));
    }

    /// Copies the profile; `None` without memory, or if it was never started.
    pub(crate) fn profile_snapshot(&self) -> Option<Snapshot> {
        Snapshot::take(self.os(), &self.profile, |twin| self.pinned_by(twin))
    }

    /// Counts a request of `size` bytes. Returns whether a sample is due.
    #[inline]
    pub(super) fn take_sample_due(&self, front: Front<'_>, size: usize) -> bool {
        self.profile.is_on()
            && match front {
                Front::Cache(cache) => self.profile.count_down(&cache.countdown, size),
                Front::Direct => self.profile.count_down_shared(size),
            }
    }

    /// Allocates a sampled block of `size` bytes at a multiple of `align`, whose class is `class`.
    /// It is an ordinary one if there is no memory for the sample.
    #[cold]
    pub(super) fn allocate_sample(
        &self,
        front: Front<'_>,
        class: SizeClass,
        size: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        let mut frames = [0; FRAMES];
        let stack = self.profile.stack(&mut frames);
        if !self.profile.is_recording() {
            if let Some((block, _)) = self.allocate_guarded(size, align, stack) {
                return Some(block);
            }
            return self.allocate_unsampled(front, class);
        }
        let twin = self.allocate_unsampled(front, class)?;
        let address = twin.addr().get();
        let offset = self.segments.arena().offset_of(address);
        // Without memory for a slab the block has pages of its own already.
        let Some(_) = offset.filter(|&offset| self.segments.class_at(offset) == class) else {
            return Some(twin);
        };
        let sample = Sample { size, twin: address, is_huge: false };
        if let Some((block, place)) = self.allocate_guarded(size, align, stack) {
            let start = block.addr().get();
            match self.profile.enter(self.os(), start, sample, stack) {
                Some(number) => self.profile.guards().set_sample(place, number),
                // No record has the twin.
                None => self.free_twin(front, address),
            }
            return Some(block);
        }
        let Some(block) = self.segments.allocate_large(size.max(1), align) else {
            return Some(twin);
        };
        let start = block.start.addr().get();
        let Some(number) = self.profile.enter(self.os(), start, sample, stack) else {
            self.segments.give_large(block);
            return Some(twin);
        };
        self.segments.mark_sampled(&block, number);
        Some(block.start)
    }

    /// Allocates a block beside an inaccessible page, if there are guards and they have room. Also
    /// returns its place.
    fn allocate_guarded(
        &self,
        size: usize,
        align: usize,
        stack: &[usize],
    ) -> Option<(NonNull<u8>, Place)> {
        let guards = self.profile.guards();
        if !guards.are_mapped() {
            return None;
        }
        guards.allocate(self.os(), size, align, self.profile.random_word(), stack)
    }

    /// Frees a guarded block and its twin. Returns false if the address is not in the guards'
    /// mapping. A misuse is noted there.
    pub(super) fn free_guarded(&self, front: Front<'_>, block: *mut u8) -> bool {
        let guards = self.profile.guards();
        if !guards.contains(block.addr()) {
            return false;
        }
        let mut frames = [0; FRAMES];
        let stack = self.profile.stack(&mut frames);
        if let Some(number) = guards.free(self.os(), block.addr(), stack)
            && number != 0
        {
            let twin = self.profile.leave(self.os(), number);
            self.free_twin(front, twin);
        }
        true
    }

    /// Counts the request for a large or huge block of `size` bytes, and samples the block if a
    /// sample is due. No thread frees the block meanwhile.
    pub(super) fn note_large(&self, front: Front<'_>, block: NonNull<u8>, size: usize) {
        if self.take_sample_due(front, size) {
            self.sample_large(block, size);
        }
    }

    #[cold]
    fn sample_large(&self, block: NonNull<u8>, size: usize) {
        if !self.profile.is_recording() {
            return;
        }
        let mut frames = [0; FRAMES];
        let stack = self.profile.stack(&mut frames);
        let address = block.addr().get();
        let offset = self.segments.arena().offset_of(address);
        // A huge block may lie in pages that the arena skipped.
        let large = offset.filter(|&offset| self.segments.large_at(offset).is_ok());
        let sample = Sample { size, twin: 0, is_huge: large.is_none() };
        let Some(number) = self.profile.enter(self.os(), address, sample, stack) else { return };
        if let Some(offset) = large {
            self.segments.mark_sampled_at(offset, number);
        }
    }

    /// Frees the sampled block that starts at `offset`, and its twin.
    #[cold]
    pub(super) fn free_sample(&self, front: Front<'_>, offset: usize) -> Result<(), NotABlock> {
        let (run, number) = self.segments.claim_sampled(offset)?;
        let twin = self.profile.leave(self.os(), number);
        self.segments.give(run, run.pages);
        self.free_twin(front, twin);
        Ok(())
    }

    fn free_twin(&self, front: Front<'_>, twin: usize) {
        if twin == 0 {
            return;
        }
        let block = self.segments.arena().offset_of(twin);
        let Some(block) = block.map(|offset| self.segments.arena().address(offset)) else { return };
        // SAFETY: the profile alone knows the twin, and gave it up.
        let freed: Result<(), Foreign> = unsafe { self.free(front, block.as_ptr()) };
        debug_assert!(freed.is_ok());
    }

    /// Makes a sampled large block an ordinary one, because it will be resized. Its sample stays
    /// live. A sampled small block is left as it is.
    #[cold]
    pub(super) fn withdraw_sample_of(&self, run: Run) -> Sampled {
        let Some(number) = self.segments.sample_of(run) else { return Sampled::No };
        if self.profile.lock().twin_of(number) != 0 {
            return Sampled::Twin;
        }
        let Ok((run, number)) = self.segments.claim_sampled(run.start.offset()) else {
            return Sampled::No;
        };
        let _block = self.segments.register_large(run);
        self.profile.withdraw(number);
        Sampled::Withdrawn(number)
    }

    /// Makes a block a sample again after its resizing failed.
    #[cold]
    pub(super) fn put_back_sample(&self, kind: &BlockKind, number: u32) {
        self.profile.put_back(number);
        if let BlockKind::Large(run) = kind {
            self.segments.mark_sampled_at(run.start.offset(), number);
        }
    }

    /// Returns the part of a twin's pages that no block uses, in bytes, shared evenly by the blocks
    /// in them: what the request of its sample keeps resident beside its own bytes.
    fn pinned_by(&self, twin: usize) -> f64 {
        let Some(offset) = self.segments.arena().offset_of(twin) else { return 0.0 };
        let class = self.segments.class_at(offset);
        if class == SizeClass::NONE {
            return 0.0;
        }
        Central::pinned_by(&self.segments, class, offset, self.os().page_size())
    }
}
