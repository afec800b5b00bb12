//! The bounds of a workload's numbers. A number that is surely a mistake, or that needs more than
//! this machine has, is refused before the workload starts.

use super::block::Block;
use super::sizes::Sizes;
use crate::failure::{Failure, Result};
use crate::text;
use clap::builder::{RangedI64ValueParser, RangedU64ValueParser};

/// The most threads of a workload.
const THREADS: u32 = 10_000;
/// The most operations, blocks or rounds that one thread makes, days of work.
const REPEATS: u64 = 1_000_000_000_000;
/// The most cycles or bursts, each of which is reported.
pub(crate) const CYCLES: u32 = 100_000;
/// The longest idle time, 30 days.
pub(crate) const MAX_IDLE_MS: u64 = 30 * 86_400_000;
/// Bytes of a slot that is empty or holds a block.
pub(crate) const PLACE: u128 = size_of::<Option<Block>>() as u128;

/// The threads that run at a time, and the least bytes of blocks and tables that a run writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) threads: u128,
    pub(crate) bytes: u128,
}

impl Need {
    /// Fails if these are more than there can be on a machine of `machine_bytes`.
    pub(crate) fn check(self, machine_bytes: u64) -> Result<()> {
        // Some workloads have a conductor, or lanes beside the threads that run in them.
        if self.threads > 2 * u128::from(THREADS) + 1 {
            let what = format!("{} threads are too many", self.threads);
            return Err(Failure::usage(what).with_remedy(format!("at most {THREADS} are run")));
        }
        if self.bytes > u128::from(machine_bytes) {
            let gib = |bytes: f64| text::kib(bytes / 1024.0);
            return Err(Failure::usage(format!(
                "the workload needs {} of memory, and this machine has {}",
                gib(self.bytes as f64),
                gib(machine_bytes as f64)
            ))
            .with_remedy("choose smaller numbers"));
        }
        Ok(())
    }
}

/// Returns the bytes of memory and swap of this machine.
pub(crate) fn machine_bytes() -> u64 {
    let found = rustix::system::sysinfo();
    let units = found.totalram.saturating_add(found.totalswap);
    units.saturating_mul(found.mem_unit.into())
}

/// Returns the bytes of the slots of one thread that makes `turns`: on average half of them hold a
/// block, whose first page is written to.
pub(crate) fn slots(slots: u32, turns: u64, sizes: Sizes) -> u128 {
    let blocks = u128::from(turns.min(slots.into())) / 2;
    u128::from(slots) * PLACE + blocks * sizes.mean().min(4096)
}

/// Returns the bytes of a ring.
pub(crate) fn ring(capacity: u32) -> u128 {
    u128::from(capacity).next_power_of_two() * PLACE
}

/// Parses a number of threads.
pub(crate) fn threads() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=THREADS.into())
}

/// Parses a number of pairs of threads.
pub(crate) fn pairs() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=(THREADS / 2).into())
}

/// Parses a number of cycles.
pub(crate) fn cycles() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=CYCLES.into())
}

/// Parses a number that is not 0.
pub(crate) fn from_1() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// Parses the number of repetitions of something.
pub(crate) fn repeats() -> RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=REPEATS)
}

/// Parses a number of things that lie in memory at the same time.
pub(crate) fn count() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=REPEATS)
}

/// Parses an idle time in seconds.
pub(crate) fn idle(text: &str) -> Result<f64, String> {
    let most = MAX_IDLE_MS as f64 / 1e3;
    let seconds = text.parse().ok().filter(|seconds| (0.0..=most).contains(seconds));
    seconds.ok_or_else(|| format!("expected seconds from 0 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_beyond_the_machine_is_refused() {
        let need =
            |threads, bytes| Need { threads, bytes }.check(1 << 30).map_err(|e| e.to_string());
        assert!(need(1, 1 << 30).is_ok() && need(THREADS.into(), 0).is_ok());
        assert!(need(1, (1 << 30) + 1).unwrap_err().contains("this machine has 1.00 GiB"));
        assert!(need(99_999_999, 0).unwrap_err().contains("at most 10000"));
        assert!(need(1, u128::MAX).is_err());
        assert!(machine_bytes() > 1 << 26);
    }

    #[test]
    fn idle_times_are_finite_and_not_negative() {
        assert_eq!((idle("0"), idle("1.5")), (Ok(0.0), Ok(1.5)));
        for text in ["-1", "nan", "inf", "1e18", "", "1s"] {
            assert!(idle(text).unwrap_err().contains("from 0 to 2592000"), "{text}");
        }
    }
}
