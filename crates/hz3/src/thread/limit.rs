//! The last attempt of an allocation that the memory limit refuses: the heap profile is written,
//! the program may free memory, and the allocation is tried once more.
//!
//! The thread whose allocation the limit refused does it, after its slow path, with no lock of the
//! heap held. So the program's function may allocate and free. A refusal inside that function is
//! final, because it would call itself for ever. After a call that made no room, the next ones fail
//! without a call until memory came back or some time has passed: see `heap::exhaustion`.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::{GLOBAL, profile, shut};
use crate::heap::Heap;
use crate::os::held;
use crate::os::linux::Linux;

/// The program's function. It gets the bytes of the request and the pointer given with it.
pub type OnLimit = unsafe extern "C" fn(wanted: usize, context: *mut c_void);

/// The function and its pointer. Both change and are read under the lock `GLOBAL.config`.
struct Callback {
    /// An [`OnLimit`], or null.
    function: AtomicPtr<c_void>,
    context: AtomicPtr<c_void>,
}

static CALLBACK: Callback = Callback {
    function: AtomicPtr::new(ptr::null_mut()),
    context: AtomicPtr::new(ptr::null_mut()),
};

impl Callback {
    fn get(&self) -> Option<(OnLimit, *mut c_void)> {
        let _config = GLOBAL.config.lock();
        let function = self.function.load(Ordering::Relaxed);
        if function.is_null() {
            return None;
        }
        // SAFETY: `set` stores nothing but an `OnLimit`, which has the size of a pointer.
        let function = unsafe { core::mem::transmute::<*mut c_void, OnLimit>(function) };
        Some((function, self.context.load(Ordering::Relaxed)))
    }
}

/// Sets the program's function; see [`crate::raw::on_limit`].
pub(crate) fn set(function: Option<OnLimit>, context: *mut c_void) {
    if shut::is_shut() {
        return;
    }
    let _config = GLOBAL.config.lock();
    let function = function.map_or(ptr::null_mut(), |function| function as *mut c_void);
    CALLBACK.function.store(function, Ordering::Relaxed);
    CALLBACK.context.store(context, Ordering::Relaxed);
}

/// Returns what the first attempt at a request of `size` bytes found. If the memory limit refused
/// it, asks the program to free memory and makes a second attempt. Called with no lock held.
/// `refusals` is [`Heap::refusals`] before the first attempt.
#[inline]
pub(super) fn or_again<T>(
    found: Option<T>,
    heap: &'static Heap<Linux>,
    size: usize,
    refusals: u64,
    attempt: impl FnOnce() -> Option<T>,
) -> Option<T> {
    if found.is_some() || heap.refusals() == refusals || !has_asked(heap, size) {
        return found;
    }
    let found = attempt();
    heap.note_asked(found.is_some());
    found
}

/// Writes the profile, and calls the program's function. Returns whether it did the latter.
#[cold]
#[inline(never)]
fn has_asked(heap: &'static Heap<Linux>, wanted: usize) -> bool {
    // A hook of another library may allocate during a purge, which holds its own lock.
    if held::is_asking() || held::is_reclaiming() {
        return false;
    }
    if heap.take_first_refusal() {
        profile::write_at_limit(heap);
    }
    if CALLBACK.function.load(Ordering::Relaxed).is_null() || !heap.may_ask() {
        return false;
    }
    let Some((function, context)) = CALLBACK.get() else { return false };
    held::begin_asking();
    // SAFETY: who set the function promised that it may be called with this pointer.
    unsafe { function(wanted, context) };
    held::end_asking();
    true
}
