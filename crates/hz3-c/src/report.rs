//! What glibc lets a program ask about the heap, and tune.

use core::ffi::c_int;
use core::fmt::Write;
use core::mem::MaybeUninit;

use hz3_alloc::Stats;

use crate::errno::keeping_errno;
use crate::hz3_api::Text;

/// glibc's `struct mallinfo2`. What hz3 puts where is written at [`mallinfo2`].
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

/// glibc's `struct mallinfo`: as [`MallInfo2`], in fields that are too small.
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

/// The closest an `int` comes to `bytes`.
fn int(bytes: usize) -> c_int {
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}

/// Free memory that isn't yet back with the system, and memory that is: all but the program's.
fn free_bytes(stats: &Stats) -> u64 {
    stats.committed.saturating_sub(stats.allocated)
}

/// The heap in glibc's terms. `arena` = `uordblks` + `fordblks`, as there.
#[unsafe(no_mangle)]
extern "C" fn mallinfo2() -> MallInfo2 {
    let stats = keeping_errno(hz3_alloc::stats);
    MallInfo2 {
        arena: size(stats.committed),
        ordblks: size(stats.slabs),
        smblks: 0,
        // The few huge blocks that are mappings of their own are counted with the others.
        hblks: 0,
        hblkhd: 0,
        usmblks: 0,
        fsmblks: size(stats.cached),
        uordblks: size(stats.allocated),
        fordblks: size(free_bytes(&stats)),
        keepcost: size(stats.dirty),
    }
}

/// [`mallinfo2`] in `int`s; a value that doesn't fit becomes `INT_MAX`.
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

/// Accepts what glibc knows, and does nothing: hz3 has options of its own. 1 if known, else 0.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mallopt(parameter: c_int, _value: c_int) -> c_int {
    let known = parameter == M_MXFAST || (M_ARENA_MAX..=M_TRIM_THRESHOLD).contains(&parameter);
    c_int::from(known)
}

/// Writes the heap as XML, in the elements that glibc uses, to a C stream.
/// `EINVAL` for options other than 0, `EIO` when the stream doesn't take it all.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 {
        return libc::EINVAL;
    }
    let mut room = [const { MaybeUninit::uninit() }; 1024];
    let mut text = Text::new(&mut room);
    // A `Text` takes everything.
    let _ = write_xml(&hz3_alloc::stats(), &mut text);
    let xml = text.written();
    // SAFETY: the text is there, and the caller gives an open stream.
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

/// glibc writes these lines for each heap, and again for the sum; hz3 has one heap.
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
    let stats = hz3_alloc::stats();
    let mut room = [const { MaybeUninit::uninit() }; 1024];
    let mut text = Text::new(&mut room);
    // A `Text` takes everything.
    let _ = write_stats(&stats, &mut text);
    let mut rest = text.written();
    keeping_errno(|| {
        while !rest.is_empty() {
            // Straight to the descriptor: a stream may allocate. By `syscall`, which is no
            // cancellation point, unlike `write`.
            // SAFETY: the text is there.
            let taken = unsafe { libc::syscall(libc::SYS_write, 2, rest.as_ptr(), rest.len()) };
            // Nobody to tell when standard error is closed.
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
