//! Caches without a heap: misses, overflows, the registry, and steals by other threads.

use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use std::vec::Vec;

use super::OwnCache;
use super::fixture::{Fixture, SIZE, finish_sealed_pop, pop, pop_sealed, push};
use super::refill::AlreadyCached;
use super::registry::MANY_IN_USE;
use crate::base::size_class::SizeClass;
use crate::options::{Config, Within};

fn class() -> SizeClass {
    SizeClass::of_size(SIZE)
}

#[test]
fn a_miss_fetches_a_batch_and_returns_one_block_of_it() {
    let fixture = Fixture::new(&Config::new().cache_length(Within::new(8).expect("in range")));
    let cache = fixture.cache();
    let first = fixture.take(cache, class());
    assert_eq!(cache.stack(class()).len(), 3);
    assert_eq!(cache.counts.refills.load(Ordering::Relaxed), 1);
    for _ in 0..3 {
        fixture.take(cache, class());
    }
    assert_eq!(cache.counts.refills.load(Ordering::Relaxed), 1);
    // The first free of a class takes the slow path, which looks the block up and disarms the
    // stack.
    fixture.free(cache, class(), first);
    assert_eq!((cache.stack(class()).capacity(), cache.stack(class()).len()), (8, 1));
    fixture.validate();
}

#[test]
fn an_overflow_flushes_old_blocks_and_keeps_the_new_one() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    let blocks: Vec<_> = (0..2000).map(|_| fixture.take(cache, class())).collect();
    for &block in &blocks {
        fixture.free(cache, class(), block);
    }
    let stack = cache.stack(class());
    assert!(stack.len() <= stack.capacity() && stack.capacity() < 2000);
    assert_eq!(pop(cache, class()), blocks.last().map(|block| block.as_ptr()));
    let held = stack.len() as u64;
    assert_eq!(
        fixture.central.slab_counts(|_, _, _| {}).used_bytes / 1024,
        held + 1 + fixture.transfers.waiting_bytes() / 1024
    );
    fixture.validate();
}

#[test]
fn an_overflow_reports_a_double_free_of_the_newest_block() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    let (first, block) = (fixture.take(cache, class()), fixture.take(cache, class()));
    // The first free of a class disarms its stack.
    fixture.free(cache, class(), first);
    while cache.stack(class()).len() < cache.stack(class()).capacity() - 1 {
        assert!(push(cache, class(), stand_in(&fixture)));
    }
    fixture.free(cache, class(), block);
    let again = fixture.overflow(cache, class(), block.as_ptr());
    assert_eq!(again, Err(AlreadyCached));
}

/// Returns a block straight from central.
fn stand_in(fixture: &Fixture) -> *mut u8 {
    let slot = [crate::base::sync::Slot::default()];
    assert_eq!(fixture.below().fetch(class(), &slot), 1);
    slot[0].load(Ordering::Relaxed)
}

#[test]
fn a_drained_cache_holds_no_bytes_and_serves_again() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    fixture.use_cache(cache, 300);
    cache.drain(fixture.below());
    assert_eq!(cache.cached_bytes(), 0);
    fixture.use_cache(cache, 300);
    fixture.validate();
}

#[test]
fn shrink_to_initial_keeps_a_few_blocks_and_works_once() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    let before = fixture.use_cache(cache, 1000);
    cache.shrink_to_initial(fixture.below());
    let after = cache.cached_bytes();
    assert!(0 < after && after < before / 4, "{before} {after}");
    cache.shrink_to_initial(fixture.below());
    assert_eq!(cache.cached_bytes(), after, "a second call does nothing");
    fixture.validate();
}

#[test]
fn a_thief_skips_a_cache_whose_owner_is_in_its_slow_path() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    let held = fixture.use_cache(cache, 100);
    {
        let _slow_path = cache.cold.lock();
        assert_eq!(cache.steal(fixture.below()), None);
    }
    assert_eq!(cache.steal(fixture.below()), Some(held));
    assert_eq!(cache.cached_bytes(), 0);
    fixture.validate();
}

#[test]
fn one_cache_of_an_ended_thread_per_cpu_keeps_its_few_blocks() {
    let fixture = Fixture::new(&Config::new());
    let (first, second) = (fixture.cache(), fixture.cache());
    assert_eq!(fixture.registry.in_use(), 2);
    let held = [first, second].map(|cache| fixture.use_cache(cache, 4));
    fixture.end(first);
    fixture.end(second);
    assert_eq!(fixture.registry.in_use(), 0);
    assert_eq!(
        (first.cached_bytes(), second.cached_bytes()),
        (held[0], 0),
        "one cache per CPU keeps its blocks"
    );
    let next = [fixture.cache(), fixture.cache()];
    assert!(next.iter().any(|cache| cache.is(&first)), "unused caches are reused");
    assert!(next.iter().any(|cache| cache.is(&second)));
    fixture.validate();
}

/// The number of the thread whose cache a test takes back.
const GONE: u32 = 3;

/// Makes many caches, of the threads 1, 2, 3 and so on. That of [`GONE`] has blocks.
fn many_caches(fixture: &Fixture) -> Vec<OwnCache<'_>> {
    let caches: Vec<_> = (0..MANY_IN_USE).map(|_| fixture.cache()).collect();
    for (cache, id) in caches.iter().zip(1..) {
        cache.counts.owner.store(id, Ordering::Relaxed);
        if id == GONE {
            fixture.use_cache(*cache, 100);
        }
    }
    caches
}

#[test]
fn caches_of_threads_that_are_gone_are_taken_back_if_there_are_many() {
    let fixture = Fixture::new(&Config::new());
    let caches = many_caches(&fixture);
    let take_back = |is_gone: &dyn Fn(u32) -> bool| {
        (0..MANY_IN_USE).for_each(|_| fixture.registry.take_back(fixture.below(), is_gone));
        fixture.registry.in_use()
    };
    assert_eq!(take_back(&|_| false), MANY_IN_USE);
    // It may have ended in a signal handler, inside an operation.
    let held = caches[2].cold.lock();
    assert_eq!(take_back(&|id| id == GONE), MANY_IN_USE);
    drop(held);
    assert_eq!(take_back(&|id| id == GONE), MANY_IN_USE - 1);
    assert_eq!(caches[2].cached_bytes(), 0);
    assert_eq!(take_back(&|_| true), MANY_IN_USE - 1, "there are not many");
    assert!(fixture.cache().is(&caches[2]), "it is reused");
    fixture.validate();
}

/// Of a thread and the one that takes its cache back, one makes it an unused cache.
#[test]
fn a_thread_with_the_number_of_one_that_is_gone_keeps_its_cache_or_gives_it_up_once() {
    for ends in [false, true] {
        let fixture = Fixture::new(&Config::new());
        let caches = many_caches(&fixture);
        let own = caches[2];
        let asked = Cell::new(0);
        let is_gone = |id| {
            asked.set(asked.get() + u32::from(id == GONE));
            if id == GONE && asked.get() == 2 && ends {
                fixture.end(own);
            }
            id == GONE && asked.get() == 1
        };
        for _ in 0..MANY_IN_USE {
            fixture.registry.take_back(fixture.below(), is_gone);
        }
        assert_eq!(fixture.registry.in_use(), MANY_IN_USE - usize::from(ends));
        assert_eq!(own.cached_bytes() == 0, ends);
        let owner = own.counts.owner.load(Ordering::Relaxed);
        assert_eq!(owner, if ends { 0 } else { GONE });
        let next = [fixture.cache(), fixture.cache()];
        assert_eq!(next.iter().filter(|cache| cache.is(&own)).count(), usize::from(ends));
        fixture.validate();
    }
}

#[test]
fn a_cache_with_many_blocks_is_drained_when_its_thread_ends() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    assert!(fixture.use_cache(cache, 1000) > 96 * 1024);
    fixture.end(cache);
    assert_eq!(cache.cached_bytes(), 0);
    assert_eq!(fixture.registry.granted().load(Ordering::Relaxed), 0);
}

#[test]
fn steal_idle_empties_idle_caches_except_the_callers_own() {
    let fixture = Fixture::new(&Config::new());
    let (own, busy, idle) = (fixture.cache(), fixture.cache(), fixture.cache());
    let held: Vec<u64> = [own, busy, idle].map(|cache| fixture.use_cache(cache, 100)).to_vec();
    let first = fixture.registry.steal_idle(fixture.below(), Some(own));
    assert_eq!((first.active, first.bytes), (2, 0));
    fixture.take(busy, SizeClass::of_size(16));
    let second = fixture.registry.steal_idle(fixture.below(), Some(own));
    assert_eq!((second.active, second.bytes), (1, held[2]));
    assert_eq!(own.cached_bytes(), held[0]);
    let rest = fixture.registry.steal_all_but(Some(own), fixture.below());
    assert!(rest >= held[1] && own.cached_bytes() == held[0]);
    assert_eq!(fixture.registry.cached_bytes(), held[0]);
}

#[test]
fn a_forked_child_takes_back_the_caches_of_the_other_threads() {
    let fixture = Fixture::new(&Config::new());
    let (own, other) = (fixture.cache(), fixture.cache());
    let held = fixture.use_cache(own, 100);
    fixture.use_cache(other, 100);
    // The other thread was in a failed pop: it has lowered its `top` already.
    assert!(pop(other, SizeClass::of_size(32)).is_none());
    fixture.registry.adopt_orphans(Some(own), fixture.below());
    assert_eq!((fixture.registry.in_use(), own.cached_bytes(), other.cached_bytes()), (1, held, 0));
    let next = fixture.cache();
    assert!(next.is(&other));
    let block: NonNull<u8> = fixture.take(next, SizeClass::of_size(32));
    fixture.free(next, SizeClass::of_size(32), block);
    fixture.validate();
}

#[test]
fn a_sealed_cache_misses_on_every_pop_and_serves_the_same_blocks() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    fixture.use_cache(cache, 100);
    let (held, stack) = (cache.cached_bytes(), cache.stack(class()));
    fixture.registry.set_sealed(true);
    for _ in 0..2 {
        assert_eq!(pop(cache, class()), None, "a sealed stack");
        let block = finish_sealed_pop(cache, class()).expect("the newest block");
        assert!(push(cache, class(), block), "a free hits");
        assert_eq!(pop_sealed(cache, class()), Some(block));
        assert!(push(cache, class(), block));
    }
    assert_eq!(cache.cached_bytes(), held);
    fixture.validate();
    // A cache that is stolen from, drained and reused stays sealed; a new one is sealed at birth.
    assert_eq!(cache.steal(fixture.below()), Some(held));
    assert_eq!(pop_sealed(cache, class()), None);
    stack.undo_pop();
    fixture.end(cache);
    for cache in [fixture.cache(), fixture.cache()] {
        fixture.use_cache(cache, 10);
        assert_eq!(pop(cache, class()), None);
        cache.stack(class()).undo_pop();
    }
    fixture.validate();
    fixture.registry.set_sealed(false);
    fixture.use_cache(cache, 10);
    assert!(pop(cache, class()).is_some(), "a stack that is no longer sealed");
    fixture.validate();
}
