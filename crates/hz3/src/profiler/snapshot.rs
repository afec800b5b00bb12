//! A copy of the profile's tables, from which a report is written without the lock.

use core::ptr::NonNull;

use super::Profile;
use super::pprof::sample_type::{
    ALLOC_OBJECTS, ALLOC_SPACE, INUSE_OBJECTS, INUSE_SPACE, LIFETIME, PINNED_SPACE,
};
use super::pprof::{BUFFER_BYTES, Encoder, VALUES};
use super::table::{FreshMemory, Site};
use crate::os::{Os, Span};

/// The sums of one site, in the order of the sample types of [`super::pprof`].
pub(crate) type Values = [f64; VALUES];

/// The copy; [`Snapshot::release`] unmaps it.
#[derive(Debug)]
#[must_use = "a dropped snapshot is a leaked mapping"]
pub(crate) struct Snapshot {
    mapping: Span,
    pub(crate) values: &'static mut [Values],
    sites: &'static mut [Site],
    frames: &'static mut [u32],
    addresses: &'static mut [usize],
    /// The buffer of an encoder.
    buffer: &'static mut [u8],
    pub(crate) rate: u64,
}

impl Snapshot {
    /// Copies the tables. `pinned` returns the bytes that a live sample's twin keeps resident.
    /// Returns `None` if the system has no memory, or the profile was never started.
    pub(crate) fn take<O: Os>(
        os: &O,
        profile: &Profile,
        pinned: impl Fn(usize) -> f64,
    ) -> Option<Snapshot> {
        // The mapping is made without the lock. Entries that come meanwhile are left out.
        let (sites, frames, addresses) = profile.lock().lengths();
        if sites == 0 {
            return None;
        }
        let bytes = sites * (size_of::<Values>() + size_of::<Site>())
            + addresses * size_of::<usize>()
            + frames * size_of::<u32>()
            + BUFFER_BYTES;
        let bytes = bytes.next_multiple_of(os.page_size());
        let start: NonNull<u8> = os.map(bytes, os.page_size())?;
        // SAFETY: a fresh mapping of that length. `release` unmaps it together with the parts.
        let mut rest = unsafe { FreshMemory::new(start, bytes) };
        let snapshot = Snapshot {
            mapping: Span { start, bytes },
            values: rest.cut(sites),
            sites: rest.cut(sites),
            addresses: rest.cut(addresses),
            frames: rest.cut(frames),
            buffer: rest.cut(BUFFER_BYTES),
            rate: profile.rate(),
        };
        let table = profile.lock();
        snapshot.sites.copy_from_slice(&table.sites()[..sites]);
        snapshot.addresses.copy_from_slice(&table.addresses()[..addresses]);
        snapshot.frames.copy_from_slice(&table.frames()[..frames]);
        for (values, site) in snapshot.values.iter_mut().zip(snapshot.sites.iter()) {
            values[ALLOC_OBJECTS] = site.objects;
            values[ALLOC_SPACE] = site.bytes;
            values[LIFETIME] = site.lifetime;
        }
        for record in table.live() {
            let Some(values) = snapshot.values.get_mut(record.site as usize) else { continue };
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let size = record.size as f64;
            values[INUSE_OBJECTS] += record.weight;
            values[INUSE_SPACE] += record.weight * size;
            if record.twin != 0 {
                values[PINNED_SPACE] += record.weight * pinned(record.twin);
            }
        }
        drop(table);
        Some(snapshot)
    }

    /// Returns the return addresses of a site, innermost first.
    pub(crate) fn stack(&self, site: usize) -> impl Iterator<Item = usize> + Clone {
        self.locations(site).map(|at| self.addresses[at])
    }

    fn locations(&self, site: usize) -> impl Iterator<Item = usize> + Clone {
        self.sites[site].frames_in(self.frames).iter().map(|&at| at as usize)
    }

    /// Writes the profile to `sink`. `mappings` adds those of the process and returns a function
    /// that finds the number of an address's mapping. Returns whether the sink took all.
    pub(crate) fn write<F: Fn(usize) -> u64>(
        &mut self,
        sink: &mut dyn FnMut(&[u8]) -> bool,
        time: u64,
        mappings: impl FnOnce(&mut Encoder<'_>) -> F,
    ) -> bool {
        let buffer = core::mem::take(&mut self.buffer);
        let Ok(array) = <&mut [u8; BUFFER_BYTES]>::try_from(&mut *buffer) else { return false };
        let mut encoder = Encoder::new(array, sink, self.rate, time);
        let mapping_of = mappings(&mut encoder);
        for (number, &address) in self.addresses.iter().enumerate().skip(1) {
            encoder.location(number as u64, mapping_of(address), address as u64);
        }
        for (site, values) in self.values.iter().enumerate() {
            if values.iter().any(|&value| value > 0.0) {
                encoder.sample(self.locations(site).map(|at| at as u64), values);
            }
        }
        let done = encoder.finish();
        self.buffer = buffer;
        done
    }

    /// Unmaps the copy.
    pub(crate) fn release<O: Os>(self, os: &O) {
        // SAFETY: `take` made the mapping, and its parts are gone with `self`.
        unsafe { os.unmap(self.mapping) };
    }
}
