//! The operators `new` and `delete` of C++, by their mangled names (`m`: `size_t` is `unsigned
//! long` on every 64-bit Linux).
//!
//! A program may replace the plain forms, `new(size)` and `delete(pointer)`. The standard requires
//! that all other forms call them. So the array, sized and `nothrow` forms jump to the plain form
//! that the program uses, through an address that the linker fills in. If the program replaces
//! none, that is the plain form below, whose fast path is that of `malloc` and `free`.
//!
//! If memory is exhausted, `new` calls the program's new handler until there is memory or no
//! handler. Then the plain forms throw `std::bad_alloc` ([`crate::throw`]). The `nothrow` forms
//! return NULL, also if the handler throws. The C++ runtime is found at run time, because C
//! programs have none.

use core::arch::{global_asm, naked_asm};
use core::ffi::c_void;
use core::mem::transmute;
use core::ptr;

use hz3_alloc::raw;

use crate::attempts::{after_miss, new_cold, new_or_null, new_or_throw};
use crate::family::free_cold;
use crate::throw::guarded_call;

type Delete = unsafe extern "C" fn(*mut c_void);

// The addresses of the plain forms that the process uses: those below, or the program's own.
global_asm!(
    ".pushsection .data.rel.ro.hz3_operators, \"aw\", %progbits",
    ".balign 8",
    ".hidden hz3_used_new",
    ".globl hz3_used_new",
    "hz3_used_new: .8byte _Znwm",
    ".hidden hz3_used_new_aligned",
    ".globl hz3_used_new_aligned",
    "hz3_used_new_aligned: .8byte _ZnwmSt11align_val_t",
    ".hidden hz3_used_delete",
    ".globl hz3_used_delete",
    "hz3_used_delete: .8byte _ZdlPv",
    ".popsection",
);

unsafe extern "C" {
    safe static hz3_used_new: *mut c_void;
    safe static hz3_used_new_aligned: *mut c_void;
    safe static hz3_used_delete: *mut c_void;
    // The linker defines these: the first and the last byte of the image that contains hz3.
    safe static __ehdr_start: u8;
    safe static _end: u8;
}

/// Returns whether a plain form is the program's own.
fn is_replaced(operator: *mut c_void) -> bool {
    let image = ptr::from_ref(&__ehdr_start).addr()..ptr::from_ref(&_end).addr();
    !image.contains(&operator.addr())
}

/// Serves `new(size, nothrow)`, or its aligned form, in a program that replaced the plain form.
#[cold]
fn replaced_or_null(operator: *mut c_void, size: usize, align: usize) -> *mut c_void {
    // SAFETY: the program's `operator new` takes a size, and an alignment in its aligned form.
    unsafe { guarded_call(size, align, operator) }.value
}

/// `operator new(size_t)`
#[unsafe(no_mangle)]
extern "C" fn _Znwm(size: usize) -> *mut c_void {
    // SAFETY: `new_cold` calls `malloc_missed`, and so `malloc_miss`, first.
    unsafe { raw::malloc(size, |size| new_cold(size)) }.cast()
}

/// `operator delete(void*)`
#[unsafe(no_mangle)]
unsafe extern "C" fn _ZdlPv(block: *mut c_void) {
    // SAFETY: the caller passes what `new` returned, or NULL; the core checks it.
    unsafe { raw::free(block.cast(), free_cold) };
}

/// `operator delete(void*, size_t)`. If the program replaced `new`, its size may differ from the
/// size that hz3's `malloc` got, so it is not checked.
#[unsafe(no_mangle)]
unsafe extern "C" fn _ZdlPvm(block: *mut c_void, size: usize) {
    if is_replaced(hz3_used_delete) {
        // SAFETY: the symbol is the program's `operator delete(void*)`.
        let delete = unsafe { transmute::<*mut c_void, Delete>(hz3_used_delete) };
        // SAFETY: the caller passes what `new` returned, or NULL.
        return unsafe { delete(block) };
    }
    if is_replaced(hz3_used_new) {
        // SAFETY: as above; the core checks it.
        return unsafe { raw::free(block.cast(), free_cold) };
    }
    // SAFETY: as above.
    unsafe { raw::free_sized(block.cast(), size, free_cold) };
}

/// `operator new(size_t, align_val_t)`
#[unsafe(no_mangle)]
extern "C" fn _ZnwmSt11align_val_t(size: usize, align: usize) -> *mut c_void {
    new_or_throw(size, align).cast()
}

/// `operator delete(void*, align_val_t)`
#[unsafe(no_mangle)]
unsafe extern "C" fn _ZdlPvSt11align_val_t(block: *mut c_void, _align: usize) {
    // SAFETY: the caller passes what `new` returned, or NULL; the core checks it.
    unsafe { raw::free(block.cast(), free_cold) };
}

/// `operator new(size_t, nothrow_t const&)`
#[unsafe(no_mangle)]
extern "C" fn _ZnwmRKSt9nothrow_t(size: usize, _tag: *const u8) -> *mut c_void {
    if is_replaced(hz3_used_new) {
        return replaced_or_null(hz3_used_new, size, 0);
    }
    let miss = |size| {
        let block = after_miss(size);
        if block.is_null() { new_or_null(size, 0).cast() } else { block.cast() }
    };
    // SAFETY: `after_miss` calls `malloc_missed`, and so `malloc_miss`, first.
    unsafe { raw::malloc(size, miss) }.cast()
}

/// `operator new(size_t, align_val_t, nothrow_t const&)`
#[unsafe(no_mangle)]
extern "C" fn _ZnwmSt11align_val_tRKSt9nothrow_t(
    size: usize,
    align: usize,
    _tag: *const u8,
) -> *mut c_void {
    if is_replaced(hz3_used_new_aligned) {
        return replaced_or_null(hz3_used_new_aligned, size, align);
    }
    new_or_null(size, align)
}

/// Defines forms that only jump to another form, to the one that the process uses.
macro_rules! forwarding {
    ($($(#[doc = $doc:literal])* $name:ident => $target:literal;)*) => {$(
        $(#[doc = $doc])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            naked_asm!(
                ".cfi_startproc",
                concat!("jmp qword ptr [rip + ", $target, "@GOTPCREL]"),
                ".cfi_endproc",
            );
            #[cfg(target_arch = "aarch64")]
            naked_asm!(
                ".cfi_startproc",
                concat!("adrp x16, :got:", $target),
                concat!("ldr x16, [x16, :got_lo12:", $target, "]"),
                "br x16",
                ".cfi_endproc",
            );
        }
    )*};
}

forwarding! {
    /// `operator new[](size_t)`
    _Znam => "_Znwm";
    /// `operator new[](size_t, nothrow_t const&)`
    _ZnamRKSt9nothrow_t => "_ZnwmRKSt9nothrow_t";
    /// `operator new[](size_t, align_val_t)`
    _ZnamSt11align_val_t => "_ZnwmSt11align_val_t";
    /// `operator new[](size_t, align_val_t, nothrow_t const&)`
    _ZnamSt11align_val_tRKSt9nothrow_t => "_ZnwmSt11align_val_tRKSt9nothrow_t";
    /// `operator delete[](void*)`
    _ZdaPv => "_ZdlPv";
    /// `operator delete[](void*, size_t)`
    _ZdaPvm => "_ZdaPv";
    /// `operator delete(void*, nothrow_t const&)`
    _ZdlPvRKSt9nothrow_t => "_ZdlPv";
    /// `operator delete[](void*, nothrow_t const&)`
    _ZdaPvRKSt9nothrow_t => "_ZdaPv";
    /// `operator delete[](void*, align_val_t)`
    _ZdaPvSt11align_val_t => "_ZdlPvSt11align_val_t";
    /// `operator delete(void*, size_t, align_val_t)`
    _ZdlPvmSt11align_val_t => "_ZdlPvSt11align_val_t";
    /// `operator delete[](void*, size_t, align_val_t)`
    _ZdaPvmSt11align_val_t => "_ZdaPvSt11align_val_t";
    /// `operator delete(void*, align_val_t, nothrow_t const&)`
    _ZdlPvSt11align_val_tRKSt9nothrow_t => "_ZdlPvSt11align_val_t";
    /// `operator delete[](void*, align_val_t, nothrow_t const&)`
    _ZdaPvSt11align_val_tRKSt9nothrow_t => "_ZdaPvSt11align_val_t";
}
