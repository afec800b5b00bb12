//! What happens around a fork.
//!
//! Before it, the forking thread takes every lock, so that the child finds the heap at rest. In the
//! child a lock is released like any other, because a lock has no owner.
//!
//! A fork in a signal handler may have interrupted an operation of the heap: then the thread holds
//! some locks already, in the middle of the order, and could wait for ever for the others. So it
//! takes none. The parent goes on unharmed; in the child the heap is closed, because other threads
//! may have been inside too, and [`super::shut`] serves what the child allocates until it calls
//! `exec` or exits.

use super::{GLOBAL, existing_heap, reclaimer, tls};
use crate::os::{held, lock, order, stdio};

/// Registers the handlers. The call may allocate.
pub(super) fn register() {
    order::may_call("pthread_atfork");
    // SAFETY: the three handlers are functions of this program that stay loaded.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// Takes every lock, the C library's first.
extern "C" fn before() {
    if held::is_inside() || lock::is_heap_closed() {
        held::begin_blind_fork();
        return;
    }
    stdio::lock_list();
    held::begin_operation();
    GLOBAL.start.acquire();
    if let Some(heap) = existing_heap() {
        heap.acquire_all();
    }
}

extern "C" fn in_parent() {
    if !held::end_blind_fork() {
        release_all();
        stdio::unlock_list();
    }
}

extern "C" fn in_child() {
    if held::end_blind_fork() {
        lock::close_heap();
        tls::set(&tls::ENDED, None);
        return;
    }
    release_all();
    stdio::reset_list();
    reclaimer::note_process();
    if let Some(heap) = existing_heap() {
        heap.abandon_other_threads(tls::own());
    }
}

/// Releases what [`before`] took of the heap's, perhaps in the forked child.
fn release_all() {
    if let Some(heap) = existing_heap() {
        heap.release_all();
    }
    GLOBAL.start.release();
    held::end_operation();
}
