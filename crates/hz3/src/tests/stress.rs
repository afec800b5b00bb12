//! Threads at full speed, blocks that change hands, and a thief that empties their caches.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, ScopedJoinHandle};
use std::vec::Vec;

use super::policies::{AT_ONCE, POLICIES};
use super::world::{heap_over, heap_with};
use crate::base::size_class::MAX_SMALL;
use crate::base::units::SEGMENT_BYTES;
use crate::cache::Front;
use crate::heap::Heap;
use crate::hot;
use crate::options::Config;
use crate::os::linux::Linux;

const WORKERS: usize = 4;
const SLOTS: usize = 300;
const OPERATIONS: usize = 1_500_000;

/// A block on its way between threads.
struct Parcel(NonNull<u8>, usize, u64);
// SAFETY: a block belongs to whoever holds the parcel.
unsafe impl Send for Parcel {}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Mostly small, sometimes to the edge of what slabs hold, rarely beyond.
    fn size(&mut self) -> usize {
        let random = usize::try_from(self.next()).unwrap_or(0);
        match self.next() % 100 {
            0 => MAX_SMALL + random % 200_000,
            1..10 => random % MAX_SMALL,
            _ => random % 1024,
        }
    }
}

static NEXT_STAMP: AtomicU64 = AtomicU64::new(1);

/// Writes a stamp of its own to both ends of a block.
fn stamp(start: NonNull<u8>, size: usize) -> u64 {
    let stamp = NEXT_STAMP.fetch_add(1, Ordering::Relaxed);
    if size >= 16 {
        unsafe { start.cast::<u64>().write(stamp) };
        unsafe { start.add(size - 8).cast::<u64>().write_unaligned(stamp) };
    }
    stamp
}

fn check(parcel: &Parcel) {
    let Parcel(start, size, stamp) = *parcel;
    if size >= 16 {
        assert_eq!(unsafe { start.cast::<u64>().read() }, stamp, "had by two at once");
        let last = unsafe { start.add(size - 8).cast::<u64>().read_unaligned() };
        assert_eq!(last, stamp, "had by two at once");
    }
}

fn malloc(heap: &Heap<Linux>, front: Front<'_>, size: usize) -> Parcel {
    let block = match front {
        Front::Cache(cache) => match unsafe { hot::malloc(cache, size) } {
            Some(block) => NonNull::new(block),
            None => unsafe { heap.allocate_miss(cache, size) },
        },
        Front::Direct => unsafe { heap.allocate(front, size) },
    };
    let start = block.expect("memory");
    Parcel(start, size, stamp(start, size))
}

fn free(heap: &Heap<Linux>, front: Front<'_>, parcel: Parcel) {
    check(&parcel);
    assert_eq!(unsafe { heap.free(front, parcel.0.as_ptr()) }, Ok(()));
}

/// Sends a block to the neighbour; gives it back when the neighbour's inbox is full.
fn offer(out: &SyncSender<Parcel>, parcel: Parcel) -> Option<Parcel> {
    match out.try_send(parcel) {
        Ok(()) => None,
        Err(TrySendError::Full(parcel) | TrySendError::Disconnected(parcel)) => Some(parcel),
    }
}

/// Allocates, frees, and exchanges blocks with a neighbour; ends with nothing left.
fn work(heap: &Heap<Linux>, seed: u64, out: &SyncSender<Parcel>, inbox: &Receiver<Parcel>) {
    let cache = heap.attach().expect("a cache");
    let front = Front::Cache(cache);
    let mut random = Random(seed);
    let mut slots: Vec<Option<Parcel>> = (0..SLOTS).map(|_| None).collect();
    for _ in 0..OPERATIONS {
        let slot = usize::try_from(random.next()).unwrap_or(0) % SLOTS;
        if let Some(parcel) = slots[slot].take() {
            let kept =
                if random.next().is_multiple_of(4) { offer(out, parcel) } else { Some(parcel) };
            if let Some(parcel) = kept {
                free(heap, front, parcel);
            }
        }
        while let Ok(parcel) = inbox.try_recv() {
            free(heap, front, parcel);
        }
        slots[slot] = Some(malloc(heap, front, random.size()));
    }
    for parcel in slots.into_iter().flatten() {
        free(heap, front, parcel);
    }
    unsafe { heap.detach(cache) };
}

#[test]
fn a_thief_loses_no_block_and_gets_none_twice() {
    attack(&Config::new());
}

/// Every policy in turn, with every delay at zero and no budget.
#[test]
fn no_policy_takes_a_page_that_is_in_use() {
    for policy in POLICIES {
        attack(&Config::new().policy(policy).limits(AT_ONCE));
    }
}

/// Workers that write into blocks, pass them on and check them, while another thread reclaims as
/// fast as it can.
fn attack(config: &Config) {
    if cfg!(miri) {
        // Miri has neither mprotect nor membarrier; the loom model covers the protocol.
        return;
    }
    let heap = heap_with(Linux, 512 * SEGMENT_BYTES, config);
    let done = AtomicBool::new(false);
    let rounds = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..WORKERS).map(|_| sync_channel::<Parcel>(64)).unzip();
        let mut senders: Vec<_> = senders.into_iter().map(Some).collect();
        senders.rotate_left(1);
        let workers: Vec<_> = receivers
            .into_iter()
            .enumerate()
            .map(|(index, inbox)| {
                let out = senders[index].take().expect("a sender for every worker");
                let heap = &heap;
                scope.spawn(move || {
                    work(heap, index as u64 + 1, &out, &inbox);
                    // What is still under way ends here once the neighbour has hung up.
                    drop(out);
                    let front = Front::Direct;
                    for parcel in inbox {
                        free(heap, front, parcel);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let round = rounds.fetch_add(1, Ordering::Relaxed);
                if round.is_multiple_of(2) {
                    heap.collect(Front::Direct, 0);
                } else {
                    unsafe { heap.tick(Front::Direct) };
                }
            }
        });
        // The thief must end even when a worker panics.
        let results: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        for result in results {
            result.expect("no worker has panicked");
        }
    });
    assert!(rounds.load(Ordering::Relaxed) > 0, "the thief never ran");
    heap.collect(Front::Direct, 0);
    heap.validate();
    let stats = heap.stats();
    assert_eq!((stats.active, stats.cached, stats.dirty), (0, 0, 0), "a block was lost: {stats}");
}

#[test]
fn many_short_threads_leave_nothing_behind() {
    if cfg!(miri) {
        // As above.
        return;
    }
    let heap = heap_over(Linux, 512 * SEGMENT_BYTES);
    for wave in 0..50 {
        thread::scope(|scope| {
            for index in 0..16 {
                let heap = &heap;
                scope.spawn(move || {
                    let cache = heap.attach().expect("a cache");
                    let mut random = Random(wave * 100 + index + 1);
                    let parcels: Vec<_> = (0..100)
                        .map(|_| malloc(heap, Front::Cache(cache), random.size()))
                        .collect();
                    for parcel in parcels {
                        free(heap, Front::Cache(cache), parcel);
                    }
                    unsafe { heap.detach(cache) };
                });
            }
        });
    }
    heap.collect(Front::Direct, 0);
    heap.validate();
    let stats = heap.stats();
    assert_eq!((stats.active, stats.threads), (0, 0));
}
