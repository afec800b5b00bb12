//! The state of the decay of S58: how many blocks of a cache its thread did not use lately.

/// The state for one class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surplus {
    /// Blocks at the last epoch. The lower of this and the present number is the low-water mark.
    last: u16,
    /// Epochs in a row whose low-water mark was more than half of the capacity.
    pub(super) overages: u16,
}

impl Surplus {
    pub(super) const fn new() -> Surplus {
        Surplus { last: 0, overages: 0 }
    }

    /// Records the blocks of an epoch. Returns the lower number of the last two epochs.
    pub(super) fn sample(&mut self, blocks: usize) -> usize {
        let last = usize::from(self.last);
        self.last = u16::try_from(blocks).unwrap_or(u16::MAX);
        last.min(blocks)
    }
}
