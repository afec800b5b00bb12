//! The unwinder on other processors, and under Miri: it finds nothing.

/// Returns 0: no frame is known.
#[cfg_attr(not(test), expect(dead_code, reason = "the profile will call it"))]
pub(crate) fn walk(_frames: &mut [usize]) -> usize {
    0
}
