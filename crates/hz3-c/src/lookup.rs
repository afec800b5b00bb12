//! Looks up functions that the process may lack: of the next allocator, of the C++ runtime.
//!
//! A weak reference finds a symbol that was linked or loaded together with hz3; `dlsym` also finds
//! one that was loaded later. A statically linked program has `dlsym` only if it uses it.

use core::arch::global_asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::hint::black_box;
use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// `RTLD_DEFAULT`: search every object of the process.
const ANYWHERE: *mut c_void = ptr::null_mut();

/// `RTLD_NEXT`: search the objects that come after the caller.
const AFTER_US: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// Marks a symbol that was looked up and not found.
const ABSENT: *mut c_void = ptr::without_provenance_mut(1);

type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
type Dlopen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;

/// Defines pointers that the linker sets to the address of a symbol, or to 0 if it is undefined.
/// Stable Rust has no weak externs.
macro_rules! weak_words {
    ($($word:ident: $type:ty = $symbol:literal;)*) => {
        global_asm!(
            // Writable until the dynamic linker has set the pointers, then read-only.
            ".pushsection .data.rel.ro.hz3_weak, \"aw\", %progbits",
            ".balign 8",
            $(
                concat!(".weak ", $symbol),
                concat!(".hidden ", stringify!($word)),
                concat!(".globl ", stringify!($word)),
                concat!(stringify!($word), ": .8byte ", $symbol),
            )*
            ".popsection",
        );
        unsafe extern "C" {
            $(pub(crate) safe static $word: $type;)*
        }
    };
}

weak_words! {
    hz3_weak_dlsym: Option<Dlsym> = "dlsym";
    hz3_weak_get_new_handler: *mut c_void = "_ZSt15get_new_handlerv";
    hz3_weak_throw_bad_alloc: *mut c_void = "_ZSt17__throw_bad_allocv";
    hz3_weak_allocate_exception: *mut c_void = "__cxa_allocate_exception";
    hz3_weak_throw: *mut c_void = "__cxa_throw";
    hz3_weak_bad_alloc_type: *mut c_void = "_ZTISt9bad_alloc";
    hz3_weak_bad_alloc_table: *mut c_void = "_ZTVSt9bad_alloc";
    hz3_weak_bad_alloc_end: *mut c_void = "_ZNSt9bad_allocD1Ev";
    hz3_weak_begin_catch: *mut c_void = "__cxa_begin_catch";
    hz3_weak_end_catch: *mut c_void = "__cxa_end_catch";
    hz3_weak_set_ip: *mut c_void = "_Unwind_SetIP";
    hz3_weak_set_gr: *mut c_void = "_Unwind_SetGR";
    hz3_weak_find_object: *mut c_void = "_dl_find_object";
    hz3_weak_stack_end: *mut c_void = "__libc_stack_end";
}

fn dlsym(place: *mut c_void, name: &CStr) -> *mut c_void {
    let Some(dlsym) = hz3_weak_dlsym else {
        return ptr::null_mut();
    };
    // SAFETY: it is the C library's dlsym, with a terminated name.
    let found = unsafe { dlsym(place, name.as_ptr()) };
    // RTLD_NEXT is relative to the return address, so this must be a call, not a jump.
    black_box(found)
}

/// Returns an open handle of `library` if the process has loaded it, else NULL.
///
/// The handle is never closed, so that functions found in the library stay loaded.
fn loaded(library: &CStr) -> *mut c_void {
    // Not a weak reference, because the linker warns about dlopen in every static program.
    let dlopen = dlsym(ANYWHERE, c"dlopen");
    if dlopen.is_null() {
        return dlopen;
    }
    // SAFETY: the symbol is the C library's dlopen.
    let dlopen = unsafe { transmute::<*mut c_void, Dlopen>(dlopen) };
    // SAFETY: it is the C library's dlopen, with a terminated name.
    unsafe { dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) }
}

/// A function of the process that is looked up when it is first needed.
#[derive(Debug)]
pub(crate) struct Symbol {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Symbol {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self { name, found: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Returns the definition that comes after hz3's in the search order.
    ///
    /// If there is none, that is remembered: a library loaded later does not come next.
    pub(crate) fn next(&self) -> Option<*mut c_void> {
        let mut found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            found = dlsym(AFTER_US, self.name);
            if found.is_null() {
                found = ABSENT;
            }
            // Two threads may look it up at once; both find the same.
            self.found.store(found, Ordering::Relaxed);
        }
        (found != ABSENT).then_some(found)
    }

    /// Returns the definition that the process uses: linked with hz3 (`weak`), or in one of
    /// `libraries`, which a plugin may have loaded privately, or in the global scope.
    ///
    /// If there is none, that is not remembered: a library may be loaded later.
    pub(crate) fn of_process(&self, weak: *mut c_void, libraries: &[&CStr]) -> Option<*mut c_void> {
        let mut found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            found = weak;
        }
        for library in libraries {
            if found.is_null() {
                let handle = loaded(library);
                if !handle.is_null() {
                    found = dlsym(handle, self.name);
                }
            }
        }
        if found.is_null() {
            found = dlsym(ANYWHERE, self.name);
        }
        self.found.store(found, Ordering::Relaxed);
        (!found.is_null()).then_some(found)
    }
}
