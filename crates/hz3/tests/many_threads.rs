//! Many threads that each do little and then block: none of them alone is worth a look, together
//! they are.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

const THREADS: usize = 400;
/// Fewer slow paths than a thread runs between two looks.
const BLOCKS: usize = 60;
const MIB: u64 = 1 << 20;
/// Long enough for the reclaimer to find nothing left to do and to sleep.
const CALM: Duration = Duration::from_secs(3);
/// A hang, not a speed: the default gives memory back in less than a second.
const PATIENCE: Duration = Duration::from_secs(60);

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
        // The frees that follow would all be hits, which wake nobody: the caches must be closed.
        thread::sleep(CALM);
        begin.wait();
        freed.wait();
        let start = Instant::now();
        while returnable() > 4 * MIB && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        let after = hz3::stats();
        // Before an assertion ends this thread: the others wait.
        end.wait();
        assert!(held > 16 * MIB, "the threads never held much: {held}");
        assert!(after.cached + after.slack + after.dirty <= 4 * MIB, "still held: {after}");
    });
}
