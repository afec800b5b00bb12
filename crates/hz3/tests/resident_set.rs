//! The promise: by default, in every thread state, the resident set follows the live bytes.
//!
//! One test, since the resident set is the process's. It waits for the memory to go; how fast it
//! goes is for the benchmarks.

mod common;

use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread;

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

const MIB: u64 = 1 << 20;
const THREADS: usize = 4;
/// Blocks a thread, of 256 to 4096 bytes: about 100 MiB.
const BLOCKS: usize = 50_000;
/// Bytes that tables, stacks and the test itself may hold beyond the process's start.
const SLACK: u64 = 16 * MIB;

fn burst(seed: u64) -> Vec<Box<[u8]>> {
    let mut random = seed;
    (0..BLOCKS)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let size = 256 + usize::try_from(random >> 33).unwrap_or(0) % 3841;
            vec![1u8; size].into_boxed_slice()
        })
        .collect()
}

/// Waits until the resident set is at most `bytes`.
fn wait_for(bytes: u64, state: &str) {
    let fell = common::wait_until(|| hz3::stats().resident <= bytes);
    assert!(fell, "{state}: not below {bytes}: {}", hz3::stats());
}

fn assert_burst_is_resident(start: u64) {
    assert!(hz3::stats().resident > start + 300 * MIB, "the burst never was resident");
}

#[test]
fn memory_goes_back_in_every_thread_state() {
    let start = hz3::stats().resident;
    threads_end(start);
    threads_block(start);
    another_thread_frees(start);
    survivors_stay(start);
    // And at once, when asked to.
    hz3::collect();
    let stats = hz3::stats();
    assert!(stats.resident <= start + SLACK, "collect left {stats}");
}

/// Threads allocate, free and end.
fn threads_end(start: u64) {
    let mut tables = 0;
    let barrier = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let barrier = &barrier;
            scope.spawn(move || {
                let blocks = burst(seed as u64);
                barrier.wait();
                barrier.wait();
                drop(blocks);
            });
        }
        barrier.wait();
        assert_burst_is_resident(start);
        tables = hz3::stats().metadata_resident;
        barrier.wait();
    });
    wait_for(start + SLACK, "threads ended");
    // The table entries of those pages go too, in the same tick but after the pages.
    let went = common::wait_until(|| hz3::stats().metadata_resident < tables / 2);
    let left = hz3::stats().metadata_resident;
    assert!(went, "{left} of {tables} bytes of tables are left");
}

/// Threads free and then stay, blocked.
fn threads_block(start: u64) {
    let (first, last) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (first, last) = (&first, &last);
            scope.spawn(move || {
                let blocks = burst(seed as u64);
                first.wait();
                drop(blocks);
                last.wait();
            });
        }
        first.wait();
        wait_for(start + SLACK, "threads blocked");
        last.wait();
    });
}

/// One thread frees the blocks of others, which have ended.
fn another_thread_frees(start: u64) {
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let sender = sender.clone();
            scope.spawn(move || sender.send(burst(seed as u64)).expect("a receiver"));
        }
    });
    drop(sender);
    assert_burst_is_resident(start);
    for blocks in receiver {
        drop(blocks);
    }
    wait_for(start + SLACK, "freed by another thread");
}

/// One block in twenty survives, scattered: the pages between them go back.
fn survivors_stay(start: u64) {
    let survivors: Vec<Box<[u8]>> =
        (0..THREADS).flat_map(|seed| burst(seed as u64).into_iter().step_by(20)).collect();
    let pages: std::collections::HashSet<usize> = survivors
        .iter()
        .flat_map(|block| {
            let first = block.as_ptr().addr() / 4096;
            first..=(block.as_ptr().addr() + block.len() - 1) / 4096
        })
        .collect();
    let floor = pages.len() as u64 * 4096;
    wait_for(start + floor + floor / 10 + SLACK, "survivors");
    assert!(survivors.iter().all(|block| block.iter().all(|&byte| byte == 1)));
}
