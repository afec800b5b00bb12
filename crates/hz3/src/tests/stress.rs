//! Threads at full speed, blocks that change hands, and a thief that empties their caches.

use std::io::Write;
use std::time::Duration;
use std::vec::Vec;
use std::{env, io, thread};

use super::attack::{Attack, Length, free, malloc};
#[cfg(feature = "experiments")]
use super::policies::{AT_ONCE, POLICIES};
use super::program::Program;
use super::random::Random;
use super::world::heap_over;
use crate::base::units::{PAGE_BYTES, SEGMENT_BYTES, to_u64};
use crate::cache::Front;
use crate::options::{Config, Policy};
use crate::os::linux::Linux;

/// Turns of a worker in an ordinary test run. Under `ThreadSanitizer` turns take twenty times as
/// long, and few suffice: it finds two unordered accesses however far apart they are in time.
const SHORT: Length = Length::Turns(if cfg!(tsan) { 5 } else { 20 });

/// Miri has neither mprotect nor membarrier; the loom model covers the protocol.
pub(super) fn skip_under_miri() -> bool {
    cfg!(miri)
}

#[test]
fn stealing_loses_no_block_and_duplicates_none() {
    if skip_under_miri() {
        return;
    }
    Attack { config: Config::new(), seed: 1, length: SHORT, refuse_one_in: 0 }.run();
}

/// Every policy in turn, with every delay at zero and no budget, and purges that fail.
///
/// `HZ3_ATTACK="POLICY SEED SECONDS"`, which `cargo xtask attack` sets, makes it one policy for so
/// long.
#[test]
fn no_policy_takes_a_page_that_is_in_use() {
    if skip_under_miri() {
        return;
    }
    let all = [Policy::Off, Policy::Default].into_iter();
    #[cfg(feature = "experiments")]
    let all = all.chain(POLICIES);
    let Ok(asked) = env::var("HZ3_ATTACK") else {
        all.for_each(|policy| attack(policy, 1, SHORT));
        return;
    };
    let words: Vec<_> = asked.split(' ').collect();
    let [name, seed, seconds] = words[..] else { panic!("HZ3_ATTACK={asked}") };
    let policy = all.into_iter().find(|policy| policy.name() == name).expect("a policy");
    let seconds = Duration::from_secs(seconds.parse().expect("seconds"));
    attack(policy, seed.parse().expect("a seed"), Length::Time(seconds));
}

fn attack(policy: Policy, seed: u64, length: Length) {
    let config = Config::new().policy(policy);
    #[cfg(feature = "experiments")]
    let config = config.limits(AT_ONCE);
    let outcome = Attack { config, seed, length, refuse_one_in: 8 }.run();
    let stats = outcome.stats;
    // Not print!, which the harness swallows when the test succeeds.
    let _ = writeln!(
        io::stdout(),
        "attack: operations {}, rounds {}, madvise {}, refused {}, pages {}",
        outcome.operations,
        outcome.rounds,
        stats.madvise_calls,
        stats.madvise_refused,
        stats.purged_bytes / to_u64(PAGE_BYTES)
    );
}

#[test]
fn many_short_threads_leave_nothing_behind() {
    if skip_under_miri() {
        return;
    }
    let heap = heap_over(Linux, 512 * SEGMENT_BYTES);
    for wave in 0..50 {
        thread::scope(|scope| {
            for index in 0..16 {
                let heap = &heap;
                scope.spawn(move || {
                    let cache = heap.attach().expect("a cache");
                    let mut random = Random(wave * 100 + index + 1);
                    let parcels: Vec<_> = (0..100)
                        .map(|_| malloc(heap, Front::Cache(cache), random.size()))
                        .collect();
                    for parcel in parcels {
                        free(heap, Front::Cache(cache), parcel);
                    }
                    heap.end(cache);
                });
            }
        });
    }
    heap.collect(Front::Direct, 0);
    heap.validate();
    let stats = heap.stats();
    assert_eq!((stats.active, stats.threads), (0, 0));
}
