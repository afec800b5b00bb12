//! The C library's malloc family, counted: at exit the number of calls is written to the file
//! COUNT_TO.

use std::ffi::c_void;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
}

static CALLS: AtomicU64 = AtomicU64::new(0);

fn count() {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    count();
    // SAFETY: malloc takes any size.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
extern "C" fn calloc(items: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: calloc takes any sizes.
    unsafe { __libc_calloc(items, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    count();
    // SAFETY: the caller's block is the C library's.
    unsafe { __libc_realloc(block, size) }
}

#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: memalign takes any size.
    unsafe { __libc_memalign(align, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> i32 {
    let block = aligned_alloc(align, size);
    // SAFETY: the caller gives a place for the result.
    unsafe { out.write(block) };
    if block.is_null() { 12 } else { 0 }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    count();
    // SAFETY: the caller's block is the C library's.
    unsafe { __libc_free(block) };
}

extern "C" fn report() {
    let calls = CALLS.load(Ordering::Relaxed);
    let Some(path) = std::env::var_os("COUNT_TO") else { return };
    if let Ok(mut file) = std::fs::File::create(path) {
        let _ = write!(file, "{calls}");
    }
}

#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = report;
