//! rpmalloc, in the version that the registry has (of 2020). It wants to be told of every thread: a
//! call asks whether its thread is known, and `pthread_create` is wrapped so that a thread's end is
//! told too.

use rpmalloc_sys as rp;
use std::sync::atomic::{AtomicPtr, Ordering};

#[inline]
unsafe fn ready() {
    // SAFETY: may be called at any time.
    if unsafe { rp::rpmalloc_is_thread_initialized() } == 0 {
        // SAFETY: initialises the process the first time, the thread every time.
        unsafe { rp::rpmalloc_initialize() };
    }
}

unsafe fn allocate(size: usize) -> *mut c_void {
    // SAFETY: see `ready`.
    unsafe { ready() };
    // SAFETY: the thread is known now.
    unsafe { rp::rpmalloc(size) }
}

unsafe fn allocate_zeroed(count: usize, size: usize) -> *mut c_void {
    // SAFETY: see `ready`.
    unsafe { ready() };
    // SAFETY: the thread is known now.
    unsafe { rp::rpcalloc(count, size) }
}

unsafe fn resize(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: see `ready`.
    unsafe { ready() };
    // SAFETY: the thread is known now, and the block is handed through from the caller.
    unsafe { rp::rprealloc(block, size) }
}

unsafe fn aligned(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: see `ready`.
    unsafe { ready() };
    // SAFETY: the thread is known now, and the caller has checked the alignment.
    unsafe { rp::rpaligned_alloc(alignment, size) }
}

unsafe fn give_back(block: *mut c_void) {
    // SAFETY: see `ready`.
    unsafe { ready() };
    // SAFETY: handed through from the caller.
    unsafe { rp::rpfree(block) }
}

hz3_peers::preload! {
    version: c"1.4",
    malloc: allocate,
    free: give_back,
    calloc: allocate_zeroed,
    realloc: resize,
    aligned: aligned,
    usable: rp::rpmalloc_usable_size,
}

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    Start,
    *mut c_void,
) -> c_int;

/// The work of a new thread.
struct Errand {
    start: Start,
    argument: *mut c_void,
}

extern "C" fn begin(errand: *mut c_void) -> *mut c_void {
    // SAFETY: `pthread_create` below leaves the errand to this thread.
    let Errand { start, argument } = *unsafe { Box::from_raw(errand.cast::<Errand>()) };
    let result = start(argument);
    // SAFETY: this thread allocates no more, or becomes known again when it does.
    unsafe { rp::rpmalloc_thread_finalize() };
    result
}

/// As in the C library; the thread's end is told to rpmalloc.
///
/// # Safety
///
/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    static NEXT: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
    if NEXT.load(Ordering::Relaxed).is_null() {
        // SAFETY: a C string; the answer is the same for every thread.
        let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) };
        NEXT.store(next, Ordering::Relaxed);
    }
    // SAFETY: the C library declares its pthread_create like this.
    let next = unsafe { core::mem::transmute::<*mut c_void, Create>(NEXT.load(Ordering::Relaxed)) };
    let errand = Box::into_raw(Box::new(Errand { start, argument }));
    // SAFETY: handed through from the caller, with our start around theirs.
    let failed = unsafe { next(thread, attributes, begin, errand.cast()) };
    if failed != 0 {
        // SAFETY: no thread has it.
        drop(unsafe { Box::from_raw(errand) });
    }
    failed
}
