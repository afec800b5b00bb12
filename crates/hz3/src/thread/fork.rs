//! The fork handlers.
//!
//! Before a fork the forking thread takes every lock, so that the child finds the heap in a
//! consistent state. The child releases the locks too, because a lock has no owner.
//!
//! In a process with one thread no other thread can be inside an operation, so no lock is taken.
//! This matters to shells and build tools: each lock that is released writes to a page, of which
//! the parent and the child would then each need a copy.
//!
//! A signal handler may fork while its thread is inside an operation of the heap. Then the thread
//! already holds some locks and could wait for ever for the others, so it takes none. The parent
//! goes on as usual. In the child the heap is closed, because other threads may have been inside an
//! operation too; [`super::shut`] serves the child's allocations until it calls `exec` or exits.
//!
//! A thread that waits for the heap may hold a lock that `fork` or another library's handler wants
//! after these handlers: see [`crate::os::stuck_fork`]. The child is then closed in the same way.

use super::{GLOBAL, existing_heap, guard, pressure, process, stats_page, tls};
use core::sync::atomic::Ordering;

use crate::os::{held, lock, order, stdio, stuck_fork, thread};

/// Registers the fork handlers. The call may allocate.
pub(super) fn register() {
    order::check_may_call("pthread_atfork");
    // SAFETY: the three handlers are functions of an object that stays loaded.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// Takes every lock, first the C library's list of streams.
extern "C" fn before() {
    if held::is_inside() || lock::is_heap_closed() {
        held::begin_blind_fork();
        return;
    }
    // A fork by a handler that interrupted such a fork ends as that one does.
    if held::is_in_lone_fork() || held::is_at_rest() && thread::is_only() {
        held::begin_lone_fork();
        return;
    }
    stdio::lock_list();
    held::begin_operation();
    GLOBAL.config.acquire();
    if let Some(heap) = existing_heap() {
        heap.acquire_all();
    }
    stuck_fork::begin(release_all);
}

extern "C" fn in_parent() {
    if held::end_blind_fork() || held::end_lone_fork() {
        return;
    }
    if stuck_fork::end() {
        release_all();
    }
    held::end_operation();
    stdio::unlock_list();
}

extern "C" fn in_child() {
    if held::end_blind_fork() {
        close();
        return;
    }
    if held::end_lone_fork() {
        if thread::is_only() {
            note_child();
        } else {
            // A handler of another library's started a thread, which may have been inside the heap.
            close();
        }
        return;
    }
    if !stuck_fork::end_in_child() {
        close();
        held::end_operation();
        stdio::reset_list();
        return;
    }
    release_all();
    held::end_operation();
    stdio::reset_list();
    note_child();
    if let Some(heap) = existing_heap() {
        heap.abandon_other_threads(tls::own());
    }
}

/// Records that this is another process, with another thread.
fn note_child() {
    process::note();
    // Each of these writes only what differs, because the first store to a page copies it.
    stats_page::forget_other_threads();
    pressure::forget_other_threads();
    guard::forget_other_threads();
    if let Some(own) = tls::own() {
        own.counts.owner.store(thread::id(), Ordering::Relaxed);
    }
}

/// Closes the heap in a child that may have been copied in the middle of an operation.
fn close() {
    lock::close_heap();
    tls::set(&tls::ENDED, None);
}

/// Releases the locks that [`before`] took, perhaps in the forked child or in another thread's
/// place. The configuration's lock is the last one, because no thread can create a heap before.
///
/// If another thread does it, a second fork still waits for the end of this one: glibc's list of
/// streams is locked until then, and musl calls the handlers under a lock of its own.
fn release_all() {
    if let Some(heap) = existing_heap() {
        heap.release_all();
    }
    GLOBAL.config.release();
}
