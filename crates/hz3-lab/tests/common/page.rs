//! A page of statistics in this process, as the library has one.
//!
//! This file writes the page byte by byte, so tests fail if `crates/hz3/src/stats/page_layout.rs`
//! changes.

const BYTES: usize = 12 * 1024;
const NAMES_AT: usize = 8192;
/// Some of the values, in the library's order.
pub(crate) const VALUES: [(&str, u64); 13] = [
    ("allocated", 6 << 20),
    ("cached", 5 << 20),
    ("dirty", 2 << 20),
    ("committed", 17 << 20),
    ("cached_idle", 5 << 20),
    ("slack_shared", 3 << 20),
    ("slack_holes", 1 << 20),
    ("metadata_resident", 1 << 20),
    ("refills", 7),
    ("time_ns", 1_500_000_000),
    ("tick_ms", 125),
    ("reclaimer", 3),
    ("threads_shown", 1),
];

/// Puts a page into this process and returns its address. Nobody answers its requests.
pub(crate) fn put() -> usize {
    // SAFETY: a fresh mapping, apart from others by its neighbours.
    let all = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(std::ptr::null_mut(), BYTES + 0x2_0000, libc::PROT_NONE, flags, -1, 0)
    };
    let start = all.cast::<u8>().wrapping_add(0x1_0000);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: whole pages of the mapping.
    assert_eq!(unsafe { libc::mprotect(start.cast(), BYTES, protection) }, 0);
    // SAFETY: lets the program under test read this process where Yama restricts it.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    // SAFETY: the mapping is this function's.
    fill(unsafe { std::slice::from_raw_parts_mut(start, BYTES) });
    start.expose_provenance()
}

fn fill(page: &mut [u8]) {
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    let names = VALUES.map(|(name, _)| name).join("\0") + "\0";
    put(NAMES_AT, names.as_bytes());
    let [values_at, classes_at, threads_at] = [1024_u32, 2048, 4096];
    for (index, (_, value)) in VALUES.iter().enumerate() {
        put(1024 + 8 * index, &value.to_le_bytes());
    }
    let class: [u64; 4] = [112, 9, 50_000, 100];
    let thread: [u64; 4] = [u64::from(std::process::id()), 1, 4096, 321];
    for index in 0..4 {
        put(2048 + 32 + 8 * index, &class[index].to_le_bytes());
        put(4096 + 8 * index, &thread[index].to_le_bytes());
    }
    let count = |number: usize| u32::try_from(number).expect("a small number");
    let head = [
        1,
        count(BYTES),
        2,
        std::process::id(),
        count(NAMES_AT),
        count(names.len()),
        values_at,
        count(VALUES.len()),
        classes_at,
        2,
        4,
        threads_at,
        128,
        4,
        72,
        112,
    ];
    for (index, word) in head.into_iter().enumerate() {
        put(8 + 4 * index, &word.to_le_bytes());
    }
    put(0, b"hz3stats");
}
