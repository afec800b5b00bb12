//! Chores of the hz3 workspace.

fn main() {}
