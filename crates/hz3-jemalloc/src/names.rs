//! The names that `mallctl` knows, and their values.
//!
//! They are those that programs use: `RocksDB`, `MariaDB`, Percona Server, `GitLab`, Redis modules
//! and servers in Rust. `thread.allocatedp` and `thread.deallocatedp` are missing on purpose: folly
//! takes a program for one on jemalloc if the first one moves, and hz3 does not count by thread.
//! `opt.prof` and `prof.*` are missing as in a jemalloc without profiles.

use core::ffi::{c_char, c_uint};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::hz3::{self, Statistics};

/// The meaning of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Version,
    Epoch,
    /// An option with a fixed value.
    Flag(bool),
    /// An option as `unsigned`.
    Unsigned(c_uint),
    /// An option as `size_t`.
    Size(usize),
    /// A time in milliseconds as `ssize_t`.
    Milliseconds(isize),
    PageSize,
    /// `background_thread`: may be set to true, which it is.
    Background,
    /// `thread.arena`: may be set to 0, which it is.
    Arena,
    /// A sum of hz3's statistics, in bytes.
    Total(&'static [&'static str]),
    /// An action without a value: give memory back now.
    Purge,
    /// An action without a value: give old free memory back.
    Decay,
}

/// The names by their numbers. `arena.0` also stands for the number of any other arena.
pub(crate) const NAMES: &[(&str, Key)] = &[
    ("version", Key::Version),
    ("epoch", Key::Epoch),
    ("background_thread", Key::Background),
    ("max_background_threads", Key::Size(1)),
    ("config.prof", Key::Flag(false)),
    ("config.stats", Key::Flag(true)),
    ("opt.abort", Key::Flag(false)),
    ("opt.background_thread", Key::Flag(true)),
    ("opt.narenas", Key::Unsigned(1)),
    ("opt.dirty_decay_ms", Key::Milliseconds(DECAY_MS)),
    ("opt.muzzy_decay_ms", Key::Milliseconds(0)),
    ("stats.allocated", Key::Total(&["allocated"])),
    ("stats.active", Key::Total(&["active"])),
    ("stats.metadata", Key::Total(&["metadata_resident"])),
    ("stats.resident", Key::Total(&["resident"])),
    ("stats.mapped", Key::Total(&["active", "dirty", "metadata"])),
    ("stats.retained", Key::Total(&["retained"])),
    ("arenas.narenas", Key::Unsigned(1)),
    ("arenas.quantum", Key::Size(16)),
    ("arenas.page", Key::PageSize),
    ("arenas.dirty_decay_ms", Key::Milliseconds(DECAY_MS)),
    ("arenas.muzzy_decay_ms", Key::Milliseconds(0)),
    ("arena.0.purge", Key::Purge),
    ("arena.0.decay", Key::Decay),
    ("thread.arena", Key::Arena),
    ("thread.tcache.flush", Key::Decay),
    ("thread.idle", Key::Decay),
];

/// How long free memory stays, at most.
const DECAY_MS: isize = 1000;

/// jemalloc's number for all arenas, `MALLCTL_ARENAS_ALL`.
const ALL_ARENAS: usize = 4096;

/// Returns the index of a name. hz3 has one heap, arena 0.
pub(crate) fn find(name: &[u8]) -> Option<usize> {
    let all = name.strip_prefix(b"arena.4096.");
    NAMES.iter().position(|(known, _)| match (all, known.strip_prefix("arena.0.")) {
        (Some(action), Some(known)) => known.as_bytes() == action,
        _ => known.as_bytes() == name,
    })
}

/// Returns whether hz3 has an arena of this number, which a program put into a MIB.
pub(crate) fn is_arena(number: usize) -> bool {
    number == 0 || number == ALL_ARENAS
}

/// A value, in the type that jemalloc gives it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Text(*const c_char),
    Epoch(u64),
    Flag(bool),
    Unsigned(c_uint),
    Size(usize),
    Signed(isize),
}

/// The number of epochs that programs asked for.
static EPOCH: AtomicU64 = AtomicU64::new(1);

impl Key {
    /// Returns the value; `None` for an action, or if the program does not run on hz3.
    pub(crate) fn read(self) -> Option<Value> {
        Some(match self {
            Self::Version => Value::Text(VERSION.as_ptr()),
            // Relaxed: only the number counts.
            Self::Epoch => Value::Epoch(EPOCH.load(Ordering::Relaxed)),
            Self::Flag(flag) => Value::Flag(flag),
            Self::Background => Value::Flag(true),
            Self::Unsigned(number) => Value::Unsigned(number),
            Self::Arena => Value::Unsigned(0),
            Self::Size(size) => Value::Size(size),
            Self::Milliseconds(time) => Value::Signed(time),
            Self::PageSize => Value::Size(page_size()),
            Self::Total(parts) => {
                let statistics = Statistics::read()?;
                let sum: u64 = parts.iter().map(|part| statistics.number(part)).sum();
                Value::Size(usize::try_from(sum).unwrap_or(usize::MAX))
            }
            Self::Purge | Self::Decay => return None,
        })
    }

    /// Returns whether setting the value is accepted.
    pub(crate) fn accepts(self, new: &[u8]) -> bool {
        match self {
            // As in jemalloc, the number itself is ignored.
            Self::Epoch => {
                EPOCH.fetch_add(1, Ordering::Relaxed);
                true
            }
            Self::Background => new == [1],
            Self::Arena => new.iter().all(|&byte| byte == 0),
            _ => false,
        }
    }

    /// Runs an action; returns false if this is a value.
    pub(crate) fn act(self) -> bool {
        match self {
            Self::Purge => hz3::collect(),
            Self::Decay => hz3::tick(),
            _ => return false,
        }
        true
    }

    /// Returns the size of a value that may be set, in bytes; `None` if it may not.
    pub(crate) fn writable_bytes(self) -> Option<usize> {
        match self {
            Self::Epoch => Some(size_of::<u64>()),
            Self::Background => Some(size_of::<bool>()),
            Self::Arena => Some(size_of::<c_uint>()),
            _ => None,
        }
    }
}

/// The form of jemalloc's versions, because programs parse it; the end says whose it is.
const VERSION: &core::ffi::CStr = c"5.3.0-0-ghz3";

fn page_size() -> usize {
    // SAFETY: sysconf has no precondition.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
