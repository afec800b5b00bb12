//! Reads of memory that may be absent.

use core::cell::Cell;

use crate::os::syscall::syscall_error;

/// Memory that a walk reads: that of the process, or a test's.
pub(super) trait Memory {
    /// Fills `into` with the bytes at `address`; returns false if one of them cannot be read.
    fn copy(&self, address: usize, into: &mut [u8]) -> bool;

    /// Returns the word at `address`.
    fn word(&self, address: usize) -> Option<usize> {
        let mut bytes = [0; size_of::<usize>()];
        self.copy(address, &mut bytes).then(|| usize::from_ne_bytes(bytes))
    }
}

/// The smallest page of any supported system, in bytes.
const PAGE: usize = 4096;
/// The bytes of a word.
const WORD: usize = size_of::<usize>();
/// How many pages a walk remembers as readable.
const REMEMBERED: usize = 32;

/// The memory of this process, during one walk.
#[derive(Debug)]
pub(super) struct OwnMemory {
    /// Numbers of pages that are readable, each at the place that its low bits choose.
    readable: [Cell<usize>; REMEMBERED],
}

impl OwnMemory {
    /// Starts with the page of the stack pointer, which is certainly readable.
    pub(super) fn new(stack_pointer: usize) -> Self {
        // No page has this number.
        let own = Self { readable: [const { Cell::new(usize::MAX) }; REMEMBERED] };
        let page = stack_pointer / PAGE;
        own.readable[page % REMEMBERED].set(page);
        own
    }

    fn is_readable(&self, page: usize) -> bool {
        let place = &self.readable[page % REMEMBERED];
        if place.get() != page {
            if !kernel_can_read(page * PAGE) {
                return false;
            }
            place.set(page);
        }
        true
    }
}

impl Memory for OwnMemory {
    fn copy(&self, address: usize, into: &mut [u8]) -> bool {
        let Some(last) = into.len().checked_sub(1) else { return true };
        let Some(last) = address.checked_add(last) else { return false };
        if !(address / PAGE..=last / PAGE).all(|page| self.is_readable(page)) {
            return false;
        }
        let mut done = 0;
        while done < into.len() {
            let from = address + done;
            if from.is_multiple_of(WORD)
                && let Some(bytes) = into[done..].first_chunk_mut::<WORD>()
            {
                let place = core::ptr::with_exposed_provenance::<usize>(from);
                // SAFETY: the kernel could just read the page. A volatile read, because another
                // thread may write there.
                *bytes = unsafe { place.read_volatile() }.to_ne_bytes();
                done += WORD;
            } else {
                let place = core::ptr::with_exposed_provenance::<u8>(from);
                // SAFETY: as above.
                into[done] = unsafe { place.read_volatile() };
                done += 1;
            }
        }
        true
    }

    fn word(&self, address: usize) -> Option<usize> {
        if !address.is_multiple_of(size_of::<usize>()) || !self.is_readable(address / PAGE) {
            return None;
        }
        let from = core::ptr::with_exposed_provenance::<usize>(address);
        // SAFETY: as above; an aligned word lies in one page.
        Some(unsafe { from.read_volatile() })
    }
}

/// Returns whether the kernel can read eight bytes at an address.
///
/// `rt_sigprocmask` reads the new mask before it looks at what to do with the mask, and refuses
/// what it does not know. So the call always fails and changes nothing, and its error tells.
fn kernel_can_read(address: usize) -> bool {
    const UNKNOWN_CHANGE: usize = usize::MAX;
    const MASK_BYTES: usize = 8;
    let arguments = [UNKNOWN_CHANGE, address, 0, MASK_BYTES, 0, 0];
    // SAFETY: the kernel reads at the address, or fails if it cannot, and does nothing else.
    let result = unsafe { syscall_error(libc::SYS_rt_sigprocmask, arguments) };
    result == Err(libc::EINVAL)
}
