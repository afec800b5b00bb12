//! Meeting points of a fixed number of threads, and a flag that a fault elsewhere ends the work.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the threads of a workload share.
#[derive(Debug)]
pub(crate) struct Gate {
    barrier: Barrier,
    failed: AtomicBool,
}

impl Gate {
    /// For `threads` threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self { barrier: Barrier::new(threads), failed: AtomicBool::new(false) }
    }

    /// Waits until all threads are here.
    pub(crate) fn meet(&self) {
        self.barrier.wait();
    }

    /// Tells the others that waiting for this thread's blocks is in vain.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether a thread has failed.
    #[inline]
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}
