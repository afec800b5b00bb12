//! Who called: the program, or the C library.
//!
//! The C library calls `malloc` and `free` with locks of its own held. One of them, that of the
//! list of thread stacks, is also taken by `pthread_create`. So the thread that gives memory back is
//! started only when the program itself, or a library that is not the C library, called. The cold
//! functions learn the return address of `malloc` and `free` because these jump to them.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use hz3_alloc::raw;

/// An object that the process has loaded.
#[derive(Debug)]
struct Object {
    start: AtomicUsize,
    bytes: AtomicUsize,
}

/// The objects whose code may call with such a lock held: the C library, the dynamic linker, the
/// thread library where that is one of its own. And this library: an address in it means that the
/// caller is not known.
static OBJECTS: [Object; 4] =
    [const { Object { start: AtomicUsize::new(0), bytes: AtomicUsize::new(0) } }; 4];
/// The first of these are known wherever the C library is a library.
const NEEDED: usize = 2;

/// Notes where these objects lie. Called by the constructor, before there are threads; without it
/// no caller is taken for the program.
pub(crate) fn learn() {
    // SAFETY: `visit` follows the protocol, and gets the address of nothing.
    unsafe { libc::dl_iterate_phdr(Some(visit), ptr::null_mut()) };
}

/// Addresses that lie in the objects of [`OBJECTS`].
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

/// An address or a length of the system's, which has as many bits here.
fn address(value: u64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// Looks at one object of the process.
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the C library passes a valid description.
    let info = unsafe { &*info };
    // SAFETY: it has so many program headers there.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = address(info.dlpi_addr);
    // SAFETY: the name of an object is a terminated string.
    let is_executable = unsafe { info.dlpi_name.read() } == 0;
    // Linked into an executable hz3 has no object of its own.
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
    /// Notes the range from the first to the last segment.
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

/// Whether code at this address is known not to be the C library's.
fn is_program(address: usize) -> bool {
    let is_known = |object: &Object| object.bytes.load(Ordering::Relaxed) > 0;
    // Unoptimized code calls where it should jump.
    !cfg!(debug_assertions)
        && OBJECTS[..NEEDED].iter().all(is_known)
        && !OBJECTS.iter().any(|object| object.contains(address))
}

/// After a miss: starts the thread if it is wanted and the caller is the program.
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
