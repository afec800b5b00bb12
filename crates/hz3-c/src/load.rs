//! Starts the heap when the library is loaded.
//!
//! The core registers its fork handlers when the heap starts. Handlers run in reverse order of
//! registration before a `fork`, and in the order of registration after it. Those of hz3, which
//! hold every lock, must run last before it and first after it. So the heap starts before the
//! constructors of other libraries register theirs; `-z initfirst` in build.rs makes this
//! constructor the first.

use hz3_alloc::raw;

use crate::caller;

/// The entry in the table of constructors, which the dynamic linker or the C start-up code calls.
#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

extern "C" fn on_load() {
    raw::start();
    caller::learn();
}
