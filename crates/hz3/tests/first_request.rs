//! The first request of a program decides its configuration, whatever its alignment.
#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

use hz3::{Config, Configured};

#[global_allocator]
static ALLOCATOR: Configured = Configured::new(Config::new().count(true));

static FIRST: AtomicUsize = AtomicUsize::new(0);

/// Called before `main`, and before the first allocation of the standard library.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = request_aligned;

extern "C" fn request_aligned() {
    if let Ok(layout) = Layout::from_size_align(64, 64) {
        // SAFETY: the size is not 0.
        FIRST.store(unsafe { ALLOCATOR.alloc(layout) }.addr(), Ordering::Relaxed);
    }
}

#[test]
fn an_aligned_first_request_takes_the_programs_configuration() {
    let first = FIRST.load(Ordering::Relaxed);
    assert!(first != 0 && first.is_multiple_of(64), "{first:#x}");
    // They are counted only with this configuration.
    assert!(hz3::stats().requests > 0, "{}", hz3::stats());
}
