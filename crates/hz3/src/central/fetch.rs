//! The way out of central: blocks from the shard's slabs, from a slab of another shard, or from a
//! new slab.

use core::sync::atomic::Ordering;

use super::bin::BinView;
use super::blocks::Blocks;
use super::slab::Slab;
use super::{Central, prefault_policy};
use crate::base::size_class::SizeClass;
use crate::base::sync::Slot;
use crate::base::units::to_u64;
use crate::os::Os;
use crate::segment::Segments;
use crate::segment::pages::Fit;

impl Central {
    /// Returns the shard that serves the calling thread, that of its CPU.
    pub(crate) fn shard_of_this_cpu<O: Os>(&self, os: &O) -> usize {
        os.cpu() & (self.shards - 1)
    }

    /// Takes up to `out.len()` blocks of a class into `out`; the last one should be handed out
    /// first. Adopts or opens a slab if the shard has no block. Returns how many; 0 if there is no
    /// memory.
    pub(crate) fn fetch<O: Os>(
        &self,
        segments: &Segments<O>,
        shard: usize,
        class: SizeClass,
        out: &[Slot],
    ) -> usize {
        let taken = self.take(segments, shard, class, out);
        if taken > 0 {
            return taken;
        }
        if !self.adopt(segments, shard, class) && !self.open_slab(segments, shard, class) {
            return 0;
        }
        // Another thread may have emptied the new slab; then open one more. Each round that fails
        // has served another thread, so the loop ends.
        loop {
            let taken = self.take(segments, shard, class, out);
            if taken > 0 || !self.open_slab(segments, shard, class) {
                return taken;
            }
        }
    }

    /// Takes blocks from the slabs of the shard's bin, the lowest one last, so that it is handed
    /// out first. Opens no slab. Returns how many.
    pub(crate) fn take<O: Os>(
        &self,
        segments: &Segments<O>,
        shard: usize,
        class: SizeClass,
        out: &[Slot],
    ) -> usize {
        let bin = self.bin(shard, class);
        let arena = segments.arena();
        let mut state = bin.state.lock();
        let mut view = BinView { bin, state: &mut state, tables: segments.tables(), class };
        let taken = view.take(out, |slab| arena.address(slab.offset()));
        move_to_front(out, taken);
        taken
    }

    /// Opens a slab for the shard. Returns false if there are no pages for it.
    fn open_slab<O: Os>(&self, segments: &Segments<O>, shard: usize, class: SizeClass) -> bool {
        let Some(run) = segments.take(class.slab_pages(), Fit::Chunks) else { return false };
        let bin = self.bin(shard, class);
        let should_prefault = prefault_policy::should_prefault(class, || bin.state.lock().slabs());
        let prefaulted = should_prefault && segments.prefault(run);
        let first = Blocks::carve(segments.tables(), run, class, shard_id(shard));
        let mut state = bin.state.lock();
        Slab::of(segments.tables(), first).mark_dirty(segments.tables(), first, class, prefaulted);
        BinView { bin, state: &mut state, tables: segments.tables(), class }.enter(first);
        segments.tables().note_holes_always(first);
        self.opened.fetch_add(to_u64(class.slab_pages().bytes()), Ordering::Relaxed);
        true
    }

    /// Moves a slab with free blocks from another shard to this one. Returns false if there is
    /// none.
    fn adopt<O: Os>(&self, segments: &Segments<O>, shard: usize, class: SizeClass) -> bool {
        (1..self.shards).map(|step| (shard + step) & (self.shards - 1)).any(|other| {
            self.bin(other, class).has_blocks() && self.move_slab(segments, other, shard, class)
        })
    }

    fn move_slab<O: Os>(
        &self,
        segments: &Segments<O>,
        from: usize,
        to: usize,
        class: SizeClass,
    ) -> bool {
        let tables = segments.tables();
        let (source, target) = (self.bin(from, class), self.bin(to, class));
        // Two bins are locked in the order of their shards.
        let (mut source_state, mut target_state);
        if from < to {
            source_state = source.state.lock();
            target_state = target.state.lock();
        } else {
            target_state = target.state.lock();
            source_state = source.state.lock();
        }
        let mut source = BinView { bin: source, state: &mut source_state, tables, class };
        let Some(first) = source.take_for_adoption() else { return false };
        Slab::of(tables, first).set_shard(shard_id(to));
        BinView { bin: target, state: &mut target_state, tables, class }.enter(first);
        true
    }
}

/// Moves the last `count` addresses of a slice to its front.
fn move_to_front(slots: &[Slot], count: usize) {
    let start = slots.len() - count;
    if start > 0 {
        for (from, to) in slots[start..].iter().zip(slots) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Converts a shard's number to the type that slab headers hold.
fn shard_id(shard: usize) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 64 shards")]
    let id = shard as u8;
    id
}
