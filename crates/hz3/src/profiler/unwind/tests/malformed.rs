//! Malformed tables and stacks: a walk ends, whatever it reads.

use core::ptr;
use std::vec::Vec;

use super::super::cache::Rules;
use super::super::memory::{Memory, OwnMemory};
use super::super::objects;
use super::super::registers::{COUNT, FRAME_POINTER, PROGRAM_COUNTER, Registers, STACK_POINTER};
use super::super::step::{Process, walk};
use super::super::tables::Object;
use super::DEPTH;

/// Bytes at made-up addresses.
struct Bytes {
    start: usize,
    bytes: Vec<u8>,
}

impl Memory for Bytes {
    fn copy(&self, address: usize, into: &mut [u8]) -> bool {
        let from = address.wrapping_sub(self.start);
        let found = from.checked_add(into.len()).and_then(|to| self.bytes.get(from..to));
        found.map(|found| into.copy_from_slice(found)).is_some()
    }
}

/// A generator of random numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 8).expect("56 bits")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Walks from registers that lead into the memory; returns the frames found.
fn walk_in(memory: &Bytes, object: Object, random: &mut Random) -> usize {
    let mut registers = Registers::unknown();
    for register in 0..COUNT {
        registers.set(register, memory.start + random.next() % memory.bytes.len() / 8 * 8);
    }
    registers.set(PROGRAM_COUNTER, object.start + random.next() % (object.end - object.start));
    let rules = Rules::<64>::new();
    let process = Process { memory, objects: |_| Some(object), rules: &rules, period: 0 };
    let mut frames = [0; DEPTH];
    let count = walk(&process, &registers, &mut frames);
    // The same with the rules that the first walk found.
    assert_eq!(walk(&process, &registers, &mut frames), count);
    assert!((1..=DEPTH).contains(&count));
    count
}

#[test]
fn random_bytes_end_a_walk() {
    let mut random = Random(1);
    for _ in 0..2000 {
        let start = 0x10_0000;
        let mut bytes: Vec<u8> = (0..4096).map(|_| random.byte()).collect();
        // A header that is accepted, with a table of up to 256 entries.
        bytes[..12].copy_from_slice(&[1, 0x1b, 3, 0x3b, 0, 1, 0, 0, random.byte(), 0, 0, 0]);
        for place in (12..2060).step_by(4) {
            let number = u32::try_from(random.next() % 4096).expect("small");
            bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
        }
        let object = Object { start, end: start + bytes.len(), header: start };
        walk_in(&Bytes { start, bytes }, object, &mut random);
    }
}

#[test]
fn mutated_tables_end_a_walk() {
    let memory = OwnMemory::new(&raw const OBJECT as usize);
    let own = objects::find(&memory, mutated_tables_end_a_walk as *const () as usize);
    let own = own.expect("the tests have tables");
    // From the header on, to be small; the start of the object is left out.
    let mut bytes = std::vec![0; (own.end - own.header).min(1 << 20)];
    let mut whole = 0;
    for chunk in bytes.chunks_mut(4096) {
        whole += usize::from(memory.copy(own.header + whole * 4096, chunk));
    }
    bytes.truncate(whole * 4096);
    let mut memory = Bytes { start: own.header, bytes };
    let mut random = Random(2);
    let (mut deepest, mut saved) = (0, Vec::new());
    for _ in 0..3000 {
        for _ in 0..200 {
            // Not the header: the search must come this far.
            let place = 12 + random.next() % (memory.bytes.len() - 12);
            saved.push((place, core::mem::replace(&mut memory.bytes[place], random.byte())));
        }
        deepest = deepest.max(walk_in(&memory, own, &mut random));
        for (place, byte) in saved.drain(..).rev() {
            memory.bytes[place] = byte;
        }
    }
    assert!(deepest > 2, "no table was read: {deepest}");
}

static OBJECT: u8 = 0;

/// A page that can be read and, after it, one that cannot.
fn edge() -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let (bytes, access) = (2 * 4096, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a new mapping.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    // SAFETY: the mapping has two pages.
    let end = unsafe { start.byte_add(4096) };
    // SAFETY: nothing uses the second page.
    assert_eq!(unsafe { libc::mprotect(end, 4096, libc::PROT_NONE) }, 0);
    end.addr()
}

#[test]
fn memory_is_read_up_to_the_last_byte_that_can_be_read() {
    let edge = edge();
    let memory = OwnMemory::new(&raw const OBJECT as usize);
    let mut room = [1; 100];
    assert!(memory.copy(edge - 100, &mut room));
    assert_eq!(room, [0; 100]);
    assert!(!memory.copy(edge - 99, &mut room));
    assert!(!memory.copy(edge, &mut room[..1]));
    assert_eq!(memory.word(edge - 8), Some(0));
    for absent in [edge, edge - 4, 0, usize::MAX - 7, 1 << 63] {
        assert_eq!(memory.word(absent), None);
    }
    assert!(memory.copy(edge, &mut []));
}

#[test]
fn a_stack_that_ends_ends_the_walk() {
    let edge = edge();
    let memory = OwnMemory::new(edge - 8);
    let rules = Rules::<64>::new();
    let process = Process {
        memory: &memory,
        objects: |pc| objects::find(&memory, pc),
        rules: &rules,
        period: 0,
    };
    let code = a_stack_that_ends_ends_the_walk as *const () as usize;
    for pc in [code + 1, code + 40, edge, 1, usize::MAX] {
        for frame_pointer in [edge - 16, edge - 8, edge, 1, usize::MAX - 7] {
            let mut registers = Registers::unknown();
            registers.set(PROGRAM_COUNTER, pc);
            registers.set(STACK_POINTER, edge - 8);
            registers.set(FRAME_POINTER, frame_pointer);
            let mut frames = [0; DEPTH];
            assert_eq!(walk(&process, &registers, &mut frames), 1, "{pc:x} {frame_pointer:x}");
        }
    }
}
