//! A program with hz3 as its global allocator, for targets on which nothing is preloaded: static
//! musl. It allocates in every way Rust has, from several threads, and checks that hz3 served it.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc;
use std::thread;

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

/// An alignment far beyond what malloc gives.
#[derive(Clone)]
#[repr(align(4096))]
struct Page([u8; 4096]);

/// Blocks that another thread frees.
fn threads() -> usize {
    let (sender, receiver) = mpsc::channel();
    let workers: Vec<_> = (0..4usize)
        .map(|number| {
            let sender = sender.clone();
            thread::spawn(move || {
                for round in 0..500 {
                    let words: Vec<String> =
                        (0..round % 50).map(|n| format!("{number} {n}")).collect();
                    assert!(sender.send(words).is_ok(), "the receiver is there until the end");
                }
            })
        })
        .collect();
    drop(sender);
    let received = receiver.iter().map(|words| words.len()).sum();
    for worker in workers {
        assert!(worker.join().is_ok(), "a worker panicked");
    }
    received
}

fn main() {
    let mut map: BTreeMap<u64, String> =
        (0..50_000u64).map(|n| (n * 7919 % 50_021, n.to_string())).collect();
    map.retain(|key, _| key % 3 == 0);
    let index: HashMap<&str, u64> = map.iter().map(|(key, text)| (text.as_str(), *key)).collect();
    assert_eq!(index.len(), map.len());

    let zeroed = vec![0u64; 3_000_000];
    assert!(zeroed.iter().all(|&word| word == 0), "zeroed memory is zero");
    let mut grown = Vec::new();
    grown.extend((0..2_000_000u32).map(u64::from));
    assert_eq!(grown.iter().sum::<u64>(), 1_999_999_000_000);
    let pages = vec![Page([7; 4096]); 20];
    assert!(
        pages.iter().all(|page| std::ptr::from_ref(page).addr() % 4096 == 0 && page.0[4095] == 7)
    );
    // 500 rounds of 0 to 49 words in each of four threads.
    assert_eq!(threads(), 4 * 10 * (49 * 50 / 2));

    let stats = hz3::stats();
    assert!(stats.allocated > 40_000_000, "hz3 holds what this program holds: {stats:?}");
    assert_eq!(stats.active, stats.allocated + stats.cached + stats.slack);
    drop((zeroed, grown, pages));
    let given_back = hz3::collect();
    assert!(given_back > 0, "there was something to give back");
}
