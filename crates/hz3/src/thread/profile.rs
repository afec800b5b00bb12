//! The heap profile of the process: when it starts, and where it is written.
//!
//! A dump is written at exit, by a call, and when the memory limit refuses a request. The next slow
//! path after a signal or a growth of the live memory writes one too; the signal's handler only
//! asks for it. Nothing here allocates; no lock is held while a file is written.

use core::ffi::{CStr, c_int};
use core::fmt::Write;

use super::{existing_heap, file, heap, maps, process, report, shut, signal};
use crate::base::fixed_buffer::FixedBuffer;
use crate::heap::Heap;
use crate::options::{Config, ControlError, ProcessPath, ReportPath};
use crate::os::Os;
use crate::os::linux::Linux;
use crate::profiler::pprof::sample_type::{INUSE_OBJECTS, INUSE_SPACE};
use crate::profiler::snapshot::Snapshot;
use report::{FOR_ALL, PRIVATE};

/// Why no profile was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileError {
    /// The profile was never started, the system has no memory, or the call comes from a handler
    /// that interrupted an operation of the heap.
    Unavailable,
    /// The file cannot be written; the text says why.
    File(&'static str),
}

/// How many sites the report of live blocks at exit names, and how many frames of each.
const LEAKING_SITES: usize = 20;
const LEAKING_FRAMES: usize = 8;

/// Returns whether the configuration asks for a profile at exit.
pub(super) fn is_wanted(config: &Config) -> bool {
    config.profile.is_some() || config.profile_leaks
}

/// Starts the profile with the heap if the configuration asks for it.
pub(super) fn begin(heap: &Heap<Linux>, config: &Config) {
    if is_wanted(config) {
        // Without memory for the tables there is no profile; the report at exit says so.
        let _refused = start_on(heap, 0);
    }
}

fn start_on(heap: &Heap<Linux>, rate: u64) -> bool {
    prepare(heap);
    heap.start_profile(rate).is_ok()
}

/// Seeds the samples and finds the library's own code, unless samples are taken already.
pub(super) fn prepare(heap: &Heap<Linux>) {
    let profile = heap.profile();
    if !profile.is_on() {
        profile.seed(Linux.now_ns() ^ (core::ptr::from_ref(profile).addr() as u64).rotate_left(32));
        let (start, end) = maps::own_library();
        profile.set_own_code(start, end);
    }
}

/// Starts the profile; see [`crate::profile::start`].
pub(crate) fn start(rate: u64) -> bool {
    !shut::is_shut()
        && heap().is_some_and(|heap| {
            heap.profile().keep_without_tracer();
            start_on(heap, rate)
        })
}

/// Ends the profile; see [`crate::profile::stop`].
pub(crate) fn stop() {
    if !shut::is_shut()
        && let Some(heap) = existing_heap()
    {
        heap.stop_profile();
    }
}

/// Starts, ends or writes the profile of a running process, as `value` says.
pub(super) fn command(heap: &Heap<Linux>, value: &[u8]) -> Result<(), ControlError> {
    match value {
        b"on" => {
            heap.profile().keep_without_tracer();
            if start_on(heap, 0) { Ok(()) } else { Err(ControlError::Unavailable) }
        }
        b"off" => {
            heap.stop_profile();
            Ok(())
        }
        b"write" => {
            let path = configured_path().ok_or(ControlError::Unavailable)?;
            write_from(heap, path.as_c_str(), FOR_ALL).map_err(|_| ControlError::Unavailable)
        }
        _ => Err(ControlError::BadValue),
    }
}

/// Writes the profile of a running process to the file at an absolute path. A new file is for the
/// process's user alone, because `hz3 profile` has it written to a directory of all users.
#[cold]
pub(super) fn write_to(heap: &Heap<Linux>, path: &[u8]) -> Result<(), ControlError> {
    let path = core::str::from_utf8(path).ok().and_then(ReportPath::new);
    let path = path.ok_or(ControlError::BadValue)?;
    write_from(heap, path.as_c_str(), PRIVATE).map_err(|error| match error {
        ProfileError::Unavailable => ControlError::Unavailable,
        ProfileError::File(_) => ControlError::BadValue,
    })
}

/// Returns where this process writes its profile, if the configuration says so.
fn configured_path() -> Option<ProcessPath> {
    // A copy, because the file is written without the lock.
    let path = super::GLOBAL.config.lock().as_ref().and_then(|config| config.profile);
    path.map(|path| process::own_path(&path))
}

/// Writes the profile to a file; see [`crate::profile::write_pprof`].
pub(crate) fn write(path: &CStr) -> Result<(), ProfileError> {
    let heap = existing_heap().filter(|_| !shut::is_shut()).ok_or(ProfileError::Unavailable)?;
    write_from(heap, path, FOR_ALL)
}

fn write_from(heap: &Heap<Linux>, path: &CStr, mode: libc::mode_t) -> Result<(), ProfileError> {
    let mut snapshot = heap.profile_snapshot().ok_or(ProfileError::Unavailable)?;
    let written = report::replace(path, mode, |file| {
        let mut sink = |bytes: &[u8]| file::write_all(file, bytes);
        snapshot.write(&mut sink, file::unix_time_ns(), maps::add_mappings)
    });
    snapshot.release(heap.os());
    written.map_err(ProfileError::File)
}

/// Writes a dump if one is due, and starts or stops the profile for a tracer. Called after a slow
/// path, with no lock held.
#[inline]
pub(super) fn poll(heap: &Heap<Linux>) {
    if heap.profile().take_dump() {
        dump(heap);
    }
    if let Some(starts) = heap.profile().take_tracer_wish() {
        follow_tracer(heap, starts);
    }
}

#[cold]
#[inline(never)]
fn follow_tracer(heap: &Heap<Linux>, starts: bool) {
    if !starts {
        heap.stop_profile();
    } else if !start_on(heap, 0) {
        // No memory for the tables: try again later.
        heap.profile().forget_tracer();
    }
}

#[cold]
#[inline(never)]
fn dump(heap: &Heap<Linux>) {
    if shut::is_shut() {
        heap.profile().ask_for_dump();
        return;
    }
    if let Some(path) = &configured_path() {
        write_or_complain(heap, path.as_c_str());
    }
}

/// Writes the profile if it runs and has a file, because the memory limit refused a request.
pub(super) fn write_at_limit(heap: &Heap<Linux>) {
    if heap.profile().is_recording() {
        dump(heap);
    }
}

fn write_or_complain(heap: &Heap<Linux>, path: &CStr) {
    let reason = match write_from(heap, path, FOR_ALL) {
        Ok(()) => return,
        Err(ProfileError::File(reason)) => reason,
        Err(ProfileError::Unavailable) => "no memory for the profile",
    };
    report::complain("HZ3_PROFILE", path, reason, "; wrote no profile");
}

/// Writes what the configuration asks for at exit.
pub(super) fn write_at_exit(heap: &Heap<Linux>, config: &Config) {
    if let Some(path) = &config.profile {
        write_or_complain(heap, process::own_path(path).as_c_str());
    }
    if config.profile_leaks
        && let Some(snapshot) = heap.profile_snapshot()
    {
        print_live(&snapshot);
        snapshot.release(heap.os());
    }
}

/// Prints the sites with the most live bytes, most first.
fn print_live(snapshot: &Snapshot) {
    let mut bound = (f64::INFINITY, usize::MAX);
    for _ in 0..LEAKING_SITES {
        let sites =
            snapshot.values.iter().enumerate().map(|(site, values)| (values[INUSE_SPACE], site));
        let order = |one: &(f64, usize), other: &(f64, usize)| {
            one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
        };
        let below = |next: &(f64, usize)| next.0 > 0.0 && order(next, &bound).is_lt();
        let Some(next) = sites.filter(below).max_by(order) else {
            return;
        };
        bound = next;
        let mut text = FixedBuffer::<4096>::new();
        let values = snapshot.values[next.1];
        let (bytes, objects) = (values[INUSE_SPACE], values[INUSE_OBJECTS]);
        // Writing to a `FixedBuffer` never fails.
        let _ = writeln!(text, "hz3: live at exit: about {bytes:.0} bytes in {objects:.0} blocks");
        for address in snapshot.stack(next.1).take(LEAKING_FRAMES) {
            let _ = maps::describe_code(address, 1, &mut text);
        }
        text.print();
    }
}

/// Installs the handler of the signal that asks for a dump, if one is configured and the program
/// has none. Called once, with no lock held.
pub(super) fn handle_signal() {
    let config = *super::GLOBAL.config.lock();
    let Some(config) = config.filter(|config| config.profile.is_some()) else { return };
    let Ok(number) = c_int::try_from(config.profile_signal.get()) else { return };
    if number == 0 {
        return;
    }
    // The handler only stores a flag.
    signal::handle_unless_handled(number, ask, libc::SA_RESTART);
}

/// The handler of the signal.
extern "C" fn ask(_signal: c_int) {
    if let Some(heap) = existing_heap() {
        heap.profile().ask_for_dump();
    }
}
