//! Counters of the epochs' work.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::stats::Stats;

/// A counter that only rises.
#[derive(Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Raises the counter to `value` if it is lower, to record a maximum.
    pub(crate) fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($name:ident,)+) => {
        /// The counters; [`Stats`] documents each.
        #[derive(Debug)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
        }

        impl Counters {
            pub(crate) const fn new() -> Counters {
                Counters { $($name: Counter::new(),)+ }
            }

            /// Adds them to a report.
            pub(crate) fn report(&self, stats: &mut Stats) {
                $(stats.$name = self.$name.get();)+
            }
        }
    };
}

counters! {
    epochs,
    decay_epochs,
    decay_shrinks,
    decay_returns,
    decayed_blocks,
    dumps,
    dump_stops,
    dumped_blocks,
    retired_pages,
    scanned_segments,
    skipped_hot,
    skipped_small,
    queued,
    queued_pages,
    peak_queue,
    coalesced,
    dropped,
    dropped_pages,
    cancelled,
    cancelled_pages,
    delay_stops,
    budget_stops,
    exits,
    exit_pages,
    exit_segments,
}
