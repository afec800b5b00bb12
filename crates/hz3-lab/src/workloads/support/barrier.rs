//! A reusable barrier for the threads of a workload, with a flag that tells them to give up.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

/// A barrier that one thread can mark as aborted when it fails.
#[derive(Debug)]
pub(crate) struct AbortableBarrier {
    barrier: Barrier,
    aborted: AtomicBool,
}

impl AbortableBarrier {
    pub(crate) fn new(threads: usize) -> Self {
        Self { barrier: Barrier::new(threads), aborted: AtomicBool::new(false) }
    }

    /// Blocks until all threads have called this. Aborting does not release the waiting threads.
    pub(crate) fn wait(&self) {
        self.barrier.wait();
    }

    /// Tells the other threads to stop, because the blocks of this one will not come.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }
}
