//! mimalloc 3.

use libmimalloc_sys as mi;

/// mimalloc takes a constant pointer.
unsafe fn usable(block: *mut c_void) -> usize {
    // SAFETY: handed through from the caller.
    unsafe { mi::mi_usable_size(block) }
}

/// mimalloc has size and alignment the other way round.
unsafe fn aligned(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: the caller has checked the alignment.
    unsafe { mi::mi_malloc_aligned(size, alignment) }
}

hz3_peers::preload! {
    version: c"3.3.2",
    malloc: mi::mi_malloc,
    free: mi::mi_free,
    calloc: mi::mi_calloc,
    realloc: mi::mi_realloc,
    aligned: aligned,
    usable: usable,
}
