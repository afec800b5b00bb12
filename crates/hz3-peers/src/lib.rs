//! Other allocators as preload libraries, one example each: the C library's names over an
//! allocator's own.
//!
//! ```text
//! cargo build --release --examples --manifest-path crates/hz3-peers/Cargo.toml --target-dir target
//! ```
//!
//! puts `libhz3_peer_*.so` into `target/release/examples`, where `hz3 peers` finds them. Each call
//! goes through one jump more than in a library that its authors build; that is about a nanosecond
//! a pair.

/// Defines the C library's allocation functions over those of an allocator, and the name of its
/// version.
#[macro_export]
macro_rules! preload {
    (
        version: $version:literal,
        malloc: $malloc:path,
        free: $free:path,
        calloc: $calloc:path,
        realloc: $realloc:path,
        aligned: $aligned:path,
        usable: $usable:path $(,)?
    ) => {
        use core::ffi::{c_char, c_int, c_void};

        /// The version that `hz3 peers` shows.
        #[unsafe(no_mangle)]
        pub extern "C" fn hz3_peer_version() -> *const c_char {
            $version.as_ptr()
        }

        /// As in the C library; so are all that follow.
        #[unsafe(no_mangle)]
        pub extern "C" fn malloc(size: usize) -> *mut c_void {
            // SAFETY: malloc takes any size.
            unsafe { $malloc(size) }
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn free(block: *mut c_void) {
            // SAFETY: handed through from the caller.
            unsafe { $free(block) }
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
            // SAFETY: calloc takes any numbers.
            unsafe { $calloc(count, size) }
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
            // SAFETY: handed through from the caller.
            unsafe { $realloc(block, size) }
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
            // SAFETY: the alignment is checked to be a power of two.
            if alignment.is_power_of_two() {
                unsafe { $aligned(alignment, size) }
            } else {
                core::ptr::null_mut()
            }
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
            memalign(alignment, size)
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn posix_memalign(
            place: *mut *mut c_void,
            alignment: usize,
            size: usize,
        ) -> c_int {
            if !alignment.is_power_of_two() || alignment < size_of::<usize>() {
                return libc::EINVAL;
            }
            let block = memalign(alignment, size);
            if block.is_null() {
                return libc::ENOMEM;
            }
            // SAFETY: the caller gave a place for one pointer.
            unsafe { place.write(block) };
            0
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub extern "C" fn valloc(size: usize) -> *mut c_void {
            memalign(4096, size)
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
            size.checked_next_multiple_of(4096)
                .map_or(core::ptr::null_mut(), |size| memalign(4096, size))
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn reallocarray(
            block: *mut c_void,
            count: usize,
            size: usize,
        ) -> *mut c_void {
            match count.checked_mul(size) {
                // SAFETY: handed through from the caller.
                Some(bytes) => unsafe { $realloc(block, bytes) },
                None => core::ptr::null_mut(),
            }
        }

        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
            // SAFETY: handed through from the caller.
            unsafe { $usable(block) }
        }
    };
}
