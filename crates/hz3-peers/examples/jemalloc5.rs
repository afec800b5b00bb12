//! jemalloc 5.

use tikv_jemalloc_sys as je;

/// jemalloc takes a constant pointer.
unsafe fn usable(block: *mut c_void) -> usize {
    // SAFETY: handed through from the caller.
    unsafe { je::malloc_usable_size(block) }
}

hz3_peers::preload! {
    version: c"5.3.1",
    malloc: je::malloc,
    free: je::free,
    calloc: je::calloc,
    realloc: je::realloc,
    aligned: je::aligned_alloc,
    usable: usable,
}
