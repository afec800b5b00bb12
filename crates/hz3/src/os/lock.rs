//! A futex lock that spins briefly, then sleeps in the kernel, and counts contention.
//!
//! It never allocates and is not fair. It has no owner, so a forked child can release a lock that
//! the parent's thread took. States: 0 free, 1 held, 2 held and a thread may sleep. Each thread
//! counts the locks that it holds (see [`super::held`]).

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::fatal::fatal;
use super::futex::{futex_wait_for, futex_wake_one};
use super::stuck_fork::{WAIT_MS, Watch};
use super::{held, order};

const FREE: u32 = 0;
const HELD: u32 = 1;
const WAITED_FOR: u32 = 2;
/// Tries before a thread sleeps. A critical section takes a few hundred nanoseconds, a futex wait
/// some microseconds.
const SPINS: u32 = 100;
/// The longest sleep of [`Lock::lock_within`] between two tries, in milliseconds.
const STEP_MS: u32 = 10;

/// Whether this process is a forked child with inherited locks whose holders it does not have.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Closes the heap for ever, in a forked child: from now on no thread may wait for its locks.
pub(crate) fn close_heap() {
    CLOSED.store(true, Ordering::Relaxed);
}

/// Returns whether [`close_heap`] was called in this process or in an ancestor that forked it.
#[inline(always)]
pub(crate) fn is_heap_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// A value behind a futex lock; `RANK` is one of [`super::rank`].
pub(crate) struct Lock<T, const RANK: u8> {
    word: AtomicU32,
    /// How often a thread found the lock held. An uncontended lock does not touch this counter.
    contended: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: the word admits one guard at a time (acquire on lock, release on unlock), so two threads
// never access the value at once.
unsafe impl<T: Send, const RANK: u8> Sync for Lock<T, RANK> {}

/// Gives access to the value of a held [`Lock`], and releases the lock on drop.
#[must_use = "the lock is released at once when the guard is dropped"]
pub(crate) struct Guard<'a, T, const RANK: u8> {
    lock: &'a Lock<T, RANK>,
    /// Makes the guard `!Send`: the thread that took the lock must release it, because it counts
    /// its locks.
    same_thread: PhantomData<*const ()>,
}

impl<T, const RANK: u8> Lock<T, RANK> {
    pub(crate) const fn new(value: T) -> Lock<T, RANK> {
        let (word, contended) = (AtomicU32::new(FREE), AtomicU64::new(0));
        Lock { word, contended, value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T, RANK> {
        order::check_may_wait::<RANK>(self.address());
        held::enter::<RANK>();
        self.acquire();
        self.guard()
    }

    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T, RANK>> {
        held::enter::<RANK>();
        // Acquire pairs with the release swap in `release`.
        let taken = self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            held::leave::<RANK>();
            self.note_contended();
            return None;
        }
        Some(self.guard())
    }

    /// Creates the guard of the lock, which the caller has just taken.
    fn guard(&self) -> Guard<'_, T, RANK> {
        order::taken::<RANK>(self.address());
        Guard { lock: self, same_thread: PhantomData }
    }

    /// Returns the lock's address, for messages.
    fn address(&self) -> usize {
        core::ptr::from_ref(&self.word).addr()
    }

    /// Takes the lock as [`Lock::lock`] does, but gives up after about `ms` milliseconds.
    pub(crate) fn lock_within(&self, ms: u32) -> Option<Guard<'_, T, RANK>> {
        if let Some(guard) = self.try_lock() {
            return Some(guard);
        }
        held::enter::<RANK>();
        for _ in 0..ms.div_ceil(STEP_MS) {
            // Acquire pairs with the release swap in `release`. A thread that gives up leaves the
            // word at `WAITED_FOR`: the next release makes a needless wake-up call.
            if self.word.swap(WAITED_FOR, Ordering::Acquire) == FREE {
                return Some(self.guard());
            }
            futex_wait_for(&self.word, WAITED_FOR, STEP_MS);
        }
        held::leave::<RANK>();
        None
    }

    /// Returns how often a thread found the lock held: it waited, or [`Lock::try_lock`] failed.
    pub(crate) fn contended(&self) -> u64 {
        self.contended.load(Ordering::Relaxed)
    }

    #[cold]
    fn note_contended(&self) {
        self.contended.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the lock without a guard and without counting it, for the fork protocol;
    /// [`Lock::release`] releases it.
    pub(crate) fn acquire(&self) {
        // Acquire pairs with the release swap in `release`.
        let taken = self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            self.acquire_contended();
        }
    }

    #[cold]
    fn acquire_contended(&self) {
        self.note_contended();
        for _ in 0..SPINS {
            // Acquire pairs with the release swap in `release`.
            if self.word.load(Ordering::Relaxed) == FREE
                && self
                    .word
                    .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return;
            }
            core::hint::spin_loop();
        }
        let mut watch = Watch::new();
        // Acquire pairs with the release swap in `release`.
        while self.word.swap(WAITED_FOR, Ordering::Acquire) != FREE {
            if is_heap_closed() {
                // The child returned from the signal handler into the interrupted operation.
                fatal(
                    "fork in a signal handler: the child waits for a lock that it can never get",
                    self.address(),
                );
            }
            futex_wait_for(&self.word, WAITED_FOR, WAIT_MS);
            watch.check();
        }
    }

    /// Returns the value to a caller that took the lock by [`Lock::acquire`].
    ///
    /// # Safety
    /// The caller holds the lock as long as the reference lives.
    #[cfg(any(test, feature = "check"))]
    pub(crate) unsafe fn held_value(&self) -> &T {
        // SAFETY: the caller promises that it holds the lock.
        unsafe { &*self.value.get() }
    }

    /// Releases a lock that [`Lock::acquire`] took, perhaps in the parent of this process.
    pub(crate) fn release(&self) {
        // Release pairs with every acquire above.
        if self.word.swap(FREE, Ordering::Release) == WAITED_FOR {
            futex_wake_one(&self.word);
        }
    }
}

impl<T, const RANK: u8> Deref for Guard<'_, T, RANK> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: a guard exists only while its thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, const RANK: u8> DerefMut for Guard<'_, T, RANK> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: a guard exists only while its thread holds the lock, and this borrow is
        // exclusive.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, const RANK: u8> Drop for Guard<'_, T, RANK> {
    fn drop(&mut self) {
        order::released(self.lock.address());
        self.lock.release();
        held::leave::<RANK>();
    }
}

impl<T, const RANK: u8> fmt::Debug for Lock<T, RANK> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("word", &self.word).finish_non_exhaustive()
    }
}

impl<T, const RANK: u8> fmt::Debug for Guard<'_, T, RANK> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

#[cfg(test)]
mod tests {
    use super::{Ordering, WAITED_FOR};
    use crate::os::rank::BIN;

    type Lock<T> = super::Lock<T, BIN>;

    #[test]
    fn holders_exclude_each_other() {
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        let lock = Lock::new(0u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        let mut value = lock.lock();
                        let seen = *value;
                        std::hint::black_box(seen);
                        *value = seen + 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 4 * rounds);
    }

    #[test]
    fn a_held_lock_cannot_be_taken_again() {
        let lock = Lock::new(());
        let guard = lock.lock();
        for _ in 0..3 {
            assert!(lock.try_lock().is_none(), "a failed try must leave the lock held");
        }
        assert_eq!(lock.contended(), 3);
        drop(guard);
        assert!(lock.try_lock().is_some());
        drop(lock.lock());
        assert_eq!(lock.contended(), 3, "a free lock counts nothing");
    }

    #[test]
    fn a_wait_with_a_time_limit_ends_without_the_lock() {
        let lock = Lock::new(());
        let guard = lock.lock();
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(lock.lock_within(1).is_none(), "the lock is held"));
        });
        drop(guard);
        assert!(lock.lock_within(1).is_some(), "a wait that ended must not leave the lock held");
        assert!(!crate::os::held::is_inside());
    }

    #[test]
    fn a_waiting_thread_counts_as_contention() {
        let lock = Lock::new(());
        let guard = lock.lock();
        std::thread::scope(|scope| {
            scope.spawn(|| drop(lock.lock()));
            while lock.word.load(Ordering::Relaxed) != WAITED_FOR {
                std::thread::yield_now();
            }
            drop(guard);
        });
        assert_eq!(lock.contended(), 1);
    }
}
