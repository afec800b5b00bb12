//! Finds objects in `/proc/self/maps`, where the loader has no function for it: on musl, on glibc
//! before 2.35, and in static programs.
//!
//! Objects that were found stay in a table, with the mappings that belong to none. Entries are
//! only added, so nothing waits. An entry whose writer stopped half way is never published.

use core::ffi::{CStr, c_long};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::os::syscall::syscall;

use super::memory::Memory;
use super::reader::{Cursor, address};
use super::tables::Object;

/// The most objects and other mappings that are remembered. Code in further ones is unknown.
const KNOWN: usize = 256;
/// Bytes of the file that are read at once.
const CHUNK: usize = 512;
/// The most program headers of an object.
const HEADERS: u16 = 64;
const PAGE: usize = 4096;

/// A published entry; `header` is 0 if the mapping has no tables.
struct Known {
    is_whole: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    header: AtomicUsize,
}

static OBJECTS: [Known; KNOWN] = [const {
    Known {
        is_whole: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        header: AtomicUsize::new(0),
    }
}; KNOWN];
/// How many entries writers took.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// The file cannot be opened: do not try again.
static IS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Returns the object that contains the address, if it has unwind tables.
pub(super) fn find<M: Memory>(memory: &M, pc: usize) -> Option<Object> {
    let found = known(pc).or_else(|| {
        if TAKEN.load(Ordering::Relaxed) >= KNOWN || IS_REFUSED.load(Ordering::Relaxed) {
            return None;
        }
        let object = look_up(memory, pc)?;
        add(&object);
        Some(object)
    });
    found.filter(|object| object.header != 0)
}

fn known(pc: usize) -> Option<Object> {
    let taken = TAKEN.load(Ordering::Relaxed).min(KNOWN);
    OBJECTS[..taken].iter().find_map(|known| {
        // Acquire pairs with the release store in `add`.
        let is_whole = known.is_whole.load(Ordering::Acquire);
        let object = Object {
            start: known.start.load(Ordering::Relaxed),
            end: known.end.load(Ordering::Relaxed),
            header: known.header.load(Ordering::Relaxed),
        };
        (is_whole && (object.start..object.end).contains(&pc)).then_some(object)
    })
}

fn add(object: &Object) {
    let Some(known) = OBJECTS.get(TAKEN.fetch_add(1, Ordering::Relaxed)) else {
        TAKEN.store(KNOWN, Ordering::Relaxed);
        return;
    };
    known.start.store(object.start, Ordering::Relaxed);
    known.end.store(object.end, Ordering::Relaxed);
    known.header.store(object.header, Ordering::Relaxed);
    // Release pairs with the acquire load in `known`.
    known.is_whole.store(true, Ordering::Release);
}

/// One line of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mapping {
    start: usize,
    end: usize,
    offset: usize,
    /// Major and minor number of the device, and the inode.
    file: [usize; 3],
}

/// Reads the lines of the file, byte by byte.
#[derive(Debug, Default)]
struct Parser {
    mapping: Mapping,
    field: usize,
}

impl Parser {
    /// Takes one byte; returns the mapping at the end of its line.
    fn take(&mut self, byte: u8) -> Option<Mapping> {
        let Mapping { start, end, offset, file: [major, minor, inode] } = &mut self.mapping;
        // start-end permissions offset major:minor inode path; all numbers but the inode are
        // hexadecimal.
        let (number, radix) = match self.field {
            0 => (start, 16),
            1 => (end, 16),
            3 => (offset, 16),
            4 => (major, 16),
            5 => (minor, 16),
            6 => (inode, 10),
            _ => (&mut 0, 16),
        };
        match byte {
            b'\n' => return Some(core::mem::take(self).mapping),
            b'-' if self.field == 0 => self.field += 1,
            b':' if self.field == 4 => self.field += 1,
            b' ' => self.field += usize::from(self.field < 7),
            _ => {
                let digit = char::from(byte).to_digit(radix).unwrap_or(0);
                *number = number.wrapping_mul(radix as usize).wrapping_add(digit as usize);
            }
        }
        None
    }
}

/// Reads the file up to the mapping of `pc`. Returns its object, or the mapping alone if it belongs
/// to none.
fn look_up<M: Memory>(memory: &M, pc: usize) -> Option<Object> {
    let mut first = Mapping::default();
    let mut found = None;
    let is_read = each_byte(c"/proc/self/maps", {
        let mut parser = Parser::default();
        let (first, found) = (&mut first, &mut found);
        move |byte| {
            let Some(mapping) = parser.take(byte) else { return true };
            // The mappings of an object follow each other, from the start of its file on.
            if mapping.offset == 0 || mapping.file != first.file {
                *first = mapping;
            }
            if !(mapping.start..mapping.end).contains(&pc) {
                return true;
            }
            *found = Some(mapping);
            false
        }
    });
    if !is_read {
        IS_REFUSED.store(true, Ordering::Relaxed);
    }
    let found = found?;
    let plain = Object { start: found.start, end: found.end, header: 0 };
    Some(read_headers(memory, first.start).filter(|object| object.end > pc).unwrap_or(plain))
}

/// Calls `take` with each byte of a file until it returns false; returns false if the file cannot
/// be opened.
fn each_byte(path: &CStr, mut take: impl FnMut(u8) -> bool) -> bool {
    let call = |number: c_long, arguments: [usize; 3]| {
        let [first, second, third] = arguments;
        // SAFETY: opens the path, reads into the buffer, or closes the file of this function.
        unsafe { syscall(number, [first, second, third, 0, 0, 0]) }
    };
    let directory = libc::AT_FDCWD as isize;
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    let open = [directory.cast_unsigned(), path.as_ptr().addr(), flags];
    let Ok(file) = call(libc::SYS_openat, open) else { return false };
    let mut chunk = [0_u8; CHUNK];
    'file: loop {
        let place = chunk.as_mut_ptr().expose_provenance();
        let read = call(libc::SYS_read, [file, place, CHUNK]).unwrap_or(0);
        if read == 0 {
            break;
        }
        for &byte in &chunk[..read.min(CHUNK)] {
            if !take(byte) {
                break 'file;
            }
        }
    }
    let _ = call(libc::SYS_close, [file, 0, 0]);
    true
}

/// Reads the ELF headers of an object whose file is mapped at `base`.
fn read_headers<M: Memory>(memory: &M, base: usize) -> Option<Object> {
    // From the ELF format: the offsets of fields that are wanted, and sizes.
    const MAGIC: u32 = 0x464c_457f;
    const PROGRAM_HEADERS: usize = 32;
    const COUNT: usize = 56;
    const HEADER_BYTES: usize = 56;
    let mut cursor = Cursor::new(memory, base, usize::MAX);
    if cursor.u32()? != MAGIC {
        return None;
    }
    cursor.seek(base + PROGRAM_HEADERS)?;
    let table = base.checked_add(address(cursor.u64()?))?;
    cursor.seek(base + COUNT)?;
    let count = cursor.u16()?.min(HEADERS);
    let (mut bias, mut end, mut header) = (None, 0, None);
    for index in 0..count {
        cursor.seek(table.checked_add(usize::from(index) * HEADER_BYTES)?)?;
        let (kind, _flags) = (cursor.u32()?, cursor.u32()?);
        let [offset, place, _physical, _bytes, room] =
            [cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?]
                .map(address);
        match kind {
            libc::PT_LOAD => {
                if offset < PAGE {
                    bias = bias.or(Some(base.wrapping_sub(place - place % PAGE)));
                }
                end = end.max(place.wrapping_add(room));
            }
            libc::PT_GNU_EH_FRAME => header = Some(place),
            _ => {}
        }
    }
    let bias = bias?;
    let header = header.map_or(0, |place| bias.wrapping_add(place));
    Some(Object { start: base, end: bias.wrapping_add(end), header })
}

#[cfg(test)]
mod tests {
    use super::super::memory::OwnMemory;
    use super::super::objects;
    use super::*;

    extern crate std;

    #[test]
    fn lines_are_parsed() {
        let text =
            b"7f00aa-7f00bb r-xp 0001f000 fd:01 123   /lib/a-b:c 1\n0-1 ---p 00000000 00:00 0\n";
        let mut parser = Parser::default();
        let mut mappings = text.iter().filter_map(|&byte| parser.take(byte));
        let file = [0xfd, 1, 123];
        let expected = Mapping { start: 0x7f_00aa, end: 0x7f_00bb, offset: 0x1_f000, file };
        assert_eq!(mappings.next(), Some(expected));
        assert_eq!(mappings.next(), Some(Mapping { end: 1, ..Mapping::default() }));
        assert_eq!(mappings.next(), None);
    }

    #[test]
    fn the_loader_and_the_file_know_the_same_objects() {
        let memory = OwnMemory::new(&raw const IS_REFUSED as usize);
        let functions = [lines_are_parsed as *const () as usize, libc::qsort as *const () as usize];
        for pc in functions {
            let (own, loaders) = (find(&memory, pc), objects::by_loader(pc));
            let own = own.expect("the object has tables");
            let loaders = loaders.expect("glibc has it").expect("it knows its objects");
            assert_eq!(own.header, loaders.header);
            assert_eq!(own.start, loaders.start);
            assert_eq!(find(&memory, pc), Some(own));
        }
        let heap = std::boxed::Box::new(0_u8);
        assert_eq!(find(&memory, &raw const *heap as usize), None);
    }
}
