//! S58: a thread cache that holds more than its thread wants gives it up; and S64's dump.
//!
//! Both are the owner's work, at an epoch of its own: nobody else may lower a capacity while the
//! owner pushes.

use super::refill::Owned;
use crate::base::size_class::SizeClass;
use crate::os::Os;

/// What a decay did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decayed {
    /// Classes whose capacity fell.
    pub(crate) shrinks: u64,
    /// Blocks that went back to their slabs.
    pub(crate) blocks: u64,
}

/// What decay remembers of a class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surplus {
    /// Blocks at the last epoch: with those of now, the low-water mark.
    last: u16,
    /// Epochs in a row in which more than half of the capacity was never wanted.
    overages: u16,
}

impl Surplus {
    pub(crate) const fn new() -> Surplus {
        Surplus { last: 0, overages: 0 }
    }

    /// Notes the blocks of an epoch. Returns the fewest of the last two.
    fn sample(&mut self, blocks: usize) -> usize {
        let last = usize::from(self.last);
        self.last = u16::try_from(blocks).unwrap_or(u16::MAX);
        last.min(blocks)
    }
}

/// Looks at every class once: half of what two epochs in a row did not want goes back, and after
/// `overages` of these the capacity falls by half. At most `most` blocks go back.
pub(super) fn decay<O: Os>(owned: &mut Owned<'_, O>, overages: u32, most: u32) -> Decayed {
    let mut done = Decayed::default();
    for class in SizeClass::all() {
        let (len, half) = (owned.len(class), owned.half(class));
        let surplus = owned.surplus(class);
        let low = surplus.sample(len);
        if low <= half {
            surplus.overages = 0;
            continue;
        }
        surplus.overages += 1;
        if u32::from(surplus.overages) >= overages {
            surplus.overages = 0;
            done.shrinks += u64::from(owned.shrink(class));
        }
        let left = usize::try_from(u64::from(most) - done.blocks).unwrap_or(0);
        done.blocks += owned.put_back(class, (low / 2).min(left));
    }
    done
}

/// Puts up to `most` blocks back, smallest classes first. Returns how many.
pub(super) fn dump<O: Os>(owned: &mut Owned<'_, O>, most: u32) -> u64 {
    let mut dumped = 0;
    for class in SizeClass::all() {
        let left = u64::from(most).saturating_sub(dumped);
        dumped += owned.put_back(class, usize::try_from(left).unwrap_or(0));
    }
    dumped
}
