//! What the calling thread holds of the heap's locks: one thread-local word of counts.
//!
//! A thread that calls the heap while it holds one of its locks is a signal handler on top of an
//! operation, or a handler of SIGABRT, at exit or at a fork. It must not wait for a lock. The word
//! tells it, at the price of one addition when a lock is taken and one when it is released.
//!
//! Purges and ticks are counted apart: during their system calls other libraries may run hooks that
//! allocate, which no lock that an allocation wants stands against.

use super::rank;

/// One lock that an allocation or a free may want.
const HEAP: u32 = 1;
const HEAP_FIELD: u32 = 0xffff;
/// The lock of the purges.
const PURGE: u32 = 1 << 16;
const PURGE_FIELD: u32 = 0xf << 16;
/// The lock of the ticks.
const TICK: u32 = 1 << 20;
const TICK_FIELD: u32 = 0xf << 20;
/// A fork from on top of an operation.
const BLIND_FORK: u32 = 1 << 24;
const BLIND_FORK_FIELD: u32 = 0xf << 24;

const fn weight(rank: u8) -> u32 {
    match rank {
        rank::AGEING => TICK,
        rank::PURGING => PURGE,
        _ => HEAP,
    }
}

/// Counts a lock of this rank, before it is taken.
#[inline(always)]
pub(super) fn enter<const RANK: u8>() {
    add(const { weight(RANK) });
}

/// Ends [`enter`], after the lock was released.
#[inline(always)]
pub(super) fn leave<const RANK: u8>() {
    add(const { weight(RANK).wrapping_neg() });
}

/// Whether the calling thread is inside an operation of the heap.
#[inline(always)]
pub(crate) fn is_inside() -> bool {
    counts() & HEAP_FIELD != 0
}

/// Counts an operation that no lock stands for: a fork between its handlers, or the end of the
/// process.
pub(crate) fn begin_operation() {
    add(HEAP);
}

/// Ends [`begin_operation`].
pub(crate) fn end_operation() {
    add(HEAP.wrapping_neg());
}

/// Whether the calling thread holds the lock of the purges.
pub(crate) fn is_purging() -> bool {
    counts() & PURGE_FIELD != 0
}

/// Whether the calling thread holds the lock of the ticks.
pub(crate) fn is_ticking() -> bool {
    counts() & TICK_FIELD != 0
}

/// Notes a fork that takes no locks, as its thread holds some.
pub(crate) fn begin_blind_fork() {
    add(BLIND_FORK);
}

/// Ends the latest fork if it was such a one. Returns whether it was.
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

/// The word in the static TLS block, as those of `thread/word.rs`. A signal handler leaves it as it
/// found it, so an addition need not be one instruction.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod fast {
    use core::arch::{asm, global_asm};

    /// The symbol of the word; versioned, so that two versions of the crate can be linked together.
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

    /// Adds to the word. The compiler moves no access of memory across it.
    #[inline(always)]
    pub(super) fn add(amount: u32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: changes this thread's word.
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
        // SAFETY: changes this thread's word.
        unsafe {
            asm!(
                "mrs {base}, tpidr_el0",
                concat!("adrp {at}, :gottprel:", symbol!()),
                concat!("ldr {at}, [{at}, :gottprel_lo12:", symbol!(), "]"),
                "ldr {word:w}, [{base}, {at}]",
                "add {word:w}, {word:w}, {amount:w}",
                "str {word:w}, [{base}, {at}]",
                base = out(reg) _,
                at = out(reg) _,
                word = out(reg) _,
                amount = in(reg) amount,
                options(nostack, preserves_flags),
            );
        }
    }

    /// The word.
    #[inline(always)]
    pub(super) fn counts() -> u32 {
        let counts: u32;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads this thread's word.
        unsafe {
            asm!(
                concat!("mov {counts:r}, qword ptr [rip + ", symbol!(), "@GOTTPOFF]"),
                "mov {counts:e}, dword ptr fs:[{counts:r}]",
                counts = out(reg) counts,
                options(readonly, nostack, preserves_flags),
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: reads this thread's word.
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
    fn a_thread_knows_what_it_holds() {
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
