//! Tells calls of the program from calls of the C library, by the return address.
//!
//! The C library calls `malloc` and `free` while it holds locks of its own. `pthread_create` takes
//! one of them too: the lock of the list of thread stacks. So hz3 starts the reclaimer's thread
//! only if the program, or a library other than the C library, called. `malloc` and `free` jump to
//! the cold functions, which therefore see the return address of the caller.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use hz3_alloc::raw;

/// The address range of a loaded object.
#[derive(Debug)]
struct Object {
    start: AtomicUsize,
    bytes: AtomicUsize,
}

/// The objects whose code may call while it holds such a lock: the C library, the dynamic linker,
/// and the thread library if there is a separate one. This library is one of them too: an address
/// in it means that the caller is unknown.
static OBJECTS: [Object; 4] =
    [const { Object { start: AtomicUsize::new(0), bytes: AtomicUsize::new(0) } }; 4];
/// How many of the first objects must be known. They are, unless the C library is linked
/// statically.
const NEEDED: usize = 2;

/// Records the ranges of [`OBJECTS`]. The constructor calls it, before there are threads.
///
/// Until then every caller counts as unknown.
pub(crate) fn learn() {
    // SAFETY: `visit` has the required signature and ignores the null pointer.
    unsafe { libc::dl_iterate_phdr(Some(visit), ptr::null_mut()) };
}

/// Returns one address in each object of [`OBJECTS`].
fn landmarks() -> [usize; 4] {
    // SAFETY: getauxval has no precondition.
    let linker = unsafe { libc::getauxval(libc::AT_BASE) };
    [
        libc::fork as *const () as usize,
        address(linker),
        libc::pthread_create as *const () as usize,
        learn as *const () as usize,
    ]
}

/// Converts an address or a length of the system to `usize`, which has as many bits.
fn address(value: u64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// Records the range of one object of the process if it is one of [`OBJECTS`].
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the C library passes a valid description.
    let info = unsafe { &*info };
    // SAFETY: the description has that many program headers.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = address(info.dlpi_addr);
    // SAFETY: the name of an object is a terminated string.
    let is_executable = unsafe { info.dlpi_name.read() } == 0;
    // If hz3 is linked into an executable, it has no object of its own.
    let own = learn as *const () as usize;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        let start = base.wrapping_add(address(header.p_vaddr));
        let bytes = address(header.p_memsz);
        for (object, landmark) in OBJECTS.iter().zip(landmarks()) {
            if landmark.wrapping_sub(start) < bytes && !(is_executable && landmark == own) {
                object.learn(headers, base);
            }
        }
    }
    0
}

impl Object {
    /// Records the range from the first to the last segment.
    fn learn(&self, headers: &[libc::Elf64_Phdr], base: usize) {
        let loaded = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
        let start = loaded().map(|header| address(header.p_vaddr)).min().unwrap_or(0);
        let end =
            loaded().map(|header| address(header.p_vaddr + header.p_memsz)).max().unwrap_or(0);
        self.start.store(base.wrapping_add(start), Ordering::Relaxed);
        self.bytes.store(end - start, Ordering::Relaxed);
    }

    fn contains(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Relaxed);
        address.wrapping_sub(start) < self.bytes.load(Ordering::Relaxed)
    }
}

/// Returns whether code at this address is known not to belong to [`OBJECTS`].
fn is_program(address: usize) -> bool {
    let is_known = |object: &Object| object.bytes.load(Ordering::Relaxed) > 0;
    // Unoptimized code calls the cold functions instead of jumping to them.
    !cfg!(debug_assertions)
        && OBJECTS[..NEEDED].iter().all(is_known)
        && !OBJECTS.iter().any(|object| object.contains(address))
}

/// Starts the reclaimer's thread if it is wanted and the program called. Called after a miss.
#[inline]
pub(crate) fn start_wanted_reclaimer(caller: usize) {
    if raw::wants_reclaimer() {
        start_for(caller);
    }
}

#[cold]
fn start_for(caller: usize) {
    if is_program(caller) {
        raw::start_reclaimer();
    }
}
