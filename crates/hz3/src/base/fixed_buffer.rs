//! A text buffer that is filled and printed without allocating.

use core::fmt::{self, Write};

/// A text of at most `N` bytes. Writing never fails: the rest of a longer text is dropped.
#[derive(Debug)]
pub(crate) struct FixedBuffer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> FixedBuffer<N> {
    pub(crate) const fn new() -> Self {
        FixedBuffer { bytes: [0; N], len: 0 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds bytes, as far as they fit.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(N - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
    }

    /// Writes the text to stderr. Errors are ignored, because they cannot be reported anywhere.
    #[cfg(target_os = "linux")]
    pub(crate) fn print(&self) {
        let start = self.bytes.as_ptr();
        // `write` is a cancellation point and `syscall` is not: a thread whose cancellation is
        // pending must not end inside the allocator.
        // SAFETY: the buffer is initialised and `len` bytes long; the kernel keeps no pointer.
        unsafe { libc::syscall(libc::SYS_write, libc::STDERR_FILENO, start, self.len) };
    }
}

#[cfg(not(target_os = "linux"))]
impl<const N: usize> FixedBuffer<N> {
    /// Writes the text to stderr. Errors are ignored, because they cannot be reported anywhere.
    pub(crate) fn print(&self) {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), self.as_bytes());
    }
}

impl<const N: usize> Write for FixedBuffer<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
