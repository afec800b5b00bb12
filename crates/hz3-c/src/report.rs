//! glibc's functions that report on the heap and tune it.

use core::ffi::c_int;
use core::fmt::Write;
use core::mem::MaybeUninit;

use hz3_alloc::Stats;
use hz3_alloc::raw::family::keeping_errno;

use crate::hz3_api::Text;

/// glibc's `struct mallinfo2`; [`mallinfo2`] fills it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct MallInfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

impl MallInfo2 {
    /// Returns whether the heap holds memory of the system.
    pub(crate) fn has_memory(&self) -> bool {
        self.arena > 0 || self.hblkhd > 0
    }
}

/// glibc's `struct mallinfo`: the fields of [`MallInfo2`] as `int`, which is too small.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct MallInfo {
    arena: c_int,
    ordblks: c_int,
    smblks: c_int,
    hblks: c_int,
    hblkhd: c_int,
    usmblks: c_int,
    fsmblks: c_int,
    uordblks: c_int,
    fordblks: c_int,
    keepcost: c_int,
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Converts `bytes` to an `int`; a larger value becomes `INT_MAX`.
fn int(bytes: usize) -> c_int {
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}

/// Returns the committed bytes that the program does not hold, resident or not.
fn free_bytes(stats: &Stats) -> u64 {
    stats.committed.saturating_sub(stats.allocated)
}

/// Describes the heap in glibc's terms. As in glibc, `arena` = `uordblks` + `fordblks`.
#[unsafe(no_mangle)]
extern "C" fn mallinfo2() -> MallInfo2 {
    let stats = keeping_errno(hz3_alloc::stats);
    MallInfo2 {
        arena: size(stats.committed),
        ordblks: size(stats.slabs),
        smblks: 0,
        // Huge blocks, which are mappings of their own, are counted with the other blocks.
        hblks: 0,
        hblkhd: 0,
        usmblks: 0,
        fsmblks: size(stats.cached),
        uordblks: size(stats.allocated),
        fordblks: size(free_bytes(&stats)),
        keepcost: size(stats.dirty),
    }
}

/// Describes the heap as [`mallinfo2`] does, in `int`s; a larger value becomes `INT_MAX`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mallinfo() -> MallInfo {
    let wide = mallinfo2();
    MallInfo {
        arena: int(wide.arena),
        ordblks: int(wide.ordblks),
        smblks: int(wide.smblks),
        hblks: int(wide.hblks),
        hblkhd: int(wide.hblkhd),
        usmblks: int(wide.usmblks),
        fsmblks: int(wide.fsmblks),
        uordblks: int(wide.uordblks),
        fordblks: int(wide.fordblks),
        keepcost: int(wide.keepcost),
    }
}

/// glibc's parameters: `M_MXFAST`, and `M_ARENA_MAX` (-8) to `M_TRIM_THRESHOLD` (-1).
const M_MXFAST: c_int = 1;
const M_ARENA_MAX: c_int = -8;
const M_TRIM_THRESHOLD: c_int = -1;

/// Returns 1 for a parameter that glibc knows, else 0. It has no effect, because hz3 has its own
/// options.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mallopt(parameter: c_int, _value: c_int) -> c_int {
    let known = parameter == M_MXFAST || (M_ARENA_MAX..=M_TRIM_THRESHOLD).contains(&parameter);
    c_int::from(known)
}

/// Describes the heap as XML with glibc's elements, and writes it to a C stream.
///
/// Returns `EINVAL` for options other than 0, and `EIO` if the stream does not take the whole text.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 {
        return libc::EINVAL;
    }
    let mut room = [const { MaybeUninit::uninit() }; 1024];
    let mut text = Text::new(&mut room);
    // Writing to a `Text` never fails.
    let _ = write_xml(&keeping_errno(hz3_alloc::stats), &mut text);
    let xml = text.written();
    // SAFETY: the text is initialised, and the caller passes an open stream.
    let taken = unsafe { libc::fwrite(xml.as_ptr().cast(), 1, xml.len(), stream) };
    if taken == xml.len() { 0 } else { libc::EIO }
}

fn write_xml(stats: &Stats, out: &mut Text<'_>) -> core::fmt::Result {
    let (cached, committed) = (stats.cached, stats.committed);
    let rest = free_bytes(stats).saturating_sub(cached);
    writeln!(out, "<malloc version=\"1\">")?;
    writeln!(out, "<heap nr=\"0\">")?;
    write_totals(out, cached, rest, committed, stats)?;
    writeln!(out, "</heap>")?;
    write_totals(out, cached, rest, committed, stats)?;
    writeln!(out, "</malloc>")
}

/// Writes the totals. glibc does so for each heap and for the sum; hz3 has one heap.
fn write_totals(
    out: &mut Text<'_>,
    cached: u64,
    rest: u64,
    committed: u64,
    stats: &Stats,
) -> core::fmt::Result {
    writeln!(out, "<total type=\"fast\" count=\"0\" size=\"{cached}\"/>")?;
    writeln!(out, "<total type=\"rest\" count=\"0\" size=\"{rest}\"/>")?;
    writeln!(out, "<system type=\"current\" size=\"{committed}\"/>")?;
    writeln!(out, "<system type=\"max\" size=\"{committed}\"/>")?;
    writeln!(out, "<aspace type=\"total\" size=\"{}\"/>", stats.reserved)?;
    writeln!(out, "<aspace type=\"mprotect\" size=\"{committed}\"/>")
}

/// Prints the heap to the standard error stream, without allocating.
#[unsafe(no_mangle)]
extern "C" fn malloc_stats() {
    let stats = keeping_errno(hz3_alloc::stats);
    let mut room = [const { MaybeUninit::uninit() }; 1024];
    let mut text = Text::new(&mut room);
    // Writing to a `Text` never fails.
    let _ = write_stats(&stats, &mut text);
    let mut rest = text.written();
    keeping_errno(|| {
        while !rest.is_empty() {
            // Not to a stream, which may allocate; and not by `write`, a cancellation point.
            // SAFETY: the text is initialised.
            let taken = unsafe { libc::syscall(libc::SYS_write, 2, rest.as_ptr(), rest.len()) };
            // If standard error is closed, the error cannot be reported anywhere.
            let Ok(taken @ 1..) = usize::try_from(taken) else { return };
            rest = rest.get(taken..).unwrap_or_default();
        }
    });
}

fn write_stats(stats: &Stats, out: &mut Text<'_>) -> core::fmt::Result {
    writeln!(out, "hz3:")?;
    writeln!(out, "system bytes     = {:>14}", stats.committed)?;
    writeln!(out, "in use bytes     = {:>14}", stats.allocated)?;
    writeln!(out, "peak bytes       = {:>14}", stats.peak_active)?;
    writeln!(out, "cached bytes     = {:>14}", stats.cached)?;
    writeln!(out, "  running        = {:>14}", stats.cached_running)?;
    writeln!(out, "  idle           = {:>14}", stats.cached_idle)?;
    writeln!(out, "  transfer       = {:>14}", stats.cached_transfer)?;
    writeln!(out, "slack bytes      = {:>14}", stats.slack)?;
    writeln!(out, "  shared pages   = {:>14}", stats.slack_shared)?;
    writeln!(out, "  holes          = {:>14}", stats.slack_holes)?;
    writeln!(out, "  clean          = {:>14}", stats.slack_clean)?;
    writeln!(out, "dirty bytes      = {:>14}", stats.dirty)?;
    writeln!(out, "  young          = {:>14}", stats.dirty_young)?;
    writeln!(out, "  old            = {:>14}", stats.dirty_old)?;
    writeln!(out, "metadata bytes   = {:>14}", stats.metadata_resident)?;
    writeln!(out, "resident bytes   = {:>14}", stats.resident)?;
    // glibc's last two lines; see `hblks` above.
    writeln!(out, "max mmap regions = {:>14}", 0)?;
    writeln!(out, "max mmap bytes   = {:>14}", 0)
}
