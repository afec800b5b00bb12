//! Sets options in the program itself; the environment still overrides them.
//!
//! A limit makes allocation fail instead of letting the system kill the process.
//!
//! `cargo run --example configured`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::num::NonZero;

use hz3::{Config, Configured, Limit};

const LIMIT_BYTES: NonZero<u64> = NonZero::new(64 << 20).expect("not 0");

#[global_allocator]
static ALLOCATOR: Configured =
    Configured::new(Config::new().limit(Limit::Bytes(LIMIT_BYTES)).thread_cache_bytes(1 << 20));

fn main() {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(1 << 20).is_err() {
            break;
        }
        block.resize(1 << 20, 1);
        kept.push(block);
        if kept.len() > 1000 {
            break;
        }
    }
    println!("{} MiB before allocation failed", kept.len());
}
