//! The code that servers have over `tikv-jemalloc-ctl`: by name, by MIB, and the settings at start.

use super::super::tikv_jemalloc_ctl::{self as ctl, arenas, background_thread, epoch, stats};

#[derive(Debug)]
pub(crate) struct Gauges {
    pub(crate) allocated: usize,
    pub(crate) active: usize,
    pub(crate) metadata: usize,
    pub(crate) resident: usize,
    pub(crate) mapped: usize,
    pub(crate) retained: usize,
}

pub(crate) fn by_name() -> Result<Gauges, ctl::Error> {
    epoch::advance()?;
    Ok(Gauges {
        allocated: stats::allocated::read()?,
        active: stats::active::read()?,
        metadata: stats::metadata::read()?,
        resident: stats::resident::read()?,
        mapped: stats::mapped::read()?,
        retained: stats::retained::read()?,
    })
}

/// The handles that a server keeps.
struct Handles {
    epoch: ctl::epoch_mib,
    allocated: stats::allocated_mib,
    active: stats::active_mib,
    metadata: stats::metadata_mib,
    resident: stats::resident_mib,
    mapped: stats::mapped_mib,
    retained: stats::retained_mib,
}

pub(crate) fn by_mib() -> ctl::Result<Gauges> {
    let handles = Handles {
        epoch: epoch::mib()?,
        allocated: stats::allocated::mib()?,
        active: stats::active::mib()?,
        metadata: stats::metadata::mib()?,
        resident: stats::resident::mib()?,
        mapped: stats::mapped::mib()?,
        retained: stats::retained::mib()?,
    };
    handles.epoch.advance()?;
    Ok(Gauges {
        allocated: handles.allocated.read()?,
        active: handles.active.read()?,
        metadata: handles.metadata.read()?,
        resident: handles.resident.read()?,
        mapped: handles.mapped.read()?,
        retained: handles.retained.read()?,
    })
}

pub(crate) fn settings() -> ctl::Result<(u32, bool)> {
    background_thread::write(true)?;
    Ok((arenas::narenas::read()?, background_thread::mib()?.read()?))
}
