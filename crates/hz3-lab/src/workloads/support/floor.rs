//! The least memory that survivors can occupy: the pages of the system that contain their bytes. No
//! allocator that cannot move blocks gets below it.

use super::block::Extent;
use super::mapped::Mapped;
use crate::failure::Result;

/// Returns the pages of the blocks in KiB. The table it needs is mapped and unmapped again.
pub(crate) fn floor_kb(blocks: impl Iterator<Item = Extent> + Clone) -> Result<u64> {
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

    #[test]
    fn pages_are_counted_once_each() {
        let page = rustix::param::page_size();
        let block = |offset: usize, size: usize| Extent { address: page + offset, size };
        // Two blocks in the first page, one across the second and third.
        let blocks = [block(0, 16), block(page - 16, 16), block(2 * page - 8, 16)];
        assert_eq!(floor_kb(blocks.into_iter()).unwrap(), (3 * page / 1024) as u64);
        assert_eq!(floor_kb([].into_iter()).unwrap(), 0);
    }
}
