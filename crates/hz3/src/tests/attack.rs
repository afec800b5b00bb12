//! The attack on a heap: threads that allocate, write, check, resize, free and exchange blocks, and
//! begin and end, while another thread reclaims as fast as it can and the system refuses purges.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::program::{Program, contents, pop, read_stamp, stamp_at};
use super::random::Random;
use super::refusing::Refusing;
use super::world::heap_with;
use crate::base::units::SEGMENT_BYTES;
use crate::cache::Front;
use crate::heap::Heap;
use crate::options::Config;
use crate::os::Os;
use crate::stats::Stats;

const WORKERS: usize = 4;
const SLOTS: usize = 300;
/// Operations of one turn. A turn begins with a look at the clock and has a cache of its own.
const TURN: usize = 20_000;
/// A stamp lies at every multiple of this many bytes of a block, so on every page of it.
const STAMP_STEP: usize = 2048;

/// A block on its way between threads.
pub(super) struct Parcel {
    start: NonNull<u8>,
    size: usize,
    stamp: u64,
}
// SAFETY: a block belongs to the thread that holds the parcel.
unsafe impl Send for Parcel {}

static NEXT_STAMP: AtomicU64 = AtomicU64::new(1);

impl Parcel {
    /// Writes a stamp of its own to a block's ends, and to every page between them.
    fn new(start: NonNull<u8>, size: usize) -> Parcel {
        let stamp = NEXT_STAMP.fetch_add(1, Ordering::Relaxed);
        for at in stamp_offsets(size) {
            stamp_at(start, at, stamp);
        }
        Parcel { start, size, stamp }
    }

    /// Checks the stamps in the first `size` bytes; the one at the end only if they are all.
    fn check(&self, size: usize) {
        for at in stamp_offsets(self.size).filter(|at| at + 8 <= size) {
            let found = read_stamp(self.start, at);
            let Parcel { start, size, stamp } = *self;
            assert_eq!(
                found, stamp,
                "byte {at} of {size} at {start:?} changed: had by two at once"
            );
        }
    }
}

/// Where stamps lie in a block of this size.
fn stamp_offsets(size: usize) -> impl Iterator<Item = usize> {
    let last = size.checked_sub(8);
    // A stamp ends before the last one begins.
    let steps = (0..last.unwrap_or(0).saturating_sub(7)).step_by(STAMP_STEP);
    steps.chain(last)
}

pub(super) fn malloc<O: Os>(heap: &Heap<O>, front: Front<'_>, size: usize) -> Parcel {
    let block = match front {
        Front::Cache(cache) => match pop(cache, size) {
            Some(block) => NonNull::new(block),
            None => heap.take_after_miss(cache, size),
        },
        Front::Direct => heap.allocate(front, size),
    };
    Parcel::new(block.expect("memory"), size)
}

fn calloc<O: Os>(heap: &Heap<O>, front: Front<'_>, size: usize) -> Parcel {
    let block = heap.allocate_zeroed(front, 16, size);
    let start = block.expect("memory");
    let bytes = contents(start, size);
    assert!(bytes.iter().all(|&byte| byte == 0), "zeroed memory at {start:?} is not zero");
    Parcel::new(start, size)
}

fn realloc<O: Os>(heap: &Heap<O>, front: Front<'_>, parcel: Parcel, size: usize) -> Parcel {
    parcel.check(parcel.size);
    let start = heap.change(front, parcel.start, size).expect("memory");
    Parcel { start, ..parcel }.check(size);
    Parcel::new(start, size)
}

pub(super) fn free<O: Os>(heap: &Heap<O>, front: Front<'_>, parcel: Parcel) {
    parcel.check(parcel.size);
    heap.give_block(front, parcel.start);
}

/// Sends a block to the neighbour; gives it back when the neighbour's inbox is full.
fn offer(out: &SyncSender<Parcel>, parcel: Parcel) -> Option<Parcel> {
    match out.try_send(parcel) {
        Ok(()) => None,
        Err(TrySendError::Full(parcel) | TrySendError::Disconnected(parcel)) => Some(parcel),
    }
}

/// How long an attack runs.
#[derive(Clone, Copy)]
pub(super) enum Length {
    /// Turns of each worker.
    Turns(usize),
    Time(Duration),
}

/// The parameters of an attack.
pub(super) struct Attack {
    pub(super) config: Config,
    pub(super) seed: u64,
    pub(super) length: Length,
    /// Of how many purges one is refused; 0: none.
    pub(super) refuse_one_in: u64,
}

/// The result of an attack.
pub(super) struct Outcome {
    pub(super) operations: usize,
    pub(super) rounds: usize,
    pub(super) stats: Stats,
}

/// One worker and its neighbours.
struct Worker<'a> {
    heap: &'a Heap<Refusing>,
    random: Random,
    out: SyncSender<Parcel>,
    inbox: Receiver<Parcel>,
    slots: Vec<Option<Parcel>>,
}

impl Worker<'_> {
    /// Runs turns until the end, each on a cache of its own, and frees everything. Returns the
    /// number of operations.
    fn work(mut self, length: Length) -> usize {
        let start = Instant::now();
        let mut turns = 0;
        loop {
            match length {
                Length::Turns(most) if turns >= most => break,
                Length::Time(most) if start.elapsed() >= most => break,
                _ => {}
            }
            let cache = self.heap.attach().expect("a cache");
            self.turn(Front::Cache(cache));
            self.heap.end(cache);
            turns += 1;
        }
        for parcel in self.slots.into_iter().flatten() {
            free(self.heap, Front::Direct, parcel);
        }
        // Blocks still in the inbox are freed here, once the neighbour has closed its end.
        drop(self.out);
        for parcel in self.inbox {
            free(self.heap, Front::Direct, parcel);
        }
        turns * TURN
    }

    /// Allocates, resizes, frees, and exchanges blocks with a neighbour.
    fn turn(&mut self, front: Front<'_>) {
        let (heap, random) = (self.heap, &mut self.random);
        for _ in 0..TURN {
            let slot = usize::try_from(random.next()).unwrap_or(0) % SLOTS;
            if let Some(parcel) = self.slots[slot].take() {
                let kept = match random.next() % 8 {
                    0 => {
                        self.slots[slot] = Some(realloc(heap, front, parcel, random.size()));
                        continue;
                    }
                    1 | 2 => offer(&self.out, parcel),
                    _ => Some(parcel),
                };
                if let Some(parcel) = kept {
                    free(heap, front, parcel);
                }
            }
            while let Ok(parcel) = self.inbox.try_recv() {
                free(heap, front, parcel);
            }
            let size = random.size();
            let zeroed = random.next().is_multiple_of(8);
            let parcel = if zeroed { calloc(heap, front, size) } else { malloc(heap, front, size) };
            self.slots[slot] = Some(parcel);
        }
    }
}

impl Attack {
    /// Runs it; panics when a byte changed, a block was lost, or the heap contradicts itself.
    pub(super) fn run(&self) -> Outcome {
        let os = Refusing::new(self.seed, self.refuse_one_in);
        let heap = heap_with(os, 512 * SEGMENT_BYTES, &self.config);
        let done = AtomicBool::new(false);
        let rounds = AtomicUsize::new(0);
        let mut operations = 0;
        thread::scope(|scope| {
            let (mut senders, receivers): (Vec<_>, Vec<_>) =
                (0..WORKERS).map(|_| sync_channel::<Parcel>(64)).unzip();
            senders.rotate_left(1);
            let workers: Vec<_> = (0..)
                .zip(senders.into_iter().zip(receivers))
                .map(|(index, (out, inbox))| {
                    let random = Random(self.seed * 100 + index);
                    let slots = (0..SLOTS).map(|_| None).collect();
                    let worker = Worker { heap: &heap, random, out, inbox, slots };
                    scope.spawn(move || worker.work(self.length))
                })
                .collect();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let round = rounds.fetch_add(1, Ordering::Relaxed);
                    if round.is_multiple_of(4) {
                        heap.collect(Front::Direct, 0);
                    } else {
                        heap.tick(Front::Direct);
                    }
                }
            });
            // The thief must end even when a worker panics.
            let results: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Relaxed);
            for result in results {
                operations += result.expect("no worker has panicked");
            }
        });
        let rounds = rounds.into_inner();
        assert!(rounds > 0, "the thief never ran");
        heap.os().stop_refusing();
        heap.collect(Front::Direct, 0);
        heap.validate();
        let stats = heap.stats();
        let left = (stats.active, stats.cached, stats.dirty);
        assert_eq!(left, (0, 0, 0), "a block was lost: {stats}");
        let refused = stats.madvise_refused > 0;
        assert_eq!(refused, self.refuse_one_in > 0, "refusals: {stats}");
        Outcome { operations, rounds, stats }
    }
}
