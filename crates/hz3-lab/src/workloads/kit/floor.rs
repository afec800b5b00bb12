//! The least that survivors can occupy: the pages of the system that their bytes lie in. No allocator that
//! cannot move blocks gets below that.

use super::block::Block;
use super::mapped::Mapped;
use crate::failure::Result;

/// The pages of the blocks, in KiB. Its own memory is mapped and gone again when it returns.
pub(crate) fn floor_kb<'a>(blocks: impl Iterator<Item = &'a Block> + Clone) -> Result<u64> {
    let page_size = rustix::param::page_size();
    let touched = blocks.clone().map(|block| block.pages(page_size).count()).sum();
    let mut pages = blocks.flat_map(|block| block.pages(page_size));
    let mut numbers = Mapped::new(touched, || pages.next().unwrap_or(0))?;
    numbers.sort_unstable();
    let distinct = numbers.chunk_by(|a, b| a == b).count();
    Ok((distinct * page_size / 1024) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::NonNull;

    #[test]
    fn pages_are_counted_once_each() {
        let page = rustix::param::page_size();
        let mut memory = Mapped::new(4 * page / 8, || 0_u64).unwrap();
        let start = NonNull::new(memory.as_mut_ptr().cast::<u8>()).unwrap();
        let block = |offset: usize, size: usize| {
            // SAFETY: all offsets and sizes below lie inside the four pages.
            let place = unsafe { start.add(offset) };
            // SAFETY: as above; nothing else uses the bytes.
            unsafe { Block::new(place, size) }
        };
        // Two blocks in the first page, one across the second and third.
        let blocks = [block(0, 16), block(page - 16, 16), block(2 * page - 8, 16)];
        assert_eq!(floor_kb(blocks.iter()).unwrap(), (3 * page / 1024) as u64);
        assert_eq!(floor_kb([].iter()).unwrap(), 0);
    }
}
