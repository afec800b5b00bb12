//! A program that frees much by a few calls, and then makes no more.

mod common;

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

const MIB: usize = 1 << 20;
const BLOCKS: usize = 6;
/// The longest that waits for the reclaimer: longer blocks go back when they are freed.
const BLOCK: usize = 32 * MIB;

#[test]
fn six_large_blocks_go_back() {
    let mut blocks = [const { Vec::new() }; BLOCKS];
    for block in &mut blocks {
        *block = vec![1u8; BLOCK];
    }
    let all = (BLOCKS * BLOCK) as u64;
    assert!(hz3::stats().large >= all, "they are large blocks: {}", hz3::stats());
    drop(blocks);
    // The assertion below reports a failure with all statistics.
    common::wait_until(|| hz3::stats().dirty <= all / 8);
    let after = hz3::stats();
    assert!(after.dirty <= all / 8 && after.ticks > 0, "they are still there: {after}");
}
