//! A cursor over unwind tables: numbers in the forms that DWARF has.

use super::memory::Memory;

/// Bytes that are copied at once.
const BUFFERED: usize = 64;
/// The most bytes of a LEB128 number. Ten hold 64 bits; assemblers may pad it.
const LEB_BYTES: usize = 16;

/// Reads bytes from `at` up to `end`. Every method returns `None` past the end, and where memory
/// cannot be read.
pub(super) struct Cursor<'a, M> {
    memory: &'a M,
    at: usize,
    end: usize,
    /// The address of the first byte in `buffer`.
    copied: usize,
    len: usize,
    buffer: [u8; BUFFERED],
}

/// How a pointer in the tables is encoded: one byte of `DW_EH_PE` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding(pub(super) u8);

impl Encoding {
    /// `DW_EH_PE_absptr`
    pub(super) const ABSOLUTE: Self = Self(0);

    /// Returns the same encoding for a number that is relative to nothing.
    pub(super) const fn plain(self) -> Self {
        Self(self.0 & 0x0f)
    }
}

impl<'a, M: Memory> Cursor<'a, M> {
    pub(super) fn new(memory: &'a M, at: usize, end: usize) -> Self {
        Self { memory, at, end, copied: at, len: 0, buffer: [0; BUFFERED] }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Returns one past the last byte.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    /// Moves on by `bytes`.
    pub(super) fn skip(&mut self, bytes: usize) -> Option<()> {
        self.seek(self.at.checked_add(bytes)?)
    }

    /// Moves to an address, which may lie before this one.
    pub(super) fn seek(&mut self, to: usize) -> Option<()> {
        if to > self.end {
            return None;
        }
        self.at = to;
        Some(())
    }

    /// Ends the range at an address, which does not lie past the old end.
    pub(super) fn limit(&mut self, end: usize) -> Option<()> {
        if end < self.at || end > self.end {
            return None;
        }
        self.end = end;
        Some(())
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        if self.is_at_end() {
            return None;
        }
        let offset = self.at.wrapping_sub(self.copied);
        let byte = if offset < self.len {
            self.buffer[offset]
        } else {
            self.fill()?;
            self.buffer[0]
        };
        self.at += 1;
        Some(byte)
    }

    /// Copies the bytes from here on.
    fn fill(&mut self) -> Option<()> {
        self.len = 0;
        self.copied = self.at;
        let wanted = BUFFERED.min(self.end - self.at);
        if !self.memory.copy(self.at, &mut self.buffer[..wanted]) {
            return None;
        }
        self.len = wanted;
        Some(())
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Some(bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_ne_bytes)
    }

    /// Reads an unsigned LEB128 number; bits past the 64th are dropped.
    pub(super) fn uleb(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0, 0);
        for _ in 0..LEB_BYTES {
            let byte = self.byte()?;
            if shift < u64::BITS {
                value |= u64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a signed LEB128 number.
    pub(super) fn sleb(&mut self) -> Option<i64> {
        let (mut value, mut shift) = (0_i64, 0);
        for _ in 0..LEB_BYTES {
            let byte = self.byte()?;
            if shift < u64::BITS {
                value |= i64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte & 0x80 == 0 {
                let is_negative = byte & 0x40 != 0;
                return Some(if is_negative && shift < u64::BITS {
                    value | -1 << shift
                } else {
                    value
                });
            }
        }
        None
    }

    /// Reads a pointer. `data` is the address to which data-relative pointers are relative.
    ///
    /// Indirect pointers are not followed: only those of personality routines are indirect.
    pub(super) fn pointer(&mut self, encoding: Encoding, data: usize) -> Option<usize> {
        let place = self.at;
        let value = match encoding.0 & 0x0f {
            0x00 | 0x04 | 0x0c => self.u64()?,
            0x01 => self.uleb()?,
            0x02 => self.u16()?.into(),
            0x03 => self.u32()?.into(),
            0x09 => self.sleb()?.cast_unsigned(),
            0x0a => i64::from(self.u16()?.cast_signed()).cast_unsigned(),
            0x0b => i64::from(self.u32()?.cast_signed()).cast_unsigned(),
            _ => return None,
        };
        let base = match encoding.0 & 0x70 {
            0x00 => 0,
            0x10 => place,
            0x30 => data,
            _ => return None,
        };
        Some(address(value).wrapping_add(base))
    }
}

/// Converts a number of the tables to an address, which has as many bits.
#[expect(clippy::cast_possible_truncation, reason = "both have 64 bits")]
pub(super) const fn address(value: u64) -> usize {
    value as usize
}
