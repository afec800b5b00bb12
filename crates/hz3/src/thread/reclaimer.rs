//! The thread of the reclaimer: an ordinary thread of the C library, while there is work.
//!
//! What it does and when is `reclaim::driver`'s. A slow path that finds enough work asks for the
//! thread; the entry point that knows who called ([`crate::raw::start_reclaimer`]) starts it, because
//! the C library calls `malloc` and `free` under locks that `pthread_create` takes too.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use super::tls;
use crate::cache::{Front, ThreadCache};
use crate::heap::Heap;
use crate::os::Os;
use crate::os::linux::Linux;
use crate::os::thread;
use crate::reclaim::driver::Turns;

/// The process that this memory belongs to; a child of `vfork` only borrows it.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Notes the process and its CPUs; before the first allocation is served.
pub(super) fn prepare() {
    thread::note_cpus();
    note_process();
}

/// In a forked child: the thread did not come along, and the process is another.
pub(super) fn note_process() {
    PROCESS.store(process(), Ordering::Relaxed);
}

fn process() -> u32 {
    // SAFETY: getpid has no precondition.
    unsafe { libc::getpid() }.cast_unsigned()
}

/// After a slow path, with no lock held: sees to it that memory is looked after.
#[inline]
pub(super) fn poll(heap: &'static Heap<Linux>) {
    let front = tls::own().map_or(Front::Direct, Front::Cache);
    // SAFETY: the front is this thread's, which has left its slow path.
    unsafe { heap.after_slow_path(front) };
    #[cfg(feature = "check")]
    super::check::after_slow_path(heap);
}

/// As [`poll`], after a large block went into the cache of the calling thread, and nowhere else.
#[inline]
pub(super) fn poll_kept(heap: &'static Heap<Linux>, cache: &ThreadCache) {
    if heap.is_look_due(cache) {
        poll_slowly(heap);
    }
}

#[cold]
#[inline(never)]
fn poll_slowly(heap: &'static Heap<Linux>) {
    poll(heap);
}

/// Starts the thread. The caller holds no lock, of hz3's or of the C library's.
#[cold]
pub(super) fn start() {
    // A child of `vfork` would take the thread with it when it calls `exec`, and what a bare `fork`
    // left of the C library may not start one: the slow paths go on.
    if process() != PROCESS.load(Ordering::Relaxed) {
        return;
    }
    let Some(driver) = super::existing_heap().map(Heap::driver) else { return };
    if let Some(number) = driver.begin_start(Linux.now_ms()) {
        driver.end_start(thread::start(run, ptr::without_provenance_mut(number as usize)));
    }
}

/// The thread. It never allocates.
extern "C" fn run(number: *mut c_void) -> *mut c_void {
    thread::settle_in(c"hz3-reclaimer");
    if let (Some(heap), Ok(number)) = (super::existing_heap(), u32::try_from(number.addr())) {
        work(heap, number);
    }
    ptr::null_mut()
}

/// Takes turns until nothing is left to do.
fn work(heap: &'static Heap<Linux>, number: u32) {
    let driver = heap.driver();
    let (sleeps_on, tick_ms) = driver.sleep_on();
    let mut turns = Turns::new(number);
    while thread::sleep(sleeps_on, number, tick_ms) {
        if !heap.reclaimer_turn(&mut turns) {
            return;
        }
    }
    driver.give_up();
}
