//! The fork handlers.
//!
//! Before a fork the forking thread takes every lock, so that the child finds the heap in a
//! consistent state. The child releases the locks too, because a lock has no owner.
//!
//! A signal handler may fork while its thread is inside an operation of the heap. Then the thread
//! already holds some locks and could wait for ever for the others, so it takes none. The parent
//! goes on as usual. In the child the heap is closed, because other threads may have been inside an
//! operation too; [`super::shut`] serves the child's allocations until it calls `exec` or exits.

use super::{GLOBAL, existing_heap, reclaimer, tls};
use crate::os::{held, lock, order, stdio};

/// Registers the fork handlers. The call may allocate.
pub(super) fn register() {
    order::may_call("pthread_atfork");
    // SAFETY: the three handlers are functions of an object that stays loaded.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// Takes every lock, first the C library's list of streams.
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

/// Releases the heap's locks that [`before`] took, in the parent or in the child.
fn release_all() {
    if let Some(heap) = existing_heap() {
        heap.release_all();
    }
    GLOBAL.start.release();
    held::end_operation();
}
