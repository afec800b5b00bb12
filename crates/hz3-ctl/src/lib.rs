//! hz3's statistics under the paths of `tikv-jemalloc-ctl`, so that a server's code for metrics
//! compiles with one changed line:
//!
//! ```
//! // Or in Cargo.toml: tikv-jemalloc-ctl = { package = "hz3-ctl", ... }
//! use hz3_ctl as tikv_jemalloc_ctl;
//! use tikv_jemalloc_ctl::{epoch, stats};
//!
//! #[global_allocator]
//! static ALLOCATOR: hz3::Hz3 = hz3::Hz3;
//!
//! fn main() -> tikv_jemalloc_ctl::Result<()> {
//!     epoch::advance()?;
//!     let held = Box::new([0_u8; 4096]);
//!     epoch::advance()?;
//!     assert!(stats::allocated::read()? >= size_of_val(&*held));
//!     Ok(())
//! }
//! ```
//!
//! As in jemalloc, the figures are those of the last [`epoch::advance`]; before the first one,
//! those of the first read. There are two differences:
//!
//! - Options of jemalloc can be read where hz3 has an answer. Setting one returns an [`Error`].
//! - There are no raw `mallctl` names and no trait `Access`.
#![allow(
    non_camel_case_types,
    reason = "`epoch::advance()` works on a type of this name, as in tikv-jemalloc-ctl"
)]
#![forbid(unsafe_code)]

mod snapshot;

use std::fmt;

/// The reason why a name cannot be written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(&'static str);

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Error {}

/// The result of every function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Makes a type with `read` and `mib`, and the type that `mib` returns.
macro_rules! readable {
    ($($(#[doc = $doc:literal])+ $name:ident, $mib:ident => $value:ty = $read:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            #[doc = concat!("What [`", stringify!($name), "::mib`] returns.")]
            #[derive(Clone, Copy, Debug)]
            pub struct $mib(());

            impl $name {
                /// Returns a handle to read the value again and again.
                ///
                /// # Errors
                /// None; the type is that of `tikv-jemalloc-ctl`.
                pub fn mib() -> $crate::Result<$mib> {
                    Ok($mib(()))
                }

                /// Returns the value.
                ///
                /// # Errors
                /// None; the type is that of `tikv-jemalloc-ctl`.
                pub fn read() -> $crate::Result<$value> {
                    Ok($read)
                }
            }

            impl $mib {
                /// Returns the value.
                ///
                /// # Errors
                /// None; the type is that of `tikv-jemalloc-ctl`.
                pub fn read(self) -> $crate::Result<$value> {
                    $name::read()
                }
            }
        )+
    };
}

readable! {
    /// The number of the last [`epoch::advance`].
    epoch, epoch_mib => u64 = snapshot::number();
    /// hz3's version, `hz3-` and the number.
    version, version_mib => &'static str = concat!("hz3-", env!("CARGO_PKG_VERSION"));
    /// Whether hz3 has a thread of its own that gives memory back. It always may have one.
    background_thread, background_thread_mib => bool = true;
    /// The largest number of threads that hz3 itself may run.
    max_background_threads, max_background_threads_mib => usize = 1;
}

impl epoch {
    /// Reads the statistics anew; returns the number of this reading.
    ///
    /// # Errors
    /// None; the type is that of `tikv-jemalloc-ctl`.
    pub fn advance() -> Result<u64> {
        Ok(snapshot::advance())
    }

    /// As [`epoch::advance`]; the value is ignored, as in jemalloc.
    ///
    /// # Errors
    /// None; the type is that of `tikv-jemalloc-ctl`.
    pub fn write(_value: u64) -> Result<()> {
        snapshot::advance();
        Ok(())
    }

    /// As [`epoch::advance`], but returns the number of the reading before.
    ///
    /// # Errors
    /// None; the type is that of `tikv-jemalloc-ctl`.
    pub fn update(_value: u64) -> Result<u64> {
        Ok(snapshot::advance() - 1)
    }
}

impl epoch_mib {
    /// See [`epoch::advance`].
    ///
    /// # Errors
    /// None; the type is that of `tikv-jemalloc-ctl`.
    pub fn advance(self) -> Result<u64> {
        epoch::advance()
    }

    /// See [`epoch::write`].
    ///
    /// # Errors
    /// None; the type is that of `tikv-jemalloc-ctl`.
    pub fn write(self, value: u64) -> Result<()> {
        epoch::write(value)
    }

    /// See [`epoch::update`].
    ///
    /// # Errors
    /// None; the type is that of `tikv-jemalloc-ctl`.
    pub fn update(self, value: u64) -> Result<u64> {
        epoch::update(value)
    }
}

impl background_thread {
    /// Accepts `true`, which servers write at their start.
    ///
    /// # Errors
    /// For `false`: `HZ3_BACKGROUND=0` keeps hz3 from starting its thread.
    pub fn write(wanted: bool) -> Result<()> {
        if wanted {
            Ok(())
        } else {
            Err(Error("HZ3_BACKGROUND=0 keeps hz3 from starting a thread"))
        }
    }

    /// As [`background_thread::write`]; returns the value before.
    ///
    /// # Errors
    /// As there.
    pub fn update(wanted: bool) -> Result<bool> {
        Self::write(wanted).map(|()| true)
    }
}

impl background_thread_mib {
    /// See [`background_thread::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(self, wanted: bool) -> Result<()> {
        background_thread::write(wanted)
    }

    /// See [`background_thread::update`].
    ///
    /// # Errors
    /// As there.
    pub fn update(self, wanted: bool) -> Result<bool> {
        background_thread::update(wanted)
    }
}

/// The totals, in bytes.
pub mod stats {
    use crate::snapshot::figure;

    readable! {
        /// Held by the program, each block as large as its size class.
        allocated, allocated_mib => usize = figure(|s| s.allocated);
        /// In slabs and large blocks that hold at least one block of the program or of a cache.
        active, active_mib => usize = figure(|s| s.active);
        /// The resident part of hz3's tables and caches.
        metadata, metadata_mib => usize = figure(|s| s.metadata_resident);
        /// The resident set of the whole process, so it also has the program's code and stacks;
        /// jemalloc's figure has its own memory only.
        resident, resident_mib => usize = figure(|s| s.resident);
        /// Mapped pages that may be resident: `active`, the tables, and free pages that were not
        /// given back yet.
        mapped, mapped_mib => usize = figure(|s| s.active + s.dirty + s.metadata);
        /// Mapped pages that were given back.
        retained, retained_mib => usize = figure(|s| s.retained);
    }
}

/// One heap, which jemalloc would call an arena.
pub mod arenas {
    readable! {
        /// hz3 has one heap.
        narenas, narenas_mib => u32 = 1;
    }
}
