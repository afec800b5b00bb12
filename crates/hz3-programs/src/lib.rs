//! Real programs on hz3: what they need, how they are started, how it is proved that hz3 served
//! them.
//!
//! A test does real work with a program twice in the same directory: first on the system's
//! allocator, then with the library under test preloaded. It compares the results:
//!
//! ```no_run
//! # use hz3_programs::{Result, compare};
//! fn sorts() -> Result {
//!     compare("sort", 1, |site| {
//!         site.write("in", "b\na\n")?;
//!         Ok(site.run("sort")?.arg("in").output()?.stdout)
//!     })
//! }
//! ```
//!
//! A run with the library must also meet three conditions besides equal output. Each process that
//! the test starts mapped the library. At least the stated number of processes served allocations
//! from it, as their statistics say. No process wrote a line that begins with `hz3:`.
//!
//! `PRELOAD_UNDER_TEST=/path/to/other.so` runs the same tests on another allocator, which tells
//! apart a fault of hz3 and a fault of a test.

pub mod input;
pub mod packages;
mod place;
mod port;
mod preload;
mod process;
mod site;

pub use hz3_tools::{Failure, Result, Signal};
pub use port::free_port;
pub use preload::Preload;
pub use process::{Output, Process, Run};
pub use site::{Site, check, compare};
