//! What happens when the library is loaded.
//!
//! The core registers its fork handlers when its heap starts. In the child of a `fork`, handlers
//! run in the order of registration, before it in the reverse order: ours, which hold every lock,
//! must be the innermost. So we start the heap before the constructors of other libraries can
//! register theirs (`-z initfirst` in build.rs has us called first).

use hz3_alloc::raw;

use crate::caller;

/// The dynamic linker and the C start-up code call what this section points to.
#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

extern "C" fn on_load() {
    raw::start();
    caller::learn();
}
