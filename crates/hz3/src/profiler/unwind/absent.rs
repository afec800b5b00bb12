//! The unwinder on other processors, and under Miri: it finds nothing.

/// Returns 0: no frame is known.
pub(crate) fn walk(_frames: &mut [usize]) -> usize {
    0
}
