//! The bottom layer: units, tables and small structures that know nothing of the layers above.

#[cfg(not(loom))]
pub(crate) mod bits;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "writes to stderr and aborts")]
pub(crate) mod fatal;
#[cfg(not(loom))]
pub(crate) mod size_class;
pub(crate) mod sync;
#[cfg(not(loom))]
pub(crate) mod treap;
#[cfg(not(loom))]
pub(crate) mod units;
