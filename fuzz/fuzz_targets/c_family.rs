//! Fuzzes the malloc family of C with odd arguments, beside a model of the allowed answers.
//!
//! The sources of `libhz3.so` are part of this program, so the fuzzer and its C++ runtime allocate
//! from hz3 too. A step is six bytes: the function, the slot, and two numbers.
#![no_main]

extern crate hz3 as hz3_alloc;

use std::ffi::{c_char, c_int, c_void};
use std::hint::black_box;
use std::ptr::{null_mut, without_provenance_mut};

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/hz3-c/src/caller.rs"]
mod caller;
#[path = "../../crates/hz3-c/src/family.rs"]
mod family;
#[path = "../../crates/hz3-c/src/foreign.rs"]
mod foreign;
#[path = "../../crates/hz3-c/src/gnu.rs"]
mod gnu;
#[path = "../../crates/hz3-c/src/hz3_api.rs"]
mod hz3_api;
#[path = "../../crates/hz3-c/src/load.rs"]
mod load;
#[allow(dead_code, reason = "the operators of C++ are not here")]
#[path = "../../crates/hz3-c/src/lookup.rs"]
mod lookup;
#[path = "../../crates/hz3-c/src/report.rs"]
mod report;

unsafe extern "C" {
    safe fn malloc(size: usize) -> *mut c_void;
    safe fn calloc(count: usize, size: usize) -> *mut c_void;
    fn realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void;
    fn free(block: *mut c_void);
    fn free_sized(block: *mut c_void, size: usize);
    fn free_aligned_sized(block: *mut c_void, align: usize, size: usize);
    safe fn aligned_alloc(align: usize, size: usize) -> *mut c_void;
    fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int;
    safe fn memalign(align: usize, size: usize) -> *mut c_void;
    safe fn valloc(size: usize) -> *mut c_void;
    safe fn pvalloc(size: usize) -> *mut c_void;
    fn malloc_usable_size(block: *mut c_void) -> usize;
    safe fn malloc_trim(pad: usize) -> c_int;
    safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    fn hz3_stats_json(buffer: *mut c_char, size: usize) -> usize;
    safe fn __errno_location() -> *mut c_int;
}

const SLOTS: usize = 64;
const PAGE: usize = 4096;
/// The alignment of every block.
const ALIGN: usize = 16;
/// Live bytes at most.
const MOST: usize = 256 << 20;
/// A request up to this size and alignment is served.
const SERVED: usize = 32 << 20;
/// The largest request, as in glibc.
const LARGEST: usize = isize::MAX as usize;
/// No call of the family sets `errno` to this.
const UNTOUCHED: c_int = 4321;
const EINVAL: c_int = 22;
const ENOMEM: c_int = 12;

struct Block {
    start: *mut u8,
    asked: usize,
    usable: usize,
    align: usize,
    seed: u8,
}

/// Returns a size that two bytes stand for: small, around classes and pages, and at the ends of
/// what fits.
fn size(low: u8, high: u8) -> usize {
    let number = usize::from(low) | usize::from(high & 15) << 8;
    match high >> 4 {
        0..=5 => number % 1100,
        6..=7 => number * 9,
        8 => (number % 64 * PAGE).wrapping_sub(number >> 6 & 3),
        9 => (number << 8) + 1,
        10 => 1 << (number % 64),
        11 => (1_usize << (number % 64)) - 1,
        12 => (1_usize << (number % 64)) + 1,
        13 => LARGEST - number % 4096,
        14 => LARGEST.wrapping_add(number),
        _ => usize::MAX - number % 8192,
    }
}

/// Returns a count for `calloc`: mostly small, so that the product sometimes fits.
fn count(low: u8, high: u8) -> usize {
    if high & 128 == 0 { usize::from(low & 31) } else { size(low, high) }
}

/// Returns an alignment: mostly a power of two, from 1 to one that no address has.
fn alignment(low: u8, high: u8) -> usize {
    match high & 15 {
        0..=9 => 1 << (low % 18),
        10..=11 => 1 << (low % 64),
        12 => usize::from(low),
        13 => 0,
        14 => usize::MAX - usize::from(low),
        _ => size(low, high),
    }
}

impl Block {
    /// Returns the offsets that are written: the ends, and one byte in each page.
    fn marks(&self, bytes: usize) -> impl Iterator<Item = usize> + use<> {
        let sparse = if bytes > SERVED { bytes } else { PAGE };
        let spread = (0..bytes).step_by(sparse.max(1));
        spread.chain(bytes.checked_sub(1)).chain((0..16).filter(move |&at| at < bytes))
    }

    fn fill(&self) {
        for at in self.marks(self.usable) {
            // SAFETY: the program may use every usable byte of a live block.
            unsafe { self.start.add(at).write(self.seed ^ at as u8) };
        }
    }

    fn check(&self, bytes: usize) {
        for at in self.marks(self.usable).filter(|&at| at < bytes) {
            // SAFETY: the byte was written by `fill` and lies in a live block.
            let byte = unsafe { self.start.add(at).read() };
            assert_eq!(byte, self.seed ^ at as u8, "byte {at} of {} changed", self.asked);
        }
    }
}

fn set_errno() {
    // SAFETY: the address is this thread's errno.
    unsafe { __errno_location().write(UNTOUCHED) };
}

fn get_errno() -> c_int {
    // SAFETY: the address is this thread's errno.
    unsafe { __errno_location().read() }
}

fn usable(start: *mut u8) -> usize {
    // SAFETY: the block is live, or NULL.
    unsafe { malloc_usable_size(start.cast()) }
}

struct World {
    slots: [Option<Block>; SLOTS],
    live: usize,
}

/// The arguments of a function that returns a block.
#[derive(Debug)]
struct Request {
    /// `None` if a product of arguments overflowed.
    size: Option<usize>,
    align: usize,
    zeroed: bool,
}

impl World {
    /// Checks the answer to a request, with `errno` as the call left it, and keeps the block.
    fn take(&mut self, place: usize, start: *mut c_void, request: &Request, seed: u8) {
        let errno = get_errno();
        let start: *mut u8 = black_box(start).cast();
        let Some(asked) = request.size.filter(|&size| size <= LARGEST) else {
            assert!(start.is_null(), "{request:?} cannot be served");
            assert_eq!(errno, ENOMEM, "{request:?}");
            return;
        };
        if start.is_null() {
            assert!(asked > SERVED || request.align > SERVED, "{request:?} is refused");
            assert_eq!(errno, ENOMEM, "{request:?}");
            return;
        }
        assert_eq!(errno, UNTOUCHED, "{request:?} succeeds and changes errno");
        let align = request.align.max(ALIGN);
        assert_eq!(start.addr() % align, 0, "{request:?} is not aligned");
        let block = Block { start, asked, usable: usable(start), align, seed };
        assert!(block.usable >= asked, "{request:?} has {} usable bytes", block.usable);
        assert!(block.usable <= LARGEST, "{request:?} has {} usable bytes", block.usable);
        let end = start.addr() + block.usable.max(1);
        for other in self.slots.iter().flatten() {
            let other_end = other.start.addr() + other.usable.max(1);
            let apart = end <= other.start.addr() || other_end <= start.addr();
            assert!(apart, "{request:?} overlaps a live block of {} bytes", other.asked);
        }
        if request.zeroed {
            for at in block.marks(asked) {
                // SAFETY: the byte lies in the new block, and `calloc` wrote it.
                assert_eq!(unsafe { start.add(at).read() }, 0, "{request:?}, byte {at}");
            }
        }
        // No page of a block that may exceed the memory of the machine is touched.
        if asked > SERVED {
            // SAFETY: the block is live and is forgotten here.
            unsafe { free(start.cast()) };
            return;
        }
        block.fill();
        self.live += block.asked;
        self.slots[place] = Some(block);
    }

    fn release(&mut self, place: usize, how: u8) {
        let Some(block) = self.slots[place].take() else {
            // SAFETY: every function that frees takes NULL.
            unsafe { free(null_mut()) };
            return;
        };
        block.check(block.usable);
        assert_eq!(usable(block.start), block.usable, "the usable size changed");
        self.live -= block.asked;
        let start = block.start.cast();
        set_errno();
        // SAFETY: the block is live, has this size and alignment, and is forgotten here.
        unsafe {
            match how & 3 {
                // A block with an alignment of its own must not come here.
                0 if block.align == ALIGN => free_sized(start, block.asked),
                1 => free_aligned_sized(start, block.align, block.asked),
                _ => free(start),
            }
        }
        assert_eq!(get_errno(), UNTOUCHED, "a free changes errno");
    }

    /// Resizes a block; `array` is the count of elements for `reallocarray`.
    fn resize(&mut self, place: usize, array: Option<usize>, element: usize) {
        let asked = array.map_or(Some(element), |count| count.checked_mul(element));
        let old = self.slots[place].take();
        if old.is_some()
            && asked.is_some_and(|size| self.live.saturating_add(size) > MOST && size <= SERVED)
        {
            self.slots[place] = old;
            return;
        }
        let start = old.as_ref().map_or(null_mut(), |block| block.start.cast());
        set_errno();
        // SAFETY: the block is live, or NULL. After a success `old` is not used as a block.
        let moved = unsafe {
            match array {
                None => realloc(start, element),
                Some(count) => reallocarray(start, count, element),
            }
        };
        let moved: *mut c_void = black_box(moved);
        let request = Request { size: asked, align: 1, zeroed: false };
        let Some(old) = old else {
            self.take(place, moved, &request, 7);
            return;
        };
        if asked == Some(0) {
            assert!(moved.is_null(), "realloc to 0 frees");
            assert_eq!(get_errno(), UNTOUCHED, "realloc to 0 is no failure");
            self.live -= old.asked;
            return;
        }
        if moved.is_null() {
            assert_eq!(get_errno(), ENOMEM, "{request:?}");
            let smaller = asked.is_some_and(|size| size <= old.asked);
            assert!(!smaller, "{request:?} shrinks a block of {} and fails", old.asked);
            assert!(asked.is_none_or(|size| size > SERVED), "{request:?} is refused");
            old.check(old.usable);
            self.slots[place] = Some(old);
            return;
        }
        let asked = asked.expect("an overflow cannot succeed");
        let errno = get_errno();
        let kept = Block { start: moved.cast(), ..old };
        kept.check(old.asked.min(asked));
        self.live -= old.asked;
        set_errno();
        assert_eq!(errno, UNTOUCHED, "{request:?} succeeds and changes errno");
        self.take(place, moved, &request, old.seed.wrapping_add(1));
    }

    fn step(&mut self, [kind, slot, low, high, low2, high2]: [u8; 6]) {
        let place = usize::from(slot) % SLOTS;
        let bytes = size(low, high);
        let seed = low ^ slot;
        match kind & 31 {
            0..=3 => {
                self.make_room(place, Some(bytes));
                let block = malloc(black_box(bytes));
                self.take(
                    place,
                    block,
                    &Request { size: Some(bytes), align: 1, zeroed: false },
                    seed,
                );
            }
            4..=6 => {
                let count = count(low2, high2);
                let product = count.checked_mul(bytes);
                self.make_room(place, product);
                let block = calloc(black_box(count), bytes);
                self.take(place, block, &Request { size: product, align: 1, zeroed: true }, seed);
            }
            7..=10 => self.resize(place, None, bytes),
            11..=12 => self.resize(place, Some(count(low2, high2)), bytes),
            13..=16 => {
                let align = alignment(low2, high2);
                self.make_room(place, Some(bytes));
                let (block, align) = match kind & 3 {
                    0 => (aligned_alloc(align, bytes), align.is_power_of_two().then_some(align)),
                    1 => (memalign(align, bytes), align.checked_next_power_of_two()),
                    _ => {
                        self.posix(place, align, bytes, seed);
                        return;
                    }
                };
                let Some(align) = align else {
                    assert!(block.is_null(), "an alignment that is none is accepted");
                    assert_eq!(get_errno(), EINVAL);
                    return;
                };
                self.take(place, block, &Request { size: Some(bytes), align, zeroed: false }, seed);
            }
            17 => {
                self.make_room(place, Some(bytes));
                let block = valloc(bytes);
                self.take(
                    place,
                    block,
                    &Request { size: Some(bytes), align: PAGE, zeroed: false },
                    seed,
                );
            }
            18 => {
                let whole = bytes.checked_next_multiple_of(PAGE);
                self.make_room(place, whole);
                let block = pvalloc(bytes);
                self.take(place, block, &Request { size: whole, align: PAGE, zeroed: false }, seed);
            }
            19 => {
                set_errno();
                assert!((0..=1).contains(&malloc_trim(bytes)), "malloc_trim answers 0 or 1");
                assert_eq!(get_errno(), UNTOUCHED, "malloc_trim changes errno");
            }
            20 => {
                let parameter = c_int::from(low as i8);
                let value = i32::from_ne_bytes([high, low2, high2, slot]);
                assert!((0..=1).contains(&mallopt(parameter, value)), "mallopt answers 0 or 1");
            }
            21 => self.statistics(usize::from(low) | usize::from(high) << 8),
            22 => assert_eq!(usable(null_mut()), 0, "NULL has no usable bytes"),
            _ => self.release(place, kind >> 5),
        }
    }

    /// Frees the block of the slot, and all others if a new one would exceed the memory of a run.
    fn make_room(&mut self, place: usize, size: Option<usize>) {
        self.release(place, 3);
        let size = size.filter(|&size| size <= SERVED).unwrap_or(0);
        if self.live + size > MOST {
            (0..SLOTS).for_each(|place| self.release(place, 0));
        }
        set_errno();
    }

    fn posix(&mut self, place: usize, align: usize, size: usize, seed: u8) {
        let untouched = without_provenance_mut(0x1230);
        let mut out = untouched;
        // SAFETY: `out` is a pointer that may be written.
        let error = unsafe { posix_memalign(&raw mut out, align, size) };
        if !align.is_power_of_two() || align < size_of::<usize>() {
            assert_eq!(error, EINVAL, "alignment {align}");
            assert_eq!(out, untouched, "a failure writes the pointer");
            return;
        }
        let request = Request { size: Some(size), align, zeroed: false };
        if error == 0 {
            self.take(place, out, &request, seed);
            return;
        }
        assert_eq!(error, ENOMEM, "{request:?}");
        assert_eq!(out, untouched, "a failure writes the pointer");
        self.take(place, null_mut(), &request, seed);
    }

    fn statistics(&mut self, room: usize) {
        let mut text = vec![0xa5_u8; 1 << 16];
        let start = text.as_mut_ptr().cast();
        // SAFETY: the buffer has at least `room` bytes.
        let length = unsafe { hz3_stats_json(start, room) };
        assert!(
            text[room..].iter().all(|&byte| byte == 0xa5),
            "bytes behind the buffer are written"
        );
        if let Some(last) = room.checked_sub(1) {
            let end = length.min(last);
            assert_eq!(text[end], 0, "the text has no end");
            assert!(text[..end].iter().all(u8::is_ascii), "the text is ASCII");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut world = World { slots: [const { None }; SLOTS], live: 0 };
    for step in data.chunks_exact(6) {
        world.step(step.try_into().expect("six bytes"));
    }
    (0..SLOTS).for_each(|place| world.release(place, place as u8));
});
