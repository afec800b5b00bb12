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

/// The most mappings with code that a profile names; code in others has no mapping.
pub(crate) const MAX_MAPPINGS: usize = 256;
/// The start and the end of a mapping.
pub(crate) type Range = [usize; 2];
/// The bytes in which the mappings are read.
pub(crate) const ROOM_BYTES: usize = 2048;

/// Adds the mappings of addresses to a profile; see [`Snapshot::write`].
pub(crate) type AddMappings =
    fn(&mut Encoder<'_>, &[usize], &mut [Range; MAX_MAPPINGS], &mut [u8; ROOM_BYTES]) -> usize;

/// The copy; [`Snapshot::release`] unmaps it. The mapping also holds what writing the profile
/// needs, because the thread that writes may have a small stack.
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
    /// The mappings with code.
    ranges: &'static mut [Range],
    room: &'static mut [u8],
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
            + MAX_MAPPINGS * size_of::<Range>()
            + BUFFER_BYTES
            + ROOM_BYTES;
        let bytes = bytes.next_multiple_of(os.page_size());
        let start: NonNull<u8> = os.map(bytes, os.page_size())?;
        // SAFETY: a fresh mapping of that length. `release` unmaps it together with the parts.
        let mut rest = unsafe { FreshMemory::new(start, bytes) };
        let snapshot = Snapshot {
            mapping: Span { start, bytes },
            values: rest.cut(sites),
            sites: rest.cut(sites),
            addresses: rest.cut(addresses),
            ranges: rest.cut(MAX_MAPPINGS),
            frames: rest.cut(frames),
            buffer: rest.cut(BUFFER_BYTES),
            room: rest.cut(ROOM_BYTES),
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

    /// Writes the profile to `sink`. `mappings` adds those of the addresses, also to the ranges
    /// that it gets, and returns how many it added; it may work in the bytes. Returns whether the
    /// sink took all.
    pub(crate) fn write(
        &mut self,
        sink: &mut dyn FnMut(&[u8]) -> bool,
        time: u64,
        mappings: AddMappings,
    ) -> bool {
        let buffer = core::mem::take(&mut self.buffer);
        let Ok(array) = <&mut [u8; BUFFER_BYTES]>::try_from(&mut *buffer) else { return false };
        let Ok(ranges) = self.ranges.try_into() else { return false };
        let Ok(room) = self.room.try_into() else { return false };
        let mut encoder = Encoder::new(array, sink, self.rate, time);
        // Number 0 is none.
        let addresses = self.addresses.get(1..).unwrap_or_default();
        let count = mappings(&mut encoder, addresses, ranges, room);
        let mapping_of = |address| {
            let is_in = |&[start, end]: &Range| (start..end).contains(&address);
            self.ranges[..count].iter().position(is_in).map_or(0, |at| at as u64 + 1)
        };
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
