//! Blocks for calls that must not touch the heap: a few mappings, filled from bottom to top.
//!
//! No lock and no memory of the heap is used. A freed block is reused if it was the latest one, and
//! is lost otherwise: such calls are few, and most are the last of their process.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::base::size_class::MIN_ALIGN;
use crate::os::Os;
use crate::os::fatal::fatal;
use crate::os::linux::Linux;

/// Bytes of the first region; each is twice as long as the one before.
const FIRST_BYTES: usize = 1 << 20;
/// Doublings at most.
const DOUBLINGS: usize = 10;
/// What stands before each block and at the start of each region.
const HEADER_BYTES: usize = size_of::<Header>();
/// Marks a block's header, together with its address.
const MARK: usize = 0x687a_3365_6d67_6379;

/// The regions, in the order in which they are made.
static REGIONS: [Region; 40] = [const { Region::new() }; 40];

/// One mapping.
struct Region {
    /// Null until it is made.
    start: AtomicPtr<Header>,
    /// Bytes from the start that are handed out, its own header included.
    used: AtomicUsize,
}

/// What stands before a block, and at the start of a region.
#[repr(C, align(16))]
struct Header {
    /// Bytes of the block, or of the region.
    bytes: usize,
    /// The block's address and [`MARK`], mixed; not used at the start of a region.
    mark: AtomicUsize,
}

impl Region {
    const fn new() -> Region {
        Region {
            start: AtomicPtr::new(core::ptr::null_mut()),
            used: AtomicUsize::new(HEADER_BYTES),
        }
    }

    /// The mapping, if it is made: its start and its bytes.
    fn mapping(&self) -> Option<(NonNull<u8>, usize)> {
        // Acquire pairs with the release exchange in `make`.
        let start = NonNull::new(self.start.load(Ordering::Acquire))?;
        // SAFETY: the header was written before the region was published, and never changes.
        let bytes = unsafe { start.as_ref() }.bytes;
        Some((start.cast(), bytes))
    }

    /// Makes the mapping, unless another thread does so first.
    fn make(&self, bytes: usize) -> Option<(NonNull<u8>, usize)> {
        let start: NonNull<Header> = Linux.map(bytes, Linux.page_size())?.cast();
        // SAFETY: the mapping is fresh and longer than a header.
        unsafe { start.write(Header { bytes, mark: AtomicUsize::new(0) }) };
        let null = core::ptr::null_mut();
        // Release pairs with the acquire load in `mapping`: the header is there.
        let made =
            self.start.compare_exchange(null, start.as_ptr(), Ordering::Release, Ordering::Relaxed);
        if made.is_err() {
            let span = crate::os::Span { start: start.cast(), bytes };
            // SAFETY: nobody else knows of the mapping.
            unsafe { Linux.unmap(span) };
        }
        self.mapping()
    }

    /// A block at a multiple of `align`; `None` when the region has no room for it.
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
        // SAFETY: `at` is at least a header's length.
        let header: NonNull<Header> = unsafe { block.sub(HEADER_BYTES) }.cast();
        let mark = AtomicUsize::new(block.addr().get() ^ MARK);
        // SAFETY: the exchange gave these bytes to this call; a block is aligned to 16.
        unsafe { header.write(Header { bytes: size, mark }) };
        Some(block)
    }
}

/// A block of at least `size` bytes that reads as zero, at a multiple of `align`, a power of two.
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
        // SAFETY: the block is that long and nobody else's; it may have been used before.
        unsafe { block.write_bytes(0, size) };
        Some(block)
    })
}

/// The region that an address lies in, and the header of the block there.
fn find(address: usize) -> Option<(&'static Region, &'static Header)> {
    let made = REGIONS.iter().map_while(|region| Some((region, region.mapping()?)));
    for (region, (start, bytes)) in made {
        let offset = address.wrapping_sub(start.addr().get());
        if offset >= bytes {
            continue;
        }
        if offset >= 2 * HEADER_BYTES && address.is_multiple_of(MIN_ALIGN) {
            // SAFETY: the header lies in the region behind the region's own.
            let header: NonNull<Header> = unsafe { start.add(offset - HEADER_BYTES) }.cast();
            // SAFETY: aligned memory of the region, which stays; any bytes are a header.
            let header = unsafe { header.as_ref() };
            if header.mark.load(Ordering::Relaxed) == address ^ MARK {
                return Some((region, header));
            }
        }
        fatal("not a block: inside one, or already free", address);
    }
    None
}

/// Bytes that the block at `address` holds; `None` when it is none of these.
pub(super) fn usable_size(address: usize) -> Option<usize> {
    find(address).map(|(_, header)| header.bytes)
}

/// Frees the block at `address`; false when it is none of these.
pub(super) fn free(address: usize) -> bool {
    let Some((region, header)) = find(address) else { return false };
    header.mark.store(0, Ordering::Relaxed);
    if let Some((start, _)) = region.mapping() {
        let at = address - start.addr().get();
        let end = at + header.bytes;
        // Only the latest block ends where the room begins.
        let begin = at - HEADER_BYTES;
        let _ = region.used.compare_exchange(end, begin, Ordering::Relaxed, Ordering::Relaxed);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{allocate, free, usable_size};

    #[test]
    fn blocks_are_apart_aligned_and_zero() {
        let mut last_end = 0;
        for (align, size) in
            [(16, 0), (16, 1), (64, 100), (4096, 5000), (16, 3 << 20), (1 << 16, 7)]
        {
            let block = allocate(align, size).expect("memory");
            let address = block.addr().get();
            assert!(address.is_multiple_of(align));
            let usable = usable_size(address).expect("a block");
            assert!(usable >= size.max(1));
            // SAFETY: the block is that long and this test's.
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
    fn freed_blocks_are_known_no_more() {
        let block = allocate(16, 100).expect("memory").addr().get();
        assert!(free(block));
        assert!(!free(0x1234) && usable_size(0x1234).is_none());
    }
}
