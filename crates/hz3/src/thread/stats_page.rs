//! The statistics page: what the heap holds, where another process can read it without a stop.
//!
//! The page is a small mapping of its own. A reader finds it by its name (`[anon:hz3-stats]` in
//! `/proc/PID/maps`), by its magic number at the start of a mapping of that size, or by the symbol
//! `hz3_statistics_page`. It reads with `process_vm_readv`. The page describes itself: its head
//! says where the tables are, and the values have names. [`page_layout`] defines it.
//!
//! The reclaimer updates the page after each tick, and slow paths update it where there is no
//! reclaimer. No other code runs for it. The figures that take long to find out are brought up to
//! date only when a reader asks: it writes a number into the field `request` by
//! `process_vm_writev`, and the next update answers. It may also write an option to set: a process
//! that may write there could do anything else. The same updates write the file of [`metrics`].
//!
//! One thread at a time writes, under [`WRITING`]. It makes `sequence` odd, writes, and makes it
//! even. A reader copies the page between two reads of `sequence`, and starts again unless both
//! are the same even number.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use super::{control, metrics, process, report, shut, signal};
use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::units::{to_u32, to_u64};
use crate::cache::ThreadCache;
use crate::heap::Heap;
use crate::heap::statistics::{Breakdown, SlowFigures};
use crate::options::ControlError;
use crate::os::Os;
use crate::os::linux::Linux;
use crate::stats::page_layout::{
    self, Class, ClassRow, Head, MAGIC, MAPPING, ThreadRow, VERSION, answer,
};
use crate::stats::{Stats, open_metrics};

/// The most threads that the page shows.
const THREADS: usize = 128;
/// Room for values and for their names with a NUL behind each, in bytes.
const VALUES: usize = 112;
const NAME_BYTES: usize = 2048;

/// The longest command of a request and its NUL, in bytes.
const COMMAND_BYTES: usize = 112;

type Request = page_layout::Request<AtomicU32, [AtomicU8; COMMAND_BYTES]>;

/// The page. All zeros are valid.
#[repr(C)]
pub(crate) struct StatsPage {
    head: Head<AtomicU32, AtomicU64>,
    request: Request,
    values: [AtomicU64; VALUES],
    classes: [ClassRow<AtomicU64>; CLASSES],
    names: [AtomicU8; NAME_BYTES],
    /// Last, because most processes use few rows: the rest is never touched.
    threads: [ThreadRow<AtomicU64>; THREADS],
}

/// The page of this process; null until the first update, which comes with the first tick.
#[unsafe(export_name = "hz3_statistics_page")]
pub(crate) static PAGE: AtomicPtr<StatsPage> = AtomicPtr::new(core::ptr::null_mut());

/// Held while a thread writes the page. No thread waits for it.
static WRITING: AtomicBool = AtomicBool::new(false);

/// The slow figures of the last update that took them, and when that was. Only the thread that
/// holds [`WRITING`] uses them.
static SLOW: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static SLOW_NS: AtomicU64 = AtomicU64::new(0);
/// The number of updates, and the nanoseconds that they took.
static UPDATES: AtomicU64 = AtomicU64::new(0);
static UPDATE_NS: AtomicU64 = AtomicU64::new(0);

/// Updates the page and answers a request. Does nothing while another thread does it.
///
/// The caller holds no lock of the heap. `rests` says that it will not call again for a while.
pub(super) fn update(heap: &'static Heap<Linux>, rests: bool) {
    // A child of `vfork` or of a bare `fork` runs on its parent's memory.
    if shut::is_shut() || !process::is_own() {
        return;
    }
    // Acquire pairs with the release store below: one thread writes after the other.
    if WRITING.swap(true, Ordering::Acquire) {
        return;
    }
    let start = Linux.now_ns();
    signal::poll(start);
    if let Some(page) = existing().or_else(create) {
        page.update(heap, start, rests);
        UPDATES.fetch_add(1, Ordering::Relaxed);
        UPDATE_NS.fetch_add(Linux.now_ns().saturating_sub(start), Ordering::Relaxed);
    }
    // Release pairs with the acquire swap above.
    WRITING.store(false, Ordering::Release);
}

/// In a forked child: forgets the thread that may have been writing.
pub(super) fn forget_other_threads() {
    if WRITING.load(Ordering::Relaxed) {
        WRITING.store(false, Ordering::Relaxed);
    }
}

fn existing() -> Option<&'static StatsPage> {
    // Acquire pairs with the release store in `create`.
    let page = PAGE.load(Ordering::Acquire);
    // SAFETY: the pointer is null or leads to the page that `create` mapped, which stays.
    unsafe { page.as_ref() }
}

/// Maps the page. The caller holds [`WRITING`].
#[cold]
fn create() -> Option<&'static StatsPage> {
    // A reader copies at most `MAX_BYTES`. This leaves room for what later versions add.
    const { assert!(size_of::<StatsPage>() as u64 <= page_layout::MAX_BYTES / 4) };
    let bytes = size_of::<StatsPage>().next_multiple_of(Linux.page_size());
    let place: NonNull<StatsPage> = Linux.map_apart(bytes, MAPPING)?.cast();
    // SAFETY: a fresh mapping of that size, page-aligned, which is never unmapped; all zeros are a
    // valid page.
    let page = unsafe { place.as_ref() };
    page.describe(bytes);
    // Release pairs with the acquire load in `existing`.
    PAGE.store(place.as_ptr(), Ordering::Release);
    Some(page)
}

impl StatsPage {
    /// Writes the head, the names and the sizes of the classes.
    fn describe(&self, bytes: usize) {
        let head = &self.head;
        let mut names = Names { page: self, at: 0, count: 0 };
        values(&Stats::default(), &Extra::default(), |name, _| names.add(name));
        for (place, value) in [
            (&head.version, VERSION as usize),
            (&head.bytes, bytes),
            (&head.names_at, core::mem::offset_of!(StatsPage, names)),
            (&head.name_bytes, names.at),
            (&head.values_at, core::mem::offset_of!(StatsPage, values)),
            (&head.values, names.count),
            (&head.classes_at, core::mem::offset_of!(StatsPage, classes)),
            (&head.classes, CLASSES),
            (&head.class_words, self.classes[0].len()),
            (&head.threads_at, core::mem::offset_of!(StatsPage, threads)),
            (&head.threads, THREADS),
            (&head.thread_words, self.threads[0].len()),
            (&head.request_at, core::mem::offset_of!(StatsPage, request)),
            (&head.command_bytes, COMMAND_BYTES),
        ] {
            place.store(to_u32(value), Ordering::Relaxed);
        }
        for class in SizeClass::all() {
            set(&self.classes[class.index()][0], to_u64(class.block_bytes()));
        }
        // Pairs with the system call of a reader: with the magic it sees the head.
        head.magic.store(u64::from_ne_bytes(MAGIC), Ordering::Release);
    }

    /// The caller holds [`WRITING`].
    fn update(&self, heap: &'static Heap<Linux>, now_ns: u64, rests: bool) {
        let request = &self.request;
        let number = request.number.load(Ordering::Relaxed);
        let is_asked = number != request.answered.load(Ordering::Relaxed);
        if is_asked {
            obey(request);
        }
        let writes_metrics = metrics::take_due(now_ns, rests);
        if is_asked || writes_metrics || SLOW_NS.load(Ordering::Relaxed) == 0 {
            take_slow_figures(heap, now_ns);
        }
        let committed = self.refresh(heap, now_ns, is_asked);
        if is_asked {
            // Pairs with the system calls of a reader: with the answer it sees the update.
            request.answered.store(number, Ordering::Release);
        }
        if writes_metrics {
            metrics::write(|out, pid| self.write_metrics(committed, out, pid));
        }
    }

    /// Writes the values and returns the committed bytes. Not inlined, so that they leave the stack
    /// before the file of metrics is written.
    #[inline(never)]
    fn refresh(&self, heap: &'static Heap<Linux>, now_ns: u64, is_asked: bool) -> u64 {
        let slow = SlowFigures::from_array(SLOW.each_ref().map(get));
        let sequence = self.head.sequence.load(Ordering::Relaxed) | 1;
        self.head.sequence.store(sequence, Ordering::Relaxed);
        // Pairs with the system calls of a reader, which order its copies.
        fence(Ordering::Release);
        self.head.pid.store(process::id(), Ordering::Relaxed);
        for class in &self.classes {
            class[1..].iter().for_each(|word| set(word, 0));
        }
        let mut rows = Rows { page: self, threads: 0 };
        let mut stats = heap.observe(slow, &mut rows);
        if is_asked {
            // A reader knows it better than an update that it did not ask for.
            stats.resident = report::resident_bytes();
        }
        let extra = Extra {
            updated_ns: now_ns,
            slow_ns: get(&SLOW_NS),
            updates: get(&UPDATES),
            update_ns: get(&UPDATE_NS),
            tick_ms: u64::from(heap.driver().tick_ms()),
            reclaimer: u64::from(heap.driver().state()),
            threads_shown: to_u64(rows.threads),
        };
        let mut places = self.values.iter();
        values(&stats, &extra, |_, value| {
            if let Some(place) = places.next() {
                set(place, value);
            }
        });
        // Pairs with the system calls of a reader, as the fence above.
        self.head.sequence.store(sequence.wrapping_add(1), Ordering::Release);
        stats.committed
    }

    /// Writes the values of the page. The caller holds [`WRITING`].
    #[inline(never)]
    fn write_metrics(&self, committed: u64, out: &mut metrics::Sink, pid: Option<u32>) {
        let resident = report::resident_bytes();
        let mut text = open_metrics::Text::begin(out, pid, resident, committed);
        let mut places = self.values.iter();
        values(&Stats::default(), &Extra::default(), |name, _| {
            text.value(name, places.next().map_or(0, get));
        });
        text.end(|| self.classes.iter().filter_map(|row| Class::of_row(row.each_ref().map(get))));
    }
}

/// Finds out the slow figures. The caller holds [`WRITING`].
#[inline(never)]
fn take_slow_figures(heap: &Heap<Linux>, now_ns: u64) {
    for (place, value) in SLOW.iter().zip(heap.slow_figures().to_array()) {
        set(place, value);
    }
    set(&SLOW_NS, now_ns);
}

/// Obeys the command of a request, if there is one, and stores the answer.
#[inline(never)]
fn obey(request: &Request) {
    let command = request.command.each_ref().map(|byte| byte.load(Ordering::Relaxed));
    let end = command.iter().position(|&byte| byte == 0).unwrap_or(COMMAND_BYTES);
    let text = &command[..end];
    if text.is_empty() {
        // The reader of an earlier command may not have read its answer yet.
        return;
    }
    request.answer.store(answer_to(text, request.hash.load(Ordering::Relaxed)), Ordering::Relaxed);
    // Another request does not obey it again, and its reader sees that it was obeyed.
    request.command[0].store(0, Ordering::Relaxed);
}

fn answer_to(command: &[u8], hash: u32) -> u32 {
    let equals = command.iter().position(|&byte| byte == b'=');
    let Some(equals) = equals.filter(|_| page_layout::hash(command) == hash) else {
        return answer::GARBLED;
    };
    match control::set(&command[..equals], &command[equals + 1..]) {
        Ok(()) => answer::DONE,
        Err(ControlError::UnknownName) => answer::UNKNOWN_NAME,
        Err(ControlError::BadValue) => answer::BAD_VALUE,
        Err(ControlError::Unavailable) => answer::UNAVAILABLE,
    }
}

/// The values that only the page has.
#[derive(Default)]
struct Extra {
    /// When the page was last updated, in nanoseconds of the monotonic clock.
    updated_ns: u64,
    /// When `slack_shared`, `slack_holes`, `slack_clean` and `metadata_resident` were last found
    /// out.
    slow_ns: u64,
    /// The number of updates before this one, and the nanoseconds that they took.
    updates: u64,
    update_ns: u64,
    tick_ms: u64,
    /// By which means memory goes back: 0 none, 1 slow paths, 2 a thread that starts, 3 the thread.
    reclaimer: u64,
    /// The rows of the table of threads.
    threads_shown: u64,
}

/// Calls `each` with every value in its order.
fn values(stats: &Stats, extra: &Extra, mut each: impl FnMut(&'static str, u64)) {
    stats.fields().for_each(|(name, value)| each(name, value));
    let Extra { updated_ns, slow_ns, updates, update_ns, tick_ms, reclaimer, threads_shown } =
        *extra;
    for (name, value) in [
        ("updated_ns", updated_ns),
        ("slow_ns", slow_ns),
        ("updates", updates),
        ("update_ns", update_ns),
        ("tick_ms", tick_ms),
        ("reclaimer", reclaimer),
        ("threads_shown", threads_shown),
    ] {
        each(name, value);
    }
}

/// Writes the list of names.
struct Names<'a> {
    page: &'a StatsPage,
    at: usize,
    count: usize,
}

impl Names<'_> {
    /// Adds a name, unless the page is full, which a test rules out.
    fn add(&mut self, name: &str) {
        let end = self.at + name.len() + 1;
        if end > NAME_BYTES || self.count == VALUES {
            return;
        }
        for (place, byte) in self.page.names[self.at..].iter().zip(name.bytes()) {
            place.store(byte, Ordering::Relaxed);
        }
        (self.at, self.count) = (end, self.count + 1);
    }
}

/// Fills the tables of classes and threads.
struct Rows<'a> {
    page: &'a StatsPage,
    threads: usize,
}

impl Breakdown for Rows<'_> {
    fn cache(&mut self, cache: &ThreadCache, bytes: u64) {
        let id = cache.counts.owner.load(Ordering::Relaxed);
        let Some(row) = self.page.threads.get(self.threads).filter(|_| id != 0) else { return };
        let words = [u64::from(id), u64::from(cache.is_active()), bytes, cache.slow_paths()];
        for (place, value) in row.iter().zip(words) {
            set(place, value);
        }
        self.threads += 1;
    }

    fn cached(&mut self, class: SizeClass, blocks: u64) {
        add(&self.page.classes[class.index()][3], blocks);
    }

    fn bin(&mut self, class: SizeClass, slabs: u64, used: u64) {
        let [_, all_slabs, all_used, _] = &self.page.classes[class.index()];
        add(all_slabs, slabs);
        add(all_used, used);
    }
}

fn get(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

fn set(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Relaxed);
}

fn add(word: &AtomicU64, value: u64) {
    set(word, get(word) + value);
}

#[cfg(test)]
mod tests {
    use super::{Extra, NAME_BYTES, StatsPage, VALUES, values};
    use crate::stats::Stats;

    #[test]
    fn every_value_and_its_name_fit() {
        let (mut count, mut bytes) = (0, 0);
        values(&Stats::default(), &Extra::default(), |name, _| {
            count += 1;
            bytes += name.len() + 1;
        });
        assert!(count <= VALUES && bytes <= NAME_BYTES, "{count} values, {bytes} bytes of names");
        assert!(count > 60, "{}", size_of::<StatsPage>());
    }
}
