//! The two TLS slots of every thread: the cache that its fast path uses, and the cache that it
//! owns. And a count of frees before it has one.
//!
//! They differ only while the first holds a sentinel: before the first allocation, after the thread
//! has detached, and if calls are counted.
//!
//! The slots lie in the static TLS block (`os/static_tls.rs`), so a read takes two instructions and
//! no call. Their initial value, the address of the sentinel, is an ordinary relocation.
//!
//! **I-1.** A cache or sentinel that a thread's TLS slots lead to lives for ever. Sentinels are
//! statics; caches lie in mappings that are never unmapped, and stay in the registry.

use core::ptr;

use crate::cache::{OwnCache, ThreadCache};
use crate::os::static_tls::static_tls;

/// The sentinel of a thread before its first allocation: every operation misses.
pub(super) static FRESH: ThreadCache = ThreadCache::sentinel();
/// The sentinel of a thread that has detached its cache at its end.
pub(super) static ENDED: ThreadCache = ThreadCache::sentinel();
/// The sentinel for the fast path if every call is counted.
pub(super) static COUNTING: ThreadCache = ThreadCache::sentinel();

static_tls! {
    /// The two slots: hot, own.
    struct Slots: [*const ThreadCache; 2] = [&raw const FRESH, ptr::null()];
    "__hz3_thread_slots", ".tdata.hz3,\"awT\",%progbits",
    [".quad {fresh}", ".quad 0"; fresh = sym FRESH], [first]
}

static_tls! {
    /// The frees of a thread that has not allocated yet.
    struct EarlyFrees: [usize; 1] = [0];
    "__hz3_early_frees", ".tbss.hz3_early_frees,\"awT\",%nobits",
    [".zero {bytes}"], [first, add_to_first]
}

/// Counts a free of a thread that has not allocated yet; returns how many there were before.
pub(super) fn count_early_free() -> usize {
    let before = EarlyFrees::first();
    EarlyFrees::add_to_first(1);
    before
}

/// Returns the cache that this thread's fast path uses.
#[inline(always)]
pub(super) fn hot() -> &'static ThreadCache {
    // SAFETY: I-1: the slot holds a sentinel or a cache, all of which live for ever.
    unsafe { &*Slots::first() }
}

/// Returns the cache that this thread owns.
pub(super) fn own() -> Option<OwnCache<'static>> {
    let second = Slots::address().wrapping_add(1);
    // SAFETY: it is the second slot of this thread, which only this thread accesses.
    let own = unsafe { second.read() };
    // SAFETY: I-1: it holds null or a cache, all of which live for ever.
    let own = unsafe { own.as_ref() }?;
    // SAFETY: `set` writes only a cache that this thread owns, and null before the thread detaches.
    Some(unsafe { OwnCache::new(own) })
}

/// Sets both slots.
pub(super) fn set(hot: &'static ThreadCache, own: Option<OwnCache<'static>>) {
    let slots = Slots::address();
    // SAFETY: it is the first slot of this thread, which only this thread accesses.
    unsafe { slots.write(hot) };
    let second = slots.wrapping_add(1);
    // SAFETY: it is the second slot of this thread, which only this thread accesses.
    unsafe { second.write(own.map_or(ptr::null(), |own| ptr::from_ref(own.shared()))) };
}
