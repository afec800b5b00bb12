//! An allocator that can be made worse on purpose: SPIN=n lets every malloc count to n first,
//! LEAK_KB=n loses n KiB of written memory at every `hz3_epoch_force`, REFUSE=x says that the
//! setting x is not known, and HZ3_TICK=? that ? is no time. Otherwise it is the C library's.

use std::ffi::c_void;
use std::hint::black_box;
use std::sync::OnceLock;

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn getenv(name: *const i8) -> *const i8;
    fn atoi(text: *const i8) -> i32;
    fn strlen(text: *const i8) -> usize;
    fn write(file: i32, bytes: *const i8, count: usize) -> isize;
}

fn setting(name: &std::ffi::CStr) -> i32 {
    // SAFETY: a C string; getenv does not allocate.
    let text = unsafe { getenv(name.as_ptr()) };
    // SAFETY: getenv gave a C string.
    if text.is_null() { 0 } else { unsafe { atoi(text) } }
}

/// Says what hz3 says of a setting that it does not accept.
fn refuse() {
    // SAFETY: a C string; getenv does not allocate.
    let tick = unsafe { getenv(c"HZ3_TICK".as_ptr()) };
    // SAFETY: getenv gave a C string.
    if !tick.is_null() && unsafe { *tick } == b'?' as i8 {
        let said = c"hz3: HZ3_TICK=?: expected milliseconds from 1 to 60000; using 125\n";
        // SAFETY: that many bytes are there; a failure loses a message of a test.
        let _ = unsafe { write(2, said.as_ptr().cast(), said.count_bytes()) };
    }
    // SAFETY: a C string; getenv does not allocate.
    let text = unsafe { getenv(c"REFUSE".as_ptr()) };
    if text.is_null() {
        return;
    }
    // SAFETY: getenv gave a C string.
    let length = unsafe { strlen(text) };
    let names = c" is ignored; there are HZ3_TICK, HZ3_COUNT, off, default\n";
    for (bytes, count) in [
        (c"hz3: ".as_ptr(), 5),
        (text, length),
        (names.as_ptr(), names.count_bytes()),
    ] {
        // SAFETY: that many bytes are there; a failure loses a message of a test.
        let _ = unsafe { write(2, bytes.cast(), count) };
    }
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    static SPIN: OnceLock<i32> = OnceLock::new();
    (0..*SPIN.get_or_init(|| {
        refuse();
        setting(c"SPIN")
    })).for_each(|i| {
        black_box(i);
    });
    // SAFETY: the C library's own malloc takes any size.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
extern "C" fn hz3_epoch_force() {
    let bytes = setting(c"LEAK_KB") as usize * 1024;
    // SAFETY: as in malloc.
    let lost = unsafe { __libc_malloc(bytes.max(1)) }.cast::<u8>();
    if !lost.is_null() {
        // SAFETY: the block has that many bytes.
        unsafe { lost.write_bytes(1, bytes) };
    }
}
