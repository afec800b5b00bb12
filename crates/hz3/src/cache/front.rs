//! The calling thread's way in: its own cache, or central before its first call and after its end.

use core::marker::PhantomData;
use core::ops::Deref;

use super::ThreadCache;

/// The calling thread's way in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Front<'a> {
    /// The calling thread's own cache.
    Cache(OwnCache<'a>),
    /// The thread has no cache; it exchanges single blocks with central.
    Direct,
}

impl<'a> Front<'a> {
    /// Returns the thread's own cache, if it has one.
    pub(crate) fn cache(self) -> Option<OwnCache<'a>> {
        match self {
            Front::Cache(cache) => Some(cache),
            Front::Direct => None,
        }
    }
}

/// A cache that the calling thread owns. The type proves it: a value cannot leave its thread, and
/// only unsafe code makes one. So the owner's operations are safe functions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnCache<'a> {
    cache: &'a ThreadCache,
    /// A raw pointer is not `Send`.
    stays_on_thread: PhantomData<*const ()>,
}

impl<'a> OwnCache<'a> {
    /// Takes a cache as the calling thread's.
    ///
    /// # Safety
    /// The calling thread owns the cache as long as a copy of the result is used.
    pub(crate) unsafe fn new(cache: &'a ThreadCache) -> OwnCache<'a> {
        OwnCache { cache, stays_on_thread: PhantomData }
    }

    /// Returns the cache as every thread may use it.
    pub(crate) fn shared(self) -> &'a ThreadCache {
        self.cache
    }

    /// Returns whether it is this cache.
    pub(crate) fn is(self, cache: &ThreadCache) -> bool {
        core::ptr::eq(self.cache, cache)
    }
}

impl Deref for OwnCache<'_> {
    type Target = ThreadCache;

    fn deref(&self) -> &ThreadCache {
        self.cache
    }
}
