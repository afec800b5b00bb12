//! Tests of the segments alone: runs, large and huge blocks, the memory limit, and the functions
//! for reclaim.

use core::cmp::Ordering;
use core::num::NonZero;
use std::vec::Vec;

use super::large::NotABlock;
use super::length_bin::length_bin;
use super::meta::Age;
use super::pages::Fit;
use super::{Segments, fake_segments};
use crate::base::size_class::SizeClass;
use crate::base::units::{PAGE_BYTES, PageIndex, Pages, SEGMENT_BYTES, SEGMENT_PAGES, to_u64};
use crate::options::{Config, Limit, LimitMode};
use crate::os::fake::Fake;

fn all_pages(segments: &Segments<Fake>) -> crate::base::units::Run {
    segments.committed_from(PageIndex::new(0))
}

#[test]
fn freed_runs_are_joined() {
    let segments = fake_segments(4);
    let runs: Vec<_> = (0..8).filter_map(|_| segments.take(Pages::new(8), Fit::Any)).collect();
    let start = runs.iter().map(|run| run.start).min().expect("eight");
    for run in runs {
        segments.give(run, Pages::ZERO);
    }
    let whole = segments.take(Pages::new(64), Fit::Any).expect("room");
    assert_eq!(whole.start, start);
    segments.validate();
}

#[test]
fn a_full_arena_refuses_runs_and_serves_freed_pages() {
    let segments = fake_segments(4);
    let taken = (0..100).map_while(|_| segments.take(Pages::new(SEGMENT_PAGES / 2), Fit::Any));
    let taken: Vec<_> = taken.collect();
    assert!((6..8).contains(&taken.len()), "{} halves of four segments", taken.len());
    segments.give(taken[0], Pages::ZERO);
    assert!(segments.take(Pages::new(SEGMENT_PAGES / 2), Fit::Any).is_some());
    segments.validate();
}

#[test]
fn pages_being_purged_are_not_handed_out() {
    let segments = fake_segments(2);
    let run = segments.take(Pages::new(100), Fit::Any).expect("room");
    segments.give(run, run.pages);
    let dirty =
        segments.withdraw_dirty(all_pages(&segments), Pages::new(60), Age::Any).expect("dirty");
    assert_eq!((dirty.start, dirty.pages), (run.start, Pages::new(60)));
    let other = segments.take(Pages::new(100), Fit::Any).expect("room");
    assert!(other.start >= dirty.end() || other.end() <= dirty.start);
    segments.give(other, Pages::ZERO);
    segments.mark_clean(dirty);
    segments.put_back(dirty);
    assert_eq!(segments.dirty_pages(), 40);
    assert_eq!(segments.refaulted_pages(), 0);
    let again = segments.take(Pages::new(100), Fit::Any).expect("room");
    assert_eq!((again.start, segments.refaulted_pages()), (run.start, 60));
    segments.validate();
}

#[test]
fn ageing_makes_pages_old_until_they_are_taken() {
    let segments = fake_segments(2);
    let run = segments.take(Pages::new(10), Fit::Any).expect("room");
    segments.give(run, run.pages);
    let old = || segments.withdraw_dirty(all_pages(&segments), Pages::new(100), Age::Old);
    assert!(old().is_none());
    segments.age();
    let run = segments.take(Pages::new(10), Fit::Any).expect("room");
    segments.give(run, run.pages);
    assert!(old().is_none(), "they were in use meanwhile");
    segments.age();
    assert_eq!(old(), Some(run));
    segments.put_back(run);
    segments.validate();
}

#[test]
fn a_large_block_grows_in_place_and_is_freed_only_once() {
    let segments = fake_segments(4);
    let block = segments.allocate_large(100_000, 16).expect("room");
    let offset = block.start.addr().get() - segments.arena().base().addr().get();
    assert_eq!(segments.class_at(offset), SizeClass::NONE);
    let run = segments.large_at(offset).expect("a block");
    assert_eq!(segments.resize_large(run, 200_000), Some(block.start), "nothing lies behind it");
    assert_eq!(segments.large_at(offset + PAGE_BYTES), Err(NotABlock::NoBlockStart));
    let run = segments.claim_large(offset).expect("a block");
    assert_eq!(run.pages, Pages::containing(200_000).expect("few"));
    assert_eq!(segments.claim_large(offset), Err(NotABlock::NoBlockStart));
    segments.give(run, run.pages);
    segments.validate();
}

#[test]
fn the_record_of_a_large_block_has_the_bin_of_its_present_length() {
    let segments = fake_segments(4);
    let block = segments.allocate_large(100_000, 16).expect("room");
    let offset = block.start.addr().get() - segments.arena().base().addr().get();
    let bin = || {
        let run = segments.large_at(offset).expect("a block");
        assert_eq!(segments.bin_of_large(run), length_bin(run.pages));
        segments.bin_of_large(run)
    };
    let at_first = bin();
    for (bytes, expected) in [(300_000, Ordering::Greater), (50_000, Ordering::Less)] {
        let run = segments.large_at(offset).expect("a block");
        assert_eq!(segments.resize_large(run, bytes), Some(block.start), "in place");
        assert_eq!(bin().cmp(&at_first), expected);
    }
    let run = segments.claim_large(offset).expect("a block");
    segments.register_again(run);
    bin();
}

#[test]
fn a_huge_block_is_found_only_by_its_start() {
    let segments = fake_segments(2);
    let block = segments.allocate_huge(SEGMENT_BYTES, PAGE_BYTES).expect("room");
    let address = block.addr().get();
    assert_eq!(segments.huge_at(address), Some(SEGMENT_BYTES));
    assert!(segments.huge_at(address + PAGE_BYTES).is_none());
    assert!(segments.is_in_huge(address + PAGE_BYTES));
    let block = segments.resize_huge(block, 2 * SEGMENT_BYTES).expect("room");
    assert_eq!(segments.account().huge_bytes(), to_u64(2 * SEGMENT_BYTES));
    assert!(segments.free_huge(block.addr().get()) && !segments.free_huge(block.addr().get()));
    assert_eq!(segments.account().huge_bytes(), 0);
}

#[test]
fn at_the_limit_the_mode_decides_about_runs_and_mappings() {
    let limit = NonZero::new(to_u64(2 * SEGMENT_BYTES)).map(Limit::Bytes).expect("not 0");
    for (mode, is_refused) in [(LimitMode::Fail, true), (LimitMode::Reclaim, false)] {
        let config = Config::new().arena_bytes(8 * SEGMENT_BYTES).limit(limit).limit_mode(mode);
        let segments = Segments::reserve(Fake::new(PAGE_BYTES, 1, 1 << 30), &config);
        let segments = segments.expect("an arena");
        let run = segments.take(Pages::new(SEGMENT_PAGES), Fit::Any).expect("half of it");
        assert!(!segments.limit().take_pressure());
        assert_eq!(segments.take(Pages::new(SEGMENT_PAGES), Fit::Any).is_none(), is_refused);
        assert!(segments.limit().take_pressure());
        assert_eq!(segments.allocate_huge(SEGMENT_BYTES, PAGE_BYTES).is_none(), is_refused);
        segments.give(run, Pages::ZERO);
        segments.validate();
    }
}

#[test]
fn a_slab_that_had_traffic_is_quiet_after_two_ageings() {
    let segments = fake_segments(2);
    let run = segments.take(SizeClass::of_size(64).slab_pages(), Fit::Chunks).expect("room");
    segments.tables().note_traffic(run.start.chunk());
    assert!(segments.has_ageing_slabs(0));
    assert_eq!(segments.age_slabs(0).count(), 0);
    assert_eq!(segments.age_slabs(0).collect::<Vec<_>>(), [run.start.chunk()]);
    assert!(!segments.has_ageing_slabs(0));
}

#[test]
fn old_pages_are_counted_in_all_segments_that_have_dirty_ones() {
    let segments = fake_segments(8);
    let take = |pages| segments.take(Pages::new(pages), Fit::Any).expect("room");
    let (first, untouched, last) = (take(10), take(4 * SEGMENT_PAGES), take(20));
    for run in [first, last] {
        segments.give(run, run.pages);
    }
    assert_eq!((segments.page_counts().old, segments.page_counts().dirty), (0, 30));
    segments.age();
    assert_eq!((segments.page_counts().old, segments.page_counts().dirty), (30, 30));
    // Young pages behind the last old one change nothing.
    segments.give(untouched, Pages::new(5));
    assert_eq!((segments.page_counts().old, segments.page_counts().dirty), (30, 35));
    segments.validate();
}

/// Another thread takes pages, and is asked for the held bytes, while one thread grows the arena.
#[test]
fn new_pages_do_not_count_before_they_are_free() {
    let segments = fake_segments(4);
    let run = segments.take(Pages::new(8), Fit::Any).expect("room");
    segments.give(run, Pages::ZERO);
    let mut growth = segments.growth.lock();
    let new = segments.grow(&mut growth, Pages::new(SEGMENT_PAGES)).expect("room");
    let run = segments.take(Pages::new(8), Fit::Any).expect("room");
    let expected = to_u64(run.pages.bytes());
    assert_eq!(segments.account().active_bytes(), expected);
    assert_eq!(segments.account().peak_active_bytes(), expected);
    let held = segments.held_bytes();
    segments.pages.lock().add(segments.tables(), new, segments.arena.frontier());
    assert_eq!(segments.held_bytes(), held);
    drop(growth);
    segments.validate();
}
