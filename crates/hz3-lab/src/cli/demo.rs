//! `hz3 demo`.

use super::peers::PeerArgs;
use clap::Args;
use std::path::PathBuf;

pub(super) const LONG: &str = "\
Show in about a minute what hz3 is for: the seeds' case in small. Every allocator that is here allocates \
bursts in four threads, frees them and idles; then a loop of random sizes and one with remote frees measure \
the speed. It ends with the tables, a sentence, and a page with pictures.";

pub(super) const NOTES: &str = "\
A minute is enough to see the orders of magnitude, not small differences: for these
see `hz3 compare`.

Exit status: as for `hz3 compare`.";

/// The options of `hz3 demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// An allocator or a variant NAME:VARIABLE=VALUE (several times) [default: all that are here]
    #[arg(short, long = "allocator", value_name = "NAME")]
    pub(crate) allocators: Vec<String>,

    #[command(flatten)]
    pub(crate) peers: PeerArgs,

    /// Where the page goes; the results get the same name with .json and .csv
    #[arg(short, long, value_name = "FILE", default_value = "hz3-demo.html")]
    pub(crate) out: PathBuf,
}
