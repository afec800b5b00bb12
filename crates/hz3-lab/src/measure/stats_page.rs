//! The statistics page of a process that runs on hz3, read from outside: no signal, no stop.
//!
//! The page describes itself, so this reader knows its head and takes the names of the values from
//! the page.

use super::page_layout::{self as layout, Class, answer};
use crate::failure::{Failure, Result};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem::{offset_of, size_of};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Exit code if the process shows no page.
pub(crate) const NO_PAGE: u8 = 1;
/// Copies that are tried before a page counts as broken. A writer needs microseconds.
const COPIES: u32 = 1000;

/// The head and a request as this program copies them.
type Head = layout::Head<u32, u64>;
type Request = layout::Request<u32, [u8; 0]>;

/// A thread with a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thread {
    /// The thread's id in its own namespace.
    pub(crate) id: u64,
    pub(crate) is_active: bool,
    pub(crate) cached_bytes: u64,
    pub(crate) slow_paths: u64,
}

/// A consistent copy of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The process that wrote the page, in its own namespace.
    pub(crate) writer: u32,
    /// The values in the order of the page.
    pub(crate) names: Vec<String>,
    values: BTreeMap<String, u64>,
    pub(crate) classes: Vec<Class>,
    pub(crate) threads: Vec<Thread>,
}

impl Snapshot {
    /// Returns a value; 0 if this version of the library does not have it.
    pub(crate) fn value(&self, name: &str) -> u64 {
        self.values.get(name).copied().unwrap_or(0)
    }
}

/// The page in another process.
#[derive(Debug)]
pub(crate) struct RemotePage {
    pid: i32,
    memory: File,
    address: u64,
}

impl RemotePage {
    /// Finds the page by its name, or by its first bytes where the kernel names no mappings.
    ///
    /// # Errors
    /// One line for each reason: no such process, another user's process, no page.
    pub(crate) fn find(pid: i32) -> Result<RemotePage> {
        super::needs_proc()?;
        let maps = super::read_lossy(Path::new(&format!("/proc/{pid}/maps")))
            .map_err(|error| refused(pid, &error))?;
        if maps.is_empty() {
            return Err(without_memory(pid));
        }
        let memory = open(pid, false).map_err(|error| refused(pid, &error))?;
        let is_page = |address: u64| {
            let mut magic = layout::MAGIC.map(|_| 0);
            let address = address + offset_of!(Head, magic) as u64;
            memory.read_exact_at(&mut magic, address).is_ok() && magic == layout::MAGIC
        };
        let places = || maps.lines().filter_map(Place::parse);
        let named = places().filter(|place| place.is_named);
        let small = places().filter(|place| place.bytes <= layout::MAX_BYTES);
        let Some(place) = named.chain(small).find(|place| is_page(place.start)) else {
            return Err(no_page(pid, &maps));
        };
        Ok(RemotePage { pid, memory, address: place.start })
    }

    /// Copies the page between two equal even sequence numbers.
    ///
    /// # Errors
    /// The process has ended, or the page is of another version.
    pub(crate) fn read(&self) -> Result<Snapshot> {
        for _ in 0..COPIES {
            let head = self.bytes(0, size_of::<Head>())?;
            let bytes = u64::from(word(&head, offset_of!(Head, bytes))).min(layout::MAX_BYTES);
            let page = self.bytes(0, usize::try_from(bytes).unwrap_or(0))?;
            let after = self.bytes(0, size_of::<Head>())?;
            let sequence = word(&after, offset_of!(Head, sequence));
            let is_whole = sequence == word(&head, offset_of!(Head, sequence));
            if is_whole && sequence.is_multiple_of(2) {
                return parse(&page).ok_or_else(|| {
                    let pid = self.pid;
                    let version = word(&page, offset_of!(Head, version));
                    Failure::new(format!(
                        "process {pid}: this hz3 does not know version {version} of the page"
                    ))
                });
            }
        }
        Err(Failure::new(format!("process {}: the page changes while it is read", self.pid)))
    }

    /// Asks the process to bring all figures up to date, and waits for the answer for at most
    /// `patience`. Returns whether it came. A process answers at its next tick or slow path, so one
    /// that neither allocates nor has memory to give back does not answer.
    pub(crate) fn ask(&self, patience: Duration) -> Result<bool> {
        self.request("", patience)
    }

    /// Makes the process set an option, `name=value`, and waits for the answer for at most
    /// `patience`.
    ///
    /// # Errors
    /// The process refused, or did not answer.
    pub(crate) fn set(&self, command: &str, patience: Duration) -> Result<()> {
        let pid = self.pid;
        let Some(answer) = self.order(command, patience)? else {
            let remedy =
                format!("it sets `{command}` at its next tick or slow path, if the value is right");
            return Err(self.silent(patience).with_remedy(remedy));
        };
        match answer {
            answer::DONE => Ok(()),
            answer::UNKNOWN_NAME => Err(Failure::usage(format!(
                "`{command}`: the library in process {pid} has no such option"
            ))),
            answer::BAD_VALUE => {
                let name = command.split('=').next().unwrap_or_default();
                let option = OPTIONS.iter().find(|(known, _)| *known == name);
                let accepted = option.map_or("another value", |(_, accepted)| accepted);
                Err(Failure::usage(format!("`{command}`: expected {accepted}")))
            }
            answer::GARBLED => {
                Err(Failure::new(format!("another program asked process {pid} too"))
                    .with_remedy("try again"))
            }
            _ if command == "profile=write" => {
                Err(Failure::new(format!("process {pid} could not write its heap profile"))
                    .with_remedy("it needs profile=on, and a file that it may write: profile_path"))
            }
            _ => {
                Err(Failure::new(format!("process {pid} could not do it now"))
                    .with_remedy("try again"))
            }
        }
    }

    /// Sends the process a command, `name=value`, and returns its answer, one of [`answer`].
    /// Returns `None` if it does not answer in time; it then obeys later, unless the command is
    /// withdrawn.
    pub(crate) fn order(&self, command: &str, patience: Duration) -> Result<Option<u32>> {
        if !self.request(command, patience)? {
            return Ok(None);
        }
        let request = self.head(offset_of!(Head, request_at))?;
        self.word(request + offset_of!(Request, answer) as u64).map(Some)
    }

    /// Withdraws the last command, which the process has not answered.
    pub(crate) fn withdraw(&self) -> Result<()> {
        let request = self.head(offset_of!(Head, request_at))?;
        let command = self.address + request + offset_of!(Request, command) as u64;
        let memory = open(self.pid, true).map_err(|error| refused(self.pid, &error))?;
        memory.write_all_at(&[0], command).map_err(|error| refused(self.pid, &error))
    }

    /// Returns the failure of a process that does not answer.
    pub(crate) fn silent(&self, patience: Duration) -> Failure {
        Failure::new(format!("process {} did not answer within {patience:?}", self.pid))
    }

    fn request(&self, command: &str, patience: Duration) -> Result<bool> {
        let request = self.head(offset_of!(Head, request_at))?;
        let room = self.head(offset_of!(Head, command_bytes))?;
        if command.len() >= usize::try_from(room).unwrap_or(0).max(1) {
            let most = room.saturating_sub(1);
            return Err(Failure::usage(format!("`{command}` is too long"))
                .with_remedy(format!("a process takes NAME=VALUE of at most {most} bytes")));
        }
        let field = |field: usize| request + field as u64;
        let answered = field(offset_of!(Request, answered));
        let command_at = field(offset_of!(Request, command));
        let Ok(memory) = open(self.pid, true) else { return Ok(false) };
        let write = |bytes: &[u8], at: u64| memory.write_all_at(bytes, self.address + at).is_ok();
        if !command.is_empty() {
            let hash = layout::hash(command.as_bytes()).to_le_bytes();
            if !write(format!("{command}\0").as_bytes(), command_at)
                || !write(&hash, field(offset_of!(Request, hash)))
            {
                return Ok(false);
            }
        }
        let number_at = field(offset_of!(Request, number));
        let ask = |number: u32| write(&number.to_le_bytes(), number_at);
        let mut number = self.word(answered)?.wrapping_add(1);
        if !ask(number) {
            return Ok(false);
        }
        let start = Instant::now();
        loop {
            // Another program may have asked with a later number. Then the answer is to both.
            let answered = self.word(answered)?;
            if answered.wrapping_sub(number) < u32::MAX / 2 {
                if command.is_empty() || self.bytes(command_at, 1)? == [0] {
                    return Ok(true);
                }
                // It asked just before the command was there.
                number = answered.wrapping_add(1);
                ask(number);
            } else if self.word(number_at)? != number {
                // It asked with an earlier number.
                ask(number);
            }
            if start.elapsed() >= patience {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns a word of the head.
    fn head(&self, field: usize) -> Result<u64> {
        self.word(field as u64).map(u64::from)
    }

    fn word(&self, at: u64) -> Result<u32> {
        Ok(word(&self.bytes(at, 4)?, 0))
    }

    fn bytes(&self, at: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.memory.read_exact_at(&mut bytes, self.address + at).map_err(|_| ended(self.pid))?;
        Ok(bytes)
    }
}

/// Returns the failure of a process that ended.
pub(crate) fn ended(pid: i32) -> Failure {
    if Path::new(&format!("/proc/{pid}")).exists() {
        return without_memory(pid);
    }
    Failure::usage(format!("process {pid} has ended"))
}

/// The failure of a process that has no address space.
pub(crate) fn without_memory(pid: i32) -> Failure {
    Failure::usage(format!("process {pid} has no memory"))
        .with_remedy("it is a thread of the kernel, or has ended and waits for its parent")
}

/// The failure of a process without a page, whose mappings are the lines of `maps`.
fn no_page(pid: i32, maps: &str) -> Failure {
    let is_library = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        crate::preload::LIBRARIES.contains(&name)
    };
    let library = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let failure = match library.clone().find(|path| is_library(path)) {
        Some(path) => Failure::new(format!("process {pid} shows no statistics of hz3 yet"))
            .with_remedy(format!("it has loaded {path}, and shows them after its first tick")),
        None => Failure::new(format!("process {pid} shows no statistics of hz3"))
            .with_remedy("it runs on another allocator, or has not allocated much yet"),
    };
    failure.with_code(NO_PAGE)
}

/// The options of a running process, and what each accepts.
const OPTIONS: [(&str, &str); 12] = [
    ("tick_ms", "milliseconds from 1 to 60000"),
    ("policy", "default or off"),
    ("limit", "0, auto, 1% to 100%, or bytes, with suffix K, M, G, T or none"),
    ("limit_mode", "fail or reclaim"),
    ("pressure", "0 or 1"),
    ("profile", "on, off or write"),
    ("profile_rate", "from 1 to 4294967295 bytes, with suffix K, M, G, T or none"),
    ("profile_path", "an absolute path of at most 255 bytes"),
    ("profile_to", "an absolute path"),
    ("metrics", "an absolute path of at most 255 bytes"),
    ("metrics_ms", "milliseconds from 100 to 86400000"),
    ("purge", "now"),
];

/// Fails if `command` is no `NAME=VALUE` of a known option. The process is not asked, because it
/// may not answer for a long time.
pub(crate) fn check(command: &str) -> Result<()> {
    let Some((name, _)) = command.split_once('=') else {
        return Err(Failure::usage(format!("`{command}`: expected NAME=VALUE")));
    };
    if OPTIONS.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    Err(crate::failure::unknown("option", name, OPTIONS.iter().map(|(known, _)| *known)))
}

fn open(pid: i32, writes: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(writes).open(format!("/proc/{pid}/mem"))
}

fn refused(pid: i32, error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::usage(format!("no process has the number {pid}")),
        ErrorKind::PermissionDenied => {
            Failure::new(format!("process {pid} belongs to another user, or may not be traced"))
                .with_remedy("run hz3 as that user or as root")
        }
        _ if error.raw_os_error() == Some(3) => ended(pid),
        _ => Failure::io(format!("read the memory of process {pid}"), error),
    }
}

/// A private writable mapping without a file.
struct Place {
    start: u64,
    bytes: u64,
    is_named: bool,
}

impl Place {
    /// Parses a line of `/proc/PID/maps`.
    fn parse(line: &str) -> Option<Place> {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let bytes = u64::from_str_radix(end, 16).ok()?.checked_sub(start)?;
        let name = fields.clone().nth(4).unwrap_or_default();
        let anonymous = name.strip_prefix("[anon:").and_then(|name| name.strip_suffix(']'));
        let is_named = anonymous.is_some_and(|name| name.as_bytes() == layout::MAPPING.to_bytes());
        let is_candidate = fields.next() == Some("rw-p") && (name.is_empty() || is_named);
        is_candidate.then_some(Place { start, bytes, is_named })
    }
}

/// Returns the 32-bit word that starts at a byte; 0 beyond the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_le_bytes)
}

/// Returns the 64-bit word of that number behind a byte.
fn long(bytes: &[u8], at: usize, index: usize) -> Option<u64> {
    let at = at.checked_add(index.checked_mul(8)?)?;
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

/// A table of rows of words.
struct Table {
    at: usize,
    rows: usize,
    /// Words of a row. A later version of the library may have more than this program knows.
    width: usize,
}

impl Table {
    /// Returns the known words of all rows; `None` if the page is too short for them.
    fn read<const WORDS: usize>(&self, page: &[u8]) -> Option<Vec<[u64; WORDS]>> {
        let width = self.width.max(WORDS);
        let row = |row: usize| {
            let mut words = [0; WORDS];
            for (column, word) in words.iter_mut().enumerate() {
                *word = long(page, self.at, row.checked_mul(width)? + column)?;
            }
            Some(words)
        };
        (0..self.rows).map(row).collect()
    }
}

fn parse(page: &[u8]) -> Option<Snapshot> {
    let head = |field| usize::try_from(word(page, field)).unwrap_or(usize::MAX);
    let version = word(page, offset_of!(Head, version));
    if !page.starts_with(&layout::MAGIC) || version != layout::VERSION {
        return None;
    }
    let names_at = head(offset_of!(Head, names_at));
    let names_end = names_at.checked_add(head(offset_of!(Head, name_bytes)))?;
    let names = page.get(names_at..names_end)?.split(|&byte| byte == 0);
    let names = names.filter(|name| !name.is_empty()).take(head(offset_of!(Head, values)));
    let names: Vec<String> = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let values_at = head(offset_of!(Head, values_at));
    let value =
        |(index, name): (usize, &String)| Some((name.clone(), long(page, values_at, index)?));
    let values: BTreeMap<_, _> = names.iter().enumerate().map(value).collect::<Option<_>>()?;
    let classes = Table {
        at: head(offset_of!(Head, classes_at)),
        rows: head(offset_of!(Head, classes)).min(4096),
        width: head(offset_of!(Head, class_words)),
    };
    let shown = usize::try_from(values.get("threads_shown").copied().unwrap_or(0)).unwrap_or(0);
    let threads = Table {
        at: head(offset_of!(Head, threads_at)),
        rows: shown.min(head(offset_of!(Head, threads))),
        width: head(offset_of!(Head, thread_words)),
    };
    let classes: Vec<layout::ClassRow<u64>> = classes.read(page)?;
    let threads: Vec<layout::ThreadRow<u64>> = threads.read(page)?;
    let thread = |[id, active, cached_bytes, slow_paths]: layout::ThreadRow<u64>| Thread {
        id,
        is_active: active != 0,
        cached_bytes,
        slow_paths,
    };
    Some(Snapshot {
        writer: word(page, offset_of!(Head, pid)),
        names,
        classes: classes.into_iter().filter_map(Class::of_row).collect(),
        threads: threads.into_iter().map(thread).collect(),
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::{Place, RemotePage, check, no_page, parse};

    #[test]
    fn a_process_with_the_library_is_not_said_to_run_on_another_allocator() {
        let maps = "7f00-9f00 r-xp 00000000 00:00 1    /usr/lib/libhz3.so.0\n";
        let said = no_page(7, maps).to_string();
        assert!(said.contains("/usr/lib/libhz3.so.0") && !said.contains("another"), "{said}");
        let said = no_page(7, "7f00-9f00 r-xp 00000000 00:00 1    /usr/lib/libc.so.6").to_string();
        assert!(said.contains("another allocator"), "{said}");
    }

    #[test]
    fn a_process_that_waits_for_its_parent_is_not_said_to_run_on_another_allocator() {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        let failure = RemotePage::find(pid.as_raw_nonzero().get()).unwrap_err();
        assert!(failure.to_string().contains("has no memory"), "{failure}");
        assert_eq!(failure.code(), 2);
        child.wait().unwrap();
    }

    #[test]
    fn an_unknown_option_is_told_before_the_process_is_asked() {
        assert!(check("tick_ms=5").is_ok());
        for (command, expected) in [
            ("tick_m=5", "did you mean `tick_ms`"),
            ("HZ3_TICK=5", "expected one of tick_ms, policy"),
            ("tick_ms", "NAME=VALUE"),
        ] {
            let failure = check(command).unwrap_err();
            assert_eq!(failure.code(), 2, "{failure}");
            assert!(failure.to_string().contains(expected), "{failure}");
        }
    }

    #[test]
    fn only_small_private_anonymous_memory_is_searched() {
        let bytes = |line| Place::parse(line).map(|place| (place.bytes, place.is_named));
        assert_eq!(bytes("7f00-9f00 rw-p 00000000 00:00 0"), Some((0x2000, false)));
        assert_eq!(bytes("7f00-9f00 rw-p 00000000 00:00 0 [anon:hz3-stats]"), Some((0x2000, true)));
        assert_eq!(bytes("7f00-9f00 rw-p 00000000 00:00 0 [heap]"), None);
        assert_eq!(bytes("7f00-9f00 r--p 00000000 00:00 0"), None);
        assert_eq!(bytes("nonsense"), None);
    }

    #[test]
    fn a_page_that_lies_about_its_tables_is_refused() {
        let mut page = vec![0xff_u8; 4096];
        page[..8].copy_from_slice(b"hz3stats");
        page[8..12].copy_from_slice(&1_u32.to_le_bytes());
        assert_eq!(parse(&page), None);
        page[8..12].copy_from_slice(&2_u32.to_le_bytes());
        assert_eq!(parse(&page), None, "another version");
    }
}
