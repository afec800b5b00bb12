//! `hz3 peers`.

use clap::Args;

pub(super) const LONG: &str = "\
List the allocators that can be compared: name, version, library; and how to get those that are not here.

Each one is started once with its library preloaded, so what is listed as present also serves.";

pub(super) const NOTES: &str = "\
A setting makes a variant: NAME:VARIABLE=VALUE, several with more colons, for
instance mimalloc:MIMALLOC_PURGE_DELAY=0. Variants can be named wherever an
allocator can.

Exit status: 0, or 125 when hz3 itself failed.";

/// Which allocators there are besides the known ones; several subcommands take this.
#[derive(Debug, Args)]
pub(crate) struct PeerArgs {
    /// Another allocator: a name and its preload library (may be given several times)
    #[arg(long = "peer", value_name = "NAME=PATH")]
    pub(crate) extra: Vec<String>,
}

/// The options of `hz3 peers`.
#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    #[command(flatten)]
    pub(crate) peers: PeerArgs,

    /// Print one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,

    /// Allocators or variants to look at [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}
