//! Huge pages, when asked for: the heap gets them once it has grown, and what is free goes back as
//! from small pages, scattered survivors or not.
//!
//! One test, since the resident set is the process's.

mod common;

use std::fs;

use hz3::{Config, Configured};

#[global_allocator]
static ALLOCATOR: Configured = Configured::new(Config::new().huge_pages(true));

const MIB: u64 = 1 << 20;
/// About 200 MiB in blocks of 2 KiB.
const BLOCKS: usize = 100_000;
const BLOCK: usize = 2048;
/// One block in so many survives: less than one a huge page's 1024 blocks would free nothing,
/// were it not split.
const STEP: usize = 500;
const SLACK: u64 = 16 * MIB;

/// Bytes of the process that lie in huge pages.
fn huge_bytes() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Resident bytes of the mappings that have asked for huge pages. Whether they have them is the
/// kernel's to say, which may be out of them.
fn asked_bytes() -> u64 {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let (mut asked, mut resident) = (0, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Rss:") => resident = words.next().and_then(|kib| kib.parse().ok()).unwrap_or(0),
            Some("VmFlags:") if words.any(|flag| flag == "hg") => asked += resident << 10,
            _ => {}
        }
    }
    asked
}

/// Whether the kernel knows huge pages for those who ask.
fn system_has_huge_pages() -> bool {
    fs::exists("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or(false)
}

fn burst() -> Vec<Box<[u8]>> {
    (0..BLOCKS).map(|_| vec![1u8; BLOCK].into_boxed_slice()).collect()
}

fn wait_for(bytes: u64, state: &str) {
    let fell = common::wait_until(|| hz3::stats().resident <= bytes);
    assert!(fell, "{state}: not below {bytes}: {}", hz3::stats());
}

#[test]
fn huge_pages_come_with_growth_and_go_with_the_blocks() {
    let start = hz3::stats().resident;
    for round in 0..2 {
        assert!(huge_bytes() <= SLACK, "round {round}");
        let blocks = burst();
        if system_has_huge_pages() {
            let asked = asked_bytes();
            assert!(asked > 150 * MIB, "round {round}: huge pages are asked for in {asked} bytes");
        }
        let survivors: Vec<Box<[u8]>> = blocks.into_iter().step_by(STEP).collect();
        wait_for(start + SLACK, "survivors");
        assert!(survivors.iter().all(|block| block.iter().all(|&byte| byte == 1)));
        drop(survivors);
        hz3::collect();
    }
}
