//! All thread caches of the process: to hand one to a new thread, and to walk them.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::below::Below;
use super::{CACHE_BYTES, ThreadCache};
use crate::base::list::List;
use crate::base::units::to_usize;
use crate::options::Config;
#[cfg(any(test, feature = "check"))]
use crate::os::held;
use crate::os::lock::Lock;
use crate::os::{Os, rank};

/// All caches together may hold this many bytes before each one's share shrinks.
const SHARED_LIMIT: usize = 128 * 1024 * 1024;
/// A cache may hold this many bytes even among very many.
const LEAST_LIMIT: usize = 512 * 1024;

/// A cache with at most this many bytes of blocks may keep them for the next thread; one a list.
const WARM_BYTES: u64 = 96 * 1024;
/// So many caches without a thread may keep the memory of their slots.
const UNUSED_WITH_MEMORY: usize = 64;
/// Lists of unused caches; a power of two.
const LISTS: usize = 16;

/// The caches. Those of ended threads wait in a list for the next thread.
#[derive(Debug)]
pub(crate) struct Registry {
    all: List<ThreadCache>,
    /// By the CPU on which a thread ended, so that the next thread there finds the cache's lines
    /// in that CPU's cache.
    unused: [Lock<Unused, { rank::UNUSED }>; LISTS],
    /// Held while a new cache is published.
    publication: Lock<(), { rank::PUBLICATION }>,
    in_use: AtomicUsize,
    created: AtomicUsize,
    /// See [`Below::granted`].
    granted: AtomicU64,
    limit_bytes: usize,
    /// Blocks of each class that a cache starts with; `None`: few, by size.
    first_blocks: Option<usize>,
}

/// What the caches of idle threads held.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idle {
    pub(crate) bytes: u64,
    /// Caches whose threads ran slow paths meanwhile.
    pub(crate) active: usize,
}

/// Caches without a thread; linked by `ThreadCache::next_unused`.
#[derive(Debug)]
struct Unused(*mut ThreadCache);

// SAFETY: the pointer leads to caches, which live for ever and are `Sync`.
unsafe impl Send for Unused {}

impl Unused {
    fn push(&mut self, cache: &ThreadCache) {
        cache.next_unused.store(self.0, Ordering::Relaxed);
        self.0 = core::ptr::from_ref(cache).cast_mut();
    }
}

impl Registry {
    pub(crate) fn new(config: &Config) -> Registry {
        Registry {
            all: List::new(),
            unused: [const { Lock::new(Unused(core::ptr::null_mut())) }; LISTS],
            publication: Lock::new(()),
            in_use: AtomicUsize::new(0),
            created: AtomicUsize::new(0),
            granted: AtomicU64::new(0),
            limit_bytes: config.thread_cache_bytes,
            first_blocks: config.cache_length.map(|blocks| to_usize(blocks.get())),
        }
    }

    /// Number of caches that belong to a thread.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Bytes that all caches may hold together.
    pub(crate) fn granted(&self) -> &AtomicU64 {
        &self.granted
    }

    /// A cache for the calling thread; `None` when there is no memory for one.
    pub(crate) fn acquire<O: Os>(&self, below: Below<'_, O>) -> Option<&ThreadCache> {
        let list = below.segments.os().cpu() % LISTS;
        let cache = match self.reuse(list) {
            Some(cache) => cache,
            None => self.create(below)?,
        };
        let threads = self.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        let share = (SHARED_LIMIT / threads).max(LEAST_LIMIT);
        let mut cold = cache.cold.lock();
        cold.capacity.set_limit(self.limit_bytes.min(share));
        cold.capacity.set_first(self.first_blocks);
        cache.runs.set_limit(self.limit_bytes.min(share));
        drop(cold);
        Some(cache)
    }

    /// An unused cache, from this list first.
    fn reuse(&self, list: usize) -> Option<&ThreadCache> {
        (0..LISTS).find_map(|step| {
            let mut unused = self.unused[(list + step) % LISTS].lock();
            // SAFETY: the list holds caches, which live for ever.
            let cache = unsafe { unused.0.as_ref() }?;
            unused.0 = cache.next_unused.load(Ordering::Relaxed);
            Some(cache)
        })
    }

    /// Not inlined: a cache is put together on the stack, which would otherwise cost every new thread a
    /// page of its stack.
    #[cold]
    #[inline(never)]
    fn create<O: Os>(&self, below: Below<'_, O>) -> Option<&ThreadCache> {
        let os = below.segments.os();
        let bytes = CACHE_BYTES.next_multiple_of(os.page_size());
        let mapping = os.map(bytes, os.page_size())?;
        let arena = below.segments.arena();
        let class_map = below.segments.class_map();
        self.created.fetch_add(1, Ordering::Relaxed);
        // SAFETY: a fresh mapping of that length, which is never unmapped.
        let cache = unsafe { ThreadCache::create(mapping, arena.base(), arena.bytes(), class_map) };
        // SAFETY: the cache is fresh: it holds nothing and belongs to nobody.
        unsafe { cache.reset(&mut cache.cold.lock(), true) };
        // The list has one writer at a time.
        let _publication = self.publication.lock();
        self.all.push(cache);
        Some(cache)
    }

    /// Takes a cache back from a thread that ends. Its blocks go back to central, unless they are
    /// few and no cache waits on this CPU: then they wait with it for the next thread, as a
    /// thread that comes and goes would otherwise fetch and flush a batch of every class. The
    /// reclaimer empties it like any idle cache.
    ///
    /// # Safety
    /// The cache came from [`Registry::acquire`] and its owner does not use it any more.
    pub(crate) unsafe fn release<O: Os>(&self, cache: &ThreadCache, below: Below<'_, O>) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        let list = &self.unused[below.segments.os().cpu() % LISTS];
        {
            let mut unused = list.lock();
            if unused.0.is_null() && cache.cached_bytes() <= WARM_BYTES {
                unused.push(cache);
                return;
            }
        }
        // SAFETY: the owner is the caller, who is done with it.
        unsafe { cache.retire(below) };
        if self.created.load(Ordering::Relaxed) - self.in_use() > UNUSED_WITH_MEMORY {
            // SAFETY: it has no owner and was just retired.
            unsafe { cache.purge_slots(below.segments.os()) };
        }
        list.lock().push(cache);
    }

    /// How often the lock of a cache was met held.
    pub(crate) fn contended(&self) -> u64 {
        self.iter().map(|cache| cache.cold.contended()).sum()
    }

    /// All caches, with and without a thread.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static ThreadCache> + use<> {
        self.all.iter()
    }

    /// Bytes of the blocks and runs in all caches; a hint.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.iter().map(ThreadCache::cached_bytes).sum()
    }

    /// Empties the caches of threads without a slow path since the last call, but for `own`.
    pub(crate) fn steal_idle<O: Os>(&self, below: Below<'_, O>, own: Option<&ThreadCache>) -> Idle {
        let mut idle = Idle::default();
        for cache in self.all_but(own) {
            if cache.was_active() {
                idle.active += 1;
            } else if cache.cached_bytes() > 0 {
                // Without membarrier a cache cannot be stolen, so it does not count as remaining work.
                idle.bytes += cache.steal(below).unwrap_or(0);
            }
        }
        idle
    }

    /// Empties the classes that their threads, at work in others, did not want since the last call.
    /// Returns the bytes.
    pub(crate) fn steal_idle_classes<O: Os>(&self, below: Below<'_, O>) -> u64 {
        self.iter().filter_map(|cache| cache.steal_idle_classes(below)).sum()
    }

    /// Empties all caches but `own`. Returns the bytes.
    pub(crate) fn steal_all_but<O: Os>(
        &self,
        own: Option<&ThreadCache>,
        below: Below<'_, O>,
    ) -> u64 {
        let filled = self.all_but(own).filter(|cache| cache.cached_bytes() > 0);
        filled.filter_map(|cache| cache.steal(below)).sum()
    }

    fn all_but(&self, own: Option<&ThreadCache>) -> impl Iterator<Item = &'static ThreadCache> {
        self.iter().filter(move |cache| !own.is_some_and(|own| core::ptr::eq(own, *cache)))
    }

    /// Takes the registry's lock and every cache's, for fork.
    pub(crate) fn acquire_all(&self) {
        self.publication.acquire();
        for list in &self.unused {
            list.acquire();
        }
        for cache in self.iter() {
            cache.cold.acquire();
        }
    }

    /// Releases what [`Registry::acquire_all`] took, perhaps in a forked child.
    pub(crate) fn release_all(&self) {
        for cache in self.iter() {
            cache.cold.release();
        }
        for list in &self.unused {
            list.release();
        }
        self.publication.release();
    }

    /// Checks the sum of what the caches may hold, I-2 of all stacks as far as their owners leave them
    /// alone, and that `own`, the caller's cache, is one of the registry's (I-1); panics on a
    /// breach. Other threads may be at work.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn validate(&self, own: Option<&ThreadCache>) {
        // A signal handler that comes meanwhile must not wait for these locks, which are uncounted.
        held::begin_operation();
        self.acquire_all();
        let mut granted = 0;
        for cache in self.iter() {
            // SAFETY: `acquire_all` took the lock, which `release_all` ends.
            granted += unsafe { cache.cold.held_value() }.capacity.granted_bytes();
            cache.validate_stacks();
        }
        let sum = self.granted.load(Ordering::Relaxed);
        let is_known = own.is_none_or(|own| self.iter().any(|other| core::ptr::eq(own, other)));
        self.release_all();
        held::end_operation();
        assert_eq!(sum, granted, "bytes granted");
        assert!(is_known, "I-1: a cache that is not in the registry");
    }

    /// In a forked child: takes the caches of the threads that did not come along, all but `own`.
    pub(crate) fn adopt_orphans<O: Os>(&self, own: Option<&ThreadCache>, below: Below<'_, O>) {
        for list in &self.unused {
            list.lock().0 = core::ptr::null_mut();
        }
        for cache in self.all_but(own) {
            // SAFETY: the thread that owned the cache does not exist in this process; a block
            // that it was just popping or pushing is lost, never had twice.
            unsafe { cache.retire(below) };
            self.unused[0].lock().push(cache);
        }
        self.in_use.store(usize::from(own.is_some()), Ordering::Relaxed);
    }
}
