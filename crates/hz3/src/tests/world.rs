//! A heap, the threads that a test plays, and the model that the heap must agree with.

use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::vec::Vec;

use super::program::{Program, contents, fill, pop, push, within};
use crate::base::units::{PAGE_BYTES, SEGMENT_BYTES, to_u64};
use crate::cache::{Front, OwnCache};
use crate::heap::Heap;
use crate::options::Config;
use crate::os::Os;
use crate::os::fake::Fake;
use crate::reclaim::Next;

/// Bytes at either end of a block that carry its stamp.
const STAMPED: usize = 64;

/// A block as the model knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    start: NonNull<u8>,
    size: usize,
    stamp: u8,
}

/// One step of a test. Threads and blocks are chosen modulo their number.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Allocate {
        thread: u8,
        size: usize,
    },
    Zeroed {
        thread: u8,
        size: usize,
        align_log2: u8,
    },
    Aligned {
        thread: u8,
        size: usize,
        align_log2: u8,
    },
    Reallocate {
        thread: u8,
        block: u16,
        size: usize,
    },
    Free {
        thread: u8,
        block: u16,
    },
    Exit {
        thread: u8,
    },
    Collect {
        thread: u8,
        keep: usize,
    },
    Steal {
        thread: u8,
    },
    Tick {
        thread: u8,
    },
    Trim {
        thread: u8,
        counts_slabs: bool,
    },
    /// Takes `count` blocks of a size. The thread ends when it has taken so many, and another one
    /// takes the rest.
    Batch {
        thread: u8,
        size: usize,
        count: u16,
        ends_after: u16,
    },
    /// As [`Op::Fork`] of the next thread, while this one is inside a malloc that misses its cache.
    /// A malloc that hits is an ordinary one, and nothing forks.
    Interrupt {
        thread: u8,
        size: usize,
    },
    /// The process forks and the child goes on: with this thread alone.
    Fork {
        thread: u8,
    },
}

/// The heap under test beside its model.
pub(super) struct World<'a, O> {
    pub(super) heap: &'a Heap<O>,
    threads: Vec<Option<OwnCache<'a>>>,
    blocks: Vec<Block>,
    /// Live ranges by their start: end.
    ranges: BTreeMap<usize, usize>,
    next_stamp: u8,
    /// Whether the system may refuse: then a NULL is no breach.
    pub(super) may_fail: bool,
}

/// A heap with its default configuration, but for the size of the arena, and with huge pages.
pub(super) fn heap_over<O: Os>(os: O, arena_bytes: usize) -> Heap<O> {
    heap_with(os, arena_bytes, &Config::new().huge_pages(true))
}

/// As [`heap_over`], over a fake system with one CPU and 1 GiB.
pub(super) fn fake_heap(segments: usize) -> Heap<Fake> {
    heap_over(Fake::new(PAGE_BYTES, 1, 1 << 30), segments * SEGMENT_BYTES)
}

/// A heap with this configuration, but for the size of the arena.
pub(super) fn heap_with<O: Os>(os: O, arena_bytes: usize, config: &Config) -> Heap<O> {
    Heap::create(os, &config.arena_bytes(arena_bytes)).expect("a heap")
}

impl<'a, O: Os> World<'a, O> {
    pub(super) fn new(heap: &'a Heap<O>, threads: usize) -> World<'a, O> {
        World {
            heap,
            threads: (0..threads).map(|_| None).collect(),
            blocks: Vec::new(),
            ranges: BTreeMap::new(),
            next_stamp: 1,
            may_fail: false,
        }
    }

    fn front(&mut self, thread: u8) -> Front<'a> {
        let index = usize::from(thread) % self.threads.len();
        if self.threads[index].is_none() {
            self.threads[index] = self.heap.attach();
        }
        self.threads[index].map_or(Front::Direct, Front::Cache)
    }

    /// Performs one step and checks what it returned.
    pub(super) fn perform(&mut self, op: &Op) {
        match *op {
            Op::Allocate { thread, size } => {
                let front = self.front(thread);
                let block = self.malloc(front, size);
                self.enter(block, size, 16);
            }
            Op::Zeroed { thread, size, align_log2 } => {
                let (front, align) = (self.front(thread), 1 << align_log2);
                let block = self.heap.allocate_zeroed(front, align, size);
                if let Some(start) = block {
                    let bytes = contents(start, size);
                    assert!(bytes.iter().all(|&byte| byte == 0), "zeroed memory is not zero");
                }
                self.enter(block, size, align.max(16));
            }
            Op::Aligned { thread, size, align_log2 } => {
                let (front, align) = (self.front(thread), 1 << align_log2);
                let block = self.heap.allocate_aligned(front, align, size);
                self.enter(block, size, align.max(16));
            }
            Op::Reallocate { thread, block, size } => self.reallocate(thread, block, size),
            Op::Free { thread, block } => {
                if let Some(block) = self.pick(block) {
                    let front = self.front(thread);
                    self.free(front, block);
                }
            }
            Op::Exit { thread } => self.exit(thread),
            Op::Batch { thread, size, count, ends_after } => {
                for taken in 0..count {
                    if taken == ends_after {
                        self.exit(thread);
                    }
                    self.perform(&Op::Allocate { thread, size });
                }
            }
            Op::Interrupt { thread, size } => self.interrupt(thread, size),
            Op::Fork { thread } => self.fork(usize::from(thread)),
            Op::Collect { thread, keep } => {
                let front = self.front(thread);
                self.heap.collect(front, keep);
            }
            Op::Tick { thread } => {
                let front = self.front(thread);
                self.heap.tick(front);
            }
            Op::Trim { thread, counts_slabs } => {
                let front = self.front(thread);
                self.heap.trim(front, counts_slabs);
            }
            Op::Steal { thread } => {
                let index = usize::from(thread) % self.threads.len();
                if let Some(cache) = self.threads[index] {
                    self.heap.steal_from(&cache);
                }
            }
        }
    }

    fn exit(&mut self, thread: u8) {
        let index = usize::from(thread) % self.threads.len();
        if let Some(cache) = self.threads[index].take() {
            self.heap.end(cache);
        }
    }

    /// Forks while the thread is between the pop that failed and the miss that follows, as a thread
    /// that waits for a lock is. A pop that succeeds is an ordinary allocation.
    fn interrupt(&mut self, thread: u8, size: usize) {
        assert!(self.threads.len() > 1, "another thread forks");
        let Front::Cache(cache) = self.front(thread) else { return };
        if let Some(block) = pop(cache, size) {
            self.enter(NonNull::new(block), size, 16);
        } else {
            self.fork(usize::from(thread) + 1);
        }
    }

    /// Does what the fork handlers do in the parent, and then what the child's handler does.
    fn fork(&mut self, thread: usize) {
        let index = thread % self.threads.len();
        let own = self.threads[index];
        self.heap.acquire_all();
        self.heap.release_all();
        self.heap.abandon_other_threads(own);
        self.threads.fill(None);
        self.threads[index] = own;
    }

    /// The path of a program: the fast path, then its miss.
    fn malloc(&self, front: Front<'a>, size: usize) -> Option<NonNull<u8>> {
        let Front::Cache(cache) = front else {
            return self.heap.allocate(front, size);
        };
        match pop(cache, size) {
            Some(block) => NonNull::new(block),
            None => self.heap.take_after_miss(cache, size),
        }
    }

    fn free(&mut self, front: Front<'a>, block: Block) {
        Self::check_stamp(block);
        self.ranges.remove(&block.start.addr().get());
        let start = block.start.as_ptr();
        if let Front::Cache(cache) = front
            && push(cache, start)
        {
            return;
        }
        assert_eq!(self.heap.give_after_miss(front, start), Ok(()));
    }

    fn reallocate(&mut self, thread: u8, block: u16, size: usize) {
        let Some(block) = self.pick(block) else { return };
        let front = self.front(thread);
        Self::check_stamp(block);
        let Some(start) = self.heap.change(front, block.start, size) else {
            assert!(self.may_fail, "realloc to {size} failed");
            // The block is what it was.
            Self::check_stamp(block);
            self.blocks.push(block);
            return;
        };
        let kept = block.size.min(size).min(STAMPED);
        let bytes = contents(start, kept);
        assert!(bytes.iter().all(|&byte| byte == block.stamp), "realloc lost the contents");
        self.ranges.remove(&block.start.addr().get());
        self.enter(Some(start), size, 16);
    }

    /// Takes a block out of the model's list.
    fn pick(&mut self, block: u16) -> Option<Block> {
        if self.blocks.is_empty() {
            return None;
        }
        let index = usize::from(block) % self.blocks.len();
        Some(self.blocks.swap_remove(index))
    }

    /// Enters a fresh block into the model and stamps it.
    fn enter(&mut self, block: Option<NonNull<u8>>, size: usize, align: usize) {
        let Some(start) = block else {
            assert!(self.may_fail, "allocation of {size} at {align} failed");
            return;
        };
        let address = start.addr().get();
        assert!(address.is_multiple_of(align), "{address:#x} is not at a multiple of {align}");
        let usable = self.heap.usable_size(address).expect("a block of the heap's");
        assert!(usable >= size, "usable size {usable} of a block of {size}");
        let end = address + usable;
        if let Some((&other, &other_end)) = self.ranges.range(..end).next_back() {
            assert!(other_end <= address, "{address:#x}..{end:#x} overlaps {other:#x}");
        }
        let twin = self.ranges.insert(address, end);
        assert_eq!(twin, None, "{address:#x} was handed out twice");
        let stamp = self.next_stamp;
        self.next_stamp = self.next_stamp.wrapping_add(1).max(1);
        let block = Block { start, size: usable, stamp };
        let edge = usable.min(STAMPED);
        fill(start, stamp, edge);
        fill(within(start, usable - edge), stamp, edge);
        self.blocks.push(block);
    }

    /// Checks the contents of all blocks.
    pub(super) fn check_blocks(&self) {
        self.blocks.iter().for_each(|&block| Self::check_stamp(block));
    }

    fn check_stamp(block: Block) {
        let edge = block.size.min(STAMPED);
        for at in [0, block.size - edge] {
            let bytes = contents(within(block.start, at), edge);
            assert!(bytes.iter().all(|&byte| byte == block.stamp), "a block was overwritten");
        }
    }

    /// Checks the heap's own invariants and its statistics: the parts add up to the committed
    /// bytes, and the allocated bytes are those of the model.
    pub(super) fn validate(&self) {
        self.heap.validate();
        let stats = self.heap.stats();
        let held: usize = self.ranges.iter().map(|(start, end)| end - start).sum();
        assert_eq!(stats.allocated, to_u64(held), "live bytes: {stats}");
        let cached = stats.cached_running + stats.cached_idle + stats.cached_transfer;
        let slack = stats.slack_shared + stats.slack_holes + stats.slack_clean;
        let free = stats.dirty_young + stats.dirty_old + stats.retained;
        assert_eq!(stats.allocated + cached + slack + free, stats.committed, "parts: {stats}");
        assert!(stats.metadata_resident <= stats.metadata, "tables: {stats}");
    }

    /// Frees everything, ends all threads, and checks that every run came back.
    pub(super) fn end(mut self) {
        while let Some(block) = self.pick(0) {
            let front = self.front(0);
            self.free(front, block);
        }
        for index in 0..self.threads.len() {
            if let Some(cache) = self.threads[index].take() {
                self.heap.end(cache);
            }
        }
        // Ticks alone give everything back too, in a few steps.
        if !self.may_fail {
            let tick = || self.heap.tick(Front::Direct);
            let ticks = (0..200).take_while(|_| tick() == Next::Tick).count();
            assert!(ticks < 200, "the reclaimer finds no rest");
            assert_eq!(self.heap.stats().dirty, 0, "ticks left a dirty page");
        }
        self.heap.collect(Front::Direct, 0);
        self.validate();
        let stats = self.heap.stats();
        assert_eq!((stats.active, stats.slabs, stats.cached), (0, 0, 0), "a run did not come back");
        assert!(self.may_fail || stats.dirty == 0, "a dirty page was not purged");
    }
}
