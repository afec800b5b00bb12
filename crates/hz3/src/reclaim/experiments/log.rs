//! The lines of the report at exit, in the form and with the keys of the C experiments.

use core::fmt::{self, Write};

use crate::base::units::{PAGE_BYTES, to_u64};
use crate::options::Policy;
use crate::stats::Stats;

/// Writes one line for each mechanism of the policy; nothing for one that is no experiment.
pub(crate) fn lines(out: &mut impl Write, s: &Stats, policy: Policy) -> fmt::Result {
    let pages = s.purged_bytes / to_u64(PAGE_BYTES);
    let calls = s.madvise_calls;
    match policy {
        Policy::Off | Policy::Default => Ok(()),
        Policy::S57b2 => writeln!(
            out,
            "[HZ3_S57B_STATS] madvise_calls={calls} purged_pages={pages} skipped_hot={} \
             skipped_small={} iterate_calls={} iterate_segments={}",
            s.skipped_hot, s.skipped_small, s.epochs, s.scanned_segments
        ),
        Policy::S58 => writeln!(
            out,
            "[HZ3_S58_TCACHE_DECAY] adjust_calls={} overage_shrinks={} reclaim_calls={} \
             reclaim_objs={} reclaim_pages={}",
            s.decay_epochs, s.decay_shrinks, s.decay_returns, s.decayed_blocks, s.retired_pages
        ),
        Policy::S60 => writeln!(
            out,
            "[HZ3_S60_PURGE] queued={} dropped={} madvise_calls={calls} madvised_pages={pages} \
             budget_dropped={}",
            s.queued, s.dropped, s.dropped_pages
        ),
        Policy::S61 => writeln!(
            out,
            "[HZ3_S61_DTOR_PURGE] dtor_calls={} madvise_ok={} madvise_fail={} purged_segs={} \
             purged_pages={}",
            s.exits,
            calls - s.madvise_refused,
            s.madvise_refused,
            s.exit_segments,
            s.exit_pages
        ),
        Policy::S62 => writeln!(
            out,
            "[HZ3_S62_RETIRE] dtor_calls={} pages_retired={}\n\
             [HZ3_S62_PURGE] dtor_calls={} pages_purged={} madvise_calls={calls} purged_bytes={}",
            s.exits,
            s.retired_pages,
            s.exits,
            s.exit_pages,
            s.exit_pages * to_u64(PAGE_BYTES)
        ),
        Policy::S64 | Policy::S64P1a | Policy::S64P1b | Policy::S64P1c => writeln!(
            out,
            "[HZ3_S64_TCACHE_DUMP] ticks={} objs_dumped={} budget_hits={}\n\
             [HZ3_S64_RETIRE_SCAN] ticks={} pages_retired={}\n\
             [HZ3_S64_PURGE_DELAY] ticks={} enq={} enq_pages={} purged_pages={pages} \
             madvise_calls={calls} dropped={} dropped_pages={} qmax={} delay_stops={} \
             budget_stops={} coalesced={} cancelled={} cancelled_pages={}",
            s.dumps,
            s.dumped_blocks,
            s.dump_stops,
            s.epochs,
            s.retired_pages,
            s.epochs,
            s.queued,
            s.queued_pages,
            s.dropped,
            s.dropped_pages,
            s.peak_queue,
            s.delay_stops,
            s.budget_stops,
            s.coalesced,
            s.cancelled,
            s.cancelled_pages
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use super::{Policy, Stats, lines};

    const S57B2: &str = "[HZ3_S57B_STATS] madvise_calls purged_pages skipped_hot skipped_small \
                         iterate_calls iterate_segments";
    const S58: &str = "[HZ3_S58_TCACHE_DECAY] adjust_calls overage_shrinks reclaim_calls \
                       reclaim_objs reclaim_pages";
    const S60: &str = "[HZ3_S60_PURGE] queued dropped madvise_calls madvised_pages budget_dropped";
    const S61: &str =
        "[HZ3_S61_DTOR_PURGE] dtor_calls madvise_ok madvise_fail purged_segs purged_pages";
    const S62: &str = "[HZ3_S62_RETIRE] dtor_calls pages_retired\n\
                       [HZ3_S62_PURGE] dtor_calls pages_purged madvise_calls purged_bytes";
    /// The last three keys are P1's, and hz3's own.
    const S64: &str = "[HZ3_S64_TCACHE_DUMP] ticks objs_dumped budget_hits\n\
                       [HZ3_S64_RETIRE_SCAN] ticks pages_retired\n\
                       [HZ3_S64_PURGE_DELAY] ticks enq enq_pages purged_pages madvise_calls \
                       dropped dropped_pages qmax delay_stops budget_stops coalesced cancelled \
                       cancelled_pages";

    /// Returns the lines of a policy without the values.
    fn names(policy: Policy) -> String {
        let mut text = String::new();
        lines(&mut text, &Stats::default(), policy).expect("a string takes it");
        let name = |word: &str| String::from(word.split('=').next().unwrap_or(word));
        let line = |line: &str| line.split(' ').map(name).collect::<Vec<_>>().join(" ");
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_policy_has_the_lines_and_keys_of_its_experiment() {
        for (policy, wanted) in [
            (Policy::Off, ""),
            (Policy::Default, ""),
            (Policy::S57b2, S57B2),
            (Policy::S58, S58),
            (Policy::S60, S60),
            (Policy::S61, S61),
            (Policy::S62, S62),
            (Policy::S64, S64),
            (Policy::S64P1a, S64),
            (Policy::S64P1b, S64),
            (Policy::S64P1c, S64),
        ] {
            assert_eq!(names(policy), wanted, "{policy:?}");
        }
    }
}
