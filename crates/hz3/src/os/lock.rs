//! A lock of one word that spins briefly and then sleeps in the kernel, and counts how often it was
//! met held.
//!
//! It never allocates, has no owner (so a forked child can release what the parent's thread
//! took), and is not fair. States: 0 free, 1 held, 2 held and somebody may sleep.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(not(miri))]
use super::syscall::syscall;

const FREE: u32 = 0;
const HELD: u32 = 1;
const WAITED_FOR: u32 = 2;
/// Tries before sleeping. Critical sections are a few hundred nanoseconds; a futex wait costs
/// some microseconds.
const SPINS: u32 = 100;

/// A value behind a futex lock.
pub(crate) struct Lock<T> {
    word: AtomicU32,
    /// How often somebody met it held. Written by those alone, so a lock that nobody meets held pays
    /// nothing for it.
    contended: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: the lock word admits one guard at a time (acquire on lock, release on unlock), so the
// value is never accessed by two threads at once.
unsafe impl<T: Send> Sync for Lock<T> {}

/// Access to the value of a held [`Lock`]; releases it on drop.
#[must_use = "the lock is released at once when the guard is dropped"]
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Lock<T> {
        let (word, contended) = (AtomicU32::new(FREE), AtomicU64::new(0));
        Lock { word, contended, value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.acquire();
        Guard { lock: self }
    }

    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        // Acquire pairs with the release swap in `release`.
        let taken = self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            self.note_contended();
            return None;
        }
        Some(Guard { lock: self })
    }

    /// How often the lock was met held: waited for, or passed over by [`Lock::try_lock`].
    pub(crate) fn contended(&self) -> u64 {
        self.contended.load(Ordering::Relaxed)
    }

    #[cold]
    fn note_contended(&self) {
        self.contended.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the lock without a guard, for the fork protocol. [`Lock::release`] ends it.
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
        // Acquire pairs with the release swap in `release`.
        while self.word.swap(WAITED_FOR, Ordering::Acquire) != FREE {
            futex_wait(&self.word, WAITED_FOR);
        }
    }

    /// Releases a lock taken by [`Lock::acquire`], perhaps by the parent of this process.
    pub(crate) fn release(&self) {
        // Release pairs with every acquire above.
        if self.word.swap(FREE, Ordering::Release) == WAITED_FOR {
            futex_wake_one(&self.word);
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: a guard exists only while its thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: a guard exists only while its thread holds the lock, and is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.release();
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("word", &self.word).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

/// Sleeps while `word` holds `value`. Returns early on a signal or without a reason.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32) {
    futex(word, libc::FUTEX_WAIT, value);
}

/// Wakes one thread that sleeps on the word.
pub(crate) fn futex_wake_one(word: &AtomicU32) {
    futex(word, libc::FUTEX_WAKE, 1);
}

/// A futex call without a time limit, on a word of this process.
#[cfg(not(miri))]
fn futex(word: &AtomicU32, operation: c_int, value: u32) {
    let operation = (operation | libc::FUTEX_PRIVATE_FLAG).cast_unsigned() as usize;
    let arguments = [word.as_ptr().expose_provenance(), operation, value as usize, 0, 0, 0];
    // SAFETY: the word outlives the call; the kernel compares it or uses its address as a key.
    let _ = unsafe { syscall(libc::SYS_futex, arguments) };
}

/// The same for Miri, which knows the call by the C library's function and checks the types.
#[cfg(miri)]
fn futex(word: &AtomicU32, operation: c_int, value: u32) {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let forever = core::ptr::null::<libc::timespec>();
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, forever) };
}

#[cfg(test)]
mod tests {
    use super::{Lock, Ordering, WAITED_FOR};

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
    fn a_held_lock_cannot_be_taken() {
        let lock = Lock::new(());
        let guard = lock.lock();
        for _ in 0..3 {
            assert!(lock.try_lock().is_none(), "a failed try must leave the lock held");
        }
        assert_eq!(lock.contended(), 3);
        drop(guard);
        assert!(lock.try_lock().is_some());
        drop(lock.lock());
        assert_eq!(lock.contended(), 3, "a free lock was not met held");
    }

    #[test]
    fn who_waits_is_counted() {
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
