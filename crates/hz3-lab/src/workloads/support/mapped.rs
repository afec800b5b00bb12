//! Arrays mapped from the kernel, so that the harness's own memory does not use the malloc under
//! test.

use crate::failure::{Failure, Result};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A fixed array in anonymous memory. Every element is written, so no page faults later.
#[derive(Debug)]
pub(crate) struct Mapped<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: a Mapped owns its elements, as a Box<[T]> does.
unsafe impl<T: Send> Send for Mapped<T> {}
// SAFETY: shared access gives out only shared references to the elements.
unsafe impl<T: Sync> Sync for Mapped<T> {}

impl<T> Mapped<T> {
    /// Maps `len` elements, each made by `element`.
    pub(crate) fn new(len: usize, mut element: impl FnMut() -> T) -> Result<Self> {
        const { assert!(align_of::<T>() <= 4096, "a mapping is aligned to a page, not more") };
        let start = map(bytes::<T>(len)?)?.cast::<T>();
        for i in 0..len {
            // SAFETY: i < len, and the mapping has room for len elements.
            let place = unsafe { start.add(i) };
            // SAFETY: the place is inside our own mapping and aligned, as the mapping starts at a
            // page.
            unsafe { place.write(element()) };
        }
        Ok(Self { start, len })
    }
}

impl<T> Deref for Mapped<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` initialised len elements from start on; they live as long as self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Mapped<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in deref; &mut self makes the borrow exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        let elements = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
        // SAFETY: `new` initialised the elements, and nobody can use them after this.
        unsafe { std::ptr::drop_in_place(elements) };
        if let Ok(length) = bytes::<T>(self.len) {
            // SAFETY: `new` mapped exactly this range, and nothing refers to it any more.
            let unmapped = unsafe { munmap(self.start.as_ptr().cast(), length) };
            debug_assert_eq!(unmapped, Ok(()));
        }
    }
}

/// Returns the mapping's length: at least one byte, because the kernel maps no length of 0.
fn bytes<T>(len: usize) -> Result<usize> {
    len.checked_mul(size_of::<T>())
        .map(|bytes| bytes.max(1))
        .ok_or_else(|| Failure::new(format!("an array of {len} elements does not fit into memory")))
}

fn map(length: usize) -> Result<NonNull<u8>> {
    // SAFETY: no address is asked for, so no existing mapping is touched.
    let mapped = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            length,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    };
    let start = mapped.map_err(|e| Failure::io(format!("map {length} bytes"), e))?;
    NonNull::new(start.cast()).ok_or_else(|| Failure::new("the kernel mapped address 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_made_kept_and_dropped() {
        let marker = std::sync::Arc::new(());
        let mut array = Mapped::new(1000, || marker.clone()).unwrap();
        assert_eq!((array.len(), std::sync::Arc::strong_count(&marker)), (1000, 1001));
        array[7] = std::sync::Arc::new(());
        assert_eq!(std::sync::Arc::strong_count(&marker), 1000);
        drop(array);
        assert_eq!(std::sync::Arc::strong_count(&marker), 1);
    }

    #[test]
    fn no_elements_and_too_many() {
        assert!(Mapped::new(0, || 1u8).unwrap().is_empty());
        assert!(Mapped::new(usize::MAX, || 1u64).is_err());
    }
}
