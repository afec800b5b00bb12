//! `hz3 demo`.

use super::peers::PeerArgs;
use super::values::rounds;
use clap::Args;
use std::path::PathBuf;

pub(super) const LONG: &str = "\
Show whether freed memory returns to the system. Every installed allocator runs a burst of allocations and \
frees it in three situations: the threads stay, another thread frees the blocks, one block in twenty \
survives. The resident set is read one second later. Then two loops measure the speed. The result is tables, \
a sentence on each case, and a page with pictures.";

pub(super) const NOTES: &str = "\
It takes about half a minute per allocator. For small differences in speed use
`hz3 compare`.

Exit status: as for `hz3 compare`.";

/// The options of `hz3 demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// An allocator or a variant NAME:VARIABLE=VALUE (several times) [default: all that are here]
    #[arg(short, long = "allocator", value_name = "NAME")]
    pub(crate) allocators: Vec<String>,

    #[command(flatten)]
    pub(crate) peers: PeerArgs,

    /// Where the page goes; the results get the same name with .json and .csv [default:
    /// hz3-demo.html, or the first free one of hz3-demo-2.html and so on]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Overwrite the files of --out
    #[arg(long)]
    pub(crate) force: bool,

    /// Rounds; fewer than 6 give no interval
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = rounds())]
    pub(crate) rounds: u32,
}
