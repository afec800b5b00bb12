//! Finds the C++ runtime and the unwinder of the process at run time. C programs have neither.

use core::ffi::{CStr, c_int, c_void};
use core::mem::transmute;

use crate::lookup::{
    Symbol, hz3_weak_allocate_exception, hz3_weak_bad_alloc_end, hz3_weak_bad_alloc_table,
    hz3_weak_bad_alloc_type, hz3_weak_begin_catch, hz3_weak_end_catch, hz3_weak_get_new_handler,
    hz3_weak_set_gr, hz3_weak_set_ip, hz3_weak_throw, hz3_weak_throw_bad_alloc,
};

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

/// Libraries that may contain the C++ runtime outside the global scope.
const RUNTIMES: &[&CStr] = &[c"libstdc++.so.6", c"libc++.so.1", c"libc++abi.so.1"];

/// Libraries that may contain the unwinder outside the global scope.
const UNWINDERS: &[&CStr] = &[c"libgcc_s.so.1", c"libunwind.so.1"];

/// The three arguments of `__cxa_throw`: the exception, its type, its destructor.
pub(crate) type Exception = [*mut c_void; 3];

/// The functions of the unwinder that a personality routine needs.
#[derive(Debug)]
pub(crate) struct Unwinder {
    pub(crate) set_register: SetRegister,
    pub(crate) set_instruction: SetInstruction,
}

/// Returns the unwinder of the process, if there is one.
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

/// Returns the handler that the program passed to `std::set_new_handler`. Returns none if `align`
/// is no power of two, because no handler can help then.
pub(crate) fn new_handler(align: usize) -> Option<*mut c_void> {
    if align != 0 && !align.is_power_of_two() {
        return None;
    }
    let get = GET_NEW_HANDLER.of_process(hz3_weak_get_new_handler, RUNTIMES)?;
    // SAFETY: the symbol is `std::get_new_handler`.
    let get = unsafe { transmute::<*mut c_void, GetNewHandler>(get) };
    // SAFETY: the function has no preconditions.
    let handler = unsafe { get() };
    (!handler.is_null()).then_some(handler)
}

/// Returns the function of the runtime that throws `std::bad_alloc`, if there is one.
pub(crate) fn throws_bad_alloc() -> Option<*mut c_void> {
    THROW_BAD_ALLOC.of_process(hz3_weak_throw_bad_alloc, RUNTIMES)
}

/// Returns whether the program has all the symbols that [`make_bad_alloc`] needs.
pub(crate) fn has_parts_of_bad_alloc() -> bool {
    let parts = [
        hz3_weak_allocate_exception,
        hz3_weak_throw,
        hz3_weak_bad_alloc_type,
        hz3_weak_bad_alloc_table,
        hz3_weak_bad_alloc_end,
    ];
    parts.iter().all(|part| !part.is_null())
}

/// Makes a `std::bad_alloc` and returns `__cxa_throw`.
///
/// It is for static programs. If such a program catches `bad_alloc`, it has all these symbols, but
/// perhaps not the library's function that throws one.
pub(crate) extern "C" fn make_bad_alloc(exception: &mut Exception) -> *mut c_void {
    // SAFETY: the pointer leads to `__cxa_allocate_exception`: see `has_parts_of_bad_alloc`.
    let allocate =
        unsafe { transmute::<*mut c_void, AllocateException>(hz3_weak_allocate_exception) };
    // SAFETY: the function takes any size.
    let object = unsafe { allocate(size_of::<*mut c_void>()) };
    // An object points behind the two words at the start of its table of virtual functions.
    let functions = hz3_weak_bad_alloc_table.wrapping_byte_add(2 * size_of::<usize>());
    // SAFETY: the object has room for one pointer; a `bad_alloc` consists of its table pointer.
    unsafe { object.cast::<*mut c_void>().write(functions) };
    *exception = [object, hz3_weak_bad_alloc_type, hz3_weak_bad_alloc_end];
    hz3_weak_throw
}

/// Ends a caught exception, as the end of a `catch` block does.
pub(crate) unsafe extern "C" fn swallow(exception: *mut c_void) {
    let begin = BEGIN_CATCH.of_process(hz3_weak_begin_catch, RUNTIMES);
    let end = END_CATCH.of_process(hz3_weak_end_catch, RUNTIMES);
    let (Some(begin), Some(end)) = (begin, end) else {
        // It is an exception of another language in a process without C++, and is leaked.
        return;
    };
    // SAFETY: the symbol is `__cxa_begin_catch`.
    let begin = unsafe { transmute::<*mut c_void, BeginCatch>(begin) };
    // SAFETY: the symbol is `__cxa_end_catch`.
    let end = unsafe { transmute::<*mut c_void, EndCatch>(end) };
    // SAFETY: the unwinder passed this exception on, and nothing else uses it.
    unsafe { begin(exception) };
    // SAFETY: pairs with the call above.
    unsafe { end() };
}
