//! A bump allocator for calls that must not touch the heap: a few mappings, filled from the start.
//!
//! It uses no lock and no memory of the heap. A freed block is reused only if it is the newest one
//! of its region; otherwise it is lost. Such calls are rare, and most of them come shortly before
//! their process ends.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::base::size_class::MIN_ALIGN;
use crate::os::Os;
use crate::os::fatal::fatal;
use crate::os::linux::Linux;

/// Bytes of the first region. Each of the next ones is twice as long as the one before.
const FIRST_BYTES: usize = 1 << 20;
/// How often the length of a region doubles. Later regions have the last length.
const DOUBLINGS: usize = 10;
/// Bytes of the header before each block and at the start of each region.
const HEADER_BYTES: usize = size_of::<Header>();
/// A constant that, mixed with a block's address, marks the header of a live block.
const MARK: usize = 0x687a_3365_6d67_6379;

/// The regions, in the order in which they are mapped.
static REGIONS: [Region; 40] = [const { Region::new() }; 40];

/// One mapping.
struct Region {
    /// The start of the mapping; null until it is made.
    start: AtomicPtr<Header>,
    /// Bytes from the start that are in use, including the region's own header.
    used: AtomicUsize,
}

/// The header before a block and at the start of a region.
#[repr(C, align(16))]
struct Header {
    /// Bytes of the block, or of the region.
    bytes: usize,
    /// The block's address XOR [`MARK`]; not used at the start of a region.
    mark: AtomicUsize,
}

impl Region {
    const fn new() -> Region {
        Region {
            start: AtomicPtr::new(core::ptr::null_mut()),
            used: AtomicUsize::new(HEADER_BYTES),
        }
    }

    /// Returns the start and the bytes of the mapping, if it exists.
    fn mapping(&self) -> Option<(NonNull<u8>, usize)> {
        // Acquire pairs with the release exchange in `make`.
        let start = NonNull::new(self.start.load(Ordering::Acquire))?;
        // SAFETY: the header was written before the region was published, and never changes.
        let bytes = unsafe { start.as_ref() }.bytes;
        Some((start.cast(), bytes))
    }

    /// Makes the mapping, or returns the one that another thread made first.
    fn make(&self, bytes: usize) -> Option<(NonNull<u8>, usize)> {
        let start: NonNull<Header> = Linux.map(bytes, Linux.page_size())?.cast();
        // SAFETY: the mapping is fresh and longer than a header.
        unsafe { start.write(Header { bytes, mark: AtomicUsize::new(0) }) };
        let null = core::ptr::null_mut();
        // Release pairs with the acquire load in `mapping`: its reader sees the header.
        let made =
            self.start.compare_exchange(null, start.as_ptr(), Ordering::Release, Ordering::Relaxed);
        if made.is_err() {
            let span = crate::os::Span { start: start.cast(), bytes };
            // SAFETY: the mapping was not published.
            unsafe { Linux.unmap(span) };
        }
        self.mapping()
    }

    /// Takes a block at a multiple of `align`; returns `None` if the region has no room for it.
    fn take(&self, align: usize, size: usize) -> Option<NonNull<u8>> {
        let (start, bytes) = self.mapping()?;
        let address = start.addr().get();
        let place = |used: usize| {
            let at = (address + used + HEADER_BYTES).next_multiple_of(align) - address;
            (at, at + size)
        };
        let mut used = self.used.load(Ordering::Relaxed);
        let at = loop {
            let (at, end) = place(used);
            if end > bytes {
                return None;
            }
            match self.used.compare_exchange(used, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break at,
                Err(now) => used = now,
            }
        };
        // SAFETY: the block lies in the region.
        let block = unsafe { start.add(at) };
        // SAFETY: `at` is at least the length of a header.
        let header: NonNull<Header> = unsafe { block.sub(HEADER_BYTES) }.cast();
        let mark = AtomicUsize::new(block.addr().get() ^ MARK);
        // SAFETY: the exchange gave these bytes to this call; a block is aligned to 16.
        unsafe { header.write(Header { bytes: size, mark }) };
        Some(block)
    }
}

/// Allocates at least `size` bytes that read as zero, at a multiple of `align`, a power of two.
pub(super) fn allocate(align: usize, size: usize) -> Option<NonNull<u8>> {
    let align = align.max(MIN_ALIGN);
    let size = size.max(1).checked_next_multiple_of(MIN_ALIGN)?;
    let needed = size.checked_add(align)?.checked_add(2 * HEADER_BYTES)?;
    isize::try_from(needed).ok()?;
    REGIONS.iter().enumerate().find_map(|(number, region)| {
        if region.mapping().is_none() {
            let bytes = (FIRST_BYTES << number.min(DOUBLINGS)).max(needed);
            region.make(bytes.checked_next_multiple_of(Linux.page_size())?)?;
        }
        let block = region.take(align, size)?;
        // The bytes may have been used before.
        // SAFETY: the block is that long, and only this call uses it.
        unsafe { block.write_bytes(0, size) };
        Some(block)
    })
}

/// Finds the region that contains an address, and the header of the block that starts there.
fn find(address: usize) -> Option<(&'static Region, &'static Header)> {
    let made = REGIONS.iter().map_while(|region| Some((region, region.mapping()?)));
    for (region, (start, bytes)) in made {
        let offset = address.wrapping_sub(start.addr().get());
        if offset >= bytes {
            continue;
        }
        if offset >= 2 * HEADER_BYTES && address.is_multiple_of(MIN_ALIGN) {
            // SAFETY: the header lies in the region, after the region's own header.
            let header: NonNull<Header> = unsafe { start.add(offset - HEADER_BYTES) }.cast();
            // SAFETY: it is aligned memory of the region, which is never unmapped; any bytes are a
            // valid header.
            let header = unsafe { header.as_ref() };
            if header.mark.load(Ordering::Relaxed) == address ^ MARK {
                return Some((region, header));
            }
        }
        fatal("not a block: inside one, or already free", address);
    }
    None
}

/// Returns the bytes that the block at `address` holds; `None` if no region contains it.
pub(super) fn usable_size(address: usize) -> Option<usize> {
    find(address).map(|(_, header)| header.bytes)
}

/// Frees the block at `address`; returns false if no region contains it.
pub(super) fn free(address: usize) -> bool {
    let Some((region, header)) = find(address) else { return false };
    header.mark.store(0, Ordering::Relaxed);
    if let Some((start, _)) = region.mapping() {
        let at = address - start.addr().get();
        let end = at + header.bytes;
        // This succeeds only for the newest block, which ends where the unused part begins.
        let begin = at - HEADER_BYTES;
        let _ = region.used.compare_exchange(end, begin, Ordering::Relaxed, Ordering::Relaxed);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{allocate, free, usable_size};

    #[test]
    fn blocks_are_disjoint_aligned_and_zero() {
        let mut last_end = 0;
        for (align, size) in
            [(16, 0), (16, 1), (64, 100), (4096, 5000), (16, 3 << 20), (1 << 16, 7)]
        {
            let block = allocate(align, size).expect("memory");
            let address = block.addr().get();
            assert!(address.is_multiple_of(align));
            let usable = usable_size(address).expect("a block");
            assert!(usable >= size.max(1));
            // SAFETY: the block is that long, and only this test uses it.
            let bytes = unsafe { core::slice::from_raw_parts_mut(block.as_ptr(), usable) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(0xa5);
            assert!(address >= last_end || address + usable < last_end);
            last_end = address + usable;
        }
        assert_eq!(allocate(16, usize::MAX - 64), None);
        assert_eq!(allocate(16, isize::MAX as usize), None);
    }

    #[test]
    fn a_block_can_be_freed_and_other_addresses_cannot() {
        let block = allocate(16, 100).expect("memory").addr().get();
        assert!(free(block));
        assert!(!free(0x1234) && usable_size(0x1234).is_none());
    }
}
