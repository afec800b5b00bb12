//! Waits for a child and returns its resource usage (`wait4`).

use crate::failure::{Failure, Result};
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// The kernel's accounts of an ended child and the descendants that it waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// CPU time in user and kernel mode.
    pub(crate) cpu: Duration,
    /// Largest resident set of any single process, in KiB.
    pub(crate) max_rss_kb: u64,
    /// Minor and major page faults.
    pub(crate) faults: u64,
}

/// Waits until the child `pid` ends.
pub(crate) fn wait(pid: i32) -> Result<(ExitStatus, Cost)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers come from live locals that are large enough for what wait4 writes.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if waited == pid {
            break;
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(Failure::io(format!("wait for process {pid}"), error));
        }
    }
    // SAFETY: rusage consists of integers, for which zeroed memory is a value; wait4 filled it in.
    let usage = unsafe { usage.assume_init() };
    Ok((ExitStatus::from_raw(status), cost(&usage)))
}

fn cost(usage: &libc::rusage) -> Cost {
    let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
    Cost {
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        max_rss_kb: unsigned(usage.ru_maxrss),
        faults: unsigned(usage.ru_minflt) + unsigned(usage.ru_majflt),
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}
