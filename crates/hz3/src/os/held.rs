//! Counts the heap's locks that the calling thread holds, in one thread-local variable.
//!
//! If a thread calls the heap while it holds one of the heap's locks, the call comes from a handler
//! that interrupted an operation: of a signal, of SIGABRT, at exit or at a fork. Such a call must
//! not wait for a lock. The counts tell it apart and cost one addition when a lock is taken and one
//! when it is released.
//!
//! The locks of purges and ticks are counted apart. During their system calls hooks of other
//! libraries may allocate, and an allocation needs neither of these locks.

use super::rank;
use super::static_tls::static_tls;

/// One of the counts: some bits of the variable.
#[derive(Clone, Copy)]
struct Count {
    /// The amount that one event adds to the variable.
    one: usize,
    mask: usize,
}

impl Count {
    /// The count in `bits` bits from bit `first` on.
    const fn at(first: u32, bits: u32) -> Count {
        Count { one: 1 << first, mask: ((1 << bits) - 1) << first }
    }

    const fn of_lock(rank: u8) -> Count {
        match rank {
            rank::AGEING => TICKS,
            rank::PURGING => PURGES,
            _ => OPERATIONS,
        }
    }

    #[inline(always)]
    fn add(self) {
        Variable::add_to_first(self.one);
    }

    #[inline(always)]
    fn subtract(self) {
        Variable::add_to_first(self.one.wrapping_neg());
    }

    #[inline(always)]
    fn is_above_0(self) -> bool {
        Variable::first() & self.mask != 0
    }

    /// Subtracts unless the count is 0; returns whether it did.
    fn subtract_if_above_0(self) -> bool {
        let is_above_0 = self.is_above_0();
        if is_above_0 {
            self.subtract();
        }
        is_above_0
    }
}

/// The locks that an allocation or a free may wait for, and operations without a lock.
const OPERATIONS: Count = Count::at(0, 16);
/// The lock of the purges.
const PURGES: Count = Count::at(16, 4);
/// The lock of the ticks.
const TICKS: Count = Count::at(20, 4);
/// Forks by a handler that interrupted an operation.
const BLIND_FORKS: Count = Count::at(24, 4);
/// Calls of the program's function before the memory limit makes an allocation fail.
const ASKINGS: Count = Count::at(28, 4);
/// Forks of a process with one thread.
const LONE_FORKS: Count = Count::at(32, 4);

/// Counts a lock of this rank. Called before the lock is taken.
#[inline(always)]
pub(super) fn enter<const RANK: u8>() {
    const { Count::of_lock(RANK) }.add();
}

/// Undoes [`enter`]. Called after the lock was released.
#[inline(always)]
pub(super) fn leave<const RANK: u8>() {
    const { Count::of_lock(RANK) }.subtract();
}

/// Returns whether the calling thread is inside an operation of the heap.
#[inline(always)]
pub(crate) fn is_inside() -> bool {
    OPERATIONS.is_above_0()
}

/// Counts an operation without a lock of its own: a fork between its handlers, or the end of the
/// process.
pub(crate) fn begin_operation() {
    OPERATIONS.add();
}

/// Undoes [`begin_operation`].
pub(crate) fn end_operation() {
    OPERATIONS.subtract();
}

/// Returns whether the calling thread holds the lock of the purges.
pub(crate) fn is_purging() -> bool {
    PURGES.is_above_0()
}

/// Returns whether the calling thread holds the lock of the ticks.
pub(crate) fn is_ticking() -> bool {
    TICKS.is_above_0()
}

/// Returns whether the calling thread holds the lock of the purges or that of the ticks: a hook of
/// another library allocates during a system call of theirs.
#[inline(always)]
pub(crate) fn is_reclaiming() -> bool {
    Variable::first() & (PURGES.mask | TICKS.mask) != 0
}

/// Counts a fork that takes no locks, because its thread may already hold some.
pub(crate) fn begin_blind_fork() {
    BLIND_FORKS.add();
}

/// Undoes [`begin_blind_fork`] if the latest fork called it; returns whether it did.
pub(crate) fn end_blind_fork() -> bool {
    BLIND_FORKS.subtract_if_above_0()
}

/// Returns whether the calling thread holds no lock and is inside no operation, except such forks
/// as [`begin_lone_fork`] counts.
pub(crate) fn is_at_rest() -> bool {
    Variable::first() & !LONE_FORKS.mask == 0
}

/// Returns whether the calling thread is inside a fork that takes no locks because the process has
/// one thread.
pub(crate) fn is_in_lone_fork() -> bool {
    LONE_FORKS.is_above_0()
}

/// Counts a fork that takes no locks, because no other thread can be inside the heap.
pub(crate) fn begin_lone_fork() {
    LONE_FORKS.add();
}

/// Undoes [`begin_lone_fork`] if the latest fork called it; returns whether it did.
pub(crate) fn end_lone_fork() -> bool {
    LONE_FORKS.subtract_if_above_0()
}

/// Notes that this thread runs the program's function that makes room at the memory limit.
pub(crate) fn begin_asking() {
    ASKINGS.add();
}

/// Undoes [`begin_asking`].
pub(crate) fn end_asking() {
    ASKINGS.subtract();
}

/// Returns whether the calling thread is inside that function.
pub(crate) fn is_asking() -> bool {
    ASKINGS.is_above_0()
}

static_tls! {
    /// The counts in the static TLS block. A signal handler restores them before it returns, so an
    /// addition need not be one instruction.
    struct Variable: [usize; 1] = [0];
    "__hz3_locks_held", ".tbss.hz3_held,\"awT\",%nobits",
    [".zero {bytes}"], [first, add_to_first]
}

#[cfg(test)]
mod tests {
    use super::{is_inside, is_purging, is_reclaiming, is_ticking, rank};
    use crate::os::lock::Lock;

    #[test]
    fn a_thread_counts_the_locks_that_it_holds() {
        let (bin, purging) =
            (Lock::<_, { rank::BIN }>::new(()), Lock::<_, { rank::PURGING }>::new(()));
        assert!(!is_inside() && !is_reclaiming() && !is_purging() && !is_ticking());
        let held = purging.lock();
        assert!(!is_inside() && is_reclaiming() && is_purging() && !is_ticking());
        let inner = bin.lock();
        assert!(is_inside());
        assert!(bin.try_lock().is_none() && is_inside(), "a failed try counts nothing");
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!is_inside() && !is_purging(), "another thread holds nothing"));
        });
        drop(inner);
        assert!(!is_inside() && is_purging());
        drop(held);
        assert!(!is_purging() && !is_reclaiming());
        let held = Lock::<_, { rank::AGEING }>::new(());
        let held = held.lock();
        assert!(is_reclaiming() && is_ticking() && !is_purging());
        drop(held);
        assert!(!is_reclaiming());
    }
}
