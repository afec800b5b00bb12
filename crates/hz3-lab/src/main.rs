//! The laboratory of hz3.

fn main() {}
