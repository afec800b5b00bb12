//! The tables of the profile: live samples, sites, and the addresses in their stacks.
//!
//! They lie in one mapping, made when the profile first starts and never unmapped. Its length is
//! fixed and most of it is never touched: tables fill from their starts, hash tables too. If the
//! records are full, no further block is sampled until one is freed. If the sites are full, further
//! stacks count for the site [`OTHER_SITE`].

use core::ptr::NonNull;

use crate::os::{Os, Refused};

/// The most frames of a stack, innermost first.
pub(crate) const FRAMES: usize = 64;
/// The site of all stacks for which the tables have no room.
pub(crate) const OTHER_SITE: u32 = 0;

const RECORDS: usize = 1 << 18;
const SITES: usize = 1 << 14;
/// The most different addresses in all stacks together.
const ADDRESSES: usize = 1 << 16;
/// The most frames of all sites together.
const ALL_FRAMES: usize = 1 << 18;
/// Slots of the two hash tables at their longest; each is at most half full.
const SITE_SLOTS: usize = 2 * SITES;
const ADDRESS_SLOTS: usize = 2 * ADDRESSES;
/// Slots of a hash table at first: a page.
const FIRST_SLOTS: usize = 1024;
/// Lists of huge blocks, by the hash of their addresses. A full table has four in each.
const HUGE_LISTS: usize = RECORDS / 4;

/// A sampled block, as the heap describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Requested bytes.
    pub(crate) size: usize,
    /// The address of the ordinary block that the request would have got; 0 for a large block.
    pub(crate) twin: usize,
    /// Whether the block is found by its address ([`Table::huge_at`]).
    pub(crate) is_huge: bool,
}

/// The addresses of a sample that ended: of its block, and of its twin, which is to be freed too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freed {
    pub(crate) address: usize,
    pub(crate) twin: usize,
    /// Whether tracers know already that the block is freed.
    pub(crate) is_reported: bool,
}

/// A live sample, or a free record with address 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) address: usize,
    pub(crate) size: usize,
    pub(crate) twin: usize,
    /// How many requests the sample stands for.
    pub(crate) weight: f64,
    /// When it was allocated, in nanoseconds of the monotonic clock.
    pub(crate) born: u64,
    pub(crate) site: u32,
    /// The next free record, or the next huge block of the same list; 0 ends either list.
    next: u32,
    is_huge: bool,
    /// Whether the block is being resized: see [`Table::withdraw`].
    is_withdrawn: bool,
}

/// A stack, and the estimates of all its allocations so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    hash: u64,
    pub(crate) objects: f64,
    pub(crate) bytes: f64,
    /// The sum of the ages at which blocks were freed, in nanoseconds, weighted.
    pub(crate) lifetime: f64,
    first_frame: u32,
    frame_count: u32,
}

impl Site {
    /// Returns the stack, innermost frame first, as numbers of addresses. `frames` has the frames
    /// of all sites.
    pub(crate) fn frames_in<'a>(&self, frames: &'a [u32]) -> &'a [u32] {
        let end = index(self.first_frame) + index(self.frame_count);
        frames.get(index(self.first_frame)..end).unwrap_or_default()
    }
}

/// The tables; see the head of this file.
#[derive(Debug)]
pub(crate) struct Table {
    records: &'static mut [Record],
    sites: &'static mut [Site],
    /// Addresses by number; number 0 is none.
    addresses: &'static mut [usize],
    /// The stacks of all sites, one after the other, as numbers of addresses.
    frames: &'static mut [u32],
    sites_by_stack: Slots,
    numbers_by_address: Slots,
    /// The first huge block of each list; 0 for none.
    huge_lists: &'static mut [u32],
    used_records: usize,
    used_sites: usize,
    used_addresses: usize,
    used_frames: usize,
    free_record: u32,
    /// Sampled requests for which there was no record.
    pub(crate) dropped: u64,
    /// The estimate of all live bytes.
    live_bytes: f64,
    /// The growth of the live bytes after which a dump is due; 0 for never.
    growth: f64,
    next_dump: f64,
}

fn hash(words: impl Iterator<Item = usize>) -> u64 {
    words.fold(0, |hash: u64, word| {
        let mixed = (hash ^ word as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 29)
    })
}

fn hash_of_address(address: usize) -> u64 {
    hash(core::iter::once(address))
}

/// Returns the slot at which the search for a hash begins.
#[expect(clippy::cast_possible_truncation, reason = "the low bits")]
fn slot_of(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

/// Returns the list of the huge block at an address.
fn huge_list_of(address: usize) -> usize {
    slot_of(hash_of_address(address), HUGE_LISTS - 1)
}

fn as_float(value: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let float = value as f64;
    float
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(0)
}

fn index(number: u32) -> usize {
    number as usize
}

impl Table {
    pub(crate) fn new(growth: u64) -> Table {
        Table {
            records: &mut [],
            sites: &mut [],
            addresses: &mut [],
            frames: &mut [],
            sites_by_stack: Slots::new(&mut []),
            numbers_by_address: Slots::new(&mut []),
            huge_lists: &mut [],
            // Number 0 of each table is none, or the site of all others.
            used_records: 1,
            used_sites: 1,
            used_addresses: 1,
            used_frames: 0,
            free_record: 0,
            dropped: 0,
            live_bytes: 0.0,
            growth: as_float(growth),
            next_dump: as_float(growth),
        }
    }

    /// Maps the tables unless they exist.
    pub(crate) fn map<O: Os>(&mut self, os: &O) -> Result<(), Refused> {
        if !self.records.is_empty() {
            return Ok(());
        }
        let bytes = RECORDS * size_of::<Record>()
            + SITES * size_of::<Site>()
            + ADDRESSES * size_of::<usize>()
            + (ALL_FRAMES + SITE_SLOTS + ADDRESS_SLOTS + HUGE_LISTS) * size_of::<u32>();
        let start =
            os.map(bytes.next_multiple_of(os.page_size()), os.page_size()).ok_or(Refused)?;
        // SAFETY: a fresh mapping of at least that length, which is never unmapped.
        let mut rest = unsafe { FreshMemory::new(start, bytes) };
        self.records = rest.cut(RECORDS);
        self.sites = rest.cut(SITES);
        self.addresses = rest.cut(ADDRESSES);
        self.frames = rest.cut(ALL_FRAMES);
        self.sites_by_stack = Slots::new(rest.cut(SITE_SLOTS));
        self.numbers_by_address = Slots::new(rest.cut(ADDRESS_SLOTS));
        self.huge_lists = rest.cut(HUGE_LISTS);
        Ok(())
    }

    /// Enters a sample; returns the number of its record, or `None` if there is no room.
    pub(crate) fn enter(
        &mut self,
        address: usize,
        sample: Sample,
        weight: f64,
        now: u64,
        frames: &[usize],
    ) -> Option<u32> {
        let site = self.site(frames);
        let bytes = weight * as_float(sample.size as u64);
        if let Some(site) = self.sites.get_mut(index(site)) {
            site.objects += weight;
            site.bytes += bytes;
        }
        let Some(number) = self.take_record() else {
            self.dropped += 1;
            return None;
        };
        let Sample { size, twin, is_huge } = sample;
        let (next, is_withdrawn) = (0, false);
        self.records[index(number)] =
            Record { address, size, twin, weight, born: now, site, next, is_huge, is_withdrawn };
        if is_huge {
            self.link_huge(number, address);
        }
        self.live_bytes += bytes;
        Some(number)
    }

    fn take_record(&mut self) -> Option<u32> {
        if let Some(free) = self.records.get(index(self.free_record))
            && self.free_record != 0
        {
            return Some(core::mem::replace(&mut self.free_record, free.next));
        }
        if self.used_records >= self.records.len() {
            return None;
        }
        self.used_records += 1;
        Some(number(self.used_records - 1))
    }

    /// Ends a live sample; returns `None` if the record has none.
    pub(crate) fn leave(&mut self, number: u32, now: u64) -> Option<Freed> {
        let Record { address, twin, weight, born, site, size, is_huge, is_withdrawn, .. } =
            *self.records.get(index(number))?;
        if address == 0 {
            return None;
        }
        if let Some(site) = self.sites.get_mut(index(site)) {
            site.lifetime += weight * as_float(now.saturating_sub(born));
        }
        self.live_bytes -= weight * as_float(size as u64);
        if is_huge && !is_withdrawn {
            self.unlink_huge(number, address);
        }
        let record = &mut self.records[index(number)];
        record.address = 0;
        record.next = core::mem::replace(&mut self.free_record, number);
        Some(Freed { address, twin, is_reported: is_withdrawn })
    }

    /// Withdraws a live sample while its block is resized: no search by address finds it. Returns
    /// its address; `None` if the record has none.
    pub(crate) fn withdraw(&mut self, number: u32) -> Option<usize> {
        let record = self.records.get_mut(index(number)).filter(|record| record.address != 0)?;
        record.is_withdrawn = true;
        let (address, is_huge) = (record.address, record.is_huge);
        if is_huge {
            self.unlink_huge(number, address);
        }
        Some(address)
    }

    /// Puts a withdrawn sample back. Returns its address, size and weight; `None` if the record is
    /// not withdrawn.
    pub(crate) fn put_back(&mut self, number: u32) -> Option<(usize, usize, f64)> {
        let record = self.records.get_mut(index(number)).filter(|record| record.is_withdrawn)?;
        record.is_withdrawn = false;
        let Record { address, size, weight, is_huge, .. } = *record;
        if is_huge {
            self.link_huge(number, address);
        }
        Some((address, size, weight))
    }

    /// Returns the record of the huge block at `address`.
    pub(crate) fn huge_at(&self, address: usize) -> Option<u32> {
        let mut at = *self.huge_lists.get(huge_list_of(address))?;
        while at != 0 {
            let record = self.records.get(index(at))?;
            if record.address == address {
                return Some(at);
            }
            at = record.next;
        }
        None
    }

    /// Puts a record at the front of the list of its address.
    fn link_huge(&mut self, number: u32, address: usize) {
        let first = &mut self.huge_lists[huge_list_of(address)];
        self.records[index(number)].next = core::mem::replace(first, number);
    }

    /// Takes a record out of the list of its address.
    fn unlink_huge(&mut self, number: u32, address: usize) {
        let next = self.records[index(number)].next;
        let mut link = &mut self.huge_lists[huge_list_of(address)];
        while *link != number {
            if *link == 0 {
                return;
            }
            link = &mut self.records[index(*link)].next;
        }
        *link = next;
    }

    /// Returns the address of a sample's twin; 0 if it has none.
    pub(crate) fn twin_of(&self, number: u32) -> usize {
        self.records.get(index(number)).map_or(0, |record| record.twin)
    }

    /// Returns whether the live bytes have grown so much that a dump is due, and starts anew.
    pub(crate) fn take_growth(&mut self) -> bool {
        let is_due = self.growth > 0.0 && self.live_bytes >= self.next_dump;
        if is_due {
            self.next_dump = self.live_bytes + self.growth;
        }
        is_due
    }

    /// Iterates over the live samples.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().take(self.used_records).filter(|record| record.address != 0)
    }

    /// Returns the sites in use, by number.
    pub(crate) fn sites(&self) -> &[Site] {
        &self.sites[..self.used_sites.min(self.sites.len())]
    }

    /// Returns how many sites, frames and addresses are in use; no site before the first start.
    pub(crate) fn lengths(&self) -> (usize, usize, usize) {
        (self.sites().len(), self.frames().len(), self.addresses().len())
    }

    /// Returns the frames of all sites.
    pub(crate) fn frames(&self) -> &[u32] {
        &self.frames[..self.used_frames.min(self.frames.len())]
    }

    /// Returns the addresses in use, by number; number 0 is none.
    pub(crate) fn addresses(&self) -> &[usize] {
        &self.addresses[..self.used_addresses.min(self.addresses.len())]
    }

    /// Returns the site of a stack, which it enters if it is new.
    fn site(&mut self, frames: &[usize]) -> u32 {
        if self.sites.is_empty() || frames.is_empty() {
            return OTHER_SITE;
        }
        let hash = hash(frames.iter().copied());
        let is_site = |number| {
            let site = &self.sites[index(number)];
            site.hash == hash && self.is_stack(site, frames)
        };
        let slot = match self.sites_by_stack.find(hash, is_site) {
            Ok(site) => return site,
            Err(slot) => slot,
        };
        if self.used_sites == SITES || self.used_frames + frames.len() > ALL_FRAMES {
            return OTHER_SITE;
        }
        let first_frame = self.used_frames;
        for (at, &frame) in frames.iter().enumerate() {
            let Some(address) = self.address(frame) else { return OTHER_SITE };
            self.frames[first_frame + at] = address;
        }
        self.used_frames += frames.len();
        let site = number(self.used_sites);
        self.used_sites += 1;
        let (first_frame, frame_count) = (number(first_frame), number(frames.len()));
        self.sites[index(site)] =
            Site { hash, objects: 0.0, bytes: 0.0, lifetime: 0.0, first_frame, frame_count };
        let sites = &*self.sites;
        self.sites_by_stack.put(slot, site, |number| sites[index(number)].hash);
        site
    }

    fn is_stack(&self, site: &Site, frames: &[usize]) -> bool {
        let numbers = site.frames_in(self.frames);
        numbers.len() == frames.len()
            && numbers.iter().zip(frames).all(|(&at, frame)| self.addresses[index(at)] == *frame)
    }

    /// Returns the number of an address, which it enters if it is new; `None` if there is no room.
    fn address(&mut self, address: usize) -> Option<u32> {
        let is_address = |number| self.addresses[index(number)] == address;
        let slot = match self.numbers_by_address.find(hash_of_address(address), is_address) {
            Ok(number) => return Some(number),
            Err(slot) => slot,
        };
        if self.used_addresses == ADDRESSES {
            return None;
        }
        let entered = number(self.used_addresses);
        self.used_addresses += 1;
        self.addresses[index(entered)] = address;
        let addresses = &*self.addresses;
        let hash_of = |number| hash_of_address(addresses[index(number)]);
        self.numbers_by_address.put(slot, entered, hash_of);
        Some(entered)
    }
}

/// A hash table of the numbers from 1 on. It doubles within its memory when it is half full, so a
/// short program touches few pages.
#[derive(Debug)]
struct Slots {
    memory: &'static mut [u32],
    /// The number of slots in use, a power of two, minus 1.
    mask: usize,
}

impl Slots {
    /// Starts empty. The memory is zero, and as long as a power of two.
    fn new(memory: &'static mut [u32]) -> Slots {
        Slots { memory, mask: FIRST_SLOTS - 1 }
    }

    /// Returns the number with a hash that `is_wanted`; without one, the free slot for it.
    fn find(&self, hash: u64, is_wanted: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let mut slot = slot_of(hash, self.mask);
        loop {
            match self.memory[slot] {
                0 => return Err(slot),
                found if is_wanted(found) => return Ok(found),
                _ => slot = (slot + 1) & self.mask,
            }
        }
    }

    /// Puts the next number into the slot that [`Slots::find`] returned for it.
    fn put(&mut self, slot: usize, number: u32, hash_of: impl Fn(u32) -> u64) {
        self.memory[slot] = number;
        let slots = self.mask + 1;
        if 2 * index(number) < slots || slots == self.memory.len() {
            return;
        }
        self.memory[..slots].fill(0);
        self.mask = 2 * slots - 1;
        for number in 1..=number {
            if let Err(slot) = self.find(hash_of(number), |_| false) {
                self.memory[slot] = number;
            }
        }
    }
}

/// Zeroed memory from which tables are cut, those of the strictest alignment first.
pub(super) struct FreshMemory {
    start: *mut u8,
    bytes: usize,
}

impl FreshMemory {
    /// Takes `bytes` bytes from `start` on.
    ///
    /// # Safety
    /// The bytes are zero and the caller's alone, and stay mapped as long as a table is used.
    pub(super) unsafe fn new(start: NonNull<u8>, bytes: usize) -> FreshMemory {
        FreshMemory { start: start.as_ptr(), bytes }
    }

    /// Cuts a table of `count` entries off the start.
    ///
    /// # Panics
    /// If the rest is too short, or does not start at a multiple of the alignment.
    pub(super) fn cut<T: Zeroed>(&mut self, count: usize) -> &'static mut [T] {
        let (start, bytes) = (self.start.cast::<T>(), count * size_of::<T>());
        assert!(bytes <= self.bytes && start.is_aligned(), "a table does not fit");
        self.start = self.start.wrapping_add(bytes);
        self.bytes -= bytes;
        // SAFETY: by the contract of `new` these bytes are zero, which is a valid `T`, and only
        // this table has them.
        unsafe { core::slice::from_raw_parts_mut(start, count) }
    }
}

/// A type of which all zeros is a valid value.
///
/// # Safety
/// That is so.
pub(super) unsafe trait Zeroed {}
// SAFETY: it consists of numbers and flags.
unsafe impl Zeroed for Record {}
// SAFETY: it consists of numbers.
unsafe impl Zeroed for Site {}
// SAFETY: a number.
unsafe impl Zeroed for usize {}
// SAFETY: a number.
unsafe impl Zeroed for u32 {}
// SAFETY: a number.
unsafe impl Zeroed for u8 {}
// SAFETY: numbers.
unsafe impl<const N: usize> Zeroed for [f64; N] {}
// SAFETY: numbers.
unsafe impl<const N: usize> Zeroed for [usize; N] {}

const _: () = assert!(HUGE_LISTS.is_power_of_two());
const _: () = assert!(size_of::<Record>().is_multiple_of(8) && size_of::<Site>().is_multiple_of(8));

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are exact")]
mod tests {
    use super::{FIRST_SLOTS, HUGE_LISTS, OTHER_SITE, SITES, Sample, Table, huge_list_of};
    use crate::os::fake::Fake;

    fn sample(size: usize, is_huge: bool) -> Sample {
        Sample { size, twin: 0, is_huge }
    }

    #[test]
    fn a_record_is_reused_and_a_stack_has_one_site() {
        let os = Fake::new(4096, 1, 1 << 30);
        let mut table = Table::new(0);
        assert_eq!(table.enter(64, sample(1, false), 1.0, 0, &[1]), None, "not mapped yet");
        table.map(&os).expect("memory");
        let first = table.enter(64, sample(100, false), 2.0, 5, &[1, 2]).expect("room");
        let second = table.enter(128, sample(10, true), 1.0, 5, &[1, 2]).expect("room");
        let third = table.enter(256, sample(10, true), 1.0, 5, &[2, 1]).expect("room");
        assert_eq!(table.sites().len(), 3);
        assert_eq!(table.addresses()[1..], [1, 2]);
        assert_eq!((table.sites()[1].objects, table.sites()[1].bytes), (3.0, 210.0));
        assert_eq!((table.huge_at(128), table.huge_at(256)), (Some(second), Some(third)));
        assert!(table.leave(second, 9).is_some() && table.leave(second, 9).is_none());
        assert_eq!((table.huge_at(128), table.huge_at(256)), (None, Some(third)));
        assert_eq!(table.sites()[1].lifetime, 4.0);
        assert_eq!(table.enter(512, sample(1, false), 1.0, 9, &[7]), Some(second));
        assert!(table.leave(first, 9).is_some() && table.leave(third, 9).is_some());
        assert_eq!(table.live().count(), 1);
    }

    #[test]
    fn huge_blocks_are_found_by_address_until_they_end() {
        const BLOCKS: usize = 1000;
        let os = Fake::new(4096, 1, 1 << 30);
        let mut table = Table::new(0);
        table.map(&os).expect("memory");
        let address = |at: usize| (at + 1) * (33 << 20);
        let mut enter =
            |at| table.enter(address(at), sample(33 << 20, true), 1.0, 0, &[1]).expect("room");
        let numbers: std::vec::Vec<u32> = (0..BLOCKS).map(&mut enter).collect();
        // Oldest first. Each end must leave all others findable.
        for ended in 0..BLOCKS {
            assert!(table.leave(numbers[ended], 0).is_some());
            assert_eq!(table.huge_at(address(ended)), None);
            for at in [ended + 1, ended.midpoint(BLOCKS), BLOCKS - 1] {
                let expected = numbers.get(at).filter(|_| at > ended).copied();
                assert_eq!(table.huge_at(address(at)), expected, "{at} after {ended}");
            }
        }
    }

    #[test]
    fn addresses_of_huge_blocks_spread_over_the_lists() {
        for stride in [33 << 20, 1 << 30, 64 << 20, (40 << 20) + 4096] {
            let mut lengths = std::vec![0; HUGE_LISTS];
            (1..=HUGE_LISTS).for_each(|at| lengths[huge_list_of(at * stride)] += 1);
            let longest = lengths.iter().max().copied();
            assert!(longest < Some(24), "{longest:?} in one list at strides of {stride}");
        }
    }

    #[test]
    fn a_withdrawn_sample_lives_but_has_no_address() {
        let os = Fake::new(4096, 1, 1 << 30);
        let mut table = Table::new(0);
        table.map(&os).expect("memory");
        let first = table.enter(4096, sample(10, true), 2.0, 0, &[1]).expect("room");
        assert_eq!((table.withdraw(first), table.huge_at(4096)), (Some(4096), None));
        // Another block gets the address while the first one moves.
        let second = table.enter(4096, sample(20, true), 1.0, 0, &[1]).expect("room");
        assert_eq!((table.live().count(), table.huge_at(4096)), (2, Some(second)));
        assert!(table.leave(second, 0).is_some_and(|freed| !freed.is_reported));
        assert_eq!(table.put_back(first), Some((4096, 10, 2.0)));
        assert_eq!((table.put_back(first), table.huge_at(4096)), (None, Some(first)));
        table.withdraw(first);
        assert!(table.leave(first, 0).is_some_and(|freed| freed.is_reported));
        assert_eq!((table.live().count(), table.withdraw(first)), (0, None));
    }

    #[test]
    fn stacks_without_room_count_for_one_site() {
        let os = Fake::new(4096, 1, 1 << 30);
        let mut table = Table::new(0);
        table.map(&os).expect("memory");
        for stack in 1..=SITES {
            let number = table.enter(64, sample(1, false), 1.0, 0, &[stack % 250, stack]);
            table.leave(number.expect("room"), 0);
        }
        assert_eq!(table.sites().len(), SITES);
        assert_eq!(table.sites()[OTHER_SITE as usize].objects, 1.0);
    }

    #[test]
    fn hash_tables_grow_and_lose_nothing() {
        let os = Fake::new(4096, 1, 1 << 30);
        let mut table = Table::new(0);
        table.map(&os).expect("memory");
        let mut enter = |stack: usize| {
            let frames = [8 * stack, 8 * stack + 1];
            let number = table.enter(64, sample(1, false), 1.0, 0, &frames).expect("room");
            let site = table.live().next().expect("the sample").site;
            table.leave(number, 0);
            (site as usize, table.numbers_by_address.mask, table.sites_by_stack.mask)
        };
        for stack in 1..=3000 {
            let (site, addresses, sites) = enter(stack);
            assert_eq!(site, stack, "a new stack");
            assert_eq!(
                (addresses, sites),
                (
                    (4 * stack + 1).next_power_of_two().max(FIRST_SLOTS) - 1,
                    (2 * stack + 1).next_power_of_two().max(FIRST_SLOTS) - 1,
                )
            );
        }
        for stack in 1..=3000 {
            assert_eq!(enter(stack).0, stack, "a known stack");
        }
        assert_eq!((table.sites().len(), table.addresses().len()), (3001, 6001));
    }

    #[test]
    fn growth_is_reported_once_per_step() {
        let os = Fake::new(4096, 1, 1 << 30);
        let mut table = Table::new(100);
        table.map(&os).expect("memory");
        table.enter(64, sample(99, false), 1.0, 0, &[1]);
        assert!(!table.take_growth());
        table.enter(128, sample(1, false), 1.0, 0, &[1]);
        assert!(table.take_growth() && !table.take_growth());
    }
}
