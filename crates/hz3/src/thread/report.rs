//! The report at exit, and what the system says of the process. Nothing here allocates.

use core::ffi::{CStr, c_int};
use core::fmt::{self, Write};
use core::mem::MaybeUninit;

use super::errno;
use super::file::{self, read_start};
use crate::base::line::Line;
use crate::base::units::{PAGE_BYTES, wide};
use crate::options::{Policy, Report, write_bytes};
use crate::stats::Stats;

/// Room for the lines of a report.
const REPORT_BYTES: usize = 4096;

/// Writes the statistics where the report is to go; in text, with the lines of the policy.
pub(crate) fn write(stats: &Stats, report: &Report, policy: Policy) {
    let mut line = Line::<REPORT_BYTES>::new();
    match report {
        Report::None => return,
        Report::Text => {
            let _ = writeln!(line, "hz3: {stats}");
            let _ = policy_lines(&mut line, stats, policy);
        }
        Report::Json | Report::File(_) => {
            // `Line` never fails; it cuts.
            let _ = stats.write_json(&mut line);
            let _ = line.write_char('\n');
        }
    }
    match report {
        Report::File(path) => {
            if let Err(reason) = append(path.as_c_str(), line.as_bytes()) {
                complain(path.as_c_str(), reason);
            }
        }
        _ => line.print(),
    }
}

/// Appends the text to a regular file, in one write, so that lines of several processes do not mix.
fn append(path: &CStr, text: &[u8]) -> Result<(), &'static str> {
    // Without blocking: a FIFO without a reader must not keep the process from ending.
    let flags = libc::O_WRONLY
        | libc::O_CREAT
        | libc::O_APPEND
        | libc::O_CLOEXEC
        | libc::O_NOFOLLOW
        | libc::O_NONBLOCK
        | libc::O_NOCTTY;
    let Some(file) = file::open_with(path, flags) else { return Err(last_error()) };
    let result = append_to_open(file, text);
    file::close(file);
    result
}

fn append_to_open(file: c_int, text: &[u8]) -> Result<(), &'static str> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the structure is valid for writing.
    if unsafe { libc::fstat(file, status.as_mut_ptr()) } != 0 {
        return Err(last_error());
    }
    // SAFETY: fstat succeeded, so it filled the structure.
    let status = unsafe { status.assume_init() };
    if status.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err("it is not a regular file");
    }
    match usize::try_from(file::write(file, text)) {
        Ok(written) if written == text.len() => Ok(()),
        Ok(_) => Err("it takes only a part of the text"),
        Err(_) => Err(last_error()),
    }
}

/// Why the last call of the C library failed, as far as it is to be expected of a file.
fn last_error() -> &'static str {
    match errno::get() {
        libc::ENOENT | libc::ENOTDIR => "its directory does not exist",
        libc::EACCES | libc::EPERM | libc::EROFS => "it may not be written to",
        libc::EISDIR | libc::ENXIO | libc::ENODEV => "it is not a regular file",
        libc::ELOOP => "it is a symbolic link",
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => "there is no room",
        libc::EMFILE | libc::ENFILE => "too many files are open",
        _ => "the system refuses it",
    }
}

#[cold]
fn complain(path: &CStr, reason: &str) {
    let mut line = Line::<512>::new();
    // A `Line` never fails; it cuts.
    let _ = line.write_str("hz3: HZ3_STATS=");
    let _ = write_bytes(&mut line, path.to_bytes());
    let _ = writeln!(line, ": {reason}; expected a regular file to append to; wrote nothing");
    line.print();
}

/// Says that there is no report, because the heap cannot be read.
pub(crate) fn refuse() {
    let mut line = Line::<128>::new();
    let _ = line.write_str("hz3: no report: the process ends inside a call of malloc or free\n");
    line.print();
}

/// What a policy's own mechanism did, in the style and with the names of the experiments that it
/// comes from: a line for each mechanism.
fn policy_lines(out: &mut impl Write, s: &Stats, policy: Policy) -> fmt::Result {
    let pages = s.purged_bytes / wide(PAGE_BYTES);
    let calls = s.madvise_calls;
    match policy {
        Policy::Off | Policy::Default => Ok(()),
        Policy::S57b2 => writeln!(
            out,
            "[HZ3_S57B_STATS] madvise_calls={calls} purged_pages={pages} skipped_hot={} \
             skipped_small={} iterate_calls={} iterate_segments={}",
            s.skipped_hot, s.skipped_small, s.epochs, s.scanned_segments
        ),
        Policy::S58 => writeln!(
            out,
            "[HZ3_S58_TCACHE_DECAY] adjust_calls={} overage_shrinks={} reclaim_calls={} \
             reclaim_objs={} reclaim_pages={}",
            s.decay_epochs, s.decay_shrinks, s.decay_returns, s.decayed_blocks, s.retired_pages
        ),
        Policy::S60 => writeln!(
            out,
            "[HZ3_S60_PURGE] queued={} dropped={} madvise_calls={calls} madvised_pages={pages} \
             budget_dropped={}",
            s.queued, s.dropped, s.dropped_pages
        ),
        Policy::S61 => writeln!(
            out,
            "[HZ3_S61_DTOR_PURGE] dtor_calls={} madvise_ok={} madvise_fail={} purged_segs={} \
             purged_pages={}",
            s.exits,
            calls - s.madvise_refused,
            s.madvise_refused,
            s.exit_segments,
            s.exit_pages
        ),
        Policy::S62 => writeln!(
            out,
            "[HZ3_S62_RETIRE] dtor_calls={} pages_retired={}\n\
             [HZ3_S62_PURGE] dtor_calls={} pages_purged={} madvise_calls={calls} purged_bytes={}",
            s.exits,
            s.retired_pages,
            s.exits,
            s.exit_pages,
            s.exit_pages * wide(PAGE_BYTES)
        ),
        Policy::S64 | Policy::S64P1a | Policy::S64P1b | Policy::S64P1c => writeln!(
            out,
            "[HZ3_S64_TCACHE_DUMP] ticks={} objs_dumped={} budget_hits={}\n\
             [HZ3_S64_RETIRE_SCAN] ticks={} pages_retired={}\n\
             [HZ3_S64_PURGE_DELAY] ticks={} enq={} enq_pages={} purged_pages={pages} \
             madvise_calls={calls} dropped={} dropped_pages={} qmax={} delay_stops={} \
             budget_stops={} coalesced={} cancelled={} cancelled_pages={}",
            s.dumps,
            s.dumped_blocks,
            s.dump_stops,
            s.epochs,
            s.retired_pages,
            s.epochs,
            s.queued,
            s.queued_pages,
            s.dropped,
            s.dropped_pages,
            s.peak_queue,
            s.delay_stops,
            s.budget_stops,
            s.coalesced,
            s.cancelled,
            s.cancelled_pages
        ),
    }
}

/// The resident set of the process in bytes, from `/proc/self/statm`; 0 when that is not there.
pub(crate) fn resident_bytes() -> u64 {
    let mut text = [0u8; 128];
    let text = read_start(c"/proc/self/statm", &mut text);
    let mut fields = text.split(|&byte| byte == b' ');
    let pages = fields.nth(1).and_then(|field| core::str::from_utf8(field).ok());
    let pages: u64 = pages.and_then(|field| field.parse().ok()).unwrap_or(0);
    // SAFETY: sysconf has no precondition.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page).unwrap_or(4096)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use super::{Policy, Stats, policy_lines};

    const S57B2: &str = "[HZ3_S57B_STATS] madvise_calls purged_pages skipped_hot skipped_small \
                         iterate_calls iterate_segments";
    const S58: &str = "[HZ3_S58_TCACHE_DECAY] adjust_calls overage_shrinks reclaim_calls \
                       reclaim_objs reclaim_pages";
    const S60: &str = "[HZ3_S60_PURGE] queued dropped madvise_calls madvised_pages budget_dropped";
    const S61: &str =
        "[HZ3_S61_DTOR_PURGE] dtor_calls madvise_ok madvise_fail purged_segs purged_pages";
    const S62: &str = "[HZ3_S62_RETIRE] dtor_calls pages_retired\n\
                       [HZ3_S62_PURGE] dtor_calls pages_purged madvise_calls purged_bytes";
    /// The last three keys are P1's, and hz3's own.
    const S64: &str = "[HZ3_S64_TCACHE_DUMP] ticks objs_dumped budget_hits\n\
                       [HZ3_S64_RETIRE_SCAN] ticks pages_retired\n\
                       [HZ3_S64_PURGE_DELAY] ticks enq enq_pages purged_pages madvise_calls \
                       dropped dropped_pages qmax delay_stops budget_stops coalesced cancelled \
                       cancelled_pages";

    /// The lines of a policy without the values.
    fn names(policy: Policy) -> String {
        let mut text = String::new();
        policy_lines(&mut text, &Stats::default(), policy).expect("a string takes it");
        let name = |word: &str| String::from(word.split('=').next().unwrap_or(word));
        let line = |line: &str| line.split(' ').map(name).collect::<Vec<_>>().join(" ");
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_policy_has_the_lines_and_keys_of_its_experiment() {
        for (policy, wanted) in [
            (Policy::Off, ""),
            (Policy::Default, ""),
            (Policy::S57b2, S57B2),
            (Policy::S58, S58),
            (Policy::S60, S60),
            (Policy::S61, S61),
            (Policy::S62, S62),
            (Policy::S64, S64),
            (Policy::S64P1a, S64),
            (Policy::S64P1b, S64),
            (Policy::S64P1c, S64),
        ] {
            assert_eq!(names(policy), wanted, "{policy:?}");
        }
    }
}
