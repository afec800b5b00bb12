//! Linux: mmap, mprotect, madvise, mremap, membarrier.

use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::syscall::syscall;
use super::thread::CPU_WORDS;
use super::{NotCommitted, Os, Refused, Span, errno, order};
use crate::base::units::CHUNK_BYTES;

/// The operating system of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linux;

const MEMBARRIER_PRIVATE_EXPEDITED: c_int = 1 << 3;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;
/// Without `MAP_NORESERVE`, so that the kernel refuses more than the machine could ever provide, as
/// it does for other allocators.
const ANONYMOUS: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const READ_WRITE: c_int = libc::PROT_READ | libc::PROT_WRITE;
/// Names an anonymous mapping, since Linux 5.17 if it is configured.
const PR_SET_VMA: usize = 0x5356_4d41;
const PR_SET_VMA_ANON_NAME: usize = 0;
/// How many pages one call of `mincore` asks about.
const RESIDENCY_PAGES: usize = 1024;
/// The alignment of a far window, in bytes.
const WINDOW_ALIGN: usize = 1 << 30;
/// How many places for a far window are tried before a near one is chosen.
const WINDOWS_TRIED: usize = 8;

/// The page size in bytes; 0 until it was first asked for.
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);
/// The address at which the next far window is tried; 0 before the first. Tests make many windows
/// in one process.
static NEXT_WINDOW: AtomicUsize = AtomicUsize::new(0);

/// The address and length of a window that is still mapped, because the system refused to unmap it
/// after it was found free; 0 if there is none. Systems that filter calls do that. The mapping then
/// serves as a reservation.
static RESERVED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Whether the first purge emptied its pages: [`EMPTIES`] or [`DOES_NOTHING`]; 0 before it.
///
/// Some emulators return success for `MADV_DONTNEED` and do nothing. Without this test hz3 would
/// treat the old contents as zero.
static PURGE_EFFECT: AtomicU8 = AtomicU8::new(0);
const EMPTIES: u8 = 1;
const DOES_NOTHING: u8 = 2;

/// Whether a range whose memory moved away can be used and purged as before: [`STAYS`] or
/// [`IS_LOST`]; 0 before the first move.
///
/// qemu-user 7.2 takes the old range for unmapped: a later purge then returns success and does
/// nothing.
static PLACE_AFTER_MOVE: AtomicU8 = AtomicU8::new(0);
const STAYS: u8 = 1;
const IS_LOST: u8 = 2;

impl Linux {
    /// Maps `bytes` of private anonymous memory at an address that the kernel chooses.
    fn map_anywhere(bytes: usize, protection: c_int) -> Option<NonNull<u8>> {
        let flags = if protection == libc::PROT_NONE { libc::MAP_NORESERVE } else { 0 };
        let (nowhere, flags) = (core::ptr::null_mut(), ANONYMOUS | flags);
        // SAFETY: without MAP_FIXED, mmap touches no existing mapping.
        let address = unsafe { libc::mmap(nowhere, bytes, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED { None } else { NonNull::new(address.cast()) }
    }

    /// Maps exactly this range, unless a part of it is mapped already.
    fn map_at(span: Span, protection: c_int, flags: c_int) -> Result<(), NotCommitted> {
        let wanted: *mut c_void = span.start.as_ptr().cast();
        // A reservation is mapped already, and it is hz3's own.
        let place =
            if Self::is_reserved(span) { libc::MAP_FIXED } else { libc::MAP_FIXED_NOREPLACE };
        let flags = ANONYMOUS | place | flags;
        // SAFETY: mmap touches no existing mapping but the reservation, which nobody uses before a
        // part of it is committed, and each part is committed once.
        let address = unsafe { libc::mmap(wanted, span.bytes, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            let is_occupied = errno::get() == libc::EEXIST;
            return Err(if is_occupied { NotCommitted::Occupied } else { NotCommitted::Refused });
        }
        if address != wanted {
            // Before Linux 4.17 the flag is unknown and the address is only a hint.
            if let Some(start) = NonNull::new(address.cast()) {
                // SAFETY: the mapping was just made and is not used.
                let _ = unsafe { Self::unmap_range(start, span.bytes) };
            }
            return Err(NotCommitted::Occupied);
        }
        Ok(())
    }

    /// Returns an address between a quarter and a half of the address space, where neither the
    /// kernel nor the C library maps anything on its own. The address is randomised as mappings
    /// are.
    fn first_window(bytes: usize) -> Option<usize> {
        let page = Self::map_anywhere(Linux.page_size(), libc::PROT_NONE)?;
        // SAFETY: the mapping was just made and is not used.
        let _ = unsafe { Self::unmap_range(page, Linux.page_size()) };
        let top = page.addr().get();
        let (quarter, spread) = (top / 4, (top / 4).checked_sub(WINDOWS_TRIED * bytes)?);
        let mixed = top.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        Some((quarter + mixed % spread.max(1)).next_multiple_of(WINDOW_ALIGN))
    }

    /// Chooses the next window far from all mappings; `None` if none of the tried places is free.
    fn far_window(bytes: usize) -> Option<NonNull<u8>> {
        let stride = bytes.next_multiple_of(WINDOW_ALIGN);
        if NEXT_WINDOW.load(Ordering::Relaxed) == 0 {
            let first = Self::first_window(stride)?;
            let _ = NEXT_WINDOW.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
        }
        for _ in 0..WINDOWS_TRIED {
            let address = NEXT_WINDOW.fetch_add(stride, Ordering::Relaxed);
            let start = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(address))?;
            match Self::map_at(Span { start, bytes }, libc::PROT_NONE, libc::MAP_NORESERVE) {
                // SAFETY: the mapping was just made and is not used.
                Ok(()) => unsafe { Self::free_window(start, bytes) },
                Err(NotCommitted::Occupied) => continue,
                // The limit on address space does not admit a mapping of the whole window. It need
                // not: the window is mapped in parts.
                Err(NotCommitted::Refused) => {}
            }
            return Some(start);
        }
        None
    }

    /// Chooses a window in the middle of a free range three times as long.
    ///
    /// The kernel places new mappings next to existing ones, so it reaches the middle late.
    fn near_window(bytes: usize) -> Option<NonNull<u8>> {
        let all = bytes.checked_mul(3)?;
        let start = Self::map_anywhere(all, libc::PROT_NONE)?;
        // SAFETY: the mapping was just made and is not used.
        unsafe { Self::free_window(start, all) };
        let address = (start.addr().get() + bytes).next_multiple_of(CHUNK_BYTES);
        NonNull::new(core::ptr::with_exposed_provenance_mut(address))
    }

    /// Maps at a multiple of `align`: maps more and unmaps both ends.
    fn map_aligned(bytes: usize, align: usize, protection: c_int) -> Option<NonNull<u8>> {
        let first = Self::map_anywhere(bytes, protection)?;
        if first.addr().get().is_multiple_of(align) {
            return Some(first);
        }
        // SAFETY: the mapping was just made and is not used.
        let _ = unsafe { Self::unmap_range(first, bytes) };
        let all = bytes.checked_add(align)?;
        let wide = Self::map_anywhere(all, protection)?;
        let skip = wide.addr().get().next_multiple_of(align) - wide.addr().get();
        // SAFETY: `skip < align`, so the address lies in the mapping of `bytes + align`.
        let start = unsafe { wide.add(skip) };
        if skip > 0 {
            // SAFETY: the first `skip` bytes of the fresh mapping, unused.
            let _ = unsafe { Self::unmap_range(wide, skip) };
        }
        let tail = all - skip - bytes;
        if tail > 0 {
            // SAFETY: `bytes` from `start` lie in the mapping.
            let end = unsafe { start.add(bytes) };
            // SAFETY: the last `tail` bytes of the fresh mapping, unused.
            let _ = unsafe { Self::unmap_range(end, tail) };
        }
        Some(start)
    }

    /// Maps zeroed memory between two inaccessible pages, and names the mapping, which may be
    /// refused. The neighbours make it a mapping of its own, so that another process can find it.
    pub(crate) fn map_apart(&self, bytes: usize, name: &core::ffi::CStr) -> Option<NonNull<u8>> {
        let page = self.page_size();
        let all = Self::map_anywhere(bytes + 2 * page, libc::PROT_NONE)?;
        // SAFETY: the mapping has a page before and one behind these bytes.
        let start = unsafe { all.add(page) };
        let address = start.as_ptr().expose_provenance();
        // SAFETY: whole pages of the fresh mapping.
        if unsafe { Self::protect(Span { start, bytes }, READ_WRITE) }.is_err() {
            // SAFETY: the mapping was just made and is not used.
            let _ = unsafe { Self::unmap_range(all, bytes + 2 * page) };
            return None;
        }
        let name = name.as_ptr().expose_provenance();
        let [set, which] = [PR_SET_VMA, PR_SET_VMA_ANON_NAME];
        // SAFETY: the kernel copies the name; it changes nothing else.
        let _unnamed = unsafe { syscall(libc::SYS_prctl, [set, which, address, bytes, name, 0]) };
        Some(start)
    }

    /// Unmaps a range. If the system refuses, at least the memory behind the range goes back: a
    /// process that has as many mappings as it may have cannot cut one in two.
    unsafe fn unmap_range(start: NonNull<u8>, bytes: usize) -> Result<(), Refused> {
        // SAFETY: the caller owns the range.
        let unmapped = done(unsafe { libc::munmap(start.as_ptr().cast(), bytes) });
        if unmapped.is_err() {
            let advice = libc::MADV_DONTNEED.cast_unsigned() as usize;
            let arguments = [start.as_ptr().expose_provenance(), bytes, advice, 0, 0, 0];
            // SAFETY: the caller owns the range and gave its contents up.
            let _ = unsafe { syscall(libc::SYS_madvise, arguments) };
        }
        unmapped
    }

    /// Unmaps a window that was mapped to find out whether it is free, or keeps it as [`RESERVED`].
    unsafe fn free_window(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller owns the range.
        if unsafe { Self::unmap_range(start, bytes) }.is_err() {
            RESERVED[1].store(bytes, Ordering::Relaxed);
            RESERVED[0].store(start.addr().get(), Ordering::Relaxed);
        }
    }

    /// Returns whether a range lies in [`RESERVED`].
    fn is_reserved(span: Span) -> bool {
        let [start, bytes] = [&RESERVED[0], &RESERVED[1]].map(|word| word.load(Ordering::Relaxed));
        let offset = span.start.addr().get().wrapping_sub(start);
        offset < bytes && span.bytes <= bytes - offset
    }

    /// Changes the protection of whole pages.
    ///
    /// # Safety
    /// The caller owns the range.
    unsafe fn protect(span: Span, protection: c_int) -> Result<(), Refused> {
        let address = span.start.as_ptr().expose_provenance();
        let protection = protection.cast_unsigned() as usize;
        // SAFETY: the caller's promise.
        unsafe { syscall(libc::SYS_mprotect, [address, span.bytes, protection, 0, 0, 0]) }.map(drop)
    }

    unsafe fn advise(span: Span, advice: c_int) -> Result<(), Refused> {
        // Through the C library, because libraries that track the address space interpose there.
        // SAFETY: the caller owns the range or the advice leaves its contents alone.
        done(unsafe { libc::madvise(span.start.as_ptr().cast(), span.bytes, advice) })
    }

    /// Purges a range and records in [`PURGE_EFFECT`] whether that emptied it.
    ///
    /// # Safety
    /// As for [`Os::purge`].
    #[cold]
    unsafe fn first_purge(span: Span) -> Result<(), Refused> {
        let probe = span.start.as_ptr();
        // SAFETY: the range is committed and the caller's.
        let content = unsafe { probe.read_volatile() };
        // SAFETY: as above, and the caller expects its contents to vanish.
        unsafe { probe.write_volatile(1) };
        // SAFETY: as above.
        let advised = unsafe { Self::advise(span, libc::MADV_DONTNEED) };
        // SAFETY: the range is still committed and the caller's.
        if advised.is_ok() && unsafe { probe.read_volatile() } == 0 {
            PURGE_EFFECT.store(EMPTIES, Ordering::Relaxed);
            return Ok(());
        }
        // The page may be a clean one, which must read as zero although the purge failed.
        // SAFETY: as above.
        unsafe { probe.write_volatile(content) };
        if advised.is_ok() {
            PURGE_EFFECT.store(DOES_NOTHING, Ordering::Relaxed);
        }
        Err(Refused)
    }

    /// Moves the memory of a range to an address that the kernel chooses; the range stays mapped.
    ///
    /// # Safety
    /// As for [`Os::move_out`].
    unsafe fn move_away(span: Span) -> Option<NonNull<u8>> {
        // DONTUNMAP keeps the old range mapped (and empty), so that no other mmap of the process
        // takes a part of the arena. It needs Linux 5.7; older kernels refuse and the caller
        // copies. The kernel chooses the new address: with MREMAP_FIXED a late failure would leave
        // a hole.
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
        let address: *mut c_void = span.start.as_ptr().cast();
        // With DONTUNMAP the kernel takes the fifth argument as a hint and refuses one that is not
        // page-aligned. If it is left out, the C library passes on the contents of its register.
        let anywhere: *mut c_void = core::ptr::null_mut();
        // SAFETY: the caller owns the range; on failure it is unchanged.
        let moved = unsafe { libc::mremap(address, span.bytes, span.bytes, flags, anywhere) };
        if moved == libc::MAP_FAILED { None } else { NonNull::new(moved.cast()) }
    }

    /// Tries a move with a new page, and records the result in [`PLACE_AFTER_MOVE`]. Returns
    /// whether the page's place stayed.
    #[cold]
    fn first_move() -> bool {
        let bytes = Linux.page_size();
        let Some(start) = Self::map_anywhere(bytes, READ_WRITE) else {
            return false;
        };
        let place = Span { start, bytes };
        // SAFETY: the page was just made and is not used.
        let moved = unsafe { Self::move_away(place) };
        // SAFETY: as above. A range that is not mapped any more is refused, unlike by `madvise`.
        let stays = moved.is_some() && unsafe { Self::protect(place, READ_WRITE) }.is_ok() && {
            // SAFETY: the page is mapped, as was just seen.
            unsafe { start.as_ptr().write_volatile(1) };
            // SAFETY: as above.
            let advised = unsafe { Self::advise(place, libc::MADV_DONTNEED) };
            // SAFETY: as above.
            advised.is_ok() && unsafe { start.as_ptr().read_volatile() } == 0
        };
        if let Some(start) = moved {
            PLACE_AFTER_MOVE.store(if stays { STAYS } else { IS_LOST }, Ordering::Relaxed);
            // SAFETY: nobody but this function knows the page.
            let _ = unsafe { Self::unmap_range(start, bytes) };
        }
        if moved.is_none() || stays {
            // SAFETY: as above; a place that was lost may be somebody else's by now.
            let _ = unsafe { Self::unmap_range(start, bytes) };
        }
        stays
    }

    fn membarrier(command: c_int) -> bool {
        let arguments = [command.cast_unsigned() as usize, 0, 0, 0, 0, 0];
        // SAFETY: membarrier takes no pointers.
        unsafe { syscall(libc::SYS_membarrier, arguments) }.is_ok()
    }

    /// Returns the mask of the CPUs that this process may use; all zeros if the kernel refuses.
    fn affinity() -> [u64; CPU_WORDS] {
        let mut mask = [0u64; CPU_WORDS];
        let bytes = size_of_val(&mask);
        // SAFETY: the kernel writes at most `bytes` bytes into the mask.
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, bytes, mask.as_mut_ptr()) };
        mask
    }
}

/// Reads a clock in nanoseconds. The C library reads most clocks without a system call.
fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for writing; the clock always exists.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanoseconds
}

fn done(result: c_int) -> Result<(), Refused> {
    if result == 0 { Ok(()) } else { Err(Refused) }
}

impl Os for Linux {
    fn page_size(&self) -> usize {
        let known = PAGE_SIZE.load(Ordering::Relaxed);
        if known > 0 {
            return known;
        }
        // SAFETY: sysconf has no precondition; it answers this name without I/O.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let size = usize::try_from(size).unwrap_or(4096);
        PAGE_SIZE.store(size, Ordering::Relaxed);
        size
    }

    fn memory_bytes(&self) -> usize {
        // SAFETY: all fields are integers, so all zeros is a valid value.
        let mut info: libc::sysinfo = unsafe { core::mem::zeroed() };
        // SAFETY: the structure is valid for writing.
        let known = unsafe { libc::sysinfo(&raw mut info) } == 0;
        let unit = usize::try_from(info.mem_unit).unwrap_or(1);
        let sum = usize::try_from(info.totalram.saturating_add(info.totalswap));
        let memory = sum.unwrap_or(usize::MAX).saturating_mul(unit);
        let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: 0 };
        // SAFETY: the structure is valid for writing.
        unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
        let limit = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
        if known { memory.min(limit) } else { limit }
    }

    fn choose_window(&self, bytes: usize) -> Option<NonNull<u8>> {
        // ThreadSanitizer keeps its own tables in the far part of the address space.
        let far = if cfg!(tsan) { None } else { Self::far_window(bytes) };
        far.or_else(|| Self::near_window(bytes))
    }

    unsafe fn commit(&self, span: Span) -> Result<(), NotCommitted> {
        Self::map_at(span, READ_WRITE, 0)
    }

    unsafe fn purge(&self, span: Span) -> Result<(), Refused> {
        order::check_may_call("madvise");
        match PURGE_EFFECT.load(Ordering::Relaxed) {
            // SAFETY: the caller owns the range and expects its contents to vanish.
            EMPTIES => unsafe { Self::advise(span, libc::MADV_DONTNEED) },
            DOES_NOTHING => Err(Refused),
            // SAFETY: the caller's promise is the same.
            _ => unsafe { Self::first_purge(span) },
        }
    }

    unsafe fn prefault(&self, span: Span) -> Result<(), Refused> {
        // It needs Linux 5.14; older kernels refuse.
        // SAFETY: the caller's range is committed; its contents stay.
        unsafe { Self::advise(span, libc::MADV_POPULATE_WRITE) }
    }

    unsafe fn prefer_huge(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's range is committed; its contents stay.
        unsafe { Self::advise(span, libc::MADV_HUGEPAGE) }
    }

    unsafe fn prefer_small(&self, span: Span) -> Result<(), Refused> {
        // This comes first, or the kernel could merge the small pages again.
        // SAFETY: the caller's range is committed; its contents stay.
        unsafe { Self::advise(span, libc::MADV_NOHUGEPAGE)? };
        // After a purge of a part the kernel splits a huge page only when memory is short. To mark
        // one small page as cold, it must split the huge page at once.
        let page = Span { start: span.start, bytes: self.page_size() };
        // SAFETY: as above.
        unsafe { Self::advise(page, libc::MADV_COLD) }
    }

    unsafe fn move_out(&self, span: Span) -> Option<NonNull<u8>> {
        order::check_may_call("mremap");
        match PLACE_AFTER_MOVE.load(Ordering::Relaxed) {
            STAYS => {}
            0 if Self::first_move() => {}
            _ => return None,
        }
        // SAFETY: the caller's promise is the same.
        unsafe { Self::move_away(span) }
    }

    fn map(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        Self::map_aligned(bytes, align, READ_WRITE)
    }

    unsafe fn resize(&self, span: Span, bytes: usize) -> Option<NonNull<u8>> {
        order::check_may_call("mremap");
        let address: *mut c_void = span.start.as_ptr().cast();
        // SAFETY: the span is a mapping of the caller; on failure it is unchanged.
        let moved = unsafe { libc::mremap(address, span.bytes, bytes, libc::MREMAP_MAYMOVE) };
        if moved == libc::MAP_FAILED { None } else { NonNull::new(moved.cast()) }
    }

    unsafe fn unmap(&self, span: Span) {
        // SAFETY: the caller's promise is that of `unmap_range`.
        let _ = unsafe { Self::unmap_range(span.start, span.bytes) };
    }

    fn map_closed(&self, bytes: usize) -> Option<NonNull<u8>> {
        Self::map_anywhere(bytes, libc::PROT_NONE)
    }

    unsafe fn open(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's promise.
        unsafe { Self::protect(span, READ_WRITE) }
    }

    unsafe fn close(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's promise.
        unsafe { Self::protect(span, libc::PROT_NONE)? };
        // Without this the memory would stay until the range is used again. A refusal (locked
        // pages) costs memory only.
        // SAFETY: the caller's promise.
        let _kept = unsafe { Self::advise(span, libc::MADV_DONTNEED) };
        Ok(())
    }

    fn resident_bytes(&self, span: Span) -> usize {
        let page = self.page_size();
        let mut resident = [0u8; RESIDENCY_PAGES];
        let mut pages = 0;
        for part in (0..span.bytes).step_by(RESIDENCY_PAGES * page) {
            let bytes = (span.bytes - part).min(RESIDENCY_PAGES * page);
            let start: *mut c_void = span.start.as_ptr().wrapping_add(part).cast();
            // SAFETY: the kernel writes one byte per page, and the array has room for all of them.
            if unsafe { libc::mincore(start, bytes, resident.as_mut_ptr()) } == 0 {
                let answers = &resident[..bytes.div_ceil(page)];
                pages += answers.iter().filter(|&&answer| answer & 1 == 1).count();
            }
        }
        pages * page
    }

    fn cpus(&self) -> usize {
        let set: u32 = Self::affinity().iter().map(|word| word.count_ones()).sum();
        usize::try_from(set).unwrap_or(1).max(1)
    }

    fn cpu(&self) -> usize {
        // SAFETY: sched_getcpu has no precondition.
        usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
    }

    fn now_ns(&self) -> u64 {
        clock_ns(libc::CLOCK_MONOTONIC)
    }

    fn cpu_ms(&self) -> u64 {
        clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID) / 1_000_000
    }

    fn barrier(&self) -> bool {
        // Registered on first use, so that a process without thieves pays nothing. A forked child
        // may have to register again.
        Self::membarrier(MEMBARRIER_PRIVATE_EXPEDITED)
            || (Self::membarrier(MEMBARRIER_REGISTER_PRIVATE_EXPEDITED)
                && Self::membarrier(MEMBARRIER_PRIVATE_EXPEDITED))
    }
}

#[cfg(all(test, not(miri), not(loom)))]
mod tests {
    use super::{Linux, Os, Span};

    /// For an argument that is not given the C library passes on the contents of its register.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_range_moves_out_with_any_garbage_in_a_register() {
        let bytes = 64 * Linux.page_size();
        let start = Linux.map(bytes, Linux.page_size()).expect("a mapping");
        let span = Span { start, bytes };
        for garbage in [1usize, 4097, usize::MAX] {
            // SAFETY: the mapping is this test's and that long.
            unsafe { start.write_bytes(7, bytes) };
            // SAFETY: the register is declared as clobbered.
            unsafe { core::arch::asm!("mov r8, {}", in(reg) garbage, out("r8") _) };
            // SAFETY: the range is this test's.
            let moved = unsafe { Linux.move_out(span) }.expect("Linux 5.7 or later");
            // SAFETY: the memory has moved there.
            assert_eq!(unsafe { moved.read() }, 7);
            // SAFETY: the mapping was just made and is not used any more.
            unsafe { Linux.unmap(Span { start: moved, bytes }) };
        }
        // SAFETY: as above.
        unsafe { Linux.unmap(span) };
    }

    /// Some emulators take the old range for unmapped, and a purge there then does nothing.
    #[test]
    fn a_range_that_memory_left_can_be_purged() {
        let bytes = 4 * Linux.page_size();
        let start = Linux.map(bytes, Linux.page_size()).expect("a mapping");
        let span = Span { start, bytes };
        // The first purge of a process finds out by itself whether it has an effect.
        // SAFETY: the range is this test's.
        let _ = unsafe { Linux.purge(span) };
        // SAFETY: as above.
        unsafe { start.write_bytes(5, bytes) };
        // SAFETY: as above.
        let Some(moved) = (unsafe { Linux.move_out(span) }) else {
            // SAFETY: as above.
            assert_eq!(unsafe { start.read() }, 5, "a refused move left the memory alone");
            // SAFETY: as above.
            unsafe { Linux.unmap(span) };
            return;
        };
        // SAFETY: as above.
        unsafe { start.write_bytes(7, bytes) };
        // SAFETY: as above.
        let purged = unsafe { Linux.purge(span) };
        // SAFETY: as above.
        assert!(purged.is_err() || unsafe { start.read() } == 0, "the purge did nothing");
        // SAFETY: as above.
        unsafe { Linux.unmap(span) };
        // SAFETY: the mapping was just made and is not used any more.
        unsafe { Linux.unmap(Span { start: moved, bytes }) };
    }
}
