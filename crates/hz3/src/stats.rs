//! Statistics: one table generates the struct, its documentation and its text forms. And the answer
//! for one block.

pub(crate) mod open_metrics;
pub(crate) mod page_layout;

use core::fmt::{self, Write};

/// How full the slab is that holds a block; see [`crate::utilization`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Utilization {
    /// Bytes of each block of the slab, or of a large block.
    pub block_bytes: usize,
    /// Number of blocks of the slab; 1 for a large block.
    pub blocks: usize,
    /// Number of blocks that are not free in the slab; 1 for a large block.
    ///
    /// The program holds them, or they wait in a cache.
    pub used: usize,
}

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $(#[cfg($condition:meta)])? $name:ident,)+) => {
        /// The contents and the history of the heap, in bytes unless said otherwise.
        ///
        /// ```text
        ///   active    = allocated + cached + slack
        ///   committed = active + dirty + retained
        ///   cached    = cached_running + cached_idle + cached_transfer
        ///   slack     = slack_shared + slack_holes + slack_clean
        ///   dirty     = dirty_young + dirty_old
        /// ```
        ///
        /// The sums always hold. The numbers are read one after the other, so a change by another
        /// thread may be counted in one and not in another.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ $(#[cfg($condition)])? pub $name: u64,)+
        }

        impl Stats {
            /// Iterates over the names and values of all fields, in order.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
                // A constant, because an array on the call stack would take much of the small stack
                // of a signal handler.
                const FIELDS: &[(&str, fn(&Stats) -> u64)] =
                    &[$($(#[cfg($condition)])? (stringify!($name), |stats| stats.$name)),+];
                FIELDS.iter().map(|&(name, value)| (name, value(self)))
            }
        }
    };
}

stats! {
    /// Held by the program, each block as large as its size class.
    allocated,
    /// In thread caches.
    cached,
    /// Free blocks and unusable tails in slabs.
    slack,
    /// In slabs and large blocks: `allocated + cached + slack`.
    active,
    /// Free pages that may be resident.
    dirty,
    /// Free pages that are known not to be resident.
    retained,
    /// Committed address space: `active + dirty + retained`.
    committed,
    /// The mapped size of hz3's tables and thread caches; only a part of it is resident.
    metadata,
    /// The most address space that the arena may use; only the committed part is mapped.
    reserved,
    /// Resident set of the process according to the system; 0 if unknown.
    resident,
    /// The largest value that `active` ever had. Slabs count whole, as they do in `active`.
    peak_active,
    /// In caches of threads that ran a slow path since the last tick.
    cached_running,
    /// In caches of other threads and of ended ones; the next tick takes these blocks.
    cached_idle,
    /// In transfer caches, on the way from one thread's cache to another's.
    cached_transfer,
    /// Free parts of OS pages that also hold a block in use.
    slack_shared,
    /// OS pages of part-used slabs without a block in use that may be resident.
    slack_holes,
    /// OS pages of slabs that are known not to be resident.
    slack_clean,
    /// Free pages that became free after the last ageing.
    dirty_young,
    /// Free pages that were already free at the last ageing; the next one purges them.
    dirty_old,
    /// Blocks of more than 32 KiB, touched or not; part of `allocated`.
    large,
    /// The part of `large` in blocks that are mappings of their own.
    huge,
    /// The part of `metadata` that is resident.
    metadata_resident,
    /// Number of threads that have a cache.
    threads,
    /// Number of allocation calls; 0 unless `HZ3_COUNT=1`.
    requests,
    /// Number of free calls; 0 unless `HZ3_COUNT=1`.
    frees,
    /// Number of batches that caches fetched from central.
    refills,
    /// Number of batches that caches put back into central.
    flushes,
    /// Number of blocks handed out as runs of pages.
    large_allocs,
    /// Number of blocks freed that were runs of pages.
    large_frees,
    /// Number of blocks handed out as mappings of their own.
    huge_allocs,
    /// Number of segments (4 MiB each) committed at least in part.
    segments,
    /// Number of runs cut into blocks of one size class.
    slabs,
    /// Number of ticks of the reclaimer.
    ticks,
    /// Bytes of blocks taken from the caches of other threads.
    stolen_bytes,
    /// The part of `stolen_bytes` in idle classes of threads that used other size classes.
    idle_class_bytes,
    /// Bytes of slabs that a tick found empty and gave back to the segments.
    retired_bytes,
    /// Number of calls that gave memory back to the system.
    madvise_calls,
    /// Number of those calls that the system refused.
    madvise_refused,
    /// Bytes given back to the system.
    purged_bytes,
    /// The part of `purged_bytes` in part-used slabs.
    hole_bytes,
    /// Number of epochs of a policy other than the default.
    #[cfg(feature = "experiments")]
    epochs,
    /// Number of times that decay examined a cache (S58).
    #[cfg(feature = "experiments")]
    decay_epochs,
    /// Number of times that decay lowered a class's capacity.
    #[cfg(feature = "experiments")]
    decay_shrinks,
    /// Number of times that decay returned blocks to their slabs.
    #[cfg(feature = "experiments")]
    decay_returns,
    /// Number of blocks that decay returned.
    #[cfg(feature = "experiments")]
    decayed_blocks,
    /// Number of times that an owner dumped its cache (S64).
    #[cfg(feature = "experiments")]
    dumps,
    /// Number of dumps that stopped because their budget was used up.
    #[cfg(feature = "experiments")]
    dump_stops,
    /// Number of blocks that dumps returned to their slabs.
    #[cfg(feature = "experiments")]
    dumped_blocks,
    /// Pages of slabs that an epoch found empty and returned to the segments (S62).
    #[cfg(feature = "experiments")]
    retired_pages,
    /// Number of segments that a scan examined (S57-B2).
    #[cfg(feature = "experiments")]
    scanned_segments,
    /// Number of segments that a scan skipped because they were used recently.
    #[cfg(feature = "experiments")]
    skipped_hot,
    /// Number of ranges that a scan skipped because they were too short.
    #[cfg(feature = "experiments")]
    skipped_small,
    /// Ranges of free pages that were queued (S60, S64).
    #[cfg(feature = "experiments")]
    queued,
    /// Pages of the queued ranges.
    #[cfg(feature = "experiments")]
    queued_pages,
    /// The largest number of entries that the queue ever had.
    #[cfg(feature = "experiments")]
    peak_queue,
    /// Ranges that were merged into the newest entry of the queue (S64-P1a).
    #[cfg(feature = "experiments")]
    coalesced,
    /// Ranges that found the queue full, and entries that the policy discards at the epoch's end.
    /// The next epoch finds both again.
    #[cfg(feature = "experiments")]
    dropped,
    /// Pages of the dropped ranges and entries.
    #[cfg(feature = "experiments")]
    dropped_pages,
    /// Entries that were not purged because some of their pages had been reused.
    #[cfg(feature = "experiments")]
    cancelled,
    /// Pages that were not purged because they or other pages of their entry had been reused.
    #[cfg(feature = "experiments")]
    cancelled_pages,
    /// Number of times that an epoch stopped at an entry that was not due.
    #[cfg(feature = "experiments")]
    delay_stops,
    /// Number of times that an epoch stopped because its budget was used up.
    #[cfg(feature = "experiments")]
    budget_stops,
    /// Number of threads that purged when they ended (S61, S62).
    #[cfg(feature = "experiments")]
    exits,
    /// Pages that ending threads purged.
    #[cfg(feature = "experiments")]
    exit_pages,
    /// Whole segments among the pages that ending threads purged.
    #[cfg(feature = "experiments")]
    exit_segments,
    /// Nanoseconds spent in ticks, epochs and ends of threads.
    time_ns,
    /// Bytes, in whole pages, that were reused after they had been given back.
    refaulted_bytes,
    /// Bytes that were prefaulted, a whole slab at a time, before the program touched them.
    prefaulted_bytes,
    /// The memory limit; 0 if there is none.
    limit,
    /// The bytes that count towards the limit: `active + dirty`, and 1.3 % of that for the tables.
    held,
    /// Number of times that free memory was given back because the limit was near.
    reliefs,
    /// Number of contended locks of thread caches: the owner waited, or a thief skipped the cache.
    contended_caches,
    /// Number of contended locks of transfer caches: a thread skipped the cache, or a tick waited.
    contended_transfers,
    /// Number of contended locks of bins.
    contended_bins,
    /// Number of contended locks of the segments: pages, growth, huge blocks.
    contended_pages,
}

impl Stats {
    /// Writes the statistics as one JSON object on one line, without a newline.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json<W: Write>(&self, out: &mut W) -> fmt::Result {
        for (index, (name, value)) in self.fields().enumerate() {
            let opening = if index == 0 { '{' } else { ',' };
            write!(out, "{opening}\"{name}\":{value}")?;
        }
        out.write_char('}')
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.fields().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Stats;
    use std::string::{String, ToString};

    #[test]
    fn json_has_every_field_once() {
        let stats = Stats { allocated: 7, purged_bytes: 9, ..Stats::default() };
        let mut json = String::new();
        stats.write_json(&mut json).unwrap();
        assert!(json.starts_with("{\"allocated\":7,") && json.contains("\"purged_bytes\":9,"));
        assert_eq!(json.matches(':').count(), stats.fields().count());
        assert_eq!(stats.to_string().split(' ').count(), stats.fields().count());
    }
}
