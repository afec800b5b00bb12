//! The API on systems that hz3 does not support: `std::alloc::System` serves each call.
//!
//! It has the same items as [`crate::api`], so that a program needs no `cfg`.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::options::Config;
use crate::stats::{Stats, Utilization};

/// The system's allocator, because hz3 supports 64-bit Linux only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hz3;

/// The system's allocator; the configuration is ignored.
#[derive(Clone, Copy, Debug)]
pub struct Configured {
    config: Config,
}

impl Configured {
    /// Creates an allocator; the configuration is ignored.
    pub const fn new(config: Config) -> Configured {
        Configured { config }
    }
}

/// Does nothing and returns 0.
pub fn collect() -> usize {
    0
}

/// Returns statistics that are all 0.
pub fn stats() -> Stats {
    Stats::default()
}

/// Returns `None`: there are no slabs here.
pub fn utilization(_block: *const u8) -> Option<Utilization> {
    None
}

/// Does nothing: there is no memory limit here.
pub fn on_limit(_function: Option<fn(usize)>) {}

/// Options of a running process, of which there are none here.
pub mod control {
    use crate::options::ControlError;

    /// Changes nothing.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`].
    pub fn set(_name: &str, _value: &str) -> Result<(), ControlError> {
        Err(ControlError::Unavailable)
    }
}

/// The heap profile, which does not exist here.
pub mod profile {
    use core::ffi::CStr;

    /// Why no profile was written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum ProfileError {
        /// There is no profile.
        Unavailable,
        /// The file cannot be written; the text says why.
        File(&'static str),
    }

    /// Does nothing and returns false.
    pub fn start(_rate: u32) -> bool {
        false
    }

    /// Does nothing.
    pub fn stop() {}

    /// Writes nothing.
    ///
    /// # Errors
    /// [`ProfileError::Unavailable`].
    pub fn write_pprof(_path: &CStr) -> Result<(), ProfileError> {
        Err(ProfileError::Unavailable)
    }
}

macro_rules! forward_to_system {
    ($type:ty) => {
        // SAFETY: all methods are those of `System`.
        unsafe impl GlobalAlloc for $type {
            #[inline]
            unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
                // SAFETY: the caller's promise.
                unsafe { System.alloc(layout) }
            }

            #[inline]
            unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
                // SAFETY: the caller's promise.
                unsafe { System.dealloc(block, layout) };
            }

            #[inline]
            unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
                // SAFETY: the caller's promise.
                unsafe { System.alloc_zeroed(layout) }
            }

            #[inline]
            unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
                // SAFETY: the caller's promise.
                unsafe { System.realloc(block, layout, size) }
            }
        }
    };
}

forward_to_system!(Hz3);
forward_to_system!(Configured);
