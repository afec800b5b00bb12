//! A library that can be preloaded and has no malloc.
