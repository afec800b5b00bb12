//! Functions that the process may or may not have: the next allocator's, the C++ runtime's.
//!
//! A weak reference finds what was linked or loaded with us; `dlsym` finds what came later. In a
//! statically linked program `dlsym` is itself only there when the program uses it.

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

/// Marks what was looked up and isn't there.
const ABSENT: *mut c_void = ptr::without_provenance_mut(1);

type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
type Dlopen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;

/// Words that the linker fills with the address of a symbol, or with 0 where nobody defines it.
/// Stable Rust has no weak externs.
macro_rules! weak_words {
    ($($word:ident: $type:ty = $symbol:literal;)*) => {
        global_asm!(
            // Writable until the dynamic linker has filled it, then read-only.
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
    // SAFETY: the C library's dlsym, with a terminated name.
    let found = unsafe { dlsym(place, name.as_ptr()) };
    // RTLD_NEXT is relative to the return address: this must be a call, not a jump.
    black_box(found)
}

/// An open handle of `library` if the process has it loaded, else NULL. The handle is not
/// closed: what we found in the library must stay.
fn loaded(library: &CStr) -> *mut c_void {
    // No weak word: a mere reference to dlopen makes the linker warn about each static program.
    let dlopen = dlsym(ANYWHERE, c"dlopen");
    if dlopen.is_null() {
        return dlopen;
    }
    // SAFETY: the symbol is the C library's dlopen.
    let dlopen = unsafe { transmute::<*mut c_void, Dlopen>(dlopen) };
    // SAFETY: the C library's dlopen, with a terminated name.
    unsafe { dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) }
}

/// A function of the process, looked up when it is first needed.
#[derive(Debug)]
pub(crate) struct Symbol {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Symbol {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self { name, found: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The definition that comes after ours in the search order. Its absence is remembered:
    /// libraries loaded later don't come next for us.
    pub(crate) fn next(&self) -> Option<*mut c_void> {
        let mut found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            found = dlsym(AFTER_US, self.name);
            if found.is_null() {
                found = ABSENT;
            }
            // Two threads may look it up at once; they find the same.
            self.found.store(found, Ordering::Relaxed);
        }
        (found != ABSENT).then_some(found)
    }

    /// The definition that the process uses: linked with us (`weak`), in one of `libraries`, which
    /// a plugin may have brought without showing it to others, or visible to everybody.
    /// Absence is not remembered: a library may be loaded later.
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
