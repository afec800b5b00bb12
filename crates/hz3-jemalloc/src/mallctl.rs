//! `mallctl` and its two forms by number. Errors are jemalloc's: `ENOENT` for an unknown name,
//! `EINVAL` for a value of the wrong size, `EPERM` for a value that cannot be set.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::copy_nonoverlapping;
use core::slice;

use crate::names::{self, Key, NAMES, Value};

/// Reads and sets the value of a name.
///
/// # Safety
/// As for jemalloc's: each pointer is NULL or valid for the type that the manual gives it.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallctl(
    name: *const c_char,
    old: *mut c_void,
    old_bytes: *mut usize,
    new: *mut c_void,
    new_bytes: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(index) = (unsafe { index_of(name) }) else { return libc::ENOENT };
    // SAFETY: the caller's promise.
    unsafe { control(index, old, old_bytes, new, new_bytes) }
}

/// Translates a name to numbers, one for each of its parts; `*length` is the room and the result.
///
/// # Safety
/// As for [`mallctl`]; `mib` has room for `*length` numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallctlnametomib(
    name: *const c_char,
    mib: *mut usize,
    length: *mut usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(index) = (unsafe { index_of(name) }) else { return libc::ENOENT };
    if mib.is_null() || length.is_null() {
        return libc::EINVAL;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(name) }.to_bytes();
    // SAFETY: the caller's promise.
    let room = unsafe { length.read() };
    let parts = text.split(|&byte| byte == b'.').count();
    // SAFETY: the caller gives room for this many numbers, which may be uninitialised.
    let numbers = unsafe { slice::from_raw_parts_mut(mib.cast::<MaybeUninit<usize>>(), room) };
    for (part, place) in numbers.iter_mut().take(parts).enumerate() {
        // Programs put the number of an arena into the second place.
        let arena = if text.starts_with(b"arena.4096.") { 4096 } else { 0 };
        let number = if part == 1 && is_indexed(index) { arena } else { index };
        place.write(number);
    }
    // SAFETY: the caller's promise.
    unsafe { length.write(parts.min(room)) };
    0
}

/// Does what [`mallctl`] does, for numbers of [`mallctlnametomib`].
///
/// # Safety
/// As for [`mallctl`]; `mib` has `length` numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallctlbymib(
    mib: *const usize,
    length: usize,
    old: *mut c_void,
    old_bytes: *mut usize,
    new: *mut c_void,
    new_bytes: usize,
) -> c_int {
    if mib.is_null() || length == 0 {
        return libc::ENOENT;
    }
    // SAFETY: the caller's promise.
    let numbers = unsafe { slice::from_raw_parts(mib, length) };
    let index = numbers.first().copied().unwrap_or(usize::MAX);
    let Some((name, _)) = NAMES.get(index) else { return libc::ENOENT };
    if name.split('.').count() != length {
        return libc::ENOENT;
    }
    if is_indexed(index) && !numbers.get(1).is_some_and(|&arena| names::is_arena(arena)) {
        return libc::ENOENT;
    }
    // SAFETY: the caller's promise.
    unsafe { control(index, old, old_bytes, new, new_bytes) }
}

fn is_indexed(index: usize) -> bool {
    NAMES.get(index).is_some_and(|(name, _)| name.starts_with("arena."))
}

unsafe fn index_of(name: *const c_char) -> Option<usize> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    names::find(unsafe { CStr::from_ptr(name) }.to_bytes())
}

unsafe fn control(
    index: usize,
    old: *mut c_void,
    old_bytes: *mut usize,
    new: *mut c_void,
    new_bytes: usize,
) -> c_int {
    let Some(&(_, key)) = NAMES.get(index) else { return libc::ENOENT };
    if matches!(key, Key::Purge | Key::Decay) {
        // As in jemalloc, an action takes and gives no value.
        if !new.is_null() || !old.is_null() {
            return libc::EPERM;
        }
        key.act();
        return 0;
    }
    if !new.is_null() {
        match key.writable_bytes() {
            None => return libc::EPERM,
            Some(bytes) if bytes != new_bytes => return libc::EINVAL,
            Some(_) => {}
        }
    }
    // jemalloc reads before it sets, except for the epoch, whose new number the caller wants.
    if !new.is_null() && key == Key::Epoch {
        key.accepts(&[]);
    }
    if !old.is_null() && !old_bytes.is_null() {
        let Some(value) = key.read() else { return libc::ENOENT };
        // SAFETY: the caller's promise.
        if unsafe { give(value, old, old_bytes) } != 0 {
            return libc::EINVAL;
        }
    }
    if !new.is_null() && key != Key::Epoch {
        // SAFETY: the caller gives `new_bytes` bytes at `new`.
        let value = unsafe { slice::from_raw_parts(new.cast::<u8>(), new_bytes) };
        if !key.accepts(value) {
            return libc::EPERM;
        }
    }
    0
}

/// Copies a value to the caller, in full or not at all.
unsafe fn give(value: Value, old: *mut c_void, old_bytes: *mut usize) -> c_int {
    let (from, bytes): (*const u8, usize) = match &value {
        Value::Text(text) => ((&raw const *text).cast(), size_of_val(text)),
        Value::Epoch(number) => ((&raw const *number).cast(), size_of_val(number)),
        Value::Flag(flag) => ((&raw const *flag).cast(), size_of_val(flag)),
        Value::Unsigned(number) => ((&raw const *number).cast(), size_of_val(number)),
        Value::Size(size) => ((&raw const *size).cast(), size_of_val(size)),
        Value::Signed(number) => ((&raw const *number).cast(), size_of_val(number)),
    };
    // SAFETY: the caller's promise.
    let room = unsafe { old_bytes.read() };
    // SAFETY: the caller's promise.
    unsafe { old_bytes.write(bytes.min(room)) };
    if room != bytes {
        return libc::EINVAL;
    }
    // SAFETY: `old` has `bytes` bytes, and the value is a local one.
    unsafe { copy_nonoverlapping(from, old.cast::<u8>(), bytes) };
    0
}
