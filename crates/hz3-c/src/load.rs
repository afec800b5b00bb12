//! What happens when the library is loaded.
//!
//! The core registers its fork handlers at the process's first allocation. In the child of a
//! `fork`, handlers run in the order of registration, before it in the reverse order: ours, which
//! hold every lock, must be the innermost. So we allocate before the constructors of other
//! libraries can register theirs (`-z initfirst` in build.rs has us called first).

use crate::caller;
use crate::posix::{allocate, release};

/// The dynamic linker and the C start-up code call what this section points to.
#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

extern "C" fn on_load() {
    release(allocate(1));
    caller::learn();
}
