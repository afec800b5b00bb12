//! The layout of the statistics page: what its writer and its readers must agree on.
//!
//! The library writes the page and the tool hz3 reads it from outside. Both compile this file, the
//! library with atomic words and the tool with plain ones.

use core::ffi::CStr;

/// The first eight bytes of the page.
pub(crate) const MAGIC: [u8; 8] = *b"hz3stats";
/// The version of the layout. It changes if a reader of the old one would misread the page; more
/// names at the end of the list are no change.
pub(crate) const VERSION: u32 = 1;
/// The name of the mapping, which `/proc/PID/maps` shows as `[anon:hz3-stats]`.
pub(crate) const MAPPING: &CStr = c"hz3-stats";
/// The largest page that a reader must expect, in bytes.
pub(crate) const MAX_BYTES: u64 = 64 * 1024;

/// A row of the classes: block bytes, slabs, blocks live or cached, cached blocks.
pub(crate) type ClassRow<Long> = [Long; 4];
/// A row of the threads: id, 1 if it ran a slow path since the last tick, cached bytes, slow paths.
pub(crate) type ThreadRow<Long> = [Long; 4];

/// A row of the classes, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) block_bytes: u64,
    pub(crate) slabs: u64,
    /// Blocks that the program holds.
    pub(crate) live: u64,
    pub(crate) cached: u64,
}

impl Class {
    /// Takes a row of the page; returns `None` for a class without slabs.
    pub(crate) fn of_row([block_bytes, slabs, used, cached]: [u64; 4]) -> Option<Class> {
        // The two are read one after the other, so blocks may have moved between.
        let cached = cached.min(used);
        (slabs > 0).then_some(Class { block_bytes, slabs, live: used - cached, cached })
    }
}

/// Where a reader finds the parts, in bytes from the start of the page. `sequence` and `pid` are
/// the only words that change.
#[repr(C)]
pub(crate) struct Head<Word, Long> {
    /// [`MAGIC`], written last.
    pub(crate) magic: Long,
    pub(crate) version: Word,
    /// The bytes of the page.
    pub(crate) bytes: Word,
    /// Odd while a thread writes.
    pub(crate) sequence: Word,
    /// The process that wrote last, in its own namespace. A forked child inherits its parent's page
    /// and has not written it yet.
    pub(crate) pid: Word,
    pub(crate) names_at: Word,
    pub(crate) name_bytes: Word,
    pub(crate) values_at: Word,
    pub(crate) values: Word,
    pub(crate) classes_at: Word,
    pub(crate) classes: Word,
    pub(crate) class_words: Word,
    pub(crate) threads_at: Word,
    pub(crate) threads: Word,
    pub(crate) thread_words: Word,
    pub(crate) request_at: Word,
    pub(crate) command_bytes: Word,
}

/// The fields by which a reader asks.
#[repr(C)]
pub(crate) struct Request<Word, Command> {
    /// The number of the last request that was answered.
    pub(crate) answered: Word,
    /// A number other than the last one. The reader writes it last.
    pub(crate) number: Word,
    /// The [`hash`] of the command without its NUL. A command with another hash is not obeyed: two
    /// readers may have written at once.
    pub(crate) hash: Word,
    /// The outcome of the last command, one of [`answer`].
    pub(crate) answer: Word,
    /// `name=value` and NUL, an option to set; empty to update the figures alone. Empty again once
    /// it was obeyed.
    pub(crate) command: Command,
}

/// Values of [`Request::answer`].
pub(crate) mod answer {
    pub(crate) const DONE: u32 = 1;
    pub(crate) const UNKNOWN_NAME: u32 = 2;
    pub(crate) const BAD_VALUE: u32 = 3;
    pub(crate) const UNAVAILABLE: u32 = 4;
    /// The command is not the one that its reader wrote.
    pub(crate) const GARBLED: u32 = 5;
}

/// Returns the FNV-1a hash of a command.
pub(crate) fn hash(command: &[u8]) -> u32 {
    let start = 0x811c_9dc5;
    command.iter().fold(start, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
