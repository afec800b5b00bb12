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

/// One lock that an allocation or a free may wait for.
const HEAP: usize = 1;
const HEAP_FIELD: usize = 0xffff;
/// The lock of the purges.
const PURGE: usize = 1 << 16;
const PURGE_FIELD: usize = 0xf << 16;
/// The lock of the ticks.
const TICK: usize = 1 << 20;
const TICK_FIELD: usize = 0xf << 20;
/// One fork by a handler that interrupted an operation.
const BLIND_FORK: usize = 1 << 24;
const BLIND_FORK_FIELD: usize = 0xf << 24;

/// One call of the program's function before the memory limit makes an allocation fail.
const ASKING: usize = 1 << 28;
const ASKING_FIELD: usize = 0xf << 28;

const fn weight(rank: u8) -> usize {
    match rank {
        rank::AGEING => TICK,
        rank::PURGING => PURGE,
        _ => HEAP,
    }
}

/// Counts a lock of this rank. Called before the lock is taken.
#[inline(always)]
pub(super) fn enter<const RANK: u8>() {
    Counts::add_to_first(const { weight(RANK) });
}

/// Undoes [`enter`]. Called after the lock was released.
#[inline(always)]
pub(super) fn leave<const RANK: u8>() {
    Counts::add_to_first(const { weight(RANK).wrapping_neg() });
}

/// Returns whether the calling thread is inside an operation of the heap.
#[inline(always)]
pub(crate) fn is_inside() -> bool {
    Counts::first() & HEAP_FIELD != 0
}

/// Counts an operation without a lock of its own: a fork between its handlers, or the end of the
/// process.
pub(crate) fn begin_operation() {
    Counts::add_to_first(HEAP);
}

/// Undoes [`begin_operation`].
pub(crate) fn end_operation() {
    Counts::add_to_first(HEAP.wrapping_neg());
}

/// Returns whether the calling thread holds the lock of the purges.
pub(crate) fn is_purging() -> bool {
    Counts::first() & PURGE_FIELD != 0
}

/// Returns whether the calling thread holds the lock of the ticks.
pub(crate) fn is_ticking() -> bool {
    Counts::first() & TICK_FIELD != 0
}

/// Counts a fork that takes no locks, because its thread may already hold some.
pub(crate) fn begin_blind_fork() {
    Counts::add_to_first(BLIND_FORK);
}

/// Undoes [`begin_blind_fork`] if the latest fork called it; returns whether it did.
pub(crate) fn end_blind_fork() -> bool {
    let was_blind = Counts::first() & BLIND_FORK_FIELD != 0;
    if was_blind {
        Counts::add_to_first(BLIND_FORK.wrapping_neg());
    }
    was_blind
}

/// Notes that the program's function runs that may free memory at the memory limit.
pub(crate) fn begin_asking() {
    Counts::add_to_first(ASKING);
}

/// Undoes [`begin_asking`].
pub(crate) fn end_asking() {
    Counts::add_to_first(ASKING.wrapping_neg());
}

/// Returns whether the calling thread is inside that function.
pub(crate) fn is_asking() -> bool {
    Counts::first() & ASKING_FIELD != 0
}

static_tls! {
    /// The counts in the static TLS block. A signal handler restores them before it returns, so an
    /// addition need not be one instruction.
    struct Counts: [usize; 1] = [0];
    "__hz3_locks_held", ".tbss.hz3_held,\"awT\",%nobits",
    [".zero {bytes}"], [first, add_to_first]
}

#[cfg(test)]
mod tests {
    use super::{is_inside, is_purging, is_ticking, rank};
    use crate::os::lock::Lock;

    #[test]
    fn a_thread_counts_the_locks_that_it_holds() {
        let (bin, purging) =
            (Lock::<_, { rank::BIN }>::new(()), Lock::<_, { rank::PURGING }>::new(()));
        assert!(!is_inside() && !is_purging() && !is_ticking());
        let held = purging.lock();
        assert!(!is_inside() && is_purging() && !is_ticking());
        let inner = bin.lock();
        assert!(is_inside());
        assert!(bin.try_lock().is_none() && is_inside(), "a failed try counts nothing");
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!is_inside() && !is_purging(), "another thread holds nothing"));
        });
        drop(inner);
        assert!(!is_inside() && is_purging());
        drop(held);
        assert!(!is_purging());
    }
}
