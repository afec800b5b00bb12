//! How a heap is set up: [`Config`], and what its fields can be.
//!
//! Options are read once, before the first allocation is served, from [`Config`] and then from the
//! environment, which wins. Both are held to the same types, none of which has a value that the
//! heap could not use.

#[cfg(feature = "experiments")]
mod limits;
mod policy;
mod report_path;
mod table;
mod value;
mod within;

use core::num::NonZero;

#[cfg(feature = "experiments")]
pub use limits::Limits;
pub use policy::Policy;
pub use report_path::ReportPath;
pub(crate) use table::apply;
pub(crate) use value::write_bytes;
pub use within::Within;

/// How the heap is set up. The environment overrides it.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub(crate) thread_cache_bytes: usize,
    pub(crate) cache_length: Option<Within<2, 256>>,
    pub(crate) arena_bytes: Option<usize>,
    pub(crate) shards: Option<Within<1, 64>>,
    pub(crate) count: bool,
    pub(crate) report: Report,
    pub(crate) policy: Policy,
    #[cfg(feature = "experiments")]
    pub(crate) limits: Limits,
    pub(crate) background: Background,
    pub(crate) tick_ms: Within<1, 60_000>,
    pub(crate) huge_pages: bool,
    pub(crate) prefault: bool,
    pub(crate) limit: Limit,
    pub(crate) limit_mode: LimitMode,
    /// Slow paths from one validation of the heap to the next (`HZ3_VALIDATE`); 0: there is none.
    #[cfg(feature = "check")]
    pub(crate) validate: Within<0, 1_000_000_000>,
}

/// What the heap may hold: live blocks, free memory that has not gone back, its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// What the system gives.
    None,
    /// So many bytes.
    Bytes(NonZero<u64>),
    /// A part of the memory that the process's control group may use, as it is at the start: the
    /// least limit of the group and of those above it (`memory.max` of cgroup v2,
    /// `memory.limit_in_bytes` of v1). Where there is none, a line on stderr says so, and nothing
    /// is limited.
    Cgroup {
        /// The part, in percent.
        percent: Within<1, 100>,
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
    /// One JSON object on one line, appended to a regular file, which is made if need be
    /// (mode 0644). Symbolic links are not followed. If the file cannot be written, a line on
    /// stderr says why.
    File(ReportPath),
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
            #[cfg(feature = "experiments")]
            limits: Limits::new(),
            background: Background::Auto,
            tick_ms: DEFAULT_TICK_MS,
            huge_pages: false,
            prefault: true,
            limit: Limit::None,
            limit_mode: LimitMode::Fail,
            #[cfg(feature = "check")]
            validate: DEFAULT_VALIDATE,
        }
    }

    /// Sets the bytes that one thread's cache may hold (`HZ3_THREAD_CACHE`). Default 8 MiB; less
    /// when there are more than 16 threads.
    #[must_use]
    pub const fn thread_cache_bytes(mut self, bytes: usize) -> Config {
        self.thread_cache_bytes = bytes;
        self
    }

    /// Sets how many blocks of each class a thread's cache starts with (`HZ3_CACHE_LENGTH`),
    /// rounded up to a power of two; fewer of classes that may not have so many. Default 2 to 8,
    /// by size.
    #[must_use]
    pub const fn cache_length(mut self, blocks: Within<2, 256>) -> Config {
        self.cache_length = Some(blocks);
        self
    }

    /// Sets the most address space that the arena may use, in bytes (`HZ3_ARENA`), 16 MiB to 1 TiB.
    /// Default twice the machine's memory and swap.
    #[must_use]
    pub const fn arena_bytes(mut self, bytes: usize) -> Config {
        self.arena_bytes = Some(bytes);
        self
    }

    /// Sets the number of shards (`HZ3_SHARDS`), rounded up to a power of two. Default: the number
    /// of CPUs that the process may use.
    #[must_use]
    pub const fn shards(mut self, shards: Within<1, 64>) -> Config {
        self.shards = Some(shards);
        self
    }

    /// Sets whether every call is counted (`HZ3_COUNT`), at the price of the fast path. Default
    /// off.
    #[must_use]
    pub const fn count(mut self, count: bool) -> Config {
        self.count = count;
        self
    }

    /// Sets where statistics go when the process ends (`HZ3_STATS`). Default [`Report::None`].
    #[must_use]
    pub const fn report(mut self, report: Report) -> Config {
        self.report = report;
        self
    }

    /// Sets when memory goes back to the system by itself (`HZ3_POLICY`). Default
    /// [`Policy::Default`].
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Config {
        self.policy = policy;
        self
    }

    /// Sets the limits of the policies that are made of epochs. Needs the feature `experiments`.
    #[cfg(feature = "experiments")]
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }

    /// Sets which threads give memory back (`HZ3_BACKGROUND`). Default [`Background::Auto`].
    #[must_use]
    pub const fn background(mut self, background: Background) -> Config {
        self.background = background;
        self
    }

    /// Sets the milliseconds between two looks at what is free (`HZ3_TICK`): what stays free over
    /// two of them goes back, over six while threads are at work. Default 125.
    #[must_use]
    pub const fn tick_ms(mut self, ms: Within<1, 60_000>) -> Config {
        self.tick_ms = ms;
        self
    }

    /// Sets whether huge pages are asked for once the heap has grown beyond 16 MiB
    /// (`HZ3_HUGE_PAGES`). Default off.
    #[must_use]
    pub const fn huge_pages(mut self, huge_pages: bool) -> Config {
        self.huge_pages = huge_pages;
        self
    }

    /// Sets whether the memory of a whole slab is asked for at once when its bin has shown that it
    /// fills its slabs (`HZ3_PREFAULT`). Default on.
    #[must_use]
    pub const fn prefault(mut self, prefault: bool) -> Config {
        self.prefault = prefault;
        self
    }

    /// Sets what the heap may hold (`HZ3_LIMIT`). Default [`Limit::None`].
    #[must_use]
    pub const fn limit(mut self, limit: Limit) -> Config {
        self.limit = limit;
        self
    }

    /// Sets what happens at the limit (`HZ3_LIMIT_MODE`). Default [`LimitMode::Fail`].
    #[must_use]
    pub const fn limit_mode(mut self, mode: LimitMode) -> Config {
        self.limit_mode = mode;
        self
    }
}

const DEFAULT_TICK_MS: Within<1, 60_000> = Within::new(125).unwrap();
#[cfg(feature = "check")]
const DEFAULT_VALIDATE: Within<0, 1_000_000_000> = Within::new(1000).unwrap();

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}
