//! Fuzzes three threads that allocate, resize, check, hand over and free blocks.
//!
//! A step is four bytes: the thread and the operation, the slot, and a size. The threads take
//! turns, so an input fixes one schedule; the thread of hz3 runs beside them.
#![no_main]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use hz3::Hz3;
use libfuzzer_sys::fuzz_target;

const THREADS: usize = 3;
const SLOTS: usize = 64;
/// Live bytes at most, so that an input does not meet the fuzzer's limit on memory.
const MOST: usize = 256 << 20;

struct Block {
    start: *mut u8,
    layout: Layout,
    seed: u8,
}

// SAFETY: the block is moved to the thread whose turn it is, and nobody else has its address.
unsafe impl Send for Block {}

struct World {
    slots: Vec<Option<Block>>,
    live: usize,
}

/// Returns a size that the two bytes stand for: small ones, those around the classes, large and
/// huge ones.
fn size(low: u8, high: u8) -> usize {
    let number = usize::from(low) | usize::from(high & 15) << 8;
    match high >> 4 {
        0..=7 => number % 1100,
        8..=10 => number * 9,
        11..=12 => (number << 8) + 1,
        13 => 1 << (number % 26),
        14 => (1_usize << (number % 26)) - 1,
        _ => (1_usize << (number % 26)) + 1,
    }
}

impl Block {
    /// Returns the places that are written: the ends, and one byte of each page.
    fn marks(&self) -> impl Iterator<Item = usize> + use<> {
        let bytes = self.layout.size();
        (0..bytes)
            .step_by(4096)
            .chain(bytes.checked_sub(1))
            .chain((0..16).filter(move |&at| at < bytes))
    }

    fn fill(&self) {
        for at in self.marks() {
            // SAFETY: `at` lies in the block.
            unsafe { self.start.add(at).write(self.seed ^ at as u8) };
        }
    }

    fn check(&self, bytes: usize) {
        for at in self.marks().filter(|&at| at < bytes) {
            // SAFETY: `at` lies in the block.
            let byte = unsafe { self.start.add(at).read() };
            assert_eq!(byte, self.seed ^ at as u8, "byte {at} of {} changed", self.layout.size());
        }
    }

    fn check_zero(&self) {
        for at in self.marks() {
            // SAFETY: `at` lies in the block.
            assert_eq!(unsafe { self.start.add(at).read() }, 0, "byte {at} is not zero");
        }
    }
}

fn step(world: &mut World, [kind, slot, low, high]: [u8; 4]) {
    let place = usize::from(slot) % SLOTS;
    let bytes = size(low, high);
    match kind >> 2 & 15 {
        0..=5 => {
            let align = if slot & 64 == 0 { 1 } else { 1 << (kind >> 4) };
            let Ok(layout) = Layout::from_size_align(bytes, align) else { return };
            release(world, place);
            if world.live + bytes > MOST || bytes == 0 {
                return;
            }
            let zeroed = kind & 128 != 0;
            // SAFETY: the size is not 0.
            let start =
                unsafe { if zeroed { Hz3.alloc_zeroed(layout) } else { Hz3.alloc(layout) } };
            assert!(!start.is_null(), "{layout:?} is refused");
            assert_eq!(start.addr() % align, 0, "{layout:?} is not aligned");
            let block = Block { start, layout, seed: low ^ slot };
            if zeroed {
                block.check_zero();
            }
            block.fill();
            world.live += bytes;
            world.slots[place] = Some(block);
        }
        6..=8 => {
            let Some(mut block) = world.slots[place].take() else { return };
            let old = block.layout.size();
            if bytes == 0 || world.live - old + bytes > MOST {
                world.slots[place] = Some(block);
                return;
            }
            // SAFETY: the block is live and has this layout; the size is not 0.
            block.start = unsafe { Hz3.realloc(block.start, block.layout, bytes) };
            assert!(!block.start.is_null(), "{:?} is not resized to {bytes}", block.layout);
            let align = block.layout.align();
            // The marks of the old size, as far as they are left; the last byte may be one of them.
            block.check(old.min(bytes));
            block.layout =
                Layout::from_size_align(bytes, align).expect("as big as before, or less");
            block.fill();
            world.live = world.live - old + bytes;
            world.slots[place] = Some(block);
        }
        9..=13 => release(world, place),
        14 if slot & 3 == 0 => drop(hz3::collect()),
        14 => hz3::raw::epoch_force(),
        _ => {
            let other = usize::from(low) % SLOTS;
            world.slots.swap(place, other);
        }
    }
}

fn release(world: &mut World, place: usize) {
    if let Some(block) = world.slots[place].take() {
        block.check(block.layout.size());
        world.live -= block.layout.size();
        // SAFETY: the block is live, has this layout, and is forgotten here.
        unsafe { Hz3.dealloc(block.start, block.layout) };
    }
}

/// A thread that takes a step when it gets the world, and gives the world back.
fn worker(turns: &Receiver<(World, [u8; 4])>, done: &Sender<World>) {
    while let Ok((mut world, words)) = turns.recv() {
        step(&mut world, words);
        if done.send(world).is_err() {
            return;
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut world = World { slots: (0..SLOTS).map(|_| None).collect(), live: 0 };
    thread::scope(|scope| {
        let (done, back) = channel();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (turn, turns) = channel();
                let done = done.clone();
                scope.spawn(move || worker(&turns, &done));
                turn
            })
            .collect();
        for words in data.chunks_exact(4) {
            let thread = usize::from(words[0] & 3) % THREADS;
            let words = [words[0], words[1], words[2], words[3]];
            threads[thread].send((world, words)).expect("the thread waits");
            world = back.recv().expect("the thread gives it back");
        }
        for place in 0..SLOTS {
            release(&mut world, place);
        }
    });
});
