//! The functions of `libhz3.so`, looked up by name: without that library nothing here works, and
//! nothing here keeps a program from starting.

use core::ffi::{CStr, c_char, c_void};
use core::mem::transmute;

/// The most bytes of the statistics as JSON. They have about 90 numbers.
const JSON_BYTES: usize = 8192;

/// The statistics of one moment, as JSON.
#[derive(Debug)]
pub(crate) struct Statistics {
    json: [u8; JSON_BYTES],
    length: usize,
}

impl Statistics {
    /// Reads them; `None` if the program does not run on hz3.
    pub(crate) fn read() -> Option<Self> {
        let address = find(c"hz3_stats_json")?;
        // SAFETY: `hz3.h` declares the function with this type.
        let stats_json = unsafe {
            transmute::<*mut c_void, unsafe extern "C" fn(*mut c_char, usize) -> usize>(address)
        };
        let mut json = [0; JSON_BYTES];
        // SAFETY: the buffer has this many bytes.
        let length = unsafe { stats_json(json.as_mut_ptr().cast(), JSON_BYTES) };
        Some(Self { json, length: length.min(JSON_BYTES - 1) })
    }

    /// Returns a number; 0 if hz3 does not know the name.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let text = self.json.get(..self.length).unwrap_or_default();
        let mut start = 0;
        while let Some(rest) = text.get(start..) {
            let Some(quote) = rest.iter().position(|&byte| byte == b'"') else { break };
            let key = rest.get(quote + 1..).unwrap_or_default();
            if let Some(value) =
                key.strip_prefix(name.as_bytes()).and_then(|after| after.strip_prefix(b"\":"))
            {
                return digits(value);
            }
            start += quote + 1;
        }
        0
    }
}

/// Returns the number at the start of the text, after spaces.
fn digits(text: &[u8]) -> u64 {
    let text = text.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}

/// Gives all free memory back.
pub(crate) fn collect() {
    if let Some(address) = find(c"hz3_collect") {
        // SAFETY: `hz3.h` declares the function with this type.
        let collect = unsafe { transmute::<*mut c_void, extern "C" fn() -> usize>(address) };
        collect();
    }
}

/// Gives back the memory that has been free for long enough.
pub(crate) fn tick() {
    if let Some(address) = find(c"hz3_epoch_force") {
        // SAFETY: `hz3.h` declares the function with this type.
        let tick = unsafe { transmute::<*mut c_void, extern "C" fn()>(address) };
        tick();
    }
}

fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is a terminated string.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}
