//! Random operations against the model.

use core::num::NonZero;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::{RngSeed, TestRunner};
use std::hash::{BuildHasher, RandomState};
use std::vec;
use std::vec::Vec;

use super::world::{Op, World, heap_over};
use crate::base::size_class::{MAX_SMALL, SizeClass};
use crate::base::units::{CHUNK_BYTES, PAGE_BYTES, SEGMENT_BYTES, to_u64};
use crate::heap::Heap;
use crate::options::{Config, Limit};
use crate::os::fake::Fake;
use crate::os::linux::Linux;

const CASES: u32 = if cfg!(miri) { 1 } else { 120 };
const STEPS: usize = if cfg!(miri) { 24 } else { 400 };
/// Under failures, the whole heap is validated once in so many steps, because that takes Miri
/// seconds.
const VALIDATED: usize = if cfg!(miri) { 6 } else { 1 };
const THREADS: usize = 3;
const ARENA_SEGMENTS: usize = if cfg!(miri) { 6 } else { 8 };
const ARENA: usize = ARENA_SEGMENTS * SEGMENT_BYTES;
const FAKE_LIMIT: usize = 64 * SEGMENT_BYTES;

/// Sizes, biased to the edges of classes, pages, chunks and segments.
fn size(most: usize) -> impl Strategy<Value = usize> {
    let around = |edge: usize| (edge.saturating_sub(17))..=(edge + 17);
    let class_edge =
        (1..=SizeClass::all().count()).prop_map(|class| SizeClass::from_index(class).block_bytes());
    prop_oneof![
        4 => 0..=512usize,
        4 => (class_edge, 0..=2usize).prop_map(|(edge, past)| edge + past - 1),
        2 => (1..=12usize).prop_flat_map(move |pages| around(pages * PAGE_BYTES)),
        2 => around(MAX_SMALL),
        1 => (1..=9usize).prop_flat_map(move |chunks| around(chunks * CHUNK_BYTES)),
        1 => Just(SEGMENT_BYTES),
        1 => 0..=most,
    ]
    .prop_map(move |size| size.min(most))
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let most = if cfg!(miri) { 3 * CHUNK_BYTES } else { 6 * SEGMENT_BYTES };
    let thread = any::<u8>();
    prop_oneof![
        8 => (thread, size(most)).prop_map(|(thread, size)| Op::Allocate { thread, size }),
        2 => (thread, size(most), 0..=16u8)
            .prop_map(|(thread, size, align_log2)| Op::Zeroed { thread, size, align_log2 }),
        2 => (thread, size(CHUNK_BYTES), 0..=24u8)
            .prop_map(|(thread, size, align_log2)| Op::Aligned { thread, size, align_log2 }),
        3 => (thread, any::<u16>(), size(most)).prop_map(|(thread, block, size)| {
            Op::Reallocate { thread, block, size: size.max(1) }
        }),
        8 => (thread, any::<u16>()).prop_map(|(thread, block)| Op::Free { thread, block }),
        1 => thread.prop_map(|thread| Op::Exit { thread }),
        1 => (thread, 0..=SEGMENT_BYTES)
            .prop_map(|(thread, keep)| Op::Collect { thread, keep }),
        1 => thread.prop_map(|thread| Op::Steal { thread }),
        2 => thread.prop_map(|thread| Op::Tick { thread }),
        1 => (thread, any::<bool>())
            .prop_map(|(thread, counts_slabs)| Op::Trim { thread, counts_slabs }),
        1 => (thread, size(MAX_SMALL), 0..40u16, 0..40u16)
            .prop_map(|(thread, size, count, ends_after)| {
                Op::Batch { thread, size, count, ends_after }
            }),
        1 => (thread, size(MAX_SMALL)).prop_map(|(thread, size)| Op::Interrupt { thread, size }),
        1 => thread.prop_map(|thread| Op::Fork { thread }),
    ]
}

/// A random seed, which a failing test prints. `PROPTEST_RNG_SEED` sets the seed: it replays the
/// same steps of the same threads; `PROPTEST_CASES` sets the number of cases.
#[expect(clippy::print_stdout, reason = "a failing test shows it")]
pub(super) fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one(0));
    }
    std::println!("PROPTEST_RNG_SEED={} replays these steps", config.rng_seed);
    ProptestConfig { failure_persistence: None, ..config }
}

#[test]
fn the_heap_agrees_with_the_model_on_linux() {
    if cfg!(miri) {
        // Miri has no mprotect; the same operations run over the fake system.
        return;
    }
    TestRunner::new(config())
        .run(&vec(op(), 1..STEPS), |ops| {
            let heap = heap_over(Linux, 64 * SEGMENT_BYTES);
            let mut world = World::new(&heap, THREADS);
            for op in &ops {
                world.perform(op);
            }
            world.validate();
            world.end();
            Ok(())
        })
        .unwrap();
}

/// Runs the steps over a fake system whose pages have `page_size` bytes.
fn run_on_fake(ops: &[Op], page_size: usize) {
    let heap = heap_over(Fake::new(page_size, 2, FAKE_LIMIT), ARENA);
    let mut world = World::new(&heap, THREADS);
    // The arena is small: requests that exceed it are refused or become mappings.
    world.may_fail = true;
    for (step, op) in ops.iter().enumerate() {
        heap.os().move_to_cpu(step / 7);
        world.perform(op);
        if step % 16 == 0 {
            world.validate();
        }
    }
    world.end();
}

/// Runs the steps to their end. Before each `period`-th one, the system is told to refuse one call;
/// `failures` says in turn which one of the next calls.
pub(super) fn run_amid_failures(heap: &Heap<Fake>, ops: &[Op], period: usize, failures: &[usize]) {
    let mut world = World::new(heap, THREADS);
    world.may_fail = true;
    let mut failures = failures.iter().cycle();
    for (step, op) in ops.iter().enumerate() {
        if step.is_multiple_of(period) {
            heap.os().fail_call(*failures.next().unwrap_or(&1));
        }
        world.perform(op);
        if step.is_multiple_of(VALIDATED) {
            world.validate();
        }
    }
    heap.os().exhaust(false);
    world.end();
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_heap_agrees_with_the_model_on_small_pages(ops in vec(op(), 1..STEPS)) {
        run_on_fake(&ops, 4096);
    }

    #[test]
    fn the_heap_agrees_with_the_model_on_64_kib_pages(ops in vec(op(), 1..STEPS)) {
        run_on_fake(&ops, 65536);
    }

    #[test]
    fn a_failure_of_any_one_call_leaves_the_heap_intact(
        ops in vec(op(), 1..STEPS / 2),
        failures in vec(1..24usize, 1..STEPS / 4),
    ) {
        let heap = heap_over(Fake::new(4096, 2, FAKE_LIMIT), ARENA);
        run_amid_failures(&heap, &ops, 2, &failures);
    }

    #[test]
    fn the_heap_stays_within_its_limit(
        ops in vec(op(), 1..STEPS),
        limit in 2..ARENA_SEGMENTS / 2,
    ) {
        let limit = to_u64(limit * SEGMENT_BYTES);
        let in_bytes = Limit::Bytes(NonZero::new(limit).expect("a limit"));
        let config = Config::new().arena_bytes(ARENA).limit(in_bytes);
        let heap = Heap::create(Fake::new(4096, 2, FAKE_LIMIT), &config).expect("a heap");
        let mut world = World::new(&heap, THREADS);
        world.may_fail = true;
        for (step, op) in ops.iter().enumerate() {
            world.perform(op);
            assert!(heap.stats().held <= limit, "step {step}: {} of {limit}", heap.stats());
        }
        world.end();
    }

    #[test]
    fn exhaustion_ends_when_memory_is_back(ops in vec(op(), 1..STEPS)) {
        let heap = heap_over(Fake::new(4096, 2, FAKE_LIMIT), ARENA);
        let mut world = World::new(&heap, THREADS);
        world.may_fail = true;
        let third = ops.len() / 3;
        for (step, op) in ops.iter().enumerate() {
            heap.os().exhaust(step > third && step < 2 * third);
            world.perform(op);
        }
        heap.os().exhaust(false);
        // All of the arena serves again.
        world.perform(&Op::Collect { thread: 0, keep: 0 });
        world.may_fail = false;
        world.perform(&Op::Allocate { thread: 0, size: 100 });
        world.may_fail = true;
        world.validate();
        world.end();
    }
}

#[test]
fn filling_the_arena_and_emptying_it_ends_where_it_began() {
    let heap = heap_over(Fake::new(4096, 2, FAKE_LIMIT), ARENA);
    heap.os().exhaust(false);
    for round in 0..if cfg!(miri) { 1 } else { 3 } {
        let mut world = World::new(&heap, 1);
        world.may_fail = true;
        let sizes: Vec<usize> = std::vec![30_000 + round, 70_000, 200_000, 1_000_000];
        for size in sizes.into_iter().cycle().take(if cfg!(miri) { 12 } else { 2000 }) {
            world.perform(&Op::Allocate { thread: 0, size });
        }
        world.validate();
        world.end();
        assert_eq!(heap.stats().active, 0, "round {round}");
    }
}
