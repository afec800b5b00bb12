//! How a heap is set up: [`Config`], and what its fields can be.
//!
//! Options are read once, before the first allocation is served, from [`Config`] and then from the
//! environment, which wins.

mod policy;
mod table;
mod value;

pub use policy::{Limits, Policy};
pub(crate) use table::{PREFIX, apply};

/// Longest file name for the statistics, with the terminating NUL.
pub(crate) const PATH_BYTES: usize = 256;

/// How the heap is set up. The environment overrides it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Bytes that one thread's cache may hold (`HZ3_THREAD_CACHE`). Default 8 MiB.
    pub thread_cache_bytes: usize,
    /// Blocks of each class that a thread's cache starts with (`HZ3_CACHE_LENGTH`), 2 to 256, rounded
    /// up to a power of two; fewer of classes that may not have so many. Default 2 to 8, by size.
    pub cache_length: Option<usize>,
    /// Address space to reserve, in bytes (`HZ3_ARENA`). Default 1 TiB, less where it is limited.
    pub arena_bytes: Option<usize>,
    /// Number of shards (`HZ3_SHARDS`). Default: the CPUs that the process may use.
    pub shards: Option<usize>,
    /// Count every call (`HZ3_COUNT`), at the price of the fast path. Default off.
    pub count: bool,
    /// Where to write statistics at exit (`HZ3_STATS`). Default nowhere.
    pub report: Report,
    /// When memory goes back to the system (`HZ3_POLICY`). Default [`Policy::Default`].
    pub policy: Policy,
    /// Limits of the policies that are made of epochs.
    pub limits: Limits,
    /// Which threads give memory back (`HZ3_BACKGROUND`). Default [`Background::Auto`].
    pub background: Background,
    /// Milliseconds between two looks at what is free (`HZ3_TICK`): what stays free over two of
    /// them goes back, over six while threads are at work. Default 125.
    pub tick_ms: u32,
    /// Ask for huge pages once the heap has grown beyond 16 MiB (`HZ3_HUGE_PAGES`). Default off.
    pub huge_pages: bool,
    /// Ask for the memory of a whole slab at once when its bin has shown that it fills its slabs
    /// (`HZ3_POPULATE`). Default on.
    pub populate: bool,
    /// What the heap may hold (`HZ3_LIMIT`). Default [`Limit::None`].
    pub limit: Limit,
    /// What happens at the limit (`HZ3_LIMIT_MODE`). Default [`LimitMode::Fail`].
    pub limit_mode: LimitMode,
}

/// What the heap may hold: live blocks, free memory that has not gone back, its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// What the system gives.
    None,
    /// So many bytes.
    Bytes(u64),
    /// A part of the memory that the process's control group may use (cgroup v2, `memory.max` of
    /// the group or of one above it, whichever is least), as it is at the start. No limit where
    /// there is none.
    Cgroup {
        /// From 1 to 100.
        percent: u8,
    },
}

/// What happens when the limit is reached. Either way free memory goes back first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitMode {
    /// Allocation fails, as if the system had no more.
    Fail,
    /// Allocation is served.
    Reclaim,
}

/// Which threads give memory back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Background {
    /// In a process of one thread, that thread's own slow paths; in a process of several threads,
    /// a thread of the allocator's, which ends when there is nothing to do.
    Auto,
    /// A thread of the allocator's, also in a process that has only one thread itself.
    Always,
    /// The slow paths of the program's own threads. The allocator starts no thread.
    Never,
}

/// Where statistics go when the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a process has one, and nothing to box it in")]
pub enum Report {
    /// Nowhere.
    None,
    /// One line of text on stderr.
    Text,
    /// One JSON object on stderr.
    Json,
    /// One JSON object, appended to a file: an absolute path, NUL-terminated.
    File([u8; PATH_BYTES]),
}

impl Config {
    /// The defaults.
    pub const fn new() -> Config {
        Config {
            thread_cache_bytes: 8 * 1024 * 1024,
            cache_length: None,
            arena_bytes: None,
            shards: None,
            count: false,
            report: Report::None,
            policy: Policy::Default,
            limits: Limits::new(),
            background: Background::Auto,
            tick_ms: 125,
            huge_pages: false,
            populate: true,
            limit: Limit::None,
            limit_mode: LimitMode::Fail,
        }
    }

    /// Sets when memory goes back to the system by itself.
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Config {
        self.policy = policy;
        self
    }

    /// Sets the limits of the policies that are made of epochs.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }

    /// Sets which threads give memory back.
    #[must_use]
    pub const fn background(mut self, background: Background) -> Config {
        self.background = background;
        self
    }

    /// Sets what one thread's cache may hold, in bytes.
    #[must_use]
    pub const fn thread_cache_bytes(mut self, bytes: usize) -> Config {
        self.thread_cache_bytes = bytes;
        self
    }

    /// Sets how many blocks of each class one thread's cache starts with.
    #[must_use]
    pub const fn cache_length(mut self, blocks: usize) -> Config {
        self.cache_length = Some(blocks);
        self
    }

    /// Sets the address space to reserve, in bytes.
    #[must_use]
    pub const fn arena_bytes(mut self, bytes: usize) -> Config {
        self.arena_bytes = Some(bytes);
        self
    }

    /// Sets what the heap may hold.
    #[must_use]
    pub const fn limit(mut self, limit: Limit) -> Config {
        self.limit = limit;
        self
    }

    /// Sets the number of shards.
    #[must_use]
    pub const fn shards(mut self, shards: usize) -> Config {
        self.shards = Some(shards);
        self
    }

    /// Sets whether huge pages are asked for once the heap has grown.
    #[must_use]
    pub const fn huge_pages(mut self, huge_pages: bool) -> Config {
        self.huge_pages = huge_pages;
        self
    }

    /// Sets whether the memory of a whole slab may be asked for at once.
    #[must_use]
    pub const fn populate(mut self, populate: bool) -> Config {
        self.populate = populate;
        self
    }

    /// Counts every call.
    #[must_use]
    pub const fn count(mut self, count: bool) -> Config {
        self.count = count;
        self
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}
