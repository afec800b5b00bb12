//! What only hz3 has; `include/hz3.h` is the documentation for its users.

use core::ffi::{CStr, c_char};
use core::fmt::{self, Write};
use core::mem::MaybeUninit;

use hz3_alloc::raw;

use crate::errno::keeping_errno;

/// No text is longer than this, in bytes; a caller may give more room, `SIZE_MAX` even.
const LONGEST: usize = 1 << 16;

/// Text for a C buffer of fixed size, as `snprintf` does it: writes what fits, counts all.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    /// What a caller of C gives may never have been written to.
    room: &'a mut [MaybeUninit<u8>],
    length: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn new(room: &'a mut [MaybeUninit<u8>]) -> Self {
        Self { room, length: 0 }
    }

    /// How long the text is, or would be if there were room.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// What fitted.
    pub(crate) fn written(&self) -> &[u8] {
        let end = self.length.min(self.room.len());
        let written = self.room.get(..end).unwrap_or_default();
        // SAFETY: `write_str` wrote the first `length` bytes as far as there is room for them.
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

/// Gives everything that is free back to the system; the bytes given back.
#[unsafe(no_mangle)]
extern "C" fn hz3_collect() -> usize {
    keeping_errno(raw::collect)
}

/// The version of this library, `major.minor.patch`, for ever.
#[unsafe(no_mangle)]
extern "C" fn hz3_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => unreachable!(),
        };
    VERSION.as_ptr()
}

/// One epoch step of the reclaim pipeline.
#[unsafe(no_mangle)]
extern "C" fn hz3_epoch_force() {
    keeping_errno(raw::epoch_force);
}

/// Writes the statistics as one JSON object into `buffer`, at most `size` bytes with the
/// terminating NUL; the length of the whole text. NULL counts as a buffer of no bytes.
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
    // A `Text` takes everything.
    let _ = hz3_alloc::stats().write_json(&mut text);
    let length = text.length();
    match (text_room.get_mut(length), end) {
        (Some(after), _) | (None, Some(after)) => {
            after.write(0);
        }
        (None, None) => {}
    }
    length
}
