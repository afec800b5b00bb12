//! How a thread that does others' work leaves when nothing is left, and none of that work is missed.
//!
//! | a thread that makes work | the thread that leaves |
//! |---|---|
//! | 1. does something (plain stores) | 1. state := absent |
//! | 2. light fence (no instruction) | 2. heavy fence (membarrier) |
//! | 3. reads the state; if absent, sees to the work | 3. looks for work; if there is any, stays |
//!
//! With both fences, of the work and the state at least one side sees the other's. So there is no
//! work that neither the leaving thread finds nor its maker looks after. The model is at the end of
//! this file.

use core::sync::atomic::Ordering;

use super::sync::{AtomicU32, light_fence};

/// Maker of work, after it: the state.
#[inline]
pub(crate) fn look(state: &AtomicU32) -> u32 {
    light_fence();
    state.load(Ordering::Relaxed)
}

/// Changes the state from `present` to `absent`, unless work was made meanwhile. Returns whether the
/// caller is to leave: also when another thread took its place between the two steps.
///
/// `barrier` runs a full barrier on all threads, and says whether there is such a thing; without it
/// work may be missed until its maker's next call. `is_quiet` says whether there is no work.
pub(crate) fn leave(
    state: &AtomicU32,
    present: u32,
    absent: u32,
    barrier: impl FnOnce() -> bool,
    is_quiet: impl FnOnce() -> bool,
) -> bool {
    state.store(absent, Ordering::Relaxed);
    let _has_barrier = barrier();
    is_quiet()
        || state.compare_exchange(absent, present, Ordering::Relaxed, Ordering::Relaxed).is_err()
}

#[cfg(all(loom, test))]
mod tests {
    //! The model: makers of work, each of which looks after its work if it finds nobody present, and
    //! a thread that leaves when it finds nothing new. In the end every piece of work was found by
    //! one or the other. The barrier is a `SeqCst` fence on both sides. The main thread only waits:
    //! loom, with its bound on preemptions, does not preempt it.

    use super::{leave, look};
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
    use std::vec::Vec;

    const PRESENT: u32 = 1;
    const ABSENT: u32 = 2;
    /// Another thread has come.
    const TAKEN: u32 = 3;

    struct World {
        state: AtomicU32,
        work: [AtomicUsize; 2],
        /// Work that its maker looked after.
        cared_for: [AtomicUsize; 2],
    }

    impl World {
        fn make_work(&self, maker: usize) {
            self.work[maker].store(1, Ordering::Relaxed);
            if look(&self.state) == ABSENT {
                self.cared_for[maker].store(1, Ordering::Relaxed);
                let _taken = self.state.compare_exchange(
                    ABSENT,
                    TAKEN,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
        }

        fn found(&self) -> [usize; 2] {
            self.work.each_ref().map(|work| work.load(Ordering::Relaxed))
        }

        /// Stays until it may leave. Returns the work that it had found by then.
        fn worker(&self) -> [usize; 2] {
            let mut seen = self.found();
            for _ in 0..3 {
                let left = leave(
                    &self.state,
                    PRESENT,
                    ABSENT,
                    || {
                        fence(Ordering::SeqCst);
                        true
                    },
                    || self.found() == seen,
                );
                if left {
                    return seen;
                }
                seen = self.found();
            }
            unreachable!("there are two pieces of work");
        }
    }

    fn no_work_is_missed(makers: usize) {
        loom::model(move || {
            let world = Arc::new(World {
                state: AtomicU32::new(PRESENT),
                work: [AtomicUsize::new(0), AtomicUsize::new(0)],
                cared_for: [AtomicUsize::new(0), AtomicUsize::new(0)],
            });
            let threads: Vec<_> = (0..makers)
                .map(|maker| {
                    let world = Arc::clone(&world);
                    loom::thread::spawn(move || world.make_work(maker))
                })
                .collect();
            let worker = {
                let world = Arc::clone(&world);
                loom::thread::spawn(move || world.worker())
            };
            let seen = worker.join().unwrap();
            for thread in threads {
                thread.join().unwrap();
            }
            // A maker that found the place taken has a thread that looks after its work.
            let taken = world.state.load(Ordering::Relaxed) == TAKEN;
            for maker in 0..makers {
                let cared_for = world.cared_for[maker].load(Ordering::Relaxed) == 1;
                assert!(seen[maker] == 1 || cared_for || taken, "work was missed");
            }
        });
    }

    #[test]
    fn the_work_of_one_maker_is_not_missed() {
        no_work_is_missed(1);
    }

    #[test]
    fn the_work_of_two_makers_is_not_missed() {
        no_work_is_missed(2);
    }
}
