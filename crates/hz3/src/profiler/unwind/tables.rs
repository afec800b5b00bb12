//! Finds the description of a function in an object's unwind tables.
//!
//! `.eh_frame_hdr` has a table that is sorted by address. Each of its entries leads to a frame
//! description entry (FDE) in `.eh_frame`, and that to a common information entry (CIE).

use super::memory::Memory;
use super::reader::{Cursor, Encoding, address};

/// An object of the process that has unwind tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// The first address.
    pub(super) start: usize,
    /// One past the last address.
    pub(super) end: usize,
    /// The address of `.eh_frame_hdr`.
    pub(super) header: usize,
}

/// A range of instructions for rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The contents of a function's FDE and of its CIE.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameDescription {
    /// The function's first address.
    pub(super) start: usize,
    pub(super) code_factor: u64,
    pub(super) data_factor: i64,
    pub(super) return_register: u64,
    pub(super) encoding: Encoding,
    /// The kernel called, not a function: addresses in this frame are not return addresses.
    pub(super) is_signal_frame: bool,
    /// The CIE's instructions, then the FDE's.
    pub(super) initial: Program,
    pub(super) program: Program,
}

/// `DW_EH_PE_datarel | DW_EH_PE_sdata4`, the only form of the sorted table that linkers write.
const SORTED: u8 = 0x3b;
/// `DW_EH_PE_omit`
const OMITTED: u8 = 0xff;
/// Bytes of one entry of the sorted table.
const PAIR: usize = 8;

/// Returns the description of the function that contains `pc`.
pub(super) fn find<M: Memory>(memory: &M, object: &Object, pc: usize) -> Option<FrameDescription> {
    let place = search(memory, object, pc)?;
    read(memory, object, place)
        .filter(|(description, end)| (description.start..*end).contains(&pc))
        .map(|(description, _)| description)
}

/// Returns the address of the last FDE that does not start after `pc`.
fn search<M: Memory>(memory: &M, object: &Object, pc: usize) -> Option<usize> {
    let mut cursor = Cursor::new(memory, object.header, object.end);
    let [version, frames, counted, sorted] = cursor.u32()?.to_ne_bytes();
    if version != 1 || sorted != SORTED || frames == OMITTED {
        return None;
    }
    cursor.pointer(Encoding(frames), object.header)?;
    let count = cursor.pointer(Encoding(counted), object.header)?;
    let table = cursor.at();
    if count > (object.end - table) / PAIR {
        return None;
    }
    // The offset of a function, or of its FDE, from the header.
    let offset = |at: usize| {
        let mut bytes = [0; 4];
        memory.copy(at, &mut bytes).then(|| i32::from_ne_bytes(bytes))
    };
    let wanted = i32::try_from(pc.wrapping_sub(object.header).cast_signed()).ok()?;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if offset(table + middle * PAIR)? <= wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let found = offset(table + low.checked_sub(1)? * PAIR + 4)?;
    let place = object.header.wrapping_add_signed(found as isize);
    (object.start..object.end).contains(&place).then_some(place)
}

/// Reads the FDE at `place` and its CIE; also returns the end of the function.
fn read<M: Memory>(memory: &M, object: &Object, place: usize) -> Option<(FrameDescription, usize)> {
    let (mut fde, back, id) = record(memory, object, place)?;
    // The CIE's place is relative to that of the number.
    let common = back.checked_sub(id)?;
    let (mut cie, _, id) = record(memory, object, common)?;
    if id != 0 || !(object.start..object.end).contains(&common) {
        return None;
    }
    let version = cie.byte()?;
    if !matches!(version, 1 | 3 | 4) {
        return None;
    }
    let mut augmentation = [0; 8];
    let mut letters = 0;
    loop {
        match cie.byte()? {
            0 => break,
            letter => *augmentation.get_mut(letters)? = letter,
        }
        letters += 1;
    }
    if version == 4 {
        // The sizes of an address and of a segment selector.
        cie.skip(2)?;
    }
    let code_factor = cie.uleb()?;
    let data_factor = cie.sleb()?;
    let return_register = if version == 1 { cie.byte()?.into() } else { cie.uleb()? };
    let mut description = FrameDescription {
        start: 0,
        code_factor,
        data_factor,
        return_register,
        encoding: Encoding::ABSOLUTE,
        is_signal_frame: false,
        initial: Program { start: 0, end: cie.end() },
        program: Program { start: 0, end: fde.end() },
    };
    let has_data = augmentation[0] == b'z';
    if has_data {
        let bytes = address(cie.uleb()?);
        let data = cie.at();
        read_augmentation(&mut cie, &augmentation[1..letters], object, &mut description)?;
        cie.seek(data.checked_add(bytes)?)?;
    } else if letters > 0 {
        return None;
    }
    description.initial.start = cie.at();

    description.start = fde.pointer(description.encoding, object.header)?;
    let bytes = fde.pointer(description.encoding.plain(), 0)?;
    if has_data {
        let bytes = address(fde.uleb()?);
        fde.skip(bytes)?;
    }
    description.program.start = fde.at();
    Some((description, description.start.checked_add(bytes)?))
}

fn read_augmentation<M: Memory>(
    cie: &mut Cursor<'_, M>,
    letters: &[u8],
    object: &Object,
    description: &mut FrameDescription,
) -> Option<()> {
    for letter in letters {
        match letter {
            // The encoding of the pointers to language-specific data.
            b'L' => drop(cie.byte()?),
            b'P' => {
                let encoding = Encoding(cie.byte()?);
                cie.pointer(encoding, object.header)?;
            }
            b'R' => description.encoding = Encoding(cie.byte()?),
            b'S' => description.is_signal_frame = true,
            // Of aarch64: the second key signs, or the stack is tagged.
            b'B' | b'G' => {}
            _ => return None,
        }
    }
    Some(())
}

/// Opens the record at `place`: returns a cursor after its first numbers, which ends with the
/// record, and the place and the value of the number that tells FDE from CIE.
fn record<'a, M: Memory>(
    memory: &'a M,
    object: &Object,
    place: usize,
) -> Option<(Cursor<'a, M>, usize, usize)> {
    let mut cursor = Cursor::new(memory, place, object.end);
    let mut bytes = u64::from(cursor.u32()?);
    if bytes == 0xffff_ffff {
        bytes = cursor.u64()?;
    }
    let id_place = cursor.at();
    cursor.limit(id_place.checked_add(address(bytes))?)?;
    // In `.eh_frame` this number has four bytes, whatever the length has.
    let id = cursor.u32()?;
    Some((cursor, id_place, id as usize))
}
