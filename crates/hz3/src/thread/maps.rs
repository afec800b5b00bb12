//! The mappings of this process, from `/proc/self/maps`: which file an address's code is from, for
//! the profile and the reports of errors. Nothing here allocates.

use core::fmt::Write;

use super::file::{self, LINES_ROOM};
use crate::base::fixed_buffer::FixedBuffer;
use crate::options::write_bytes;
use crate::profiler::Profile;
use crate::profiler::pprof::{Encoder, Mapping};
use crate::profiler::snapshot::{MAX_MAPPINGS, ROOM_BYTES, Range};

/// The most bytes of a file's name that are compared.
const MAX_NAME: usize = 256;

/// A line of `/proc/self/maps`: `start-end rwxp offset device inode name`.
struct MapsLine<'a> {
    start: usize,
    end: usize,
    offset: usize,
    is_code: bool,
    name: &'a [u8],
}

impl<'a> MapsLine<'a> {
    fn parse(line: &'a [u8]) -> Option<MapsLine<'a>> {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let mut range = fields.next()?.split(|&byte| byte == b'-');
        let (start, end) = (hexadecimal(range.next()?)?, hexadecimal(range.next()?)?);
        let is_code = fields.next()?.get(2) == Some(&b'x');
        let offset = hexadecimal(fields.next()?)?;
        let name = fields.nth(2).unwrap_or_default().trim_ascii_start();
        Some(MapsLine { start, end, offset, is_code, name })
    }

    fn contains(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }
}

fn hexadecimal(text: &[u8]) -> Option<usize> {
    let (&first, rest) = text.split_first()?;
    rest.iter()
        .try_fold(digit(first)?, |number, &byte| number.checked_mul(16)?.checked_add(digit(byte)?))
}

fn digit(byte: u8) -> Option<usize> {
    char::from(byte).to_digit(16).map(|digit| digit as usize)
}

fn each_mapping(take: impl FnMut(MapsLine<'_>)) {
    each_mapping_in(&mut [0; LINES_ROOM], take);
}

/// As [`each_mapping`], in a buffer that the caller lends.
fn each_mapping_in(room: &mut [u8; LINES_ROOM], mut take: impl FnMut(MapsLine<'_>)) {
    file::each_line_in(room, c"/proc/self/maps", |line| {
        if let Some(line) = MapsLine::parse(line) {
            take(line);
        }
    });
}

/// Writes the file and the offset of an address's code, as `addr2line` takes them. The code begins
/// `before` bytes before the address: a return address lies behind its call.
pub(super) fn describe_code(
    address: usize,
    before: usize,
    out: &mut dyn Write,
) -> core::fmt::Result {
    let mut written = Ok(());
    let mut is_known = false;
    each_mapping(|line| {
        if line.contains(address) {
            is_known = true;
            let offset = address - line.start + line.offset - before;
            written = write!(out, "hz3:   {address:#x} ")
                .and_then(|()| write_bytes(out, line.name))
                .and_then(|()| writeln!(out, "+{offset:#x}"));
        }
    });
    if is_known { written } else { writeln!(out, "hz3:   {address:#x}") }
}

/// Adds the mappings that contain one of the addresses to a profile, also to `ranges`, and returns
/// how many it added. The first mapping with code, the program's, is among them. It works in
/// `room`, because its caller may be a thread with a small stack.
#[inline(never)]
pub(super) fn add_mappings(
    encoder: &mut Encoder<'_>,
    addresses: &[usize],
    ranges: &mut [Range; MAX_MAPPINGS],
    room: &mut [u8; ROOM_BYTES],
) -> usize {
    const { assert!(LINES_ROOM == ROOM_BYTES) }
    let mut count = 0;
    if addresses.is_empty() {
        return count;
    }
    // Where the file that the latest lines map starts: its ELF header is there.
    let (mut file_start, mut file_name, mut file_name_len) = (0, [0; MAX_NAME], 0);
    each_mapping_in(room, |line| {
        let name = line.name.get(..MAX_NAME).unwrap_or(line.name);
        if line.offset == 0 {
            file_start = line.start;
            file_name_len = name.len();
            file_name[..file_name_len].copy_from_slice(name);
        }
        if !line.is_code || count == MAX_MAPPINGS {
            return;
        }
        if count > 0 && !addresses.iter().any(|&address| line.contains(address)) {
            return;
        }
        let mut build_id = FixedBuffer::<128>::new();
        if !name.is_empty() && name == &file_name[..file_name_len] {
            write_build_id(file_start, &mut build_id);
        }
        encoder.mapping(Mapping {
            start: line.start as u64,
            end: line.end as u64,
            offset: line.offset as u64,
            name: line.name,
            build_id: build_id.as_bytes(),
        });
        ranges[count] = [line.start, line.end];
        count += 1;
    });
    count
}

/// Returns the addresses of the shared library that contains hz3, whose frames a profile leaves
/// out. The range is empty if the program itself contains hz3: no frame is left out then.
pub(super) fn own_library() -> (usize, usize) {
    let own = own_library as *const () as usize;
    if let Some((start, end)) = Profile::loaded_object(own) {
        return if (start..end).contains(&entry_point()) { (0, 0) } else { (start, end) };
    }
    own_library_by_maps(own)
}

/// Returns the address at which the program starts.
fn entry_point() -> usize {
    // SAFETY: the call reads a table that the kernel passed to the process.
    let address = unsafe { libc::getauxval(libc::AT_ENTRY) };
    usize::try_from(address).unwrap_or(0)
}

/// Finds out what [`own_library`] returns where the loader has no function for it. `own` is an
/// address in the library.
fn own_library_by_maps(own: usize) -> (usize, usize) {
    let mut name = [0; MAX_NAME];
    let mut len = 0;
    each_mapping(|line| {
        if line.contains(own) {
            len = line.name.len().min(MAX_NAME);
            name[..len].copy_from_slice(&line.name[..len]);
        }
    });
    let mut program = [0; MAX_NAME];
    if len == 0 || file::read_link(c"/proc/self/exe", &mut program) == &name[..len] {
        return (0, 0);
    }
    let mut range = (usize::MAX, 0);
    each_mapping(|line| {
        if line.name == &name[..len] {
            range = (range.0.min(line.start), range.1.max(line.end));
        }
    });
    range
}

/// The sizes and offsets of ELF that [`write_build_id`] needs, by the names of `elf.h`.
mod elf {
    pub(super) const EHDR_BYTES: usize = 64;
    /// The header of a file and those of its first segments. They share a page.
    pub(super) const START_BYTES: usize = EHDR_BYTES + 10 * PHDR_BYTES;
    pub(super) const E_PHOFF: usize = 32;
    pub(super) const E_PHENTSIZE: usize = 54;
    pub(super) const E_PHNUM: usize = 56;
    pub(super) const PHDR_BYTES: usize = 56;
    pub(super) const P_TYPE: usize = 0;
    pub(super) const P_OFFSET: usize = 8;
    pub(super) const P_FILESZ: usize = 32;
    pub(super) const PT_NOTE: u32 = 4;
    /// The three words before a note's name: the sizes of name and value, and the type.
    pub(super) const NHDR_BYTES: usize = 12;
    pub(super) const N_DESCSZ: usize = 4;
    pub(super) const N_TYPE: usize = 8;
    pub(super) const NT_GNU_BUILD_ID: u32 = 3;
}

/// The most program headers of a file that are read.
const MAX_HEADERS: u8 = 32;

/// Writes the build id of the ELF file that is mapped at `start`, in hexadecimal digits; nothing if
/// it has none. The mapping may vanish meanwhile. Not inlined, to save stack in the caller.
#[inline(never)]
fn write_build_id(start: usize, out: &mut FixedBuffer<128>) {
    let mut header = [0; elf::START_BYTES];
    if !file::read_own_memory(start, &mut header) || !header.starts_with(b"\x7fELF") {
        return;
    }
    // The offset and the count fit the low bytes of their fields in every file that is read.
    let headers = word(&header, elf::E_PHOFF) as usize;
    let entry_bytes = usize::from(header[elf::E_PHENTSIZE]);
    for index in 0..usize::from(header[elf::E_PHNUM].min(MAX_HEADERS)) {
        let at = headers + index * entry_bytes;
        let mut segment = [0; elf::PHDR_BYTES];
        if let Some(known) = header.get(at..at + elf::PHDR_BYTES) {
            segment.copy_from_slice(known);
        } else if !file::read_own_memory(start + at, &mut segment) {
            continue;
        }
        if word(&segment, elf::P_TYPE) != elf::PT_NOTE {
            continue;
        }
        // The first mapping of a file starts with the file's first byte.
        let at = start + word(&segment, elf::P_OFFSET) as usize;
        let mut notes = [0; 256];
        let notes = &mut notes[..(word(&segment, elf::P_FILESZ) as usize).min(256)];
        if file::read_own_memory(at, notes)
            && let Some(id) = build_id(notes)
        {
            for byte in id {
                // Writing to a `FixedBuffer` never fails.
                let _ = write!(out, "{byte:02x}");
            }
            return;
        }
    }
}

/// Returns the build id among the notes of a segment.
fn build_id(notes: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    while at + elf::NHDR_BYTES <= notes.len() {
        let name_bytes = word(notes, at) as usize;
        let value_bytes = word(notes, at + elf::N_DESCSZ) as usize;
        let value = at + elf::NHDR_BYTES + name_bytes.next_multiple_of(4);
        if word(notes, at + elf::N_TYPE) == elf::NT_GNU_BUILD_ID
            && let Some(id) = notes.get(value..value + value_bytes)
        {
            return Some(id);
        }
        at = value.saturating_add(value_bytes.next_multiple_of(4));
    }
    None
}

/// Returns the little-endian word at an offset; 0 beyond the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_has_six_fields_and_a_name_with_spaces() {
        let line = b"7f00a000-7f00b000 r-xp 00002000 fe:00 1234      /lib/a b.so";
        let parsed = MapsLine::parse(line).expect("a line");
        assert_eq!((parsed.start, parsed.end, parsed.offset), (0x7f00_a000, 0x7f00_b000, 0x2000));
        assert!(parsed.is_code && parsed.name == b"/lib/a b.so");
        let line = b"7f00a000-7f00b000 rw-p 00000000 00:00 0 ";
        assert!(MapsLine::parse(line).is_some_and(|line| !line.is_code && line.name.is_empty()));
        assert!(MapsLine::parse(b"").is_none());
        assert_eq!(hexadecimal(b"ffffffffffffffff"), Some(usize::MAX));
        assert_eq!((hexadecimal(b"10000000000000000"), hexadecimal(b"1g")), (None, None));
    }

    #[test]
    fn the_build_id_is_found_behind_another_note() {
        // Sizes of name and value, type, name, value; each padded to four bytes.
        let other = *b"\x04\0\0\0\x02\0\0\0\x01\0\0\0GNU\0\x01\x02\0\0";
        let own = *b"\x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0\xde\xad\xbe\xef";
        let notes = [&other[..], &own[..]].concat();
        assert_eq!(build_id(&notes), Some(&b"\xde\xad\xbe\xef"[..]));
        assert_eq!(build_id(&other), None);
        assert_eq!(build_id(&notes[..notes.len() - 1]), None);
    }
}
