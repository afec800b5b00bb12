//! Shows how much memory the heap holds before a burst, at its peak, and after it.
//!
//! `cargo run --example statistics`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

fn show(moment: &str) {
    let stats = hz3::stats();
    let mib = |bytes: u64| bytes / (1024 * 1024);
    println!(
        "{moment:<8} {:>4} MiB held, {:>4} MiB cached and slack, {:>4} MiB free, {:>4} MiB resident",
        mib(stats.allocated),
        mib(stats.cached + stats.slack),
        mib(stats.dirty),
        mib(stats.resident),
    );
}

fn main() {
    show("before");
    let burst: Vec<Vec<u8>> = (0..100_000).map(|n| vec![1; 256 + n % 1024]).collect();
    show("peak");
    drop(burst);
    show("freed");
    let given_back = hz3::collect();
    show("collected");
    println!("collect gave {} MiB back", given_back / (1024 * 1024));
}
