//! The function of `hz3::on_limit` frees memory at the limit of a Rust program.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hz3::{Background, Config, Configured, Limit};

const MIB: usize = 1 << 20;

#[global_allocator]
static ALLOCATOR: Configured = Configured::new(
    Config::new()
        .limit(Limit::Bytes(NonZero::new(64 << 20).unwrap()))
        .background(Background::Never),
);

static CACHE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Frees a half of the cache.
fn shrink_cache(wanted: usize) {
    assert!(wanted > 0);
    CALLS.fetch_add(1, Ordering::Relaxed);
    if let Ok(mut cache) = CACHE.try_lock() {
        let half = cache.len() / 2;
        cache.truncate(half);
    }
}

/// Returns a buffer, or nothing if there is no memory.
fn buffer() -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(MIB).ok()?;
    buffer.resize(MIB, 7);
    Some(buffer)
}

#[test]
fn a_cache_shrinks_before_an_allocation_fails() {
    for _ in 0..40 {
        let entry = buffer().expect("room");
        CACHE.lock().unwrap().push(entry);
    }
    hz3::on_limit(Some(shrink_cache));
    let mut live: Vec<Vec<u8>> = (0..50).map(|_| buffer().expect("of the cache")).collect();
    let calls = CALLS.load(Ordering::Relaxed);
    assert!((1..10).contains(&calls), "{calls} calls");
    let left = CACHE.lock().unwrap().len();
    assert!((1..20).contains(&left), "{left} entries");
    // In the end there is nothing to free.
    while let Some(more) = buffer() {
        live.push(more);
    }
    assert_eq!(CACHE.lock().unwrap().len(), 0);
    assert!(live.len() > 55 && live.iter().all(|one| one.iter().all(|&byte| byte == 7)));
    hz3::on_limit(None);
    let calls = CALLS.load(Ordering::Relaxed);
    assert!(buffer().is_none());
    assert_eq!(CALLS.load(Ordering::Relaxed), calls);
}
