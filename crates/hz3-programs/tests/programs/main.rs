//! Real programs under the preload library: each does real work, and what comes out is compared
//! with the same work on the system's allocator, or with what is known to be right.

mod c_code;
mod cargo;
mod compilers;
mod git;
mod java;
mod nginx;
mod node;
mod perl;
mod python;
mod redis;
mod shell;
mod sqlite;
