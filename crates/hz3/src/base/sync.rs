//! The atomics of the protocols that loom checks, and the two halves of the asymmetric fence.
//!
//! Outside loom these are the ordinary atomics. Under `--cfg loom` they are loom's, so that the
//! model explores the very code that ships.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32};

/// The owner's half of the asymmetric fence: orders a store before a later load of the same
/// thread, given that the other side runs a process-wide barrier.
///
/// It emits no instruction: it only keeps the compiler from reordering. Under loom it is a full
/// fence, because the effect of `membarrier` on this thread is exactly that of a full fence at
/// some point of its program order.
#[inline(always)]
pub(crate) fn light_fence() {
    #[cfg(not(loom))]
    // Pairs with `Os::barrier` (membarrier) in `ThreadCache::steal` and in `absence::leave`.
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    #[cfg(loom)]
    // Pairs with the fence that stands for membarrier in the models of `steal` and `absence`.
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
}
