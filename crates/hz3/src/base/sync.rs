//! The atomics of the protocols that loom checks, and the two halves of the asymmetric fence.
//!
//! Under `--cfg loom` these are loom's atomics, so that a model explores the code that ships.
//! Otherwise they are those of `core`.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32};

/// Holds the address of a block, in a thread's cache or in a batch.
pub(crate) type Slot = AtomicPtr<u8>;

/// Makes slots that hold these addresses, for tests.
#[cfg(test)]
pub(crate) fn slots(addresses: impl IntoIterator<Item = usize>) -> std::vec::Vec<Slot> {
    let slot = |address| Slot::new(core::ptr::without_provenance_mut(address));
    addresses.into_iter().map(slot).collect()
}

/// Returns the addresses that slots hold, for tests.
#[cfg(test)]
pub(crate) fn addresses(slots: &[Slot]) -> std::vec::Vec<usize> {
    let relaxed = core::sync::atomic::Ordering::Relaxed;
    slots.iter().map(|slot| slot.load(relaxed).addr()).collect()
}

/// Orders earlier stores of this thread before its later loads: the cheap half of an asymmetric
/// fence, whose other half is a process-wide barrier.
///
/// It emits no instruction and only keeps the compiler from reordering. Under loom it is a full
/// fence, because `membarrier` acts on this thread as a full fence at some point of its program
/// order.
#[inline(always)]
pub(crate) fn light_fence() {
    #[cfg(not(loom))]
    // Pairs with `Os::barrier` (membarrier) in `ThreadCache::steal` and in `eventcount::leave`.
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    #[cfg(loom)]
    // Pairs with the fence that stands for membarrier in the models of `steal` and `eventcount`.
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
}
