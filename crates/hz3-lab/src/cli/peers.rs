//! `hz3 peers`.

use clap::Args;

pub(super) const LONG: &str = "\
List the allocators that can be compared (name, version, library), and how to install the others.

Each is started once with its library preloaded, so a listed allocator is known to work.";

pub(super) const NOTES: &str = "\
NAME:VARIABLE=VALUE is a variant with a setting (several separated by colons), for
instance mimalloc:MIMALLOC_PURGE_DELAY=0. A variant is accepted wherever an
allocator is.

Exit status: 0, 2 for wrong usage, 125 when hz3 itself failed.";

/// Which allocators there are besides the known ones; several subcommands take this.
#[derive(Debug, Args)]
pub(crate) struct PeerArgs {
    /// Compare this one too: a name and its preload library (may be given several times)
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
