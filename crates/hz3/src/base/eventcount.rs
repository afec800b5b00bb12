//! How a worker thread leaves without missing work that another thread posts meanwhile.
//!
//! The protocol is that of an eventcount, with an asymmetric fence:
//!
//! | the side that posts work | the side that leaves |
//! |---|---|
//! | 1. posts the work (plain stores) | 1. changes the state to `absent` |
//! | 2. light fence (no instruction) | 2. heavy fence (membarrier) |
//! | 3. reads the state; does the work if `absent` | 3. looks for work; stays if it finds any |
//!
//! With both fences at least one side sees the store of the other. So either the leaving thread
//! finds the work, or the posting thread reads `absent` and does the work. The model is at the
//! end of this file.

use core::sync::atomic::Ordering;

use super::sync::{AtomicU32, light_fence};

/// Returns the state after the caller has posted work: steps 2 and 3 of the posting side.
#[inline]
pub(crate) fn state_after_post(state: &AtomicU32) -> u32 {
    light_fence();
    state.load(Ordering::Relaxed)
}

/// Changes the state from `present` to `absent`, unless work was posted meanwhile.
///
/// Returns whether the caller must leave. It must also leave if the state is neither `present` at
/// first nor `absent` at last: another thread has taken its place, or has switched the work off.
///
/// `barrier` runs a full memory barrier on all threads and returns false if the system has none;
/// then work may be missed until the next post. `is_quiet` returns whether there is no work.
pub(crate) fn leave(
    state: &AtomicU32,
    present: u32,
    absent: u32,
    barrier: impl FnOnce() -> bool,
    is_quiet: impl FnOnce() -> bool,
) -> bool {
    // An exchange, because a store would undo a state that another thread has just set.
    if state.compare_exchange(present, absent, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return true;
    }
    let _has_barrier = barrier();
    is_quiet()
        || state.compare_exchange(absent, present, Ordering::Relaxed, Ordering::Relaxed).is_err()
}

#[cfg(all(test, not(loom)))]
mod cases {
    use super::{AtomicU32, leave};
    use core::sync::atomic::Ordering::Relaxed;

    const OFF: u32 = 0;
    const PRESENT: u32 = 1;
    const ABSENT: u32 = 2;

    #[test]
    fn a_worker_that_leaves_does_not_undo_another_state() {
        let state = AtomicU32::new(OFF);
        assert!(leave(&state, PRESENT, ABSENT, || true, || false), "it was switched off before");
        assert_eq!(state.load(Relaxed), OFF);
        state.store(PRESENT, Relaxed);
        let switch_off = || {
            state.store(OFF, Relaxed);
            true
        };
        assert!(leave(&state, PRESENT, ABSENT, switch_off, || false), "switched off meanwhile");
        assert_eq!(state.load(Relaxed), OFF);
        state.store(PRESENT, Relaxed);
        assert!(!leave(&state, PRESENT, ABSENT, || true, || false), "there is work");
        assert_eq!(state.load(Relaxed), PRESENT);
    }
}

#[cfg(all(loom, test))]
mod tests {
    //! The model: threads that post work, each of which handles it if the worker is absent, and a
    //! worker that leaves when it finds nothing new. In the end one of them has found every piece
    //! of work. The barrier is a `SeqCst` fence on both sides. The main thread only waits, because
    //! loom does not preempt it when preemptions are bounded.

    use super::{leave, state_after_post};
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
    use std::vec::Vec;

    const PRESENT: u32 = 1;
    const ABSENT: u32 = 2;
    /// Another worker has taken the place.
    const TAKEN: u32 = 3;
    /// Nothing is to be done any more.
    const OFF: u32 = 4;

    struct World {
        state: AtomicU32,
        work: [AtomicUsize; 2],
        /// Work that the thread that posted it has handled.
        handled: [AtomicUsize; 2],
    }

    impl World {
        fn post(&self, poster: usize) {
            self.work[poster].store(1, Ordering::Relaxed);
            if state_after_post(&self.state) == ABSENT {
                self.handled[poster].store(1, Ordering::Relaxed);
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

    fn no_work_is_missed(posters: usize) {
        loom::model(move || {
            let world = Arc::new(World {
                state: AtomicU32::new(PRESENT),
                work: [AtomicUsize::new(0), AtomicUsize::new(0)],
                handled: [AtomicUsize::new(0), AtomicUsize::new(0)],
            });
            let threads: Vec<_> = (0..posters)
                .map(|poster| {
                    let world = Arc::clone(&world);
                    loom::thread::spawn(move || world.post(poster))
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
            // If the place is taken, another worker handles the work.
            let taken = world.state.load(Ordering::Relaxed) == TAKEN;
            for poster in 0..posters {
                let handled = world.handled[poster].load(Ordering::Relaxed) == 1;
                assert!(seen[poster] == 1 || handled || taken, "work was missed");
            }
        });
    }

    #[test]
    fn no_work_is_missed_that_one_thread_posts() {
        no_work_is_missed(1);
    }

    #[test]
    fn no_work_is_missed_that_two_threads_post() {
        no_work_is_missed(2);
    }

    #[test]
    fn off_stays_off_while_a_worker_leaves() {
        loom::model(|| {
            let world = Arc::new(World {
                state: AtomicU32::new(PRESENT),
                work: [AtomicUsize::new(0), AtomicUsize::new(0)],
                handled: [AtomicUsize::new(0), AtomicUsize::new(0)],
            });
            let beside = |run: fn(&World)| {
                let world = Arc::clone(&world);
                loom::thread::spawn(move || run(&world))
            };
            let threads = [
                beside(|world| world.post(0)),
                // An exchange: loom leaves a store and an exchange of two threads unordered.
                beside(|world| {
                    world.state.swap(OFF, Ordering::Relaxed);
                }),
                beside(|world| {
                    world.worker();
                }),
            ];
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(world.state.load(Ordering::Relaxed), OFF);
        });
    }
}
