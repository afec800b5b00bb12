//! Threads without the standard library. Creating one allocates nothing on our side, so a workload
//! of many short threads measures the allocator and the C library, not `std`.

use super::block::Fault;
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// The work of a thread and its result, on the stack of the waiting thread.
struct Errand<F, T> {
    work: Option<F>,
    result: Option<T>,
}

/// Runs `work` in a new thread and waits for it.
pub(crate) fn run<T: Send, F: FnOnce() -> T + Send>(work: F) -> Result<T, Fault> {
    let mut errand = Errand { work: Some(work), result: None };
    let argument = (&raw mut errand).cast::<c_void>();
    let mut thread = MaybeUninit::uninit();
    // SAFETY: `begin` gets the errand it expects; the errand outlives the thread, as we join it
    // below, and is not touched by us until then. F and T may move between threads.
    let created = unsafe {
        libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), begin::<F, T>, argument)
    };
    if created != 0 {
        return Err(Fault::NoThread { error: created });
    }
    // SAFETY: pthread_create succeeded and wrote the handle.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: the thread was created joinable and is joined only here.
    let joined = unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
    if joined != 0 {
        // The thread may still use the errand on our stack, so there is no safe way to return.
        std::process::abort();
    }
    errand.result.ok_or(Fault::Vanished)
}

extern "C" fn begin<F: FnOnce() -> T, T>(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `run` passes a pointer to a live Errand<F, T> that nobody else uses until we are
    // joined.
    let errand = unsafe { &mut *argument.cast::<Errand<F, T>>() };
    errand.result = errand.work.take().map(|work| work());
    std::ptr::null_mut()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_work_runs_elsewhere_and_its_result_comes_back() {
        let here = std::thread::current().id();
        let numbers = [1, 2, 3];
        let (sum, there) =
            super::run(|| (numbers.iter().sum::<i32>(), std::thread::current().id())).unwrap();
        assert_eq!(sum, 6);
        assert_ne!(here, there);
    }
}
