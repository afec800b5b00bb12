//! The owner's part of the experiments: the decay of S58, which gives back blocks that the thread
//! does not use, and the dump of S64. Only the owner may lower a capacity, because it may be
//! pushing.

use super::OwnCache;
use super::below::Below;
use super::owned::Owned;
use crate::base::size_class::SizeClass;
use crate::base::units::to_u64;
use crate::os::Os;

/// The result of one decay of a cache.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decayed {
    /// Classes whose capacity fell.
    pub(crate) shrinks: u64,
    /// Blocks that went back to their slabs.
    pub(crate) blocks: u64,
}

impl OwnCache<'_> {
    /// S58: gives back blocks that the thread does not use, at most `most`.
    ///
    /// A class whose low-water mark is more than half of its capacity gives half of that mark back.
    /// After `overages` such epochs in a row its capacity falls by half.
    pub(crate) fn decay<O: Os>(self, below: Below<'_, O>, overages: u32, most: u32) -> Decayed {
        decay(&mut Owned::lock(self, below), overages, most)
    }

    /// S64: puts up to `most` blocks back into their slabs, smallest classes first. Returns how
    /// many.
    pub(crate) fn dump<O: Os>(self, below: Below<'_, O>, most: u32) -> u64 {
        dump(&mut Owned::lock(self, below), most)
    }
}

fn decay<O: Os>(owned: &mut Owned<'_, O>, overages: u32, most: u32) -> Decayed {
    let mut done = Decayed::default();
    for class in SizeClass::all() {
        let (len, half) = (owned.cache.stack(class).len(), owned.cold.capacity.half(class));
        let surplus = &mut owned.cold.surplus[class.index()];
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
        done.blocks += put_oldest(owned, class, (low / 2).min(left));
    }
    done
}

fn dump<O: Os>(owned: &mut Owned<'_, O>, most: u32) -> u64 {
    let mut dumped = 0;
    for class in SizeClass::all() {
        let left = u64::from(most).saturating_sub(dumped);
        dumped += put_oldest(owned, class, usize::try_from(left).unwrap_or(0));
    }
    dumped
}

/// Puts the `count` oldest blocks of a class back into their slabs. Returns how many there were.
fn put_oldest<O: Os>(owned: &mut Owned<'_, O>, class: SizeClass, count: usize) -> u64 {
    to_u64(owned.pass_oldest(class, count, |below, slots| below.put(class, slots)))
}
