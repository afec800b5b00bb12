//! The configuration of the heap: [`Config`] and the types of its fields.
//!
//! hz3 reads its options once, before the first allocation: from [`Config`], then from the
//! environment, which overrides it. Both use the same types. Every value of these types is valid
//! for the heap.

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
pub(crate) use report_path::ProcessPath;
pub use report_path::ReportPath;
#[cfg(fuzzing)]
pub(crate) use table::oracle;
pub(crate) use table::{apply, is_of_jemalloc, mention, mention_without_effect, set_live};
pub(crate) use value::write_bytes;
pub use within::Within;

/// The configuration of the heap; the environment overrides it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
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
    pub(crate) pressure: bool,
    pub(crate) profile: Option<ReportPath>,
    pub(crate) profile_rate: NonZero<u32>,
    pub(crate) profile_signal: Within<0, 64>,
    pub(crate) profile_growth: usize,
    pub(crate) profile_leaks: bool,
    pub(crate) metrics: Option<ReportPath>,
    pub(crate) metrics_ms: Within<100, 86_400_000>,
    pub(crate) guard: bool,
    pub(crate) verbose: bool,
    /// Slow paths per validation of the heap (`HZ3_VALIDATE`); 0 means no validation.
    #[cfg(feature = "check")]
    pub(crate) validate: Within<0, 1_000_000_000>,
}

/// The memory limit: for live blocks, free memory that was not given back, and the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// No limit except the system's.
    None,
    /// This many bytes of memory that hz3 holds, its tables included.
    Bytes(NonZero<u64>),
    /// A part of the memory limit of the process's control group, which it follows.
    ///
    /// That limit is the lowest one of the group and its ancestors (`memory.max` of cgroup v2,
    /// `memory.limit_in_bytes` of v1). Near the same part of the lowest `memory.high` free memory
    /// goes back too, but nothing is refused. If there is neither at the start, a line on stderr
    /// says so and the heap has no limit until there is one.
    Cgroup {
        /// The part of the control group's limit, in percent.
        percent: Within<1, 100>,
    },
}

/// The answer to a request beyond the memory limit, after all free memory was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitMode {
    /// The allocation fails, as if the system had no more memory.
    Fail,
    /// The allocation succeeds beyond the limit.
    Reclaim,
}

/// Which threads give memory back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Background {
    /// In a process of one thread, that thread's own slow paths. In a process of several threads, a
    /// thread of the allocator, which ends when there is nothing to do.
    Auto,
    /// A thread of the allocator, also if the process has only one thread of its own.
    Always,
    /// The slow paths of the program's own threads. The allocator starts no thread.
    Never,
}

/// Where hz3 writes statistics when the process ends.
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
    /// One JSON object on one line, appended to a regular file, which is created if necessary (mode
    /// 0644). Symbolic links are not followed. If the file cannot be written, a line on stderr says
    /// why.
    File(ReportPath),
}

/// The reason why an option was not set in a running process; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlError {
    /// No option of that name can be set in a running process.
    UnknownName,
    /// The option does not take that value.
    BadValue,
    /// The heap does not exist yet, or the call comes from inside one of its operations. For a
    /// limit: too few descriptors or too little memory are left to read the control group's files.
    Unavailable,
}

impl Config {
    /// Creates a configuration of defaults.
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
            pressure: true,
            profile: None,
            profile_rate: DEFAULT_PROFILE_RATE,
            profile_signal: NO_SIGNAL,
            profile_growth: 0,
            profile_leaks: false,
            metrics: None,
            metrics_ms: DEFAULT_METRICS_MS,
            guard: false,
            verbose: false,
            #[cfg(feature = "check")]
            validate: DEFAULT_VALIDATE,
        }
    }

    /// Sets the most bytes that one thread's cache may hold (`HZ3_THREAD_CACHE`). Default 8 MiB;
    /// less if there are more than 16 threads.
    #[must_use]
    pub const fn thread_cache_bytes(mut self, bytes: usize) -> Config {
        self.thread_cache_bytes = bytes;
        self
    }

    /// Sets the initial capacity of a thread's cache per class, in blocks (`HZ3_CACHE_LENGTH`),
    /// rounded up to a power of two. A class with a lower maximum starts with that. Default 2 to 8,
    /// depending on the size.
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

    /// Sets whether every call is counted (`HZ3_COUNT`), which takes every call off the fast path.
    /// Default off.
    #[must_use]
    pub const fn count(mut self, count: bool) -> Config {
        self.count = count;
        self
    }

    /// Sets where statistics are written when the process ends (`HZ3_STATS`). Default
    /// [`Report::None`].
    ///
    /// hz3 writes them at exit. After the first second it also handles SIGTERM, if the program does
    /// not.
    #[must_use]
    pub const fn report(mut self, report: Report) -> Config {
        self.report = report;
        self
    }

    /// Sets when hz3 gives memory back on its own (`HZ3_POLICY`). Default [`Policy::Default`].
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Config {
        self.policy = policy;
        self
    }

    /// Sets the limits of the experimental policies. Needs the feature `experiments`.
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

    /// Sets the milliseconds between two ticks of the reclaimer (`HZ3_TICK`). Default 125.
    ///
    /// Memory that stays free over two ticks goes back, or over six ticks while threads are active.
    #[must_use]
    pub const fn tick_ms(mut self, ms: Within<1, 60_000>) -> Config {
        self.tick_ms = ms;
        self
    }

    /// Sets whether hz3 advises the kernel to use huge pages, once the heap is larger than 16 MiB
    /// (`HZ3_HUGE_PAGES`). Default off.
    #[must_use]
    pub const fn huge_pages(mut self, huge_pages: bool) -> Config {
        self.huge_pages = huge_pages;
        self
    }

    /// Sets whether a whole slab is prefaulted at once, if its bin has already filled three others
    /// (`HZ3_PREFAULT`). Default on.
    #[must_use]
    pub const fn prefault(mut self, prefault: bool) -> Config {
        self.prefault = prefault;
        self
    }

    /// Sets the memory limit of the heap (`HZ3_LIMIT`). Default [`Limit::None`].
    #[must_use]
    pub const fn limit(mut self, limit: Limit) -> Config {
        self.limit = limit;
        self
    }

    /// Sets what happens at the memory limit (`HZ3_LIMIT_MODE`). Default [`LimitMode::Fail`].
    #[must_use]
    pub const fn limit_mode(mut self, mode: LimitMode) -> Config {
        self.limit_mode = mode;
        self
    }

    /// Sets whether everything free goes back at once while tasks of the control group, or of the
    /// system, wait for memory (`HZ3_PRESSURE`). Default on.
    #[must_use]
    pub const fn pressure(mut self, pressure: bool) -> Config {
        self.pressure = pressure;
        self
    }

    /// Starts the heap profile with the process, and sets the file to which it is written at exit
    /// (`HZ3_PROFILE`). Default none.
    #[must_use]
    pub const fn profile(mut self, path: ReportPath) -> Config {
        self.profile = Some(path);
        self
    }

    /// Sets the mean of the bytes between two samples of the heap profile (`HZ3_PROFILE_RATE`).
    /// Default 512 KiB.
    #[must_use]
    pub const fn profile_rate(mut self, bytes: NonZero<u32>) -> Config {
        self.profile_rate = bytes;
        self
    }

    /// Sets the number of the signal at which the heap profile is written (`HZ3_PROFILE_SIGNAL`); 0
    /// for none. Default 0. Needs [`Config::profile`].
    ///
    /// The next slow path of any thread writes the file. The program's own handler of the signal
    /// replaces this.
    #[must_use]
    pub const fn profile_signal(mut self, signal: Within<0, 64>) -> Config {
        self.profile_signal = signal;
        self
    }

    /// Sets by how many bytes the live memory grows until the heap profile is written again
    /// (`HZ3_PROFILE_GROWTH`); 0 for never. Default 0. Needs [`Config::profile`].
    #[must_use]
    pub const fn profile_growth(mut self, bytes: usize) -> Config {
        self.profile_growth = bytes;
        self
    }

    /// Sets whether the sites of blocks that are live at exit are written to stderr
    /// (`HZ3_PROFILE_LEAKS`), estimated from samples. Default off.
    #[must_use]
    pub const fn profile_leaks(mut self, leaks: bool) -> Config {
        self.profile_leaks = leaks;
        self
    }

    /// Sets the file to which the statistics are written as `OpenMetrics` text while the process
    /// runs (`HZ3_METRICS`). Default none.
    ///
    /// A new file takes the path's name each time. In a process of one thread, slow paths write it;
    /// otherwise the reclaimer's thread does, which then runs at least as often.
    #[must_use]
    pub const fn metrics(mut self, path: ReportPath) -> Config {
        self.metrics = Some(path);
        self
    }

    /// Sets the milliseconds between two writes of that file (`HZ3_METRICS_MS`). Default 10,000.
    #[must_use]
    pub const fn metrics_ms(mut self, ms: Within<100, 86_400_000>) -> Config {
        self.metrics_ms = ms;
        self
    }

    /// Sets whether sampled blocks of up to 32 KiB lie beside an inaccessible page and become
    /// inaccessible when they are freed (`HZ3_GUARD`). Default off.
    ///
    /// [`Config::profile_rate`] says how many are sampled, also without a profile. A use beyond
    /// such a block or after its free ends the process, with a report on stderr.
    #[must_use]
    pub const fn guard(mut self, guard: bool) -> Config {
        self.guard = guard;
        self
    }

    /// Sets whether hz3 also reports on stderr what may surprise, but is no mistake
    /// (`HZ3_VERBOSE`). Default off.
    ///
    /// At present that is one line if `MALLOC_CONF` is set, which hz3 does not read.
    #[must_use]
    pub const fn verbose(mut self, verbose: bool) -> Config {
        self.verbose = verbose;
        self
    }
}

const DEFAULT_PROFILE_RATE: NonZero<u32> = NonZero::new(512 * 1024).unwrap();
const DEFAULT_METRICS_MS: Within<100, 86_400_000> = Within::new(10_000).unwrap();
const NO_SIGNAL: Within<0, 64> = Within::new(0).unwrap();
const DEFAULT_TICK_MS: Within<1, 60_000> = Within::new(125).unwrap();
#[cfg(feature = "check")]
const DEFAULT_VALIDATE: Within<0, 1_000_000_000> = Within::new(1000).unwrap();

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}
