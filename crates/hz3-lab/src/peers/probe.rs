//! Identifies an allocator by starting this program again with the library preloaded.

use super::{Peer, complaint};
use crate::failure::{Failure, Result};
use crate::workloads::outside;
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::process::Command;

/// The hidden subcommand that the probe runs.
pub(crate) const SUBCOMMAND: &str = "probe";

/// The answer of a process that runs on the allocator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Probed {
    /// The library file that provides malloc.
    pub(crate) origin: String,
    /// The version, if the allocator has one of the known functions that report it.
    pub(crate) version: Option<String>,
}

/// Starts a process on `peer` and reads its answer. A rejected setting is wrong usage.
pub(crate) fn probe(peer: &Peer) -> Result<Probed> {
    let exe = std::env::current_exe().map_err(|e| Failure::io("find this program's path", e))?;
    let mut command = Command::new(exe);
    command.arg(SUBCOMMAND);
    for (name, value) in peer.apply() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().map_err(|e| Failure::io(format!("probe {}", peer.name), e))?;
    if let Some(line) = complaint::find(&String::from_utf8_lossy(&output.stderr)) {
        return Err(complaint::failure(&peer.name, line));
    }
    if !output.status.success() {
        return Err(Failure::new(format!(
            "a process on {} ended with {}",
            peer.name, output.status
        )));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|e| Failure::io(format!("understand a process on {}", peer.name), e))
}

/// Reports the allocator of this process.
pub(crate) fn report_own() -> Probed {
    Probed { origin: outside::malloc_origin(), version: own_version() }
}

fn own_version() -> Option<String> {
    hz3_version()
        .or_else(|| outside::epoch_force().map(|_| "unknown".to_owned()))
        .or_else(peer_version)
        .or_else(jemalloc_version)
        .or_else(mimalloc_version)
        .or_else(tcmalloc_version)
        .or_else(glibc_version)
}

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is a C string; the default search looks at loaded libraries only.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// Returns the text at `text` up to the first space, because jemalloc appends a commit.
fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the version functions return C strings that live as long as their library.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().ok()?.split(' ').next().map(str::to_owned)
}

fn hz3_version() -> Option<String> {
    let function = symbol(c"hz3_version")?;
    // SAFETY: hz3.h declares `const char *hz3_version(void)`; nobody else defines that name.
    let version =
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> *const c_char>(function) };
    text(version())
}

/// Reads the version from the libraries of the crate `hz3-peers`.
fn peer_version() -> Option<String> {
    let function = symbol(c"hz3_peer_version")?;
    // SAFETY: that crate declares `const char *hz3_peer_version(void)`.
    let version =
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> *const c_char>(function) };
    text(version())
}

fn jemalloc_version() -> Option<String> {
    type Mallctl =
        unsafe extern "C" fn(*const c_char, *mut c_void, *mut usize, *mut c_void, usize) -> c_int;
    let function = symbol(c"mallctl")?;
    // SAFETY: every library that has `mallctl` declares it like this.
    let mallctl = unsafe { std::mem::transmute::<*mut c_void, Mallctl>(function) };
    let mut version: *const c_char = std::ptr::null();
    let mut size = size_of::<*const c_char>();
    let place = (&raw mut version).cast();
    // SAFETY: "version" reads one pointer, and size says that there is room for one.
    let failed =
        unsafe { mallctl(c"version".as_ptr(), place, &raw mut size, std::ptr::null_mut(), 0) };
    // `5.3.0-0-g54eaed1d...`: the release is what is before the first dash.
    let full = if failed == 0 { text(version) } else { None };
    full.map(|full| full.split('-').next().unwrap_or_default().to_owned())
}

fn mimalloc_version() -> Option<String> {
    let function = symbol(c"mi_version")?;
    // SAFETY: mimalloc declares `int mi_version(void)`.
    let version = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(function) };
    Some(mimalloc_number(version()))
}

/// Formats 212 as 2.1.2; from version 3 on, the last parts have two digits: 30403 is 3.4.3.
fn mimalloc_number(number: c_int) -> String {
    if number >= 10_000 {
        format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
    } else {
        format!("{}.{}.{}", number / 100, number / 10 % 10, number % 10)
    }
}

fn tcmalloc_version() -> Option<String> {
    type Version = extern "C" fn(*mut c_int, *mut c_int, *mut *const c_char) -> *const c_char;
    let function = symbol(c"tc_version")?;
    // SAFETY: gperftools declares tc_version like this; all three pointers may be NULL.
    let version = unsafe { std::mem::transmute::<*mut c_void, Version>(function) };
    let full = text(version(std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut()));
    let named = full.filter(|text| text != "gperftools");
    // "gperftools 2.10": the number is the second word.
    named.or_else(|| tcmalloc_numbers(version))
}

fn tcmalloc_numbers(
    version: extern "C" fn(*mut c_int, *mut c_int, *mut *const c_char) -> *const c_char,
) -> Option<String> {
    let (mut major, mut minor) = (0, 0);
    version(&raw mut major, &raw mut minor, std::ptr::null_mut());
    (major > 0).then(|| format!("{major}.{minor}"))
}

fn glibc_version() -> Option<String> {
    let function = symbol(c"gnu_get_libc_version")?;
    // SAFETY: the C library declares `const char *gnu_get_libc_version(void)`.
    let version =
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> *const c_char>(function) };
    if outside::malloc_origin().contains("libc.so") { text(version()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_on_the_c_library() {
        let own = report_own();
        assert!(own.origin.contains("libc"), "{own:?}");
        assert!(own.version.is_some_and(|version| version.starts_with("2.")));
    }

    #[test]
    fn both_styles_of_mimallocs_number() {
        assert_eq!(mimalloc_number(209), "2.0.9");
        assert_eq!(mimalloc_number(30_403), "3.4.3");
    }
}
