//! The bottom layer: units, tables and small structures that know nothing of the layers above.

pub(crate) mod bits;
pub(crate) mod class_set;
pub(crate) mod eventcount;
#[cfg_attr(target_os = "linux", expect(unsafe_code, reason = "writes to stderr"))]
pub(crate) mod fixed_buffer;
#[expect(unsafe_code, reason = "follows the links of the list")]
pub(crate) mod list;
pub(crate) mod size_class;
pub(crate) mod sync;
pub(crate) mod treap;
pub(crate) mod units;
