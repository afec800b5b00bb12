//! Encodes a profile as pprof reads it: a gzipped protocol buffer.
//!
//! The encoder streams. Fields of the outermost message may come in any order, so only the small
//! messages inside have a length that must be known first. The gzip file consists of stored blocks:
//! no compressor is needed.
//!
//! The sample types are `alloc_objects`, `alloc_space`, `inuse_objects`, `inuse_space`,
//! `pinned_space` and `lifetime`. The last is the sum of the ages at which blocks were freed; over
//! `alloc_objects - inuse_objects` it is the mean lifetime.

/// Bytes of the buffer that a caller lends.
pub(crate) const BUFFER_BYTES: usize = 1 << 14;
/// Values of each sample, in the order of [`TYPES`].
pub(crate) const VALUES: usize = TYPES.len();

/// The sample types and their units, numbered as [`sample_type`] says.
const TYPES: [(&str, &str); 6] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
    ("pinned_space", "bytes"),
    ("lifetime", "nanoseconds"),
];
/// The sample type that readers show first.
const DEFAULT_TYPE: usize = sample_type::INUSE_SPACE;
/// The functions of allocators, which readers leave out with all that they call.
const DROPPED: &str = "(__libc_)?(malloc|calloc|realloc|reallocarray|memalign|aligned_alloc|\
posix_memalign|valloc|pvalloc)|operator new.*|hz3.*|<hz3.*|__rust_alloc.*|__rdl_alloc.*";

const NAMES_OF_HEADER: usize = 1;
/// Strings before those of the mappings.
const FIXED_STRINGS: u64 = (NAMES_OF_HEADER + 2 * VALUES + 1) as u64;

/// Takes bytes of the file; returns false if it cannot.
type Sink<'a> = dyn FnMut(&[u8]) -> bool + 'a;

/// Bytes before the data of a stored block.
const BLOCK_HEADER: usize = 5;
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The numbers of the sample types.
pub(crate) mod sample_type {
    pub(crate) const ALLOC_OBJECTS: usize = 0;
    pub(crate) const ALLOC_SPACE: usize = 1;
    pub(crate) const INUSE_OBJECTS: usize = 2;
    pub(crate) const INUSE_SPACE: usize = 3;
    pub(crate) const PINNED_SPACE: usize = 4;
    pub(crate) const LIFETIME: usize = 5;
}

/// The numbers of the fields, by message.
mod field {
    pub(super) const SAMPLE_TYPE: u32 = 1;
    pub(super) const SAMPLE: u32 = 2;
    pub(super) const MAPPING: u32 = 3;
    pub(super) const LOCATION: u32 = 4;
    pub(super) const STRING: u32 = 6;
    pub(super) const DROP_FRAMES: u32 = 7;
    pub(super) const TIME: u32 = 9;
    pub(super) const PERIOD_TYPE: u32 = 11;
    pub(super) const PERIOD: u32 = 12;
    pub(super) const DEFAULT_SAMPLE_TYPE: u32 = 14;
}

/// A message inside the profile.
struct Message<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Message<N> {
    const fn new() -> Self {
        Message { bytes: [0; N], len: 0 }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Adds a number in groups of seven bits, lowest first.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(low_byte(value) | 0x80);
            value >>= 7;
        }
        self.push(low_byte(value));
    }

    /// Adds a field that is a number.
    fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field << 3));
        self.varint(value);
    }

    /// Adds a field of packed numbers.
    fn packed(&mut self, field: u32, values: impl Iterator<Item = u64> + Clone) {
        let bytes = |value: u64| u64::from(value.max(1).ilog2() / 7 + 1);
        self.varint(u64::from(field << 3 | 2));
        self.varint(values.clone().map(bytes).sum());
        values.for_each(|value| self.varint(value));
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte")]
fn low_byte(value: u64) -> u8 {
    value as u8
}

/// Writes the profile. Every method keeps quiet after the sink has failed; [`Encoder::finish`]
/// tells.
pub(crate) struct Encoder<'a> {
    buffer: &'a mut [u8; BUFFER_BYTES],
    len: usize,
    crc: u32,
    bytes: u32,
    strings: u64,
    mappings: u64,
    sink: &'a mut Sink<'a>,
    has_failed: bool,
}

/// A part of the address space that a file is mapped to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping<'a> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) offset: u64,
    pub(crate) name: &'a [u8],
    /// In hexadecimal digits; empty if unknown.
    pub(crate) build_id: &'a [u8],
}

impl<'a> Encoder<'a> {
    /// Begins a profile with a mean of `rate` bytes between two samples, at `time` in nanoseconds
    /// since 1970.
    pub(crate) fn new(
        buffer: &'a mut [u8; BUFFER_BYTES],
        sink: &'a mut Sink<'a>,
        rate: u64,
        time: u64,
    ) -> Encoder<'a> {
        let has_failed = !sink(&GZIP_HEADER);
        let (len, crc) = (BLOCK_HEADER, u32::MAX);
        let mut encoder =
            Encoder { buffer, len, crc, bytes: 0, strings: 0, mappings: 0, sink, has_failed };
        encoder.string(b"");
        for (name, unit) in TYPES {
            let (name, unit) = (encoder.string(name.as_bytes()), encoder.string(unit.as_bytes()));
            let mut value_type = Message::<32>::new();
            value_type.number(1, name);
            value_type.number(2, unit);
            encoder.message(field::SAMPLE_TYPE, value_type.as_bytes());
            if name == type_string(DEFAULT_TYPE) {
                encoder.message(field::PERIOD_TYPE, value_type.as_bytes());
            }
        }
        let dropped = encoder.string(DROPPED.as_bytes());
        encoder.number(field::DROP_FRAMES, dropped);
        encoder.number(field::TIME, time);
        encoder.number(field::PERIOD, rate);
        encoder.number(field::DEFAULT_SAMPLE_TYPE, type_string(DEFAULT_TYPE));
        debug_assert!(encoder.strings == FIXED_STRINGS);
        encoder
    }

    /// Adds a mapping and returns its number.
    #[inline(never)]
    pub(crate) fn mapping(&mut self, mapping: Mapping<'_>) -> u64 {
        self.mappings += 1;
        let mut message = Message::<80>::new();
        message.number(1, self.mappings);
        message.number(2, mapping.start);
        message.number(3, mapping.end);
        message.number(4, mapping.offset);
        message.number(5, self.string(mapping.name));
        message.number(6, self.string(mapping.build_id));
        self.message(field::MAPPING, message.as_bytes());
        self.mappings
    }

    /// Adds a location: a return address, and the number of its mapping, or 0. `number` is at
    /// least 1.
    pub(crate) fn location(&mut self, number: u64, mapping: u64, address: u64) {
        let mut message = Message::<40>::new();
        message.number(1, number);
        message.number(2, mapping);
        // The call before the return address, so that a reader finds its line.
        message.number(3, address.saturating_sub(1));
        self.message(field::LOCATION, message.as_bytes());
    }

    /// Adds a sample: the numbers of its locations, innermost first. Not inlined, so that the 1 KiB
    /// is on the stack only here.
    #[inline(never)]
    pub(crate) fn sample(
        &mut self,
        locations: impl Iterator<Item = u64> + Clone,
        values: &[f64; VALUES],
    ) {
        let mut message = Message::<1024>::new();
        message.packed(1, locations);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let whole = |value: &f64| (value + 0.5) as u64;
        message.packed(2, values.iter().map(whole));
        self.message(field::SAMPLE, message.as_bytes());
    }

    /// Ends the file. Returns whether the sink took all of it.
    pub(crate) fn finish(mut self) -> bool {
        self.flush();
        let mut end = [1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        end[5..9].copy_from_slice(&(!self.crc).to_le_bytes());
        end[9..].copy_from_slice(&self.bytes.to_le_bytes());
        !self.has_failed && (self.sink)(&end)
    }

    /// Adds a string and returns its number.
    fn string(&mut self, text: &[u8]) -> u64 {
        self.message(field::STRING, text);
        self.strings += 1;
        self.strings - 1
    }

    fn number(&mut self, field: u32, value: u64) {
        let mut message = Message::<20>::new();
        message.number(field, value);
        self.put(message.as_bytes());
    }

    fn message(&mut self, field: u32, bytes: &[u8]) {
        let mut head = Message::<20>::new();
        head.varint(u64::from(field << 3 | 2));
        head.varint(bytes.len() as u64);
        self.put(head.as_bytes());
        self.put(bytes);
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.len == BUFFER_BYTES {
                self.flush();
            }
            let (now, rest) = bytes.split_at(bytes.len().min(BUFFER_BYTES - self.len));
            self.buffer[self.len..self.len + now.len()].copy_from_slice(now);
            self.len += now.len();
            bytes = rest;
        }
    }

    /// Writes the buffer as a stored block.
    fn flush(&mut self) {
        let data = &self.buffer[BLOCK_HEADER..self.len];
        self.crc = data.iter().fold(self.crc, |crc, &byte| crc_of(crc, byte));
        #[expect(clippy::cast_possible_truncation, reason = "the buffer is shorter than 64 KiB")]
        let len = data.len() as u16;
        self.bytes = self.bytes.wrapping_add(u32::from(len));
        self.buffer[0] = 0;
        self.buffer[1..3].copy_from_slice(&len.to_le_bytes());
        self.buffer[3..5].copy_from_slice(&(!len).to_le_bytes());
        self.has_failed = self.has_failed || !(self.sink)(&self.buffer[..self.len]);
        self.len = BLOCK_HEADER;
    }
}

/// Returns the number of the string with the name of a sample type.
const fn type_string(sample_type: usize) -> u64 {
    (NAMES_OF_HEADER + 2 * sample_type) as u64
}

/// Continues the CRC-32 of gzip with one byte.
fn crc_of(crc: u32, byte: u8) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut index = 0;
        while index < 16 {
            let (mut value, mut bit) = (index, 0);
            while bit < 4 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[index as usize] = value;
            index += 1;
        }
        table
    };
    let half = |crc: u32| (crc >> 4) ^ TABLE[(crc & 15) as usize];
    half(half(crc ^ u32::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::{BUFFER_BYTES, Encoder, Mapping, crc_of};
    use std::vec::Vec;

    fn encode(samples: u64) -> Vec<u8> {
        let mut file = Vec::new();
        let mut sink = |bytes: &[u8]| {
            file.extend_from_slice(bytes);
            true
        };
        let mut buffer = [0; BUFFER_BYTES];
        let mut encoder = Encoder::new(&mut buffer, &mut sink, 4096, 7);
        let name = b"/lib/x".as_slice();
        let mapping = Mapping { start: 4096, end: 8192, offset: 0, name, build_id: b"ab12" };
        assert_eq!(encoder.mapping(mapping), 1);
        for at in 1..=samples {
            encoder.location(at, 1, 4097 + at);
            encoder.sample([at, 1].into_iter(), &[1.0, 2.4, 2.6, 1e18, 0.0, 5.0]);
        }
        assert!(encoder.finish());
        file
    }

    /// Unpacks stored blocks and checks the length and the checksum of the file.
    fn unpack(file: &[u8]) -> Vec<u8> {
        let (mut at, mut data) = (10, Vec::new());
        loop {
            let (last, len) = (file[at], u16::from_le_bytes([file[at + 1], file[at + 2]]));
            assert_eq!(!len, u16::from_le_bytes([file[at + 3], file[at + 4]]));
            data.extend_from_slice(&file[at + 5..at + 5 + usize::from(len)]);
            at += 5 + usize::from(len);
            if last == 1 {
                break;
            }
        }
        let crc = !data.iter().fold(u32::MAX, |crc, &byte| crc_of(crc, byte));
        assert_eq!(file[at..at + 4], crc.to_le_bytes());
        assert_eq!(file[at + 4..], u32::try_from(data.len()).expect("short").to_le_bytes());
        data
    }

    #[test]
    fn the_checksum_is_that_of_gzip() {
        let crc = b"123456789".iter().fold(u32::MAX, |crc, &byte| crc_of(crc, byte));
        assert_eq!(!crc, 0xCBF4_3926);
    }

    #[test]
    fn a_profile_longer_than_the_buffer_is_whole() {
        let data = unpack(&encode(3000));
        assert!(data.len() > 2 * BUFFER_BYTES);
        assert_eq!(data[..4], [field_head(6), 0, field_head(6), 13], "the first strings");
        let sample = [field_head(2), 20, 10, 2, 2, 1, 18, 14, 1, 2, 3];
        assert!(data.windows(sample.len()).any(|part| part == sample), "the second sample");
    }

    fn field_head(field: u8) -> u8 {
        field << 3 | 2
    }

    #[test]
    fn a_sink_that_fails_is_reported() {
        let mut sink = |_: &[u8]| false;
        let mut buffer = [0; BUFFER_BYTES];
        assert!(!Encoder::new(&mut buffer, &mut sink, 1, 0).finish());
    }
}
