//! Tests of the transfer caches alone: who gets which block, limits, surplus.

use core::ops::Deref;
use std::sync::Mutex;
use std::vec::Vec;

use super::{Central, FIRST_LIMIT_DIVISOR, Segments, Transfers, max_waiting};
use crate::base::size_class::SizeClass;
use crate::base::sync::{addresses, slots};
use crate::options::{Config, Within};
use crate::os::fake::Fake;
use crate::segment::fake_segments;

const BATCH: usize = 16;

/// Transfer caches and the fake system that owns their mapping.
struct Mapped {
    transfers: Transfers,
    _system: Fake,
}

impl Deref for Mapped {
    type Target = Transfers;

    fn deref(&self) -> &Transfers {
        &self.transfers
    }
}

fn transfers(shards: usize) -> Mapped {
    let system = Fake::new(4096, shards, 1 << 30);
    Mapped { transfers: Transfers::create(&system, shards).unwrap(), _system: system }
}

fn class() -> SizeClass {
    SizeClass::of_size(64)
}

/// Makes a transfer cache whose limit is above 0, after an overflow and a miss.
fn wanted() -> Mapped {
    let transfers = transfers(1);
    assert_eq!(transfers.put(0, class(), &slots(1..=BATCH)), 0);
    assert_eq!(transfers.take(0, class(), &slots([0; BATCH])), 0);
    transfers
}

#[test]
fn no_blocks_wait_if_a_program_only_frees() {
    let transfers = transfers(2);
    for _ in 0..100 {
        assert_eq!(transfers.put(1, class(), &slots(1..=BATCH)), 0);
    }
    assert_eq!(transfers.waiting_bytes(), 0);
}

#[test]
fn take_returns_the_blocks_that_came_last() {
    let transfers = wanted();
    assert_eq!(transfers.put(0, class(), &slots(1..=BATCH)), BATCH);
    let out = slots([0; 4]);
    assert_eq!(transfers.take(0, class(), &out), 4);
    assert_eq!(addresses(&out), [13, 14, 15, 16]);
    assert_eq!(transfers.waiting_bytes(), 12 * 64);
}

#[test]
fn the_limit_doubles_up_to_its_maximum() {
    let transfers = wanted();
    let most = max_waiting(class().index());
    let mut limit = most / FIRST_LIMIT_DIVISOR as usize;
    loop {
        assert_eq!(transfers.put(0, class(), &slots(1..=2 * most)), limit);
        let out = slots(std::iter::repeat_n(0, 2 * most));
        assert_eq!(transfers.take(0, class(), &out), limit);
        if limit == most {
            break;
        }
        limit *= 2;
    }
}

#[test]
fn a_tick_drains_unwanted_blocks_oldest_first() {
    let transfers = wanted();
    let drained = Mutex::new(Vec::new());
    let end_tick = || {
        transfers.drain_unwanted_into(|of, slots| {
            assert_eq!(of, class());
            drained.lock().unwrap().extend(addresses(slots));
        })
    };
    transfers.put(0, class(), &slots(1..=BATCH));
    // The transfer cache was empty at the start of the tick, so the low-water mark is 0.
    assert!(end_tick().left);
    transfers.take(0, class(), &slots([0; 4]));
    transfers.put(0, class(), &slots(101..=104));
    // The low-water mark is 12.
    let tick = end_tick();
    assert_eq!((tick.drained_bytes, tick.left), (12 * 64, true));
    assert_eq!(*drained.lock().unwrap(), (1..=12).collect::<Vec<_>>());
    // No block came or went: all others are drained, and the limit is 0.
    assert!(!end_tick().left);
    assert_eq!(drained.lock().unwrap()[12..], [101, 102, 103, 104]);
    assert_eq!(transfers.put(0, class(), &slots(1..=BATCH)), 0);
}

#[test]
fn drain_all_passes_on_every_block() {
    let transfers = wanted();
    transfers.put(0, class(), &slots(1..=BATCH));
    let seen = Mutex::new(0);
    let bytes = transfers.drain_all_into(|_, slots| *seen.lock().unwrap() += slots.len());
    assert_eq!((bytes, *seen.lock().unwrap()), (16 * 64, BATCH));
    assert_eq!(transfers.waiting_bytes(), 0);
}

#[test]
fn put_and_take_skip_a_transfer_cache_whose_lock_is_held() {
    let transfers = wanted();
    transfers.put(0, class(), &slots(1..=4));
    transfers.acquire_all();
    assert_eq!(transfers.put(0, class(), &slots(1..=BATCH)), 0);
    assert_eq!(transfers.take(0, class(), &slots([0; BATCH])), 0);
    assert_eq!(transfers.contended(), 2);
    transfers.release_all();
    assert_eq!(transfers.take(0, class(), &slots([0; BATCH])), 4);
}
/// Returns the layers below one shard's transfer caches.
fn layers() -> (Central, Segments<Fake>) {
    let segments = fake_segments(4);
    let one = Within::new(1).expect("in range");
    let central = Central::create(segments.os(), &Config::new().shards(one)).expect("bins");
    (central, segments)
}

#[test]
fn a_flush_without_room_frees_the_blocks_in_their_slab() {
    let (transfers, (central, segments)) = (transfers(1), layers());
    let out = slots([0; BATCH]);
    assert_eq!(transfers.fetch(&central, &segments, class(), &out), BATCH);
    let free = central.free_bytes_hint();
    transfers.flush(&central, &segments, class(), &out);
    assert_eq!(transfers.waiting_bytes(), 0);
    assert_eq!(central.free_bytes_hint(), free + 64 * BATCH as u64);
}

#[test]
fn a_fetch_takes_what_a_flush_left_and_tops_up_from_a_slab() {
    let (transfers, (central, segments)) = (wanted(), layers());
    let out = slots([0; BATCH]);
    assert_eq!(transfers.fetch(&central, &segments, class(), &out), BATCH);
    let flushed = addresses(&out[..4]);
    let free = central.free_bytes_hint();
    transfers.flush(&central, &segments, class(), &out[..4]);
    assert_eq!((transfers.waiting_blocks(class()), central.free_bytes_hint()), (4, free));
    // Four blocks are more than half of seven: no slab is asked.
    let short = slots([0; 7]);
    assert_eq!(transfers.fetch(&central, &segments, class(), &short), 4);
    assert_eq!((addresses(&short[..4]), central.free_bytes_hint()), (flushed, free));
    transfers.flush(&central, &segments, class(), &short[..4]);
    // They are not more than half of eight.
    let long = slots([0; 8]);
    assert_eq!(transfers.fetch(&central, &segments, class(), &long), 8);
    assert_eq!(central.free_bytes_hint(), free - 4 * 64);
}

#[test]
fn a_refill_takes_blocks_from_four_neighbours() {
    let transfers = transfers(8);
    for shard in [4, 5] {
        transfers.put(shard, class(), &slots(1..=BATCH));
        transfers.take(shard, class(), &slots([0; BATCH]));
        assert_eq!(transfers.put(shard, class(), &slots(1..=BATCH)), BATCH);
    }
    assert_eq!(transfers.take_nearby(0, class(), &slots([0; BATCH])), BATCH);
    assert_eq!(transfers.take_nearby(0, class(), &slots([0; BATCH])), 0);
    assert_eq!(transfers.take_nearby(7, class(), &slots([0; BATCH])), 0);
    assert_eq!(transfers.take_nearby(1, class(), &slots([0; BATCH])), BATCH);
}
