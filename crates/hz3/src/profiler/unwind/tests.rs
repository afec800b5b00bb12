//! Walks of real stacks, beside those of glibc's `backtrace`.

extern crate std;

mod chains;
mod malformed;
#[cfg(target_arch = "x86_64")]
mod stepping;

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::vec::Vec;

use super::walk;

const DEPTH: usize = 64;

/// The frames of a walk, and those that glibc finds from the same function.
#[derive(Debug)]
struct Pair {
    own: Vec<usize>,
    glibc: Vec<usize>,
}

impl Pair {
    #[inline(never)]
    fn here() -> Self {
        let mut frames = [0; DEPTH];
        let mut pointers = [ptr::null_mut::<c_void>(); DEPTH];
        let own = walk(&mut frames);
        let depth = c_int::try_from(DEPTH).unwrap_or(0);
        // SAFETY: the array has room for that many pointers.
        let glibc = unsafe { libc::backtrace(pointers.as_mut_ptr(), depth) };
        let glibc = pointers[..usize::try_from(glibc).unwrap_or(0)].iter();
        Self { own: frames[..own].to_vec(), glibc: glibc.map(|frame| frame.addr()).collect() }
    }

    /// Checks that both found the same frames; only the calls in [`Pair::here`] differ.
    fn check(&self) {
        assert!(self.own.len() > 3, "{self:x?}");
        assert_eq!(self.own[1..], self.glibc[1..], "{self:x?}");
        assert!(self.own[0].abs_diff(self.glibc[0]) < 4096, "{self:x?}");
    }
}

#[test]
fn a_walk_finds_the_frames_that_glibc_finds() {
    Pair::here().check();
}

#[test]
fn a_second_walk_finds_the_same_by_the_table_of_rules() {
    // The first walk fills the table. The compiler may make two calls of the loop's one, so each
    // walk is compared with glibc's of the same call.
    for _ in 0..2 {
        Pair::here().check();
    }
}

#[test]
fn a_short_buffer_gets_the_innermost_frames() {
    let (mut long, mut short) = ([0; DEPTH], [0; 3]);
    let counts = [&mut long[..], &mut short, &mut []].map(walk);
    assert!(counts[0] > 3);
    assert_eq!(counts[1..], [3, 0]);
    assert_eq!(short[1..], long[1..3]);
}

#[test]
fn a_walk_passes_through_the_c_library() {
    extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
        let pair = Pair::here();
        pair.check();
        FOUND.store(pair.own.len(), Ordering::Relaxed);
        0
    }
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    let mut numbers = [3, 1, 2];
    let outside = Pair::here().own.len();
    // SAFETY: the array has three numbers of that size, which the function compares.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 3, size_of::<i32>(), Some(compare)) };
    assert!(FOUND.load(Ordering::Relaxed) > outside + 1);
}

#[test]
fn a_walk_passes_through_a_signal_handler() {
    extern "C" fn handle(_: c_int) {
        let pair = Pair::here();
        pair.check();
        FOUND.store(pair.own.len(), Ordering::Relaxed);
    }
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    let outside = Pair::here().own.len();
    // SAFETY: the handler walks the stack and stores a number.
    unsafe { libc::signal(libc::SIGURG, handle as *const () as libc::sighandler_t) };
    // SAFETY: the signal has the handler above.
    unsafe { libc::raise(libc::SIGURG) };
    // The handler, the return from it, and the C library's frames of `raise`.
    assert!(FOUND.load(Ordering::Relaxed) > outside + 2);
}
