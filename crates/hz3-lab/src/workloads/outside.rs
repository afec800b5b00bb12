//! Facts about this process that a workload can read without allocating.

use std::io::Read;

/// Returns the resident set in KiB; 0 if it cannot be read.
pub(crate) fn rss_kb() -> u64 {
    let mut buffer = [0; 128];
    let read = std::fs::File::open("/proc/self/statm").and_then(|mut file| file.read(&mut buffer));
    let text = read.ok().and_then(|n| std::str::from_utf8(&buffer[..n]).ok()).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * (rustix::param::page_size() as u64) / 1024
}

/// Returns `hz3_epoch_force` if the process's allocator has it.
pub(crate) fn epoch_force() -> Option<extern "C" fn()> {
    // SAFETY: the name is a C string; the default search looks at loaded libraries only.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"hz3_epoch_force".as_ptr()) };
    (!symbol.is_null()).then(|| {
        // SAFETY: hz3.h declares `void hz3_epoch_force(void)`; nobody else defines that name.
        unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn()>(symbol) }
    })
}

/// Returns the file that provides malloc: a preloaded library, or the C library.
pub(crate) fn malloc_origin() -> String {
    // SAFETY: the name is a C string.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) };
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr takes any address and writes into our own local.
    let found = unsafe { libc::dladdr(symbol, info.as_mut_ptr()) };
    // SAFETY: Dl_info holds pointers and integers, for which zeroed memory is a value.
    let info = unsafe { info.assume_init() };
    if found == 0 || info.dli_fname.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: dladdr's file name is a C string that lives as long as the library.
    let name = unsafe { std::ffi::CStr::from_ptr(info.dli_fname) };
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_resident_and_has_a_malloc() {
        assert!(rss_kb() > 100);
        assert!(malloc_origin().contains(".so"), "{}", malloc_origin());
        assert!(epoch_force().is_none(), "this program is not linked with hz3");
    }
}
