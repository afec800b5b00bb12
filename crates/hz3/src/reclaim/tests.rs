//! Tests of reclaim over the layers below it, without a heap: the memory that each scope takes, and
//! when the driver acts.

use core::num::NonZero;
use core::sync::atomic::Ordering;
use std::vec::Vec;

use super::driver::Turns;
use super::pass::{self, HoleScope, PageScope, Scope};
use super::purge::Purger;
use super::source::{BlockScope, Layers, Source};
use super::{Next, Reclaim};
use crate::base::size_class::SizeClass;
use crate::base::sync::Slot;
use crate::base::units::{self, PAGE_BYTES, SEGMENT_BYTES, SEGMENT_PAGES, to_u64};
use crate::cache::Front;
use crate::cache::fixture::{self, Fixture};
use crate::options::{Background, Config, Limit, Policy};
use crate::os::fake::{Fake, Refusals};
use crate::segment::meta::Age;
use crate::segment::pages::Fit;
use crate::stats::Stats;

fn layers<'a>(fixture: &'a Fixture, front: Front<'a>) -> Layers<'a, Fake> {
    Layers::new(&fixture.registry, fixture.below(), front)
}

fn direct(fixture: &Fixture) -> Layers<'_, Fake> {
    layers(fixture, Front::Direct)
}

fn class() -> SizeClass {
    SizeClass::of_size(fixture::SIZE)
}

#[test]
fn a_pass_over_everything_leaves_nothing() {
    let fixture = Fixture::new(&Config::new());
    let (own, other) = (fixture.cache(), fixture.cache());
    fixture.use_cache(own, 500);
    let stolen = fixture.use_cache(other, 500);
    fixture.dirty_segments(1);
    let purger = Purger::new();
    let moved = pass::run(layers(&fixture, Front::Cache(own)), &purger, Scope::all_but(0));
    // The blocks that flushes had left in the transfer caches came back too.
    assert!(moved.caches.bytes == stolen && moved.slabs.bytes > 0, "{moved:?}");
    assert_eq!(fixture.registry.cached_bytes() + fixture.transfers.waiting_bytes(), 0);
    assert_eq!((fixture.central.slab_counts(|_, _, _| {}).slabs, fixture.dirty()), (0, 0));
    assert!(moved.purged_pages() > 0);
}

#[test]
fn a_pass_may_keep_pages() {
    let fixture = Fixture::new(&Config::new());
    fixture.dirty_segments(1);
    let moved = pass::run(direct(&fixture), &Purger::new(), Scope::all_but(100 * PAGE_BYTES + 7));
    assert_eq!((fixture.dirty(), moved.purged_pages()), (100, u64::from(SEGMENT_PAGES) - 100));
}

#[test]
fn making_room_empties_caches_and_purges_nothing() {
    let fixture = Fixture::new(&Config::new());
    let (own, other) = (fixture.cache(), fixture.cache());
    fixture.use_cache(own, 500);
    let kept = fixture.use_cache(other, 500);
    let own_only =
        pass::run(layers(&fixture, Front::Cache(own)), &Purger::new(), Scope::OWN_BLOCKS);
    assert_eq!((own.cached_bytes(), other.cached_bytes()), (0, kept));
    let all = pass::run(layers(&fixture, Front::Cache(own)), &Purger::new(), Scope::EVERY_BLOCK);
    assert_eq!(fixture.registry.cached_bytes() + fixture.transfers.waiting_bytes(), 0);
    assert_eq!(fixture.central.slab_counts(|_, _, _| {}).slabs, 0);
    assert!(own_only.purged_pages() == 0 && all.purged_pages() == 0 && fixture.dirty() > 0);
}

#[test]
fn the_second_tick_empties_an_idle_cache() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    fixture.use_cache(cache, 100);
    let tick = || pass::run(direct(&fixture), &Purger::new(), Scope::IDLE);
    let first = tick();
    assert!(first.caches.is_active && cache.cached_bytes() > 0, "its thread was at work");
    let second = tick();
    assert!(!second.caches.is_active && second.caches.bytes > 0, "{second:?}");
    assert_eq!(cache.cached_bytes(), 0);
}

#[test]
fn a_tick_takes_the_classes_that_a_busy_thread_does_not_use() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    let held = fixture.use_cache(cache, 100);
    let tick = || pass::run(direct(&fixture), &Purger::new(), Scope::IDLE);
    tick();
    let other = SizeClass::of_size(16);
    assert!(fixture::pop(cache, other).is_none());
    assert!(fixture.refill(cache, other).is_some());
    let moved = tick();
    assert_eq!((moved.caches.is_active, moved.caches.idle_class_bytes), (true, held));
    assert!(cache.stack(other).len() > 0, "the class in use stays");
}

#[test]
fn the_second_ageing_purges_free_pages() {
    let fixture = Fixture::new(&Config::new());
    fixture.dirty_segments(1);
    let age = || pass::run(direct(&fixture), &Purger::new(), Scope::OLD_PAGES).purged_pages();
    assert_eq!(age(), 0);
    assert_eq!(age(), u64::from(SEGMENT_PAGES));
    assert_eq!(fixture.dirty(), 0);
}

#[test]
fn refused_pages_stay_dirty_and_are_counted() {
    let fixture = Fixture::new(&Config::new());
    fixture.dirty_segments(1);
    let purger = Purger::new();
    fixture.segments.os().refuse(Refusals::From(1));
    let moved = pass::run(direct(&fixture), &purger, Scope::PRESSURE);
    fixture.segments.os().refuse(Refusals::None);
    assert_eq!((moved.pages.pages, fixture.dirty()), (0, u64::from(SEGMENT_PAGES)));
    assert!(moved.pages.refused > 0 && moved.pages.refused == moved.pages.calls);
    let mut stats = Stats::default();
    purger.report(&mut stats);
    assert_eq!((stats.madvise_refused, stats.purged_bytes), (moved.pages.refused, 0));
    assert_eq!(purger.purge_free_pages(&fixture.segments, Age::Any, 0).refused, 0);
    assert_eq!(fixture.dirty(), 0);
}

/// Slabs of which every sixteenth block is in use, and one that is used but for a page's blocks.
fn slabs_with_holes(fixture: &Fixture) -> Vec<Slot> {
    let count = usize::try_from(class().capacity()).expect("few");
    let blocks: Vec<Slot> = (0..2 * count).map(|_| Slot::default()).collect();
    for block in &blocks {
        assert_eq!(fixture.below().fetch(class(), core::slice::from_ref(block)), 1);
    }
    let (sparse, full) = blocks.split_at(count);
    let a_page = full.iter().filter(|block| {
        let page = full[full.len() / 2].load(Ordering::Relaxed).addr() / PAGE_BYTES;
        block.load(Ordering::Relaxed).addr() / PAGE_BYTES == page
    });
    let most = sparse.iter().enumerate().filter(|(index, _)| index % 16 != 0);
    for block in most.map(|(_, block)| block).chain(a_page) {
        let freed = Slot::new(block.load(Ordering::Relaxed));
        fixture.central.put(&fixture.segments, class(), &[freed]);
    }
    blocks
}

#[test]
fn holes_are_purged_only_where_they_are_a_large_part_of_a_slab() {
    let fixture = Fixture::new(&Config::new());
    slabs_with_holes(&fixture);
    let layers = direct(&fixture);
    let (all, large) =
        (layers.holes().releasable_bytes(u32::MAX), layers.holes().releasable_bytes(4));
    assert_eq!(all - large, to_u64(PAGE_BYTES), "one page of the other slab");
    let only_large =
        Scope { holes: HoleScope::OneIn(Some(4)), pages: PageScope::Keep, ..Scope::IDLE };
    let purger = Purger::new();
    let moved = pass::run(layers, &purger, Scope { blocks: BlockScope::Keep, ..only_large });
    assert_eq!(moved.purged_pages() * to_u64(PAGE_BYTES), large);
    assert_eq!(layers.holes().releasable_bytes(u32::MAX), to_u64(PAGE_BYTES));
    assert_eq!(layers.holes().purge(&purger, None).pages, 1);
    fixture.central.validate(&fixture.segments);
}

/// Returns how many slabs the next purge of all holes looks at.
fn noted(fixture: &Fixture) -> usize {
    let segments = 0..fixture.segments.segment_count();
    segments.map(|segment| fixture.segments.slabs_with_holes(segment).count()).sum()
}

#[test]
fn a_purge_of_all_holes_looks_only_at_slabs_to_which_blocks_came_back() {
    let fixture = Fixture::new(&Config::new());
    let blocks = slabs_with_holes(&fixture);
    let (layers, purger) = (direct(&fixture), Purger::new());
    assert!(noted(&fixture) >= 2 && layers.holes().purge(&purger, None).pages > 0);
    assert_eq!((noted(&fixture), layers.holes().purge(&purger, None).pages), (0, 0));
    // One block shares its page with blocks in use.
    let freed = Slot::new(blocks[0].load(Ordering::Relaxed));
    fixture.central.put(&fixture.segments, class(), &[freed]);
    assert_eq!((noted(&fixture), layers.holes().purge(&purger, None).pages), (1, 1));
    assert_eq!(noted(&fixture), 0);
}

#[test]
fn holes_that_the_system_refuses_are_purged_later() {
    let fixture = Fixture::new(&Config::new());
    slabs_with_holes(&fixture);
    let (layers, purger) = (direct(&fixture), Purger::new());
    fixture.segments.os().refuse(Refusals::From(1));
    assert_eq!(layers.holes().purge(&purger, None).pages, 0);
    assert!(noted(&fixture) > 0, "they are still there");
    fixture.segments.os().refuse(Refusals::None);
    assert!(layers.holes().purge(&purger, None).pages > 0);
    assert_eq!(noted(&fixture), 0);
}

#[test]
fn the_second_ageing_purges_holes_of_quiet_slabs() {
    let fixture = Fixture::new(&Config::new());
    slabs_with_holes(&fixture);
    let age = || pass::run(direct(&fixture), &Purger::new(), Scope::OLD_HOLES).purged_pages();
    assert!(direct(&fixture).holes().are_ageing());
    assert_eq!(age(), 0);
    assert!(age() > 0);
    assert!(!direct(&fixture).holes().are_ageing());
}

#[test]
fn sources_release_as_much_as_they_announce() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    let held = fixture.use_cache(cache, 100);
    let layers = direct(&fixture);
    assert_eq!(layers.caches().releasable_bytes(), held);
    assert_eq!(layers.caches().release(BlockScope::All).bytes, held);
    assert_eq!(layers.caches().releasable_bytes(), 0);
    assert!(layers.slabs().releasable_bytes() > 0, "a bin keeps an empty slab");
    layers.transfers().release(BlockScope::All);
    assert!(layers.slabs().release(BlockScope::All).bytes >= layers.slabs().releasable_bytes());
    assert_eq!(layers.slabs().releasable_bytes(), 0);
    assert!(layers.pages().releasable_bytes() > 0);
}

/// Returns a fixture whose process has two threads, and the reclaim of a configuration.
fn two_threads(config: &Config) -> (Fixture, Reclaim) {
    let fixture = Fixture::new(config);
    fixture.cache();
    fixture.cache();
    (fixture, Reclaim::new(config))
}

#[test]
fn a_thread_is_asked_for_when_it_has_rested_for_longer_than_it_may() {
    let (_fixture, reclaim) = two_threads(&Config::new());
    let driver = reclaim.driver();
    assert!(!driver.has_rested_too_long(|| u64::MAX), "there is nothing to look after");
    driver.set_max_rest_ms(100);
    assert!(driver.begin_start(5).is_some());
    assert!(!driver.has_rested_too_long(|| 104) && driver.has_rested_too_long(|| 105));
}

#[test]
fn a_thread_is_asked_for_when_there_is_enough_to_give_back_and_starts_once() {
    let (fixture, reclaim) = two_threads(&Config::new());
    reclaim.after_slow_path(direct(&fixture));
    assert!(!reclaim.driver().is_wanted(), "there is nothing to give back");
    fixture.dirty_segments(3);
    reclaim.after_slow_path(direct(&fixture));
    assert!(reclaim.driver().is_wanted());
    let number = reclaim.driver().begin_start(1).expect("nobody has started it");
    assert!(!reclaim.driver().is_wanted());
    assert_eq!(reclaim.driver().begin_start(1), None);
    reclaim.driver().end_start(true);
    // The pages age, and go with the next tick; then nothing is left to do.
    let mut turns = Turns::new(number);
    let taken = (0..20).take_while(|_| reclaim.thread_turn(direct(&fixture), &mut turns)).count();
    assert!((1..20).contains(&taken) && fixture.dirty() == 0, "{taken}");
    assert!(reclaim.driver().begin_start(2).is_some(), "the next one may come");
}

#[test]
fn a_thread_may_leave_before_its_start_has_ended() {
    let (fixture, reclaim) = two_threads(&Config::new());
    let driver = reclaim.driver();
    fixture.dirty_segments(1);
    let mut turns = Turns::new(driver.begin_start(1).expect("nobody has started it"));
    assert!(reclaim.thread_turn(direct(&fixture), &mut turns), "there is work");
    while reclaim.thread_turn(direct(&fixture), &mut turns) {}
    driver.end_start(true);
    assert!(driver.begin_start(2).is_some(), "no thread is at work");
}

#[test]
fn a_policy_of_off_ends_the_thread_and_lets_none_start() {
    let (fixture, reclaim) = two_threads(&Config::new());
    let driver = reclaim.driver();
    let mut turns = Turns::new(driver.begin_start(1).expect("nobody has started it"));
    driver.end_start(true);
    fixture.dirty_segments(1);
    reclaim.reconfigure(&Config::new().policy(Policy::Off));
    assert!(!reclaim.thread_turn(direct(&fixture), &mut turns));
    driver.give_up();
    reclaim.forget_other_threads();
    assert!(driver.begin_start(2).is_none() && driver.state() == 0);
    reclaim.reconfigure(&Config::new());
    assert!(driver.state() == 1, "slow paths do the work again");
}

#[test]
fn a_process_of_one_thread_ticks_inline_and_asks_for_none() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    let reclaim = Reclaim::new(&Config::new());
    fixture.dirty_segments(3);
    reclaim.after_slow_path(layers(&fixture, Front::Cache(cache)));
    assert!(!reclaim.driver().is_wanted());
    assert!(fixture.dirty() * to_u64(PAGE_BYTES) <= 4 << 20, "the trim keeps the bound");
    let always = Reclaim::new(&Config::new().background(Background::Always));
    fixture.dirty_segments(1);
    fixture.dirty_segments(1);
    fixture.dirty_segments(3);
    always.after_slow_path(direct(&fixture));
    assert!(always.driver().is_wanted(), "a thread beside the only one is allowed");
}

#[test]
fn a_system_that_refuses_a_thread_is_not_asked_again() {
    let (fixture, reclaim) = two_threads(&Config::new());
    assert!(reclaim.driver().begin_start(1).is_some());
    reclaim.driver().end_start(false);
    fixture.dirty_segments(3);
    reclaim.after_slow_path(direct(&fixture));
    assert!(!reclaim.driver().is_wanted());
}

#[test]
fn a_thread_with_an_old_number_leaves_and_a_child_may_start_its_own() {
    let (fixture, reclaim) = two_threads(&Config::new());
    let number = reclaim.driver().begin_start(1).expect("nobody has started it");
    reclaim.driver().end_start(true);
    fixture.dirty_segments(1);
    let mut turns = Turns::new(number);
    assert!(reclaim.thread_turn(direct(&fixture), &mut turns));
    reclaim.forget_other_threads();
    assert!(!reclaim.thread_turn(direct(&fixture), &mut turns), "it is in the parent");
    assert!(reclaim.driver().begin_start(2).is_some(), "the child may have its own");
}

#[test]
fn a_reclaimer_leaves_a_process_of_one_thread() {
    let fixture = Fixture::new(&Config::new());
    let cache = fixture.cache();
    let reclaim = Reclaim::new(&Config::new());
    let number = reclaim.driver().begin_start(1).expect("nobody has started it");
    reclaim.driver().end_start(true);
    let mut turns = Turns::new(number);
    let mut taken = 0;
    // The thread is always at work, so there is always a reason for another tick.
    loop {
        fixture.use_cache(cache, 1000);
        cache.drain(fixture.below());
        if !reclaim.thread_turn(direct(&fixture), &mut turns) {
            break;
        }
        taken += 1;
    }
    assert_eq!(taken, 8);
}

#[test]
fn a_slow_path_releases_pressure_once() {
    let limit = NonZero::new(to_u64(2 * SEGMENT_BYTES)).map(Limit::Bytes);
    let config = Config::new().limit(limit.expect("not 0")).policy(Policy::Off);
    let (fixture, reclaim) = two_threads(&config);
    let pages = units::Pages::new(SEGMENT_PAGES / 2);
    let runs: Vec<_> = (0..4).map_while(|_| fixture.segments.take(pages, Fit::Any)).collect();
    assert_eq!(runs.len(), 3, "the tables count too");
    for run in runs {
        fixture.segments.give(run, run.pages);
    }
    let kept = fixture.segments.take(units::Pages::new(1), Fit::Any);
    assert!(kept.is_some() && fixture.dirty() > 0);
    reclaim.after_slow_path(direct(&fixture));
    assert_eq!((fixture.dirty(), fixture.segments.limit().releases()), (0, 1));
    reclaim.after_slow_path(direct(&fixture));
    assert_eq!(fixture.segments.limit().releases(), 1);
}

#[test]
fn a_tick_rests_when_everything_is_back() {
    let fixture = Fixture::new(&Config::new());
    let reclaim = Reclaim::new(&Config::new());
    fixture.dirty_segments(1);
    let ticks = (0..20).take_while(|_| reclaim.tick(direct(&fixture)) == Next::Tick).count();
    assert!((1..20).contains(&ticks) && fixture.dirty() == 0, "{ticks}");
    assert!(reclaim.is_quiet(direct(&fixture)));
    fixture.dirty_segments(1);
    assert!(!reclaim.is_quiet(direct(&fixture)));
}
