//! `malloc_stats_print`: the totals as text, or with `J` in the options as JSON in jemalloc's form.

use core::ffi::{CStr, c_char, c_void};
use core::fmt::{self, Write};

use crate::names::{Key, NAMES, Value};

/// Takes a part of the text.
type Writer = unsafe extern "C" fn(*mut c_void, *const c_char);

/// Collects text and passes it to the program in terminated pieces, without allocating.
struct Out {
    writer: Option<Writer>,
    argument: *mut c_void,
}

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut piece = [0_u8; 256];
        for bytes in text.as_bytes().chunks(piece.len() - 1) {
            let Some(writer) = self.writer else {
                // SAFETY: the bytes are valid for reading. An error cannot be reported anywhere.
                unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
                continue;
            };
            for (slot, byte) in piece.iter_mut().zip(bytes.iter().chain(&[0])) {
                *slot = *byte;
            }
            // SAFETY: the piece is terminated, and the caller of `malloc_stats_print` gave both.
            unsafe { writer(self.argument, piece.as_ptr().cast()) };
        }
        Ok(())
    }
}

/// Writes the totals by `writer`, or to the standard error if it is NULL.
///
/// # Safety
/// `writer` accepts `argument`, and `options` is NULL or a terminated string.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_stats_print(
    writer: Option<Writer>,
    argument: *mut c_void,
    options: *const c_char,
) {
    let is_json = !options.is_null()
        // SAFETY: the caller's promise.
        && unsafe { CStr::from_ptr(options) }.to_bytes().contains(&b'J');
    let mut out = Out { writer, argument };
    // Writing to `Out` never fails.
    let _ = if is_json { write_json(&mut out) } else { write_text(&mut out) };
}

/// Returns the names and values of a group: `("allocated", 4096)` for `stats.allocated`.
fn totals() -> impl Iterator<Item = (&'static str, usize)> {
    NAMES.iter().filter_map(|(name, key)| match (key, key.read()) {
        (Key::Total(_), Some(Value::Size(bytes))) => Some((name.strip_prefix("stats.")?, bytes)),
        _ => None,
    })
}

fn write_text(out: &mut Out) -> fmt::Result {
    writeln!(out, "___ Begin hz3 statistics ___")?;
    for (i, (name, bytes)) in totals().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        write!(out, "{separator}{name}: {bytes}")?;
    }
    writeln!(out, "\n--- End hz3 statistics ---")
}

fn write_json(out: &mut Out) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    write!(out, "{{\"jemalloc\":{{\"version\":\"hz3-{version}\",\"stats\":{{")?;
    for (i, (name, bytes)) in totals().enumerate() {
        let separator = if i == 0 { "" } else { "," };
        write!(out, "{separator}\"{name}\":{bytes}")?;
    }
    writeln!(out, "}},\"arenas\":{{\"narenas\":1,\"quantum\":16}}}}}}")
}
