//! Many threads that each do little and then block: none holds enough for a reclaim, but together
//! they do.

mod common;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

const THREADS: usize = 400;
/// Fewer slow paths than a thread runs between two looks.
const BLOCKS: usize = 60;
const MIB: u64 = 1 << 20;
/// The reclaimer rests when its count of ticks stands still this long: four ticks of 125 ms.
const REST: Duration = Duration::from_millis(500);

/// Bytes that could go back.
fn returnable() -> u64 {
    let stats = hz3::stats();
    stats.cached + stats.slack + stats.dirty
}

#[test]
fn what_many_idle_threads_hold_goes_back() {
    let [full, begin, freed, end] = [(); 4].map(|()| Barrier::new(THREADS + 1));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn_scoped(scope, || {
                    let blocks: Vec<Vec<u8>> =
                        (1..=BLOCKS).map(|block| vec![1; block * 64]).collect();
                    full.wait();
                    begin.wait();
                    drop(blocks);
                    freed.wait();
                    end.wait();
                })
                .unwrap();
        }
        full.wait();
        let held = hz3::stats().allocated;
        // The frees that follow are all hits, which do not wake the reclaimer, so the test begins
        // them only when it rests: it must have disarmed the fast paths before.
        let mut last = (hz3::stats().ticks, Instant::now());
        let rested = common::wait_until(|| {
            let ticks = hz3::stats().ticks;
            if ticks != last.0 {
                last = (ticks, Instant::now());
            }
            last.1.elapsed() > REST
        });
        begin.wait();
        freed.wait();
        common::wait_until(|| returnable() <= 4 * MIB);
        let after = hz3::stats();
        // Before an assertion ends this thread: the others wait.
        end.wait();
        assert!(rested, "the reclaimer never rested");
        assert!(held > 16 * MIB, "the threads never held much: {held}");
        assert!(after.cached + after.slack + after.dirty <= 4 * MIB, "still held: {after}");
    });
}
