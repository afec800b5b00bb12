//! The registry of all thread caches: gives one to each new thread, and visits all of them.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use super::below::Below;
use super::{CACHE_BYTES, OwnCache, ThreadCache};
use crate::base::list::List;
use crate::base::units::to_usize;
use crate::options::Config;
#[cfg(any(test, feature = "check"))]
use crate::os::held;
use crate::os::lock::Lock;
use crate::os::{Os, rank};

/// All caches share this many bytes evenly as their limits, but none gets less than [`MIN_LIMIT`].
const TOTAL_LIMIT: usize = 128 * 1024 * 1024;
/// The least limit of a cache, in bytes, however many threads there are.
const MIN_LIMIT: usize = 512 * 1024;

/// Bytes that the cache of an ended thread may keep for the next thread; one cache per list.
const MAX_WARM_BYTES: u64 = 96 * 1024;
/// Unused caches whose slots may stay resident.
const MAX_UNUSED_WITH_SLOTS: usize = 64;
/// Lists of unused caches; a power of two.
const LISTS: usize = 16;
/// From this many caches in use on, those of threads that ended without a word are looked for.
pub(super) const MANY_IN_USE: usize = if cfg!(test) { 4 } else { 64 };
/// Caches that one such search looks at.
const LOOKED_AT: usize = 2;
/// Stands for the owner of a cache while [`Registry::take_back`] finds out whether it exists. No
/// thread has this number.
const BEING_TAKEN: u32 = u32::MAX;

/// All caches. Those of ended threads wait in lists for the next thread.
#[derive(Debug)]
pub(crate) struct Registry {
    all: List<ThreadCache>,
    /// Lists of unused caches, chosen by the CPU on which the thread ended. A new thread on that
    /// CPU finds their lines in the CPU's cache.
    unused: [Lock<Unused, { rank::UNUSED }>; LISTS],
    /// Held while a new cache enters `all`, which takes one writer at a time. It guards the cache
    /// at which the next [`Registry::take_back`] begins.
    publication: Lock<Option<&'static ThreadCache>, { rank::PUBLICATION }>,
    in_use: AtomicUsize,
    created: AtomicUsize,
    /// Backs [`Below::granted`].
    granted: AtomicU64,
    /// Whether the heap profile runs, so that the stacks of all caches are sealed.
    sealed: AtomicBool,
    limit_bytes: usize,
    /// Initial capacity of each class, in blocks; `None`: by size.
    initial_blocks: Option<usize>,
}

/// The result of [`Registry::steal_idle`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FromIdle {
    /// Bytes that were stolen.
    pub(crate) bytes: u64,
    /// Caches whose threads ran slow paths since the last call.
    pub(crate) active: usize,
}

/// The first of a list of caches without threads, linked by `ThreadCache::next_unused`; or null.
#[derive(Debug)]
struct Unused(*mut ThreadCache);

// SAFETY: the pointer leads to a cache, which is never unmapped and is `Sync`.
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
            publication: Lock::new(None),
            in_use: AtomicUsize::new(0),
            created: AtomicUsize::new(0),
            granted: AtomicU64::new(0),
            sealed: AtomicBool::new(false),
            limit_bytes: config.thread_cache_bytes,
            initial_blocks: config.cache_length.map(|blocks| to_usize(blocks.get())),
        }
    }

    /// Returns how many caches have a thread.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Returns the sum of the capacities of all caches, in bytes.
    pub(crate) fn granted(&self) -> &AtomicU64 {
        &self.granted
    }

    /// Returns a cache for the calling thread; `None` if there is no memory for one.
    pub(crate) fn attach<O: Os>(&self, below: Below<'_, O>) -> Option<OwnCache<'_>> {
        let list = below.segments.os().cpu() % LISTS;
        let cache = match self.reuse(list) {
            Some(cache) => cache,
            None => self.create(below)?,
        };
        let threads = self.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        let share = (TOTAL_LIMIT / threads).max(MIN_LIMIT);
        let mut cold = cache.cold.lock();
        cold.capacity.set_limit(self.limit_bytes.min(share));
        cold.capacity.set_initial(self.initial_blocks);
        cache.runs.set_limit(self.limit_bytes.min(share));
        // Pairs with the fence in `set_sealed`: either this thread sees the flag, or that one finds
        // this cache in the list.
        fence(Ordering::SeqCst);
        cache.set_sealed(&mut cold, self.is_sealed());
        drop(cold);
        // SAFETY: the cache is new or was unused, so no other thread owns it.
        Some(unsafe { OwnCache::new(cache) })
    }

    /// Returns whether the stacks of all caches are sealed; see [`Registry::set_sealed`].
    #[inline]
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Seals the stacks of all present and future caches, or ends that. Waits for the slow path of
    /// each owner. The caller keeps two such calls apart.
    pub(crate) fn set_sealed(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Relaxed);
        // Pairs with the fence in `attach`.
        fence(Ordering::SeqCst);
        for cache in self.iter() {
            cache.set_sealed(&mut cache.cold.lock(), sealed);
        }
    }

    /// Takes an unused cache from list number `list` or, if that is empty, from another.
    fn reuse(&self, list: usize) -> Option<&ThreadCache> {
        (0..LISTS).find_map(|step| {
            let mut unused = self.unused[(list + step) % LISTS].lock();
            // SAFETY: the list holds caches, which are never unmapped.
            let cache = unsafe { unused.0.as_ref() }?;
            unused.0 = cache.next_unused.load(Ordering::Relaxed);
            Some(cache)
        })
    }

    /// Maps a new cache.
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
        // SAFETY: the cache is new: it holds no blocks and no thread owns it.
        unsafe { cache.reset(&mut cache.cold.lock(), true) };
        let _publication = self.publication.lock();
        self.all.push(cache);
        Some(cache)
    }

    /// Takes a cache back from a thread that ends.
    ///
    /// The blocks go back to central, unless they are few and this CPU's list is empty. Then they
    /// stay for the next thread, because a short thread would otherwise fetch and flush a batch of
    /// every class. The reclaimer empties such a cache like any idle one.
    ///
    /// # Safety
    /// The thread does not use its cache, which came from [`Registry::attach`], any more.
    pub(crate) unsafe fn detach<O: Os>(&self, own: OwnCache<'_>, below: Below<'_, O>) {
        let cache = own.shared();
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        // Release pairs with the acquire swap in `take_back_if_gone`, which goes on here.
        if cache.counts.owner.swap(0, Ordering::Release) == BEING_TAKEN {
            return;
        }
        let list = &self.unused[below.segments.os().cpu() % LISTS];
        {
            let mut unused = list.lock();
            if unused.0.is_null() && cache.cached_bytes() <= MAX_WARM_BYTES {
                unused.push(cache);
                return;
            }
        }
        // SAFETY: the caller promises that the thread does not use it any more.
        unsafe { cache.drain_and_reset(below) };
        if self.created.load(Ordering::Relaxed) - self.in_use() > MAX_UNUSED_WITH_SLOTS {
            // SAFETY: no thread owns the cache, and `drain_and_reset` has reset its stacks.
            unsafe { cache.purge_slots(below.segments.os()) };
        }
        list.lock().push(cache);
    }

    /// Takes back the caches of threads that ended without [`Registry::detach`]: by a bare exit, or
    /// because their first allocation came in the last round of the destructors of thread keys.
    ///
    /// Looks at a few caches, and only in a process with many. `is_gone` returns whether the thread
    /// with this number does not exist any more.
    pub(crate) fn take_back<O: Os>(&self, below: Below<'_, O>, is_gone: impl Fn(u32) -> bool) {
        if self.in_use() < MANY_IN_USE {
            return;
        }
        let Some(mut next) = self.publication.try_lock() else { return };
        for _ in 0..LOOKED_AT {
            let Some(cache) = next.or_else(|| self.all.iter().next()) else { return };
            *next = List::after(cache);
            self.take_back_if_gone(cache, below, &is_gone);
        }
    }

    fn take_back_if_gone<O: Os>(
        &self,
        cache: &'static ThreadCache,
        below: Below<'_, O>,
        is_gone: &impl Fn(u32) -> bool,
    ) {
        let owner = &cache.counts.owner;
        let id = owner.load(Ordering::Relaxed);
        // A thread that ended inside an operation may have left the lock held.
        if id == 0 || !is_gone(id) || cache.cold.try_lock().is_none() {
            return;
        }
        if owner.compare_exchange(id, BEING_TAKEN, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // It has given its cache back since.
            return;
        }
        // It may also have done that before the exchange, and a new thread with its number has got
        // the cache. From now on such a thread leaves the cache to this one when it ends.
        if !is_gone(id)
            && owner.compare_exchange(BEING_TAKEN, id, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            return;
        }
        // Acquire pairs with the release swap in `detach`.
        if owner.swap(0, Ordering::Acquire) == BEING_TAKEN {
            self.in_use.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: the thread that owned the cache does not exist, or gave it up in `detach`.
        unsafe { cache.end_interrupted() };
        // SAFETY: as above.
        unsafe { cache.drain_and_reset(below) };
        self.unused[0].lock().push(cache);
    }

    /// Returns how often a thread found the lock of a cache held.
    pub(crate) fn contended(&self) -> u64 {
        self.iter().map(|cache| cache.cold.contended()).sum()
    }

    /// Iterates over all caches, with and without a thread.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static ThreadCache> + use<> {
        self.all.iter()
    }

    /// Returns the bytes of the blocks and runs in all caches; a hint.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.iter().map(ThreadCache::cached_bytes).sum()
    }

    /// Empties the caches, except `own`, whose threads ran no slow path since the last call.
    pub(crate) fn steal_idle<O: Os>(
        &self,
        below: Below<'_, O>,
        own: Option<OwnCache<'_>>,
    ) -> FromIdle {
        let mut idle = FromIdle::default();
        for cache in self.all_but(own) {
            if cache.take_activity() {
                idle.active += 1;
            } else if cache.cached_bytes() > 0 {
                // Without membarrier a cache cannot be stolen, so it does not count as remaining
                // work.
                idle.bytes += cache.steal(below).unwrap_or(0);
            }
        }
        idle
    }

    /// Empties the classes of every cache without a slow path since the last call. Returns the
    /// bytes.
    pub(crate) fn steal_idle_classes<O: Os>(&self, below: Below<'_, O>) -> u64 {
        self.iter().filter_map(|cache| cache.steal_idle_classes(below)).sum()
    }

    /// Empties all caches except `own`. Returns the bytes.
    pub(crate) fn steal_all_but<O: Os>(
        &self,
        own: Option<OwnCache<'_>>,
        below: Below<'_, O>,
    ) -> u64 {
        let filled = self.all_but(own).filter(|cache| cache.cached_bytes() > 0);
        filled.filter_map(|cache| cache.steal(below)).sum()
    }

    fn all_but(&self, own: Option<OwnCache<'_>>) -> impl Iterator<Item = &'static ThreadCache> {
        self.iter().filter(move |cache| !own.is_some_and(|own| own.is(cache)))
    }

    /// Takes all locks of the registry and of every cache, for fork.
    pub(crate) fn acquire_all(&self) {
        self.publication.acquire();
        for list in &self.unused {
            list.acquire();
        }
        for cache in self.iter() {
            cache.cold.acquire();
        }
    }

    /// Releases the locks that [`Registry::acquire_all`] took, in the parent or the forked child.
    pub(crate) fn release_all(&self) {
        for cache in self.iter() {
            cache.cold.release();
        }
        for list in &self.unused {
            list.release();
        }
        self.publication.release();
    }

    /// Checks the sum of the capacities, and of all stacks the parts of I-2 that hold while their
    /// owners run. Also checks that `own`, the caller's cache, is in the registry (I-1). Panics on
    /// a breach.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn validate(&self, own: Option<OwnCache<'_>>) {
        // `Lock::acquire` does not count the locks, so this marks the operation: a signal handler
        // must not wait for them.
        held::begin_operation();
        self.acquire_all();
        let mut granted = 0;
        for cache in self.iter() {
            // SAFETY: `acquire_all` took the lock, which `release_all` ends.
            granted += unsafe { cache.cold.held_value() }.capacity.granted_bytes();
            cache.validate_stacks();
        }
        let sum = self.granted.load(Ordering::Relaxed);
        let is_known = own.is_none_or(|own| self.iter().any(|other| own.is(other)));
        self.release_all();
        held::end_operation();
        assert_eq!(sum, granted, "the sum of all capacities");
        assert!(is_known, "I-1: a cache that is not in the registry");
    }

    /// In a forked child: takes back all caches except `own`, because their threads do not exist
    /// here.
    pub(crate) fn adopt_orphans<O: Os>(&self, own: Option<OwnCache<'_>>, below: Below<'_, O>) {
        for list in &self.unused {
            list.lock().0 = core::ptr::null_mut();
        }
        for cache in self.all_but(own) {
            cache.counts.owner.store(0, Ordering::Relaxed);
            // SAFETY: the thread that owned the cache does not exist in this process.
            unsafe { cache.end_interrupted() };
            // SAFETY: as above. A block that it had just popped is lost, and so is one of which a
            // push had written the slot alone; none is handed out twice.
            unsafe { cache.drain_and_reset(below) };
            self.unused[0].lock().push(cache);
        }
        self.in_use.store(usize::from(own.is_some()), Ordering::Relaxed);
    }
}
