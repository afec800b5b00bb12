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

/// One lock that an allocation or a free may wait for.
const HEAP: u32 = 1;
const HEAP_FIELD: u32 = 0xffff;
/// The lock of the purges.
const PURGE: u32 = 1 << 16;
const PURGE_FIELD: u32 = 0xf << 16;
/// The lock of the ticks.
const TICK: u32 = 1 << 20;
const TICK_FIELD: u32 = 0xf << 20;
/// One fork by a handler that interrupted an operation.
const BLIND_FORK: u32 = 1 << 24;
const BLIND_FORK_FIELD: u32 = 0xf << 24;

const fn weight(rank: u8) -> u32 {
    match rank {
        rank::AGEING => TICK,
        rank::PURGING => PURGE,
        _ => HEAP,
    }
}

/// Counts a lock of this rank. Called before the lock is taken.
#[inline(always)]
pub(super) fn enter<const RANK: u8>() {
    add(const { weight(RANK) });
}

/// Undoes [`enter`]. Called after the lock was released.
#[inline(always)]
pub(super) fn leave<const RANK: u8>() {
    add(const { weight(RANK).wrapping_neg() });
}

/// Returns whether the calling thread is inside an operation of the heap.
#[inline(always)]
pub(crate) fn is_inside() -> bool {
    counts() & HEAP_FIELD != 0
}

/// Counts an operation without a lock of its own: a fork between its handlers, or the end of the
/// process.
pub(crate) fn begin_operation() {
    add(HEAP);
}

/// Undoes [`begin_operation`].
pub(crate) fn end_operation() {
    add(HEAP.wrapping_neg());
}

/// Returns whether the calling thread holds the lock of the purges.
pub(crate) fn is_purging() -> bool {
    counts() & PURGE_FIELD != 0
}

/// Returns whether the calling thread holds the lock of the ticks.
pub(crate) fn is_ticking() -> bool {
    counts() & TICK_FIELD != 0
}

/// Counts a fork that takes no locks, because its thread may already hold some.
pub(crate) fn begin_blind_fork() {
    add(BLIND_FORK);
}

/// Undoes [`begin_blind_fork`] if the latest fork called it; returns whether it did.
pub(crate) fn end_blind_fork() -> bool {
    let was_blind = counts() & BLIND_FORK_FIELD != 0;
    if was_blind {
        add(BLIND_FORK.wrapping_neg());
    }
    was_blind
}

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
use fast::{add, counts};
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
use portable::{add, counts};

/// The counts in the static TLS block, like the slots of `thread/tls.rs`. A signal handler restores
/// them before it returns, so an addition need not be one instruction.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod fast {
    use core::arch::{asm, global_asm};

    /// The symbol of the counts; versioned, so that two versions of the crate can be linked
    /// together.
    macro_rules! symbol {
        () => {
            concat!(
                "__hz3_locks_held_",
                env!("CARGO_PKG_VERSION_MAJOR"),
                "_",
                env!("CARGO_PKG_VERSION_MINOR")
            )
        };
    }

    global_asm!(
        ".pushsection .tbss.hz3_held,\"awT\",%nobits",
        ".balign 4",
        concat!(".globl ", symbol!()),
        concat!(".hidden ", symbol!()),
        concat!(".type ", symbol!(), ",%object"),
        concat!(".size ", symbol!(), ",4"),
        concat!(symbol!(), ":"),
        ".zero 4",
        ".popsection",
    );

    /// Adds to the counts. The compiler moves no memory access across it.
    #[inline(always)]
    pub(super) fn add(amount: u32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: changes this thread's counts.
        unsafe {
            asm!(
                concat!("mov {at}, qword ptr [rip + ", symbol!(), "@GOTTPOFF]"),
                "add dword ptr fs:[{at}], {amount:e}",
                at = out(reg) _,
                amount = in(reg) amount,
                options(nostack),
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: changes this thread's counts.
        unsafe {
            asm!(
                "mrs {base}, tpidr_el0",
                concat!("adrp {at}, :gottprel:", symbol!()),
                concat!("ldr {at}, [{at}, :gottprel_lo12:", symbol!(), "]"),
                "ldr {sum:w}, [{base}, {at}]",
                "add {sum:w}, {sum:w}, {amount:w}",
                "str {sum:w}, [{base}, {at}]",
                base = out(reg) _,
                at = out(reg) _,
                sum = out(reg) _,
                amount = in(reg) amount,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Returns this thread's counts.
    #[inline(always)]
    pub(super) fn counts() -> u32 {
        let counts: u32;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads this thread's counts.
        unsafe {
            asm!(
                concat!("mov {counts:r}, qword ptr [rip + ", symbol!(), "@GOTTPOFF]"),
                "mov {counts:e}, dword ptr fs:[{counts:r}]",
                counts = out(reg) counts,
                options(readonly, nostack, preserves_flags),
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: reads this thread's counts.
        unsafe {
            asm!(
                "mrs {base}, tpidr_el0",
                concat!("adrp {counts:x}, :gottprel:", symbol!()),
                concat!("ldr {counts:x}, [{counts:x}, :gottprel_lo12:", symbol!(), "]"),
                "ldr {counts:w}, [{base}, {counts:x}]",
                base = out(reg) _,
                counts = out(reg) counts,
                options(readonly, nostack, preserves_flags),
            );
        }
        counts
    }
}

#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
mod portable {
    use core::cell::Cell;

    std::thread_local! {
        static COUNTS: Cell<u32> = const { Cell::new(0) };
    }

    pub(super) fn add(amount: u32) {
        COUNTS.with(|counts| counts.set(counts.get().wrapping_add(amount)));
    }

    pub(super) fn counts() -> u32 {
        COUNTS.with(Cell::get)
    }
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
