//! Out of memory at every call: each scenario runs once for each call that the system refuses.
//!
//! The system refuses the first call of a scenario, then the second, and so on until the scenario
//! makes fewer calls; once it gives again right after, and once it refuses all that follow too.
//! Whatever was refused, the blocks are intact, the statistics add up, no mapping is lost, and
//! the heap serves everything once the system gives again.

use core::num::NonZero;
use std::vec::Vec;

use super::world::{Op, World, heap_with};
use crate::base::units::{CHUNK_BYTES, PAGE_BYTES, SEGMENT_BYTES, to_u64};
use crate::heap::Heap;
use crate::options::{Config, Limit};
use crate::os::fake::{Fake, Refusals};

const ARENA: usize = 8 * SEGMENT_BYTES;
const MEMORY: usize = 64 * SEGMENT_BYTES;
/// Longer than any run of the arena.
const HUGE: usize = 9 * SEGMENT_BYTES;
const MIB: usize = 1 << 20;
/// No scenario makes as many calls that can be refused.
const MAX_CALLS: usize = 200;

fn allocate(size: usize) -> Op {
    Op::Allocate { thread: 0, size }
}

fn zeroed(size: usize) -> Op {
    Op::Zeroed { thread: 0, size, align_log2: 4 }
}

fn aligned(size: usize, align_log2: u8) -> Op {
    Op::Aligned { thread: 0, size, align_log2 }
}

/// Changes the size of the oldest block; the block is the newest then.
fn reallocate(size: usize) -> Op {
    Op::Reallocate { thread: 0, block: 0, size }
}

fn free() -> Op {
    Op::Free { thread: 0, block: 0 }
}

fn batch(thread: u8, size: usize, count: u16) -> Op {
    Op::Batch { thread, size, count, ends_after: u16::MAX }
}

/// The scenarios: a name, and the steps.
fn scenarios() -> Vec<(&'static str, Vec<Op>)> {
    let thread = 0;
    std::vec![
        ("first allocation", std::vec![allocate(100), free()]),
        ("growth", (1..12).map(|_| allocate(2 * MIB)).collect()),
        ("large", std::vec![allocate(100_000), allocate(3 * MIB), free(), allocate(90_000)]),
        ("huge", std::vec![allocate(HUGE), allocate(2 * HUGE), free(), zeroed(HUGE)]),
        ("growing small blocks", [1, 100, 5000, 30_000, 40_000].map(reallocate_first).concat()),
        ("growing in place", growing(&[100_000, 200_000, MIB, 5 * MIB])),
        ("growing past a wall", growing_past_a_wall()),
        ("growing mappings", growing(&[HUGE, HUGE + MIB, 2 * HUGE, 3 * HUGE])),
        ("shrinking", growing(&[2 * HUGE, HUGE, MIB, 100_000, 20_000, 10])),
        (
            "aligned",
            std::vec![aligned(100, 6), aligned(100, 16), aligned(MIB, 22), aligned(HUGE, 23)]
        ),
        ("zeroed", std::vec![zeroed(100), zeroed(MIB), free(), free(), zeroed(100), zeroed(MIB)]),
        ("threads", threads()),
        (
            "a thread that ends in a batch",
            std::vec![
                Op::Batch { thread, size: 3000, count: 200, ends_after: 90 },
                batch(1, 3000, 50),
            ]
        ),
        ("prefault", std::vec![batch(0, PAGE_BYTES, 120)]),
        ("tick", with_garbage(&[Op::Tick { thread }, Op::Tick { thread }, Op::Tick { thread }])),
        ("collect", with_garbage(&[Op::Collect { thread, keep: 0 }])),
        (
            "trim",
            with_garbage(&[
                Op::Trim { thread, counts_slabs: false },
                Op::Trim { thread, counts_slabs: true },
            ])
        ),
        (
            "fork",
            with_garbage(&[
                Op::Interrupt { thread: 1, size: 700 },
                Op::Fork { thread },
                batch(1, 700, 20),
                Op::Fork { thread: 2 },
            ])
        ),
    ]
}

/// A small block that becomes one of `size`.
fn reallocate_first(size: usize) -> Vec<Op> {
    std::vec![allocate(20), reallocate(size), free()]
}

/// One block of these sizes, one after the other.
fn growing(sizes: &[usize]) -> Vec<Op> {
    let rest = sizes[1..].iter().map(|&size| reallocate(size));
    core::iter::once(allocate(sizes[0])).chain(rest).collect()
}

/// A run that cannot grow where it is, because the next one is taken, becomes a mapping.
fn growing_past_a_wall() -> Vec<Op> {
    std::vec![allocate(MIB), allocate(CHUNK_BYTES), reallocate(3 * MIB), reallocate(MIB)]
}

/// Threads come, free each other's blocks, and go.
fn threads() -> Vec<Op> {
    let mut ops: Vec<Op> = (0..3).map(|thread| batch(thread, 500, 60)).collect();
    ops.extend((0..120).map(|step| Op::Free { thread: step % 3, block: u16::from(step) * 7 }));
    ops.extend((0..3).map(|thread| Op::Exit { thread }));
    ops.extend((0..3).map(|thread| batch(thread, 500, 10)));
    ops
}

/// The steps, after some blocks of all kinds were freed.
fn with_garbage(ops: &[Op]) -> Vec<Op> {
    let mut all = std::vec![batch(0, 700, 100), batch(1, 9000, 60), allocate(6 * MIB), zeroed(MIB)];
    all.extend((0..140).map(|step| Op::Free { thread: step % 2, block: u16::from(step) * 3 }));
    all.extend_from_slice(ops);
    all
}

/// Runs the steps on a system that refuses. Returns whether it refused anything, and how many
/// mappings are left when every block is free.
fn run(ops: &[Op], config: &Config, refusals: Refusals) -> (bool, usize) {
    let heap = heap_with(Fake::new(PAGE_BYTES, 2, MEMORY), ARENA, config);
    heap.os().refuse(refusals);
    let mut world = World::new(&heap, 3);
    world.may_fail = true;
    for op in ops {
        world.perform(op);
    }
    let refused = heap.os().has_refused();
    world.validate();
    world.check_blocks();
    heap.os().exhaust(false);
    world.may_fail = false;
    for op in [allocate(100), allocate(100_000), zeroed(MIB), aligned(100, 16)] {
        world.perform(&op);
    }
    world.validate();
    world.check_blocks();
    world.end();
    (refused, heap.os().mappings())
}

/// Runs the steps once for each call that the system may refuse, and checks that none was missed.
#[expect(clippy::print_stdout, reason = "a failing test shows it")]
fn sweep(name: &str, ops: &[Op], config: &Config) {
    let (refused, clean) = run(ops, config, Refusals::None);
    assert!(!refused);
    for refusals in [Refusals::Once, Refusals::From] {
        let ends = (1..MAX_CALLS).find(|&nth| {
            std::println!("{name}: {:?}", refusals(nth));
            let (refused, mappings) = run(ops, config, refusals(nth));
            assert!(mappings <= clean + 1, "{mappings} mappings are left, else {clean}");
            !refused
        });
        assert!(ends.is_some_and(|calls| calls > 1), "{name}: no call, or more than {MAX_CALLS}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours; the model's steps with refusals run under Miri")]
fn every_scenario_survives_the_refusal_of_every_call() {
    for (name, ops) in scenarios() {
        sweep(name, &ops, &Config::new().huge_pages(true));
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours; the model's steps with refusals run under Miri")]
fn the_refusal_of_every_call_near_the_limit() {
    let limit = NonZero::new(to_u64(4 * SEGMENT_BYTES)).expect("a limit");
    let mut ops: Vec<Op> = (0..20).map(|_| allocate(MIB)).collect();
    ops.extend((0..9).map(|_| free()));
    ops.extend([batch(1, 3000, 600), allocate(6 * MIB), reallocate(9 * MIB)]);
    ops.extend((0..600).map(|_| free()));
    ops.extend((0..30).map(|_| free()));
    sweep("limit", &ops, &Config::new().limit(Limit::Bytes(limit)));
}

/// A process whose first calls are refused tries again at every call: nothing may be left of the
/// attempts.
#[test]
fn a_heap_that_cannot_be_made_leaves_nothing_behind() {
    for refusals in [Refusals::Once, Refusals::From] {
        let made = (1..MAX_CALLS).find(|&nth| {
            let os = Fake::new(PAGE_BYTES, 2, MEMORY);
            let mapped = os.mapped();
            os.refuse(refusals(nth));
            if let Ok(heap) = Heap::create(os, &Config::new().arena_bytes(ARENA)) {
                return !heap.os().has_refused();
            }
            assert_eq!(Fake::count(&mapped), 0, "{:?}: mappings", refusals(nth));
            false
        });
        assert!(made.is_some_and(|calls| calls > 1), "some call is refused");
    }
}
