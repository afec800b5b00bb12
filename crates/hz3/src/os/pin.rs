//! Keeps the shared object that contains hz3 loaded.
//!
//! If a plugin contains hz3, its destructor of thread keys, its fork handlers and perhaps a thread
//! would run unmapped code after `dlclose`. So the first thread that gets a cache opens the plugin
//! once more and never closes it. An executable is never unloaded, and `libhz3.so` is linked with
//! `-z nodelete`.

use core::ffi::{c_char, c_int, c_void};

use super::weak::weak_address;

/// An entry of an object's dynamic section.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: i64,
    value: u64,
}

const DT_NULL: i64 = 0;
/// Only executables have this entry.
const DT_DEBUG: i64 = 21;
const DT_FLAGS_1: i64 = 0x6fff_fffb;
const DF_1_NODELETE: u64 = 8;
const DF_1_PIE: u64 = 0x0800_0000;

type Dlopen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
type Dladdr = unsafe extern "C" fn(*const c_void, *mut libc::Dl_info) -> c_int;

/// Opens the object that contains this function once more, unless it stays loaded anyway.
pub(crate) fn stay_loaded() {
    if stays_loaded(dynamic_section()) {
        return;
    }
    let (Some(dladdr), Some(dlopen)) = (weak_dladdr(), weak_dlopen()) else { return };
    let mut found = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let here: *const c_void = (stay_loaded as fn()) as *const c_void;
    // SAFETY: this is the C library's dladdr, which writes the structure.
    if unsafe { dladdr(here, found.as_mut_ptr()) } == 0 {
        return;
    }
    // SAFETY: all zeros is a valid value, and dladdr has written the structure.
    let found = unsafe { found.assume_init() };
    let how = libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: this is the C library's dlopen; the name is a terminated string from dladdr.
    unsafe { dlopen(found.dli_fname, how) };
}

/// Returns whether an object with this dynamic section is never unloaded. A null section means a
/// static program.
fn stays_loaded(mut entry: *const Entry) -> bool {
    if entry.is_null() {
        return true;
    }
    loop {
        // SAFETY: the section ends with a `DT_NULL` entry, where the loop stops.
        let Entry { tag, value } = unsafe { entry.read() };
        match tag {
            DT_NULL => return false,
            DT_DEBUG => return true,
            DT_FLAGS_1 if value & (DF_1_NODELETE | DF_1_PIE) != 0 => return true,
            _ => entry = entry.wrapping_add(1),
        }
    }
}

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
fn dynamic_section() -> *const Entry {
    let address = weak_address!("_DYNAMIC");
    core::ptr::with_exposed_provenance(address)
}

fn weak_dlopen() -> Option<Dlopen> {
    let address = weak_address!("dlopen");
    // SAFETY: the address is 0 or that of the C library's function.
    unsafe { core::mem::transmute::<usize, Option<Dlopen>>(address) }
}

fn weak_dladdr() -> Option<Dladdr> {
    let address = weak_address!("dladdr");
    // SAFETY: the address is 0 or that of the C library's function.
    unsafe { core::mem::transmute::<usize, Option<Dladdr>>(address) }
}

/// Returns null: on other targets the dynamic section is unknown.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
fn dynamic_section() -> *const Entry {
    core::ptr::null()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{DF_1_NODELETE, DT_DEBUG, DT_FLAGS_1, DT_NULL, Entry, stays_loaded};

    fn section(tag: i64, value: u64) -> [Entry; 3] {
        [Entry { tag: 1, value: 7 }, Entry { tag, value }, Entry { tag: DT_NULL, value: 0 }]
    }

    #[test]
    fn only_executables_and_nodelete_libraries_stay_loaded() {
        assert!(stays_loaded(core::ptr::null()));
        assert!(stays_loaded(section(DT_DEBUG, 0).as_ptr()));
        assert!(stays_loaded(section(DT_FLAGS_1, DF_1_NODELETE | 1).as_ptr()));
        assert!(!stays_loaded(section(DT_FLAGS_1, 1).as_ptr()));
        assert!(!stays_loaded(section(1, DF_1_NODELETE).as_ptr()));
    }
}
