//! The functions that only hz3 has; `include/hz3.h` documents them for users.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::mem::MaybeUninit;

use hz3_alloc::profile::ProfileError;
use hz3_alloc::raw::OnLimit;
use hz3_alloc::raw::family::keeping_errno;
use hz3_alloc::{ControlError, raw};

/// The most bytes of a caller's buffer that are used. No text is longer; `size` may be `SIZE_MAX`.
const LONGEST: usize = 1 << 16;

/// Writes text to a C buffer as `snprintf` does: drops the rest of a longer text, but counts it.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    /// The buffer of a C caller, which may be uninitialised.
    room: &'a mut [MaybeUninit<u8>],
    length: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn new(room: &'a mut [MaybeUninit<u8>]) -> Self {
        Self { room, length: 0 }
    }

    /// Returns the length of the whole text in bytes, including a dropped rest.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Returns the part of the text that fitted into the buffer.
    pub(crate) fn written(&self) -> &[u8] {
        let end = self.length.min(self.room.len());
        let written = self.room.get(..end).unwrap_or_default();
        // SAFETY: `write_str` wrote the first `length` bytes, or all of `room` if it is shorter.
        unsafe { core::slice::from_raw_parts(written.as_ptr().cast(), written.len()) }
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.room.iter_mut().skip(self.length);
        for (slot, byte) in free.zip(text.bytes()) {
            slot.write(byte);
        }
        self.length += text.len();
        Ok(())
    }
}

/// Gives all free memory back to the system; returns the bytes given back.
#[unsafe(no_mangle)]
extern "C" fn hz3_collect() -> usize {
    keeping_errno(raw::collect)
}

/// Returns the version of this library, `major.minor.patch`, as a string that stays valid.
#[unsafe(no_mangle)]
extern "C" fn hz3_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => unreachable!(),
        };
    VERSION.as_ptr()
}

/// Sets an option of the running heap. Returns 0, or an error number: `ENOENT` for an unknown name,
/// `EINVAL` for a value that the option does not take, `EAGAIN` if the heap cannot be changed now.
#[unsafe(no_mangle)]
unsafe extern "C" fn hz3_set(name: *const c_char, value: *const c_char) -> c_int {
    if name.is_null() || value.is_null() {
        return libc::EINVAL;
    }
    // SAFETY: the caller passes a terminated string.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    // SAFETY: as above.
    let value = unsafe { CStr::from_ptr(value) }.to_bytes();
    match keeping_errno(|| raw::set(name, value)) {
        Ok(()) => 0,
        Err(ControlError::UnknownName) => libc::ENOENT,
        Err(ControlError::BadValue) => libc::EINVAL,
        Err(_) => libc::EAGAIN,
    }
}

/// Sets the function that is called before the memory limit makes an allocation fail.
#[unsafe(no_mangle)]
unsafe extern "C" fn hz3_on_limit(function: Option<OnLimit>, context: *mut c_void) {
    // SAFETY: the caller promises what the header says.
    keeping_errno(|| unsafe { raw::on_limit(function, context) });
}

/// Runs one step of the reclaim pipeline.
#[unsafe(no_mangle)]
extern "C" fn hz3_epoch_force() {
    keeping_errno(raw::epoch_force);
}

/// How full a slab is, as C programs get it; all 0 if the pointer is no block.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct SlabUse {
    block_bytes: usize,
    blocks: usize,
    used: usize,
}

/// Writes to `out` how full the slab is in which each of `count` pointers lies.
#[unsafe(no_mangle)]
unsafe extern "C" fn hz3_utilization(
    pointers: *const *const c_void,
    count: usize,
    out: *mut SlabUse,
) {
    if pointers.is_null() || out.is_null() {
        return;
    }
    keeping_errno(|| {
        for index in 0..count {
            // SAFETY: the caller gives `count` pointers.
            let place = unsafe { pointers.add(index) };
            // SAFETY: as above.
            let pointer = unsafe { place.read() };
            let found = hz3_alloc::utilization(pointer.cast());
            let slab = found.map_or_else(SlabUse::default, |found| SlabUse {
                block_bytes: found.block_bytes,
                blocks: found.blocks,
                used: found.used,
            });
            // SAFETY: the caller gives room for `count` results.
            let place = unsafe { out.add(index) };
            // SAFETY: as above.
            unsafe { place.write(slab) };
        }
    });
}

/// Starts the heap profile; returns 0, or `ENOMEM`. A rate of 0 stands for the present one.
#[unsafe(no_mangle)]
extern "C" fn hz3_profile_start(rate: u32) -> c_int {
    keeping_errno(|| if hz3_alloc::profile::start(rate) { 0 } else { libc::ENOMEM })
}

/// Ends the heap profile.
#[unsafe(no_mangle)]
extern "C" fn hz3_profile_stop() {
    keeping_errno(hz3_alloc::profile::stop);
}

/// Writes the heap profile to a regular file; returns 0, `EINVAL`, `EAGAIN` or `EIO`.
#[unsafe(no_mangle)]
unsafe extern "C" fn hz3_profile_write(path: *const c_char) -> c_int {
    if path.is_null() {
        return libc::EINVAL;
    }
    // SAFETY: the caller passes a terminated string.
    let path = unsafe { CStr::from_ptr(path) };
    keeping_errno(|| match hz3_alloc::profile::write_pprof(path) {
        Ok(()) => 0,
        Err(ProfileError::Unavailable) => libc::EAGAIN,
        Err(_) => libc::EIO,
    })
}

/// Writes the statistics as one JSON object into `buffer`; returns the length of the whole text.
///
/// It writes at most `size` bytes, including the terminating NUL. NULL counts as a buffer of 0
/// bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn hz3_stats_json(buffer: *mut c_char, size: usize) -> usize {
    let room: &mut [MaybeUninit<u8>] = if buffer.is_null() {
        &mut []
    } else {
        // SAFETY: the caller gives `size` bytes at `buffer`, which may be uninitialised.
        unsafe { core::slice::from_raw_parts_mut(buffer.cast(), size.min(LONGEST)) }
    };
    let (text_room, end) = match room.split_last_mut() {
        Some((end, text_room)) => (text_room, Some(end)),
        None => (&mut [][..], None),
    };
    let mut text = Text::new(text_room);
    // Writing to a `Text` never fails.
    let _ = keeping_errno(hz3_alloc::stats).write_json(&mut text);
    let length = text.length();
    match (text_room.get_mut(length), end) {
        (Some(after), _) | (None, Some(after)) => {
            after.write(0);
        }
        (None, None) => {}
    }
    length
}
