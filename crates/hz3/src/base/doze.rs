//! How a thread sleeps when nothing is left to do, and others wake it at no cost of theirs.
//!
//! | whoever makes work | the sleeper |
//! |---|---|
//! | 1. does something (plain stores) | 1. state := asleep |
//! | 2. light fence (no instruction) | 2. heavy fence (membarrier) |
//! | 3. reads the state; if asleep, wakes | 3. looks whether anything was done; if so, stays awake |
//!
//! With both fences, of the work and the state at least one side sees the other's. So no work is
//! done that nobody wakes the sleeper for. The model is at the end of this file.

use core::sync::atomic::Ordering;

use super::sync::{AtomicU32, light_fence};

/// The sleeper is at work.
pub(crate) const AWAKE: u32 = 3;
/// The sleeper waits for the state to change.
pub(crate) const ASLEEP: u32 = 4;

/// Maker of work, after it: the state; [`wake`] is due when it is [`ASLEEP`].
#[inline]
pub(crate) fn look(state: &AtomicU32) -> u32 {
    light_fence();
    state.load(Ordering::Relaxed)
}

/// Ends the sleep, if it still lasts; `notify` wakes a thread that waits for the state to change.
pub(crate) fn wake(state: &AtomicU32, notify: impl FnOnce(&AtomicU32)) {
    if state.compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        notify(state);
    }
}

/// Sleeper: sleeps until it is woken, unless work was done meanwhile.
///
/// `barrier` runs a full barrier on all threads, and says whether there is such a thing: without it
/// a wake-up could be lost, so the sleeper stays awake. `is_quiet` says whether there is nothing to
/// do. `wait` returns once the state is not [`ASLEEP`], or for no reason.
pub(crate) fn sleep(
    state: &AtomicU32,
    barrier: impl FnOnce() -> bool,
    is_quiet: impl FnOnce() -> bool,
    wait: impl Fn(&AtomicU32),
) {
    state.store(ASLEEP, Ordering::Relaxed);
    if !barrier() || !is_quiet() {
        // Nobody else sleeps on the state.
        wake(state, |_| ());
        return;
    }
    while state.load(Ordering::Relaxed) == ASLEEP {
        wait(state);
    }
}

#[cfg(all(loom, test))]
mod tests {
    //! The model: makers of work, and a sleeper that ends when it has seen all of it. If a wake-up
    //! is lost the sleeper waits for ever, which loom reports as a deadlock. The futex is a lock
    //! and a condition; the barrier is a `SeqCst` fence on both sides. The main thread only waits:
    //! loom, with its bound on preemptions, does not preempt it.

    use super::{ASLEEP, AWAKE, look, sleep, wake};
    use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
    use loom::sync::{Arc, Condvar, Mutex};
    use std::vec::Vec;

    struct World {
        state: AtomicU32,
        work: [AtomicUsize; 2],
        queue: Mutex<()>,
        woken: Condvar,
    }

    impl World {
        fn make_work(&self, maker: usize) {
            self.work[maker].store(1, Ordering::Relaxed);
            if look(&self.state) == ASLEEP {
                wake(&self.state, |_| {
                    let _queue = self.queue.lock().unwrap();
                    self.woken.notify_one();
                });
            }
        }

        fn found(&self) -> usize {
            self.work.iter().map(|work| work.load(Ordering::Relaxed)).sum()
        }

        /// Sleeps until the work of that many makers was found.
        fn sleeper(&self, makers: usize) {
            let mut seen = self.found();
            while seen < makers {
                sleep(
                    &self.state,
                    || {
                        fence(Ordering::SeqCst);
                        true
                    },
                    || self.found() == seen,
                    |state| {
                        // As the futex does it: compare and sleep are one step.
                        let queue = self.queue.lock().unwrap();
                        if state.load(Ordering::Relaxed) == ASLEEP {
                            drop(self.woken.wait(queue).unwrap());
                        }
                    },
                );
                seen = self.found();
            }
        }
    }

    fn no_wake_up_is_lost(makers: usize) {
        loom::model(move || {
            let world = Arc::new(World {
                state: AtomicU32::new(AWAKE),
                work: [AtomicUsize::new(0), AtomicUsize::new(0)],
                queue: Mutex::new(()),
                woken: Condvar::new(),
            });
            let mut threads: Vec<_> = (0..makers)
                .map(|maker| {
                    let world = Arc::clone(&world);
                    loom::thread::spawn(move || world.make_work(maker))
                })
                .collect();
            threads.push(loom::thread::spawn(move || world.sleeper(makers)));
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn one_maker_always_wakes_the_sleeper() {
        no_wake_up_is_lost(1);
    }

    #[test]
    fn two_makers_always_wake_the_sleeper() {
        no_wake_up_is_lost(2);
    }
}
