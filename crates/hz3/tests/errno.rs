//! The allocator keeps `errno`: Rust programs read it after they have dropped the arguments of the
//! call that failed.
#![cfg(target_os = "linux")]

use std::alloc::{Layout, alloc, dealloc, realloc};

use hz3::{Background, Config, Configured};

/// Without a thread of hz3's the calls themselves give memory back.
#[global_allocator]
static ALLOCATOR: Configured = Configured::new(Config::new().background(Background::Never));

const MIB: usize = 1 << 20;
/// Enough that their free gives memory back to the system at once.
const BLOCKS: usize = 64;
/// A number of no error.
const BEFORE: i32 = 12_345;

fn errno() -> *mut i32 {
    // SAFETY: the C library returns the address of this thread's errno.
    unsafe { libc::__errno_location() }
}

/// Runs a call of the allocator and checks that it keeps `errno`.
fn keeping<T>(what: &str, call: impl FnOnce() -> T) -> T {
    // SAFETY: it is this thread's errno.
    unsafe { errno().write(BEFORE) };
    let result = call();
    // SAFETY: as above.
    assert_eq!(unsafe { errno().read() }, BEFORE, "{what}");
    result
}

/// The system refuses to take back a page that is locked, and says so in `errno`.
#[test]
fn errno_stays_although_the_system_refuses_calls() {
    let layout = Layout::from_size_align(MIB, 16).expect("a layout");
    let mut blocks = [std::ptr::null_mut(); BLOCKS];
    for block in &mut blocks {
        // SAFETY: the size is not 0.
        *block = keeping("an allocation", || unsafe { alloc(layout) });
        assert!(!block.is_null());
        // SAFETY: the block has that many bytes.
        unsafe { block.write_bytes(1, MIB) };
    }
    for block in blocks.iter().step_by(8) {
        // SAFETY: the page is a part of the block.
        assert_eq!(unsafe { libc::mlock(block.cast(), 4096) }, 0, "mlock of 8 pages");
    }
    for block in blocks {
        // SAFETY: the block has this layout, and is not used again.
        keeping("a free", || unsafe { dealloc(block, layout) });
    }
    let refused = hz3::stats().madvise_refused;
    assert!(refused > 0, "no call was refused, so this test shows nothing");
    // SAFETY: the size is not 0.
    let block = unsafe { alloc(layout) };
    // More than the machine has.
    // SAFETY: the block has this layout, and only the result is used.
    let moved = keeping("a failure", || unsafe { realloc(block, layout, 1 << 60) });
    assert!(moved.is_null());
    // SAFETY: the block has this layout, and is not used again.
    unsafe { dealloc(block, layout) };
}
