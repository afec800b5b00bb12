//! The two words that every thread has: the cache that its hot path uses, and the cache it owns.
//!
//! They differ only while the first is a sentinel: before the first allocation, after the thread's
//! end, and when calls are counted.
//!
//! The words live in the static TLS block and are read by initial-exec accesses: two instructions
//! and no call, in a preloaded library as in an executable. Stable Rust has no attribute for that,
//! so the words are defined in assembly; their initial value, the address of the sentinel, is a
//! relocation like that of any pointer in initialised data.
//!
//! **I-1.** A cache or sentinel that a thread's words lead to lives for ever. Sentinels are
//! statics; caches lie in mappings that are never unmapped, and stay in the registry.

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
pub(super) use fast::{hot, own, set};
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
pub(super) use portable::{hot, own, set};

use crate::cache::ThreadCache;

/// What a thread's words hold before its first allocation: every operation misses.
pub(super) static FRESH: ThreadCache = ThreadCache::sentinel();
/// What they hold once the thread's cache was taken back at its end.
pub(super) static ENDED: ThreadCache = ThreadCache::sentinel();
/// What the hot path sees when every call is counted.
pub(super) static COUNTING: ThreadCache = ThreadCache::sentinel();

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod fast {
    use super::{FRESH, ThreadCache};
    use core::arch::{asm, global_asm};

    /// The symbol of the words; versioned, so that two versions of the crate can be linked
    /// together.
    macro_rules! symbol {
        () => {
            concat!(
                "__hz3_thread_words_",
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

    /// The hot word.
    #[inline(always)]
    pub(in super::super) fn hot() -> &'static ThreadCache {
        let cache: *const ThreadCache;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads this thread's first word.
        unsafe {
            asm!(
                concat!("mov {word}, qword ptr [rip + ", symbol!(), "@GOTTPOFF]"),
                "mov {word}, qword ptr fs:[{word}]",
                word = out(reg) cache,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: reads this thread's first word.
        unsafe {
            asm!(
                "mrs {base}, tpidr_el0",
                concat!("adrp {word}, :gottprel:", symbol!()),
                concat!("ldr {word}, [{word}, :gottprel_lo12:", symbol!(), "]"),
                "ldr {word}, [{base}, {word}]",
                base = out(reg) _,
                word = out(reg) cache,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        // SAFETY: I-1: the word holds a sentinel or a cache, all of which live for ever.
        unsafe { &*cache }
    }

    /// The address of the two words.
    #[inline]
    fn words() -> *mut *const ThreadCache {
        let words: *mut *const ThreadCache;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: adds the thread's base, which its first word holds, to the words' offset.
        unsafe {
            asm!(
                concat!("mov {words}, qword ptr [rip + ", symbol!(), "@GOTTPOFF]"),
                "add {words}, qword ptr fs:[0]",
                words = out(reg) words,
                options(pure, readonly, nostack),
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: adds the thread's base to the words' offset.
        unsafe {
            asm!(
                "mrs {base}, tpidr_el0",
                concat!("adrp {words}, :gottprel:", symbol!()),
                concat!("ldr {words}, [{words}, :gottprel_lo12:", symbol!(), "]"),
                "add {words}, {base}, {words}",
                base = out(reg) _,
                words = out(reg) words,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        words
    }

    /// The cache that this thread owns.
    pub(in super::super) fn own() -> Option<&'static ThreadCache> {
        let second = words().wrapping_add(1);
        // SAFETY: the second word of this thread, which only this thread accesses.
        let own = unsafe { second.read() };
        // SAFETY: I-1: it holds null or a cache, all of which live for ever.
        unsafe { own.as_ref() }
    }

    /// Sets both words.
    pub(in super::super) fn set(hot: &'static ThreadCache, own: Option<&'static ThreadCache>) {
        let words = words();
        // SAFETY: the first word of this thread, which only this thread accesses.
        unsafe { words.write(hot) };
        let own = own.map_or(core::ptr::null(), core::ptr::from_ref);
        let second = words.wrapping_add(1);
        // SAFETY: the second word of this thread.
        unsafe { second.write(own) };
    }
}

#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
mod portable {
    use super::{FRESH, ThreadCache};
    use core::cell::Cell;

    /// The two words: hot, own.
    type Words = (Cell<&'static ThreadCache>, Cell<Option<&'static ThreadCache>>);

    std::thread_local! {
        static WORDS: Words = const { (Cell::new(&FRESH), Cell::new(None)) };
    }

    /// The hot word.
    #[inline(always)]
    pub(in super::super) fn hot() -> &'static ThreadCache {
        WORDS.with(|words| words.0.get())
    }

    /// The cache that this thread owns.
    pub(in super::super) fn own() -> Option<&'static ThreadCache> {
        WORDS.with(|words| words.1.get())
    }

    /// Sets both words.
    pub(in super::super) fn set(hot: &'static ThreadCache, own: Option<&'static ThreadCache>) {
        WORDS.with(|words| {
            words.0.set(hot);
            words.1.set(own);
        });
    }
}
