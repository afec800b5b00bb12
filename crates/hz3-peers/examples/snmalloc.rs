//! snmalloc.

use snmalloc_sys as sn;

/// snmalloc takes a constant pointer.
unsafe fn usable(block: *mut c_void) -> usize {
    // SAFETY: handed through from the caller.
    unsafe { sn::sn_malloc_usable_size(block) }
}

hz3_peers::preload! {
    version: c"0.7.6",
    malloc: sn::sn_malloc,
    free: sn::sn_free,
    calloc: sn::sn_calloc,
    realloc: sn::sn_realloc,
    aligned: sn::sn_rust_alloc,
    usable: usable,
}
