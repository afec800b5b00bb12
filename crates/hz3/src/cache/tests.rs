//! Caches without a heap: misses, overflows, the registry, and steals by other threads.

use core::ptr::NonNull;
use std::vec::Vec;

use super::refill::AlreadyCached;
use super::stand::{SIZE, Stand};
use crate::base::size_class::SizeClass;
use crate::options::{Config, Within};

fn class() -> SizeClass {
    SizeClass::of_size(SIZE)
}

#[test]
fn a_miss_fetches_a_batch_and_returns_one_block_of_it() {
    let stand = Stand::new(&Config::new().cache_length(Within::new(8).expect("in range")));
    let cache = stand.cache();
    let first = stand.take(cache, class());
    assert_eq!(cache.stack(class()).len(), 3);
    assert_eq!(cache.counts.refills.load(core::sync::atomic::Ordering::Relaxed), 1);
    for _ in 0..3 {
        stand.take(cache, class());
    }
    assert_eq!(cache.counts.refills.load(core::sync::atomic::Ordering::Relaxed), 1);
    // The first free of a class takes the slow path, which looks the block up and disarms the
    // stack.
    stand.free(cache, class(), first);
    assert_eq!((cache.stack(class()).capacity(), cache.stack(class()).len()), (8, 1));
    stand.validate();
}

#[test]
fn an_overflow_flushes_old_blocks_and_keeps_the_new_one() {
    let stand = Stand::new(&Config::new());
    let cache = stand.cache();
    let blocks: Vec<_> = (0..2000).map(|_| stand.take(cache, class())).collect();
    for &block in &blocks {
        stand.free(cache, class(), block);
    }
    let stack = cache.stack(class());
    assert!(stack.len() <= stack.capacity() && stack.capacity() < 2000);
    assert_eq!(unsafe { stack.pop() }, blocks.last().map(|block| block.as_ptr()));
    let held = stack.len() as u64;
    assert_eq!(
        stand.central.slab_counts().used_bytes / 1024,
        held + 1 + stand.central.transfer_bytes() / 1024
    );
    stand.validate();
}

#[test]
fn an_overflow_reports_a_double_free_of_the_newest_block() {
    let stand = Stand::new(&Config::new());
    let cache = stand.cache();
    let (first, block) = (stand.take(cache, class()), stand.take(cache, class()));
    // The first free of a class disarms its stack.
    stand.free(cache, class(), first);
    while cache.stack(class()).len() < cache.stack(class()).capacity() - 1 {
        assert!(unsafe { cache.stack(class()).push(stand_in(&stand)) });
    }
    stand.free(cache, class(), block);
    let again = unsafe { cache.overflow(stand.below(), class(), block.as_ptr()) };
    assert_eq!(again, Err(AlreadyCached));
}

/// A block straight from central.
fn stand_in(stand: &Stand) -> *mut u8 {
    let slot = [crate::central::Slot::default()];
    assert_eq!(stand.central.fetch(&stand.segments, class(), &slot), 1);
    slot[0].load(core::sync::atomic::Ordering::Relaxed)
}

#[test]
fn a_drained_cache_holds_no_bytes_and_serves_again() {
    let stand = Stand::new(&Config::new());
    let cache = stand.cache();
    stand.use_cache(cache, 300);
    unsafe { cache.drain(stand.below()) };
    assert_eq!(cache.cached_bytes(), 0);
    stand.use_cache(cache, 300);
    stand.validate();
}

#[test]
fn shrink_to_initial_keeps_a_few_blocks_and_works_once() {
    let stand = Stand::new(&Config::new());
    let cache = stand.cache();
    let before = stand.use_cache(cache, 1000);
    unsafe { cache.shrink_to_initial(stand.below()) };
    let after = cache.cached_bytes();
    assert!(0 < after && after < before / 4, "{before} {after}");
    unsafe { cache.shrink_to_initial(stand.below()) };
    assert_eq!(cache.cached_bytes(), after, "a second call does nothing");
    stand.validate();
}

#[test]
fn a_thief_skips_a_cache_whose_owner_is_in_its_slow_path() {
    let stand = Stand::new(&Config::new());
    let cache = stand.cache();
    let held = stand.use_cache(cache, 100);
    {
        let _slow_path = cache.cold.lock();
        assert_eq!(cache.steal(stand.below()), None);
    }
    assert_eq!(cache.steal(stand.below()), Some(held));
    assert_eq!(cache.cached_bytes(), 0);
    stand.validate();
}

#[test]
fn one_cache_of_an_ended_thread_per_cpu_keeps_its_few_blocks() {
    let stand = Stand::new(&Config::new());
    let (first, second) = (stand.cache(), stand.cache());
    assert_eq!(stand.registry.in_use(), 2);
    let held = [first, second].map(|cache| stand.use_cache(cache, 4));
    unsafe { stand.registry.release(first, stand.below()) };
    unsafe { stand.registry.release(second, stand.below()) };
    assert_eq!(stand.registry.in_use(), 0);
    assert_eq!(
        (first.cached_bytes(), second.cached_bytes()),
        (held[0], 0),
        "one cache per CPU keeps its blocks"
    );
    let next = [stand.cache(), stand.cache()];
    assert!(next.iter().any(|cache| core::ptr::eq(*cache, first)), "unused caches are reused");
    assert!(next.iter().any(|cache| core::ptr::eq(*cache, second)));
    stand.validate();
}

#[test]
fn a_cache_with_many_blocks_is_drained_when_its_thread_ends() {
    let stand = Stand::new(&Config::new());
    let cache = stand.cache();
    assert!(stand.use_cache(cache, 1000) > 96 * 1024);
    unsafe { stand.registry.release(cache, stand.below()) };
    assert_eq!(cache.cached_bytes(), 0);
    assert_eq!(stand.registry.granted().load(core::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn steal_idle_empties_idle_caches_except_the_callers_own() {
    let stand = Stand::new(&Config::new());
    let (own, busy, idle) = (stand.cache(), stand.cache(), stand.cache());
    let held: Vec<u64> = [own, busy, idle].map(|cache| stand.use_cache(cache, 100)).to_vec();
    let first = stand.registry.steal_idle(stand.below(), Some(own));
    assert_eq!((first.active, first.bytes), (2, 0));
    stand.take(busy, SizeClass::of_size(16));
    let second = stand.registry.steal_idle(stand.below(), Some(own));
    assert_eq!((second.active, second.bytes), (1, held[2]));
    assert_eq!(own.cached_bytes(), held[0]);
    let rest = stand.registry.steal_all_but(Some(own), stand.below());
    assert!(rest >= held[1] && own.cached_bytes() == held[0]);
    assert_eq!(stand.registry.cached_bytes(), held[0]);
}

#[test]
fn a_forked_child_takes_back_the_caches_of_the_other_threads() {
    let stand = Stand::new(&Config::new());
    let (own, other) = (stand.cache(), stand.cache());
    let held = stand.use_cache(own, 100);
    stand.use_cache(other, 100);
    // The other thread was in a failed pop: it has lowered its `top` already.
    assert!(unsafe { other.stack(SizeClass::of_size(32)).pop() }.is_none());
    stand.registry.adopt_orphans(Some(own), stand.below());
    assert_eq!((stand.registry.in_use(), own.cached_bytes(), other.cached_bytes()), (1, held, 0));
    let next = stand.cache();
    assert!(core::ptr::eq(next, other));
    let block: NonNull<u8> = stand.take(next, SizeClass::of_size(32));
    stand.free(next, SizeClass::of_size(32), block);
    stand.validate();
}
