//! The two TLS slots of every thread: the cache that its fast path uses, and the cache that it
//! owns.
//!
//! They differ only while the first holds a sentinel: before the first allocation, after the thread
//! has detached, and if calls are counted.
//!
//! The slots lie in the static TLS block. A read is an initial-exec access: two instructions and no
//! call, in a preloaded library as in an executable. Stable Rust has no attribute for that, so
//! assembly defines the slots. Their initial value, the address of the sentinel, is an ordinary
//! relocation.
//!
//! **I-1.** A cache or sentinel that a thread's TLS slots lead to lives for ever. Sentinels are
//! statics; caches lie in mappings that are never unmapped, and stay in the registry.

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
pub(super) use fast::{hot, own, set};
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
pub(super) use portable::{hot, own, set};

use crate::cache::ThreadCache;

/// The sentinel of a thread before its first allocation: every operation misses.
pub(super) static FRESH: ThreadCache = ThreadCache::sentinel();
/// The sentinel of a thread that has detached its cache at its end.
pub(super) static ENDED: ThreadCache = ThreadCache::sentinel();
/// The sentinel for the fast path if every call is counted.
pub(super) static COUNTING: ThreadCache = ThreadCache::sentinel();

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod fast {
    use super::{FRESH, ThreadCache};
    use core::arch::{asm, global_asm};

    /// The symbol of the slots; versioned, so that two versions of the crate can be linked
    /// together.
    macro_rules! symbol {
        () => {
            concat!(
                "__hz3_thread_slots_",
                env!("CARGO_PKG_VERSION_MAJOR"),
                "_",
                env!("CARGO_PKG_VERSION_MINOR")
            )
        };
    }

    global_asm!(
        ".pushsection .tdata.hz3,\"awT\",%progbits",
        ".balign 16",
        concat!(".globl ", symbol!()),
        concat!(".hidden ", symbol!()),
        concat!(".type ", symbol!(), ",%object"),
        concat!(".size ", symbol!(), ",16"),
        concat!(symbol!(), ":"),
        ".quad {fresh}",
        ".quad 0",
        ".popsection",
        fresh = sym FRESH,
    );

    /// Returns the cache that this thread's fast path uses.
    #[inline(always)]
    pub(in super::super) fn hot() -> &'static ThreadCache {
        let cache: *const ThreadCache;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads this thread's first slot.
        unsafe {
            asm!(
                concat!("mov {slot}, qword ptr [rip + ", symbol!(), "@GOTTPOFF]"),
                "mov {slot}, qword ptr fs:[{slot}]",
                slot = out(reg) cache,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: reads this thread's first slot.
        unsafe {
            asm!(
                "mrs {base}, tpidr_el0",
                concat!("adrp {slot}, :gottprel:", symbol!()),
                concat!("ldr {slot}, [{slot}, :gottprel_lo12:", symbol!(), "]"),
                "ldr {slot}, [{base}, {slot}]",
                base = out(reg) _,
                slot = out(reg) cache,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        // SAFETY: I-1: the slot holds a sentinel or a cache, all of which live for ever.
        unsafe { &*cache }
    }

    /// Returns the address of this thread's two slots.
    #[inline]
    fn slots() -> *mut *const ThreadCache {
        let slots: *mut *const ThreadCache;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: adds the thread pointer, which is stored at its own address, to the slots'
        // offset.
        unsafe {
            asm!(
                concat!("mov {slots}, qword ptr [rip + ", symbol!(), "@GOTTPOFF]"),
                "add {slots}, qword ptr fs:[0]",
                slots = out(reg) slots,
                options(pure, readonly, nostack),
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: adds the thread pointer to the slots' offset.
        unsafe {
            asm!(
                "mrs {base}, tpidr_el0",
                concat!("adrp {slots}, :gottprel:", symbol!()),
                concat!("ldr {slots}, [{slots}, :gottprel_lo12:", symbol!(), "]"),
                "add {slots}, {base}, {slots}",
                base = out(reg) _,
                slots = out(reg) slots,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        slots
    }

    /// Returns the cache that this thread owns.
    pub(in super::super) fn own() -> Option<&'static ThreadCache> {
        let second = slots().wrapping_add(1);
        // SAFETY: it is the second slot of this thread, which only this thread accesses.
        let own = unsafe { second.read() };
        // SAFETY: I-1: it holds null or a cache, all of which live for ever.
        unsafe { own.as_ref() }
    }

    /// Sets both slots.
    pub(in super::super) fn set(hot: &'static ThreadCache, own: Option<&'static ThreadCache>) {
        let slots = slots();
        // SAFETY: it is the first slot of this thread, which only this thread accesses.
        unsafe { slots.write(hot) };
        let own = own.map_or(core::ptr::null(), core::ptr::from_ref);
        let second = slots.wrapping_add(1);
        // SAFETY: it is the second slot of this thread, which only this thread accesses.
        unsafe { second.write(own) };
    }
}

#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
mod portable {
    use super::{FRESH, ThreadCache};
    use core::cell::Cell;

    /// The two slots: hot, own.
    type Slots = (Cell<&'static ThreadCache>, Cell<Option<&'static ThreadCache>>);

    std::thread_local! {
        static SLOTS: Slots = const { (Cell::new(&FRESH), Cell::new(None)) };
    }

    /// Returns the cache that this thread's fast path uses.
    #[inline(always)]
    pub(in super::super) fn hot() -> &'static ThreadCache {
        SLOTS.with(|slots| slots.0.get())
    }

    /// Returns the cache that this thread owns.
    pub(in super::super) fn own() -> Option<&'static ThreadCache> {
        SLOTS.with(|slots| slots.1.get())
    }

    /// Sets both slots.
    pub(in super::super) fn set(hot: &'static ThreadCache, own: Option<&'static ThreadCache>) {
        SLOTS.with(|slots| {
            slots.0.set(hot);
            slots.1.set(own);
        });
    }
}
