//! The operators `new` and `delete` of C++, by their mangled names (`m`: `size_t` is `unsigned
//! long` on every 64-bit Linux).
//!
//! A program may replace the plain forms, `new(size)` and `delete(pointer)`, and the standard
//! wants all others to end there. So the array, sized and `nothrow` forms go through the symbol
//! that the program really uses: one jump through a word that the linker fills. In an unreplaced
//! program that is our own plain form, whose hot path is that of `malloc` and `free`.
//!
//! When memory is exhausted, `new` calls the program's new handler until there is memory or no
//! handler; then the plain forms throw `std::bad_alloc` ([`crate::throw`]) and the `nothrow` forms
//! return NULL, also when the handler throws. The C++ runtime is found at run time: C programs
//! need none.

use core::arch::{global_asm, naked_asm};
use core::ffi::{CStr, c_int, c_void};
use core::mem::transmute;
use core::ptr;

use hz3_alloc::raw;

use crate::caller::free_cold;
use crate::lookup::{
    Symbol, hz3_weak_allocate_exception, hz3_weak_bad_alloc_end, hz3_weak_bad_alloc_table,
    hz3_weak_bad_alloc_type, hz3_weak_begin_catch, hz3_weak_end_catch, hz3_weak_get_new_handler,
    hz3_weak_set_gr, hz3_weak_set_ip, hz3_weak_throw, hz3_weak_throw_bad_alloc,
};
use crate::posix::{aligned, allocate, malloc_within};
use crate::throw::{Exception, guarded_call, new_cold, new_or_throw, throw_bad_alloc};

type Delete = unsafe extern "C" fn(*mut c_void);
type GetNewHandler = unsafe extern "C" fn() -> *mut c_void;
type AllocateException = unsafe extern "C" fn(usize) -> *mut c_void;
type BeginCatch = unsafe extern "C" fn(*mut c_void) -> *mut c_void;
type EndCatch = unsafe extern "C" fn();
type SetRegister = unsafe extern "C" fn(*mut c_void, c_int, usize);
type SetInstruction = unsafe extern "C" fn(*mut c_void, usize);

static GET_NEW_HANDLER: Symbol = Symbol::new(c"_ZSt15get_new_handlerv");
static THROW_BAD_ALLOC: Symbol = Symbol::new(c"_ZSt17__throw_bad_allocv");
static BEGIN_CATCH: Symbol = Symbol::new(c"__cxa_begin_catch");
static END_CATCH: Symbol = Symbol::new(c"__cxa_end_catch");
static SET_REGISTER: Symbol = Symbol::new(c"_Unwind_SetGR");
static SET_INSTRUCTION: Symbol = Symbol::new(c"_Unwind_SetIP");

/// Where the C++ runtime may be without being visible to us.
const RUNTIMES: &[&CStr] = &[c"libstdc++.so.6", c"libc++.so.1", c"libc++abi.so.1"];

/// Where the unwinder may be without being visible to us.
const UNWINDERS: &[&CStr] = &[c"libgcc_s.so.1", c"libunwind.so.1"];

/// The functions of the unwinder that a personality routine needs.
#[derive(Debug)]
pub(crate) struct Unwinder {
    pub(crate) set_register: SetRegister,
    pub(crate) set_instruction: SetInstruction,
}

/// The unwinder of the process, if there is one.
pub(crate) fn unwinder() -> Option<Unwinder> {
    let set_register = SET_REGISTER.of_process(hz3_weak_set_gr, UNWINDERS)?;
    let set_instruction = SET_INSTRUCTION.of_process(hz3_weak_set_ip, UNWINDERS)?;
    Some(Unwinder {
        // SAFETY: the symbol is the unwinder's `_Unwind_SetGR`.
        set_register: unsafe { transmute::<*mut c_void, SetRegister>(set_register) },
        // SAFETY: the symbol is the unwinder's `_Unwind_SetIP`.
        set_instruction: unsafe { transmute::<*mut c_void, SetInstruction>(set_instruction) },
    })
}

/// The first attempt of a plain form whose fast path has missed.
pub(crate) extern "C" fn after_miss(size: usize) -> *mut c_void {
    malloc_within(size).cast()
}

/// One attempt at allocating. `align` 0 asks for nothing in particular; one that is no power of
/// two can't be served.
pub(crate) extern "C" fn attempt(size: usize, align: usize) -> *mut c_void {
    match align {
        0 => allocate(size),
        align if align.is_power_of_two() => aligned(align, size),
        _ => ptr::null_mut(),
    }
}

/// The function to call when an attempt failed: the program's new handler, after which the next
/// attempt follows, or one that doesn't return.
pub(crate) extern "C" fn next_step(align: usize) -> *mut c_void {
    if let Some(handler) = new_handler(align) {
        return handler;
    }
    if let Some(throw) = THROW_BAD_ALLOC.of_process(hz3_weak_throw_bad_alloc, RUNTIMES) {
        return throw;
    }
    let parts = [
        hz3_weak_allocate_exception,
        hz3_weak_throw,
        hz3_weak_bad_alloc_type,
        hz3_weak_bad_alloc_table,
        hz3_weak_bad_alloc_end,
    ];
    if parts.iter().all(|part| !part.is_null()) {
        return throw_bad_alloc as *mut c_void;
    }
    cannot_throw as *mut c_void
}

/// Makes a `std::bad_alloc` and returns `__cxa_throw`. For static programs: those that catch a
/// `bad_alloc` have all its parts, but not always the function of the library that throws one.
pub(crate) extern "C" fn make_bad_alloc(exception: &mut Exception) -> *mut c_void {
    // SAFETY: the weak word is `__cxa_allocate_exception`; `next_step` saw that it isn't null.
    let allocate =
        unsafe { transmute::<*mut c_void, AllocateException>(hz3_weak_allocate_exception) };
    // SAFETY: takes any size.
    let object = unsafe { allocate(size_of::<*mut c_void>()) };
    // Objects point behind the two words that a table of virtual functions begins with.
    let functions = hz3_weak_bad_alloc_table.wrapping_byte_add(2 * size_of::<usize>());
    // SAFETY: the runtime gave as many bytes; a `bad_alloc` is nothing but its table pointer.
    unsafe { object.cast::<*mut c_void>().write(functions) };
    *exception = [object, hz3_weak_bad_alloc_type, hz3_weak_bad_alloc_end];
    hz3_weak_throw
}

extern "C" fn cannot_throw() -> ! {
    raw::fatal("operator new: no memory, and no C++ runtime that could throw bad_alloc", 0)
}

/// What the program gave to `std::set_new_handler`. No handler can help with an alignment that is
/// no power of two.
fn new_handler(align: usize) -> Option<*mut c_void> {
    if align != 0 && !align.is_power_of_two() {
        return None;
    }
    let get = GET_NEW_HANDLER.of_process(hz3_weak_get_new_handler, RUNTIMES)?;
    // SAFETY: the symbol is `std::get_new_handler`.
    let get = unsafe { transmute::<*mut c_void, GetNewHandler>(get) };
    // SAFETY: no preconditions.
    let handler = unsafe { get() };
    (!handler.is_null()).then_some(handler)
}

/// Ends an exception that was caught, as the end of a `catch` block does.
pub(crate) unsafe extern "C" fn swallow(exception: *mut c_void) {
    let begin = BEGIN_CATCH.of_process(hz3_weak_begin_catch, RUNTIMES);
    let end = END_CATCH.of_process(hz3_weak_end_catch, RUNTIMES);
    let (Some(begin), Some(end)) = (begin, end) else {
        // An exception of another language, in a process without C++: it stays allocated.
        return;
    };
    // SAFETY: the symbol is `__cxa_begin_catch`.
    let begin = unsafe { transmute::<*mut c_void, BeginCatch>(begin) };
    // SAFETY: the symbol is `__cxa_end_catch`.
    let end = unsafe { transmute::<*mut c_void, EndCatch>(end) };
    // SAFETY: the unwinder handed us this exception, and nobody else has it.
    unsafe { begin(exception) };
    // SAFETY: pairs with the call above.
    unsafe { end() };
}

// The plain forms that the process uses: ours, or the program's own.
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
    // The linker's: the first and the last byte of the image that we are linked into.
    safe static __ehdr_start: u8;
    safe static _end: u8;
}

/// Whether a plain form is the program's own.
fn is_replaced(operator: *mut c_void) -> bool {
    let image = ptr::from_ref(&__ehdr_start).addr()..ptr::from_ref(&_end).addr();
    !image.contains(&operator.addr())
}

/// `new(size, nothrow)` of a program that replaced `new(size)`, or its aligned sibling.
#[cold]
fn replaced_or_null(operator: *mut c_void, size: usize, align: usize) -> *mut c_void {
    // SAFETY: the program's `operator new` takes a size, and an alignment in its aligned form.
    unsafe { guarded_call(size, align, operator) }.value
}

/// Attempts until there is memory, no handler, or the handler throws.
#[cold]
#[inline(never)]
fn new_or_null(size: usize, align: usize) -> *mut c_void {
    loop {
        let block = attempt(size, align);
        if !block.is_null() {
            return block;
        }
        let Some(handler) = new_handler(align) else {
            return ptr::null_mut();
        };
        // SAFETY: a new handler takes nothing.
        if unsafe { guarded_call(0, 0, handler) }.returned == 0 {
            return ptr::null_mut();
        }
    }
}

/// `operator new(size_t)`
#[unsafe(no_mangle)]
extern "C" fn _Znwm(size: usize) -> *mut c_void {
    // SAFETY: `new_cold` calls `malloc_within`, and so `malloc_miss`, first.
    unsafe { raw::malloc(size, |size| new_cold(size)) }.cast()
}

/// `operator delete(void*)`
#[unsafe(no_mangle)]
unsafe extern "C" fn _ZdlPv(block: *mut c_void) {
    // SAFETY: the caller passes what `new` returned, or NULL; the core checks it.
    unsafe { raw::free(block.cast(), free_cold) };
}

/// `operator delete(void*, size_t)`. Where `new` is the program's own, the size may be another than
/// the one that our `malloc` got.
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
    // SAFETY: `after_miss` calls `malloc_within`, and so `malloc_miss`, first.
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

/// Forms that add nothing to another form: a jump to the one that the process uses.
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
