//! The trim: keeps free memory that may be resident below [`super::slack`]'s bound. It runs where
//! slow paths alone give memory back.

use super::Reclaim;
use super::pass::{HoleScope, PageScope, Scope};
use super::slack::{self, Time};
use super::source::{BlockScope, Layers};
use crate::base::units::to_u64;
use crate::os::Os;

impl Reclaim {
    /// Keeps free memory within the bound; with `counts_slabs`, also what is free in slabs. Costs a
    /// few loads as long as there is nothing to do.
    pub(crate) fn trim<O: Os>(&self, layers: Layers<'_, O>, counts_slabs: bool) {
        let segments = layers.segments();
        let refaulted = segments.account().refaulted_pages();
        if self.slack.has_many_refaults(refaulted) {
            self.slack.raise_if_premature(Self::time(layers), refaulted);
        }
        if counts_slabs {
            self.slack.note_takes(layers.own().map_or(0, |own| own.allocation_misses()));
        } else if segments.account().dirty_bytes() <= self.slack.least() {
            return;
        }
        let bound = self.slack.bound(segments.account().arena_active_bytes());
        let slabs = || layers.central().free_and_dissolved();
        let in_slabs = if counts_slabs { self.slack.note_slabs(slabs(), bound) } else { 0 };
        let dirty = self.slack.purgeable(segments.account().dirty_bytes());
        if dirty <= bound && in_slabs == 0 {
            return;
        }
        let Some(_pace) = self.ticks.try_begin() else { return };
        // Most of the free bytes in slabs may never have been touched.
        let one_in = self.slack.holes_one_in();
        let in_holes = if in_slabs > 0 { layers.holes().releasable_bytes(one_in) } else { 0 };
        if dirty + in_holes > bound {
            let has_holes = in_holes > bound / 2;
            self.trim_to(layers, slack::kept_bytes(bound), has_holes.then_some(one_in));
        }
        if in_slabs > 0 {
            self.slack.note_hole_scan(slabs());
        }
    }

    /// Purges free pages down to `kept` bytes, and the holes of slabs in which at least one page in
    /// `one_in` is in a hole.
    fn trim_to<O: Os>(&self, layers: Layers<'_, O>, kept: usize, one_in: Option<u32>) {
        let blocks = if self.slack.only_frees() { BlockScope::Surplus } else { BlockScope::Keep };
        let pages = PageScope::Beyond(kept);
        let mut purged =
            self.passes.run(layers, Scope { blocks, pages, holes: HoleScope::Keep }).purged_pages();
        self.slack.note_left(layers.segments().account().dirty_bytes(), to_u64(kept));
        if one_in.is_some() {
            // Blocks in caches keep holes small, so all of them go back to their slabs first.
            let holes = HoleScope::OneIn(one_in);
            purged += self.passes.run(layers, Scope { holes, ..Scope::EVERY_BLOCK }).purged_pages();
        }
        self.slack.note_purge(
            Self::time(layers),
            purged,
            layers.segments().account().refaulted_pages(),
        );
    }

    /// Gives everything free back, because the reclaimer leaves and slow paths take over. The
    /// process has only one thread left. If the last such switch was less than a second ago, only
    /// trims.
    pub(super) fn switch_to_inline<O: Os>(&self, layers: Layers<'_, O>) {
        if self.slack.may_switch(layers.os().now_ms()) {
            self.collect(layers, 0);
        } else {
            self.trim(layers, true);
        }
    }

    /// Returns the time, and how long the process has run if it has one thread.
    fn time<O: Os>(layers: Layers<'_, O>) -> Time {
        let os = layers.os();
        let cpu_ms = if layers.registry.in_use() > 1 { 0 } else { os.cpu_ms() };
        Time { now_ms: os.now_ms(), cpu_ms }
    }
}
