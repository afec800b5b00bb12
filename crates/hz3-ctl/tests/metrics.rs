//! The code that servers have for jemalloc's metrics, with the one line changed.

use hz3_ctl as tikv_jemalloc_ctl;

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

/// A server's own files, which name the crate by its path as they would name `tikv-jemalloc-ctl`.
mod servers {
    pub(crate) mod metrics;
}

use servers::metrics::{Gauges, by_mib, by_name, settings};

const BLOCK: usize = 3 << 20;

/// One test, because the epoch is the process's: a second one would advance it between two lines.
#[test]
fn the_figures_are_those_of_the_last_epoch() {
    let before = by_name().expect("statistics");
    let held = vec![1_u8; BLOCK];
    let number = tikv_jemalloc_ctl::epoch::read().expect("a number");
    assert_eq!(tikv_jemalloc_ctl::stats::allocated::read(), Ok(before.allocated), "no new epoch");
    let after = by_mib().expect("statistics");
    assert_eq!(tikv_jemalloc_ctl::epoch::read(), Ok(number + 1));
    assert!(after.allocated >= before.allocated + BLOCK, "{before:?} {after:?}");
    drop(held);
    let Gauges { allocated, active, metadata, resident, mapped, retained } =
        by_mib().expect("statistics");
    assert!(allocated + BLOCK <= after.allocated, "{allocated} {after:?}");
    assert!(allocated <= active && active < mapped, "{active} {mapped}");
    assert!(metadata > 0 && metadata < resident, "{metadata} {resident}");
    assert!(retained < 1 << 40);

    assert_eq!(settings().expect("settings"), (1, true));
    assert!(tikv_jemalloc_ctl::version::read().expect("text").starts_with("hz3-0."));
    let said = tikv_jemalloc_ctl::background_thread::write(false).unwrap_err();
    assert!(said.to_string().contains("HZ3_BACKGROUND=0"));
}
