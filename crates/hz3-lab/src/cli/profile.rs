//! `hz3 profile`.

use clap::Args;
use std::path::PathBuf;

pub(super) const LONG: &str = "\
Show which functions hold the memory, from a heap profile in pprof's form (gzipped or not), of hz3 or of \
another allocator. A number stands for a running process on hz3, which writes its profile for this: its user and \
root may ask for that.

The names of functions come from the profile, or else from the program's files and their debug information. \
No other tool is needed.";

pub(super) const NOTES: &str = "\
Columns:
  flat  what the function allocates itself
  cum   what it and the functions that it calls allocate

With --base each figure is the difference to the base, and the percentages are of the
base's total.

Sample types of hz3's profiles:
  inuse_space    bytes in use
  inuse_objects  blocks in use
  alloc_space    bytes allocated since the start
  alloc_objects  blocks allocated since the start
  pinned_space   bytes of pages that are resident only because blocks in use lie in them
  lifetime       how long the blocks lived that were freed

Without --sample it is the one that the profile proposes, or inuse_space, or the last.

A process takes a profile if it was started with HZ3_PROFILE=PATH, or since
`hz3 set PID profile=on`. It writes it at its next tick or slow path, as `hz3 set` says.

Exit status: 0, 1 if the process shows no statistics or takes no profile, 2 for wrong
usage, 125 when hz3 itself failed or the file is no profile.

Examples:
  hz3 profile heap.pb.gz
  hz3 profile heap.pb.gz --sample pinned_space --top 20
  hz3 profile later.pb.gz --base earlier.pb.gz --flame growth.svg
  hz3 profile 1234 --save earlier.pb.gz
  hz3 profile 1234 --base earlier.pb.gz";

/// The options of `hz3 profile`.
#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// The profile, or the number of a process; ./N is a file whose name is a number
    #[arg(value_name = "FILE|PID")]
    pub(crate) source: PathBuf,

    /// Show the difference to this earlier profile
    #[arg(long, value_name = "FILE")]
    pub(crate) base: Option<PathBuf>,

    /// The sample type to show
    #[arg(long, value_name = "TYPE")]
    pub(crate) sample: Option<String>,

    /// Keep the profile of the process in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,

    /// Overwrite the file of --save
    #[arg(long, requires = "save")]
    pub(crate) force: bool,

    /// Show at most this many functions
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(crate) top: usize,

    /// Draw the flame graph into this SVG file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) flame: Option<PathBuf>,

    /// Print one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

impl ProfileArgs {
    /// Returns the number of the process if the source is one.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.source.to_str()?.parse().ok().filter(|&pid| pid > 0)
    }
}
