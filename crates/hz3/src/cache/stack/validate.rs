//! Checks of I-2, for tests and the feature `check`.

use core::sync::atomic::Ordering;

use super::{SEALED, Slot, Stack, read_as_owner};

impl Stack {
    /// Owner, under the lock: returns the blocks, oldest first. Panics on a breach of I-2.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock, and neither pops nor pushes while it uses the
    /// slice.
    pub(crate) unsafe fn blocks(&self) -> &[Slot] {
        let base = self.base.load(Ordering::Relaxed);
        let top = self.top.load(Ordering::Relaxed);
        assert!(base <= top, "I-2: top below base");
        // SAFETY: I-2: below `top` there are slots or the padding.
        let newest = unsafe { read_as_owner(top.wrapping_sub(1)) };
        assert_eq!(self.newest.get(), newest, "I-2: the newest block");
        // SAFETY: I-2: the slots from `base` to `top` exist and hold blocks.
        unsafe { core::slice::from_raw_parts(base, self.len()) }
    }

    /// Under the lock: checks the parts of I-2 that pops and pushes of the owner do not change;
    /// panics on a breach. `max_blocks` is the length of the class's longest array.
    pub(crate) fn validate_ends(&self, max_blocks: usize) {
        let floor = self.floor.load(Ordering::Relaxed);
        let base = self.base.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        let end = floor.wrapping_add(max_blocks);
        let gate = self.gate.load(Ordering::Relaxed);
        assert!(floor <= base && base <= end, "I-2: base outside of the array");
        assert!(gate == base || gate == SEALED, "I-2: gate is neither base nor sealed");
        assert!(floor <= limit && limit <= end, "I-2: limit outside of the array");
    }
}
