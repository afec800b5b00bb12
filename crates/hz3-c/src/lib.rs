//! The C face of hz3.
