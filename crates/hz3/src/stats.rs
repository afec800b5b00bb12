//! Statistics: one table from which the struct, its documentation and its text forms come.

use core::fmt::{self, Write};

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $(#[cfg($condition:meta)])? $name:ident,)+) => {
        /// What the heap holds and what it did. Sizes are bytes unless said otherwise.
        ///
        /// ```text
        ///   active    = allocated + cached + slack
        ///   committed = active + dirty + retained
        ///   cached    = cached_running + cached_idle + cached_transfer
        ///   slack     = slack_shared + slack_holes + slack_clean
        ///   dirty     = dirty_young + dirty_old
        /// ```
        ///
        /// The sums always hold. The numbers are read one after the other, so what other threads do
        /// meanwhile may be counted in one and not in another.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ $(#[cfg($condition)])? pub $name: u64,)+
        }

        impl Stats {
            /// The names and values of all fields, in order.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$($(#[cfg($condition)])? (stringify!($name), self.$name)),+].into_iter()
            }
        }
    };
}

stats! {
    /// Held by the program, each block as large as its size class.
    allocated,
    /// In thread caches.
    cached,
    /// Free blocks and tails in slabs.
    slack,
    /// In slabs and large blocks: `allocated + cached + slack`.
    active,
    /// Free pages that may hold memory.
    dirty,
    /// Free pages that are known to hold none.
    retained,
    /// Address space made usable: `active + dirty + retained`.
    committed,
    /// hz3's own tables and thread caches, as mapped; less of it is resident.
    metadata,
    /// Most address space that the arena may use; what is not committed is not mapped.
    reserved,
    /// Resident set of the process, as the system counts it; 0 when it does not say.
    resident,
    /// The most that `active` ever was. Slabs count whole, as they do in `active`.
    peak_active,
    /// In caches of threads that ran a slow path since the last tick.
    cached_running,
    /// In caches of other threads, and of ended ones: the next tick takes it.
    cached_idle,
    /// In transfer caches, between two threads' caches.
    cached_transfer,
    /// Free parts of pages, of the system's size, that also hold a block in use.
    slack_shared,
    /// Pages of part-used slabs without a block in use, which may hold memory: holes that wait.
    slack_holes,
    /// Pages of slabs that are known to hold no memory.
    slack_clean,
    /// Free pages that became so since the last ageing.
    dirty_young,
    /// Free pages that were so at the last ageing: the next one purges them.
    dirty_old,
    /// Blocks of more than 32 KiB, touched or not; part of `allocated`.
    large,
    /// Those of them that are mappings of their own.
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
    /// Number of such blocks freed.
    large_frees,
    /// Number of blocks handed out as mappings of their own.
    huge_allocs,
    /// Number of segments (4 MiB each) committed at least in part.
    segments,
    /// Number of slabs.
    slabs,
    /// Number of times the reclaimer looked.
    ticks,
    /// Bytes of blocks taken from the caches of other threads.
    stolen_bytes,
    /// Those of them that their threads, at work in other size classes, did not want.
    idle_class_bytes,
    /// Bytes of slabs that a tick found empty and gave back to the segments.
    retired_bytes,
    /// Number of calls that gave memory back to the system.
    madvise_calls,
    /// Number of those calls that the system refused.
    madvise_refused,
    /// Bytes given back to the system.
    purged_bytes,
    /// Those of them that were holes in part-used slabs.
    hole_bytes,
    /// Number of epochs of a policy other than the default.
    #[cfg(feature = "experiments")]
    epochs,
    /// Times that a cache was looked at for decay (S58).
    #[cfg(feature = "experiments")]
    decay_epochs,
    /// Times that a class's capacity fell by it.
    #[cfg(feature = "experiments")]
    decay_shrinks,
    /// Times that blocks went back to their slabs by it.
    #[cfg(feature = "experiments")]
    decay_returns,
    /// Blocks that did.
    #[cfg(feature = "experiments")]
    decayed_blocks,
    /// Dumps of a cache by its owner (S64).
    #[cfg(feature = "experiments")]
    dumps,
    /// Those of them that stopped because their budget was used up.
    #[cfg(feature = "experiments")]
    dump_stops,
    /// Blocks that dumps put back.
    #[cfg(feature = "experiments")]
    dumped_blocks,
    /// Pages of slabs that an epoch found empty and gave back to the segments (S62).
    #[cfg(feature = "experiments")]
    retired_pages,
    /// Segments that a scan looked into (S57-B2).
    #[cfg(feature = "experiments")]
    scanned_segments,
    /// Segments that it passed over, as they were in use lately.
    #[cfg(feature = "experiments")]
    skipped_hot,
    /// Ranges that it passed over, as they were too short.
    #[cfg(feature = "experiments")]
    skipped_small,
    /// Ranges of free pages that were queued (S60, S64).
    #[cfg(feature = "experiments")]
    queued,
    /// Pages of these ranges.
    #[cfg(feature = "experiments")]
    queued_pages,
    /// The most entries that the queue ever had.
    #[cfg(feature = "experiments")]
    peak_queue,
    /// Ranges that joined the newest entry of the queue (S64-P1a).
    #[cfg(feature = "experiments")]
    coalesced,
    /// Ranges that found the queue full, and entries that the policy discards at the epoch's end;
    /// the next epoch finds both again.
    #[cfg(feature = "experiments")]
    dropped,
    /// Pages of these entries.
    #[cfg(feature = "experiments")]
    dropped_pages,
    /// Entries that were not purged because pages of theirs had been taken.
    #[cfg(feature = "experiments")]
    cancelled,
    /// Pages that were not purged because they, or others of their entry, had been taken.
    #[cfg(feature = "experiments")]
    cancelled_pages,
    /// Times that an epoch stopped at an entry that was not due.
    #[cfg(feature = "experiments")]
    delay_stops,
    /// Times that an epoch stopped because its budget was used up.
    #[cfg(feature = "experiments")]
    budget_stops,
    /// Ends of threads that purged (S61, S62).
    #[cfg(feature = "experiments")]
    exits,
    /// Pages that they purged.
    #[cfg(feature = "experiments")]
    exit_pages,
    /// Whole segments among these pages.
    #[cfg(feature = "experiments")]
    exit_segments,
    /// Nanoseconds spent in ticks, epochs and ends of threads.
    time_ns,
    /// Pages' worth of bytes that were taken again after they had been given back.
    refaulted_bytes,
    /// Bytes of pages that were asked for a whole slab at a time, before they were touched.
    prefaulted_bytes,
    /// What the heap may hold; 0 without a limit.
    limit,
    /// What counts towards the limit: `active + dirty`, and 1.3 % of that for the tables.
    held,
    /// Number of times that free memory went back because the limit was near.
    reliefs,
    /// Times that the lock of a thread cache was met held: its owner waited, or a thief passed it over.
    contended_caches,
    /// Times that the lock of a transfer cache was met held: passed over, but by ticks.
    contended_transfers,
    /// Times that the lock of a bin was met held.
    contended_bins,
    /// Times that a lock of the segments was met held: pages, growth, huge blocks.
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
