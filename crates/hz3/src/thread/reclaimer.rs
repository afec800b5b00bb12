//! The reclaimer's thread: an ordinary thread of the C library that runs while there is work.
//!
//! `reclaim::entries` decides what it does and when. A slow path that finds enough work asks for
//! the thread. An entry point that knows its caller starts it by [`crate::raw::start_reclaimer`],
//! because the C library calls `malloc` and `free` under locks that `pthread_create` takes too.

use core::ffi::c_void;
use core::ptr;

use super::{guard, present_front, pressure, process, profile, stats_page};
use crate::cache::ThreadCache;
use crate::heap::Heap;
use crate::os::Os;
use crate::os::linux::Linux;
use crate::os::{errno, held, thread};
use crate::reclaim::driver::Turns;

/// Lets the reclaimer run or asks for its thread. Called after a slow path, with no lock held.
#[inline]
pub(super) fn poll(heap: &'static Heap<Linux>) {
    heap.after_slow_path(present_front());
    if held::is_reclaiming() {
        // The rest waits for the configuration, which a fork locks before it waits for the end of a
        // purge. The next slow path does what is due.
        return;
    }
    profile::poll(heap);
    guard::poll(heap);
    if heap.driver().take_stats_page_due() {
        update_stats_page(heap);
    }
    #[cfg(feature = "check")]
    super::check::after_slow_path(heap);
}

/// Polls as [`poll`] does, but seldom. Called after a large block went into the thread's own cache.
#[inline]
pub(super) fn poll_kept(heap: &'static Heap<Linux>, cache: &ThreadCache) {
    if heap.is_poll_due(cache) {
        poll_slowly(heap);
    }
}

#[cold]
#[inline(never)]
fn update_stats_page(heap: &'static Heap<Linux>) {
    stats_page::update(heap, false);
}

#[cold]
#[inline(never)]
fn poll_slowly(heap: &'static Heap<Linux>) {
    // The caller frees, which leaves `errno` as it is.
    let before = errno::get();
    poll(heap);
    errno::set(before);
}

/// Starts the thread. The caller must hold no lock of hz3 or of the C library.
#[cold]
pub(super) fn start() {
    // In a child of `vfork` the thread would end at `exec`. After a bare `fork` system call the C
    // library may be unable to start a thread. In both cases the slow paths do the work.
    if !process::is_own() {
        return;
    }
    let Some(driver) = super::existing_heap().map(Heap::driver) else { return };
    if let Some(number) = driver.begin_start(Linux.now_ms()) {
        driver.end_start(thread::start(run, ptr::without_provenance_mut(number as usize)));
    }
}

/// The thread's function. It never allocates.
extern "C" fn run(number: *mut c_void) -> *mut c_void {
    thread::set_up(c"hz3-reclaimer");
    if let (Some(heap), Ok(number)) = (super::existing_heap(), u32::try_from(number.addr())) {
        work(heap, number);
    }
    ptr::null_mut()
}

/// Runs the reclaimer's turns until no work is left.
fn work(heap: &'static Heap<Linux>, number: u32) {
    let driver = heap.driver();
    let mut turns = Turns::new(number);
    loop {
        let (sleeps_on, tick_ms) = driver.sleep_on();
        if !thread::sleep(sleeps_on, number, tick_ms) {
            break;
        }
        let goes_on = heap.reclaimer_turn(&mut turns);
        profile::poll(heap);
        guard::poll(heap);
        pressure::follow(heap);
        stats_page::update(heap, !goes_on);
        if !goes_on {
            return;
        }
    }
    driver.give_up();
}
