//! The statistics page of a process that runs on hz3, read from outside: no signal, no stop.
//!
//! The layout is that of `crates/hz3/src/thread/page.rs`. The page describes itself, so this reader
//! knows the head and takes the names of the values from the page.

use crate::failure::{Failure, Result};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Exit code if the process shows no page.
pub(crate) const NO_PAGE: u8 = 1;
const MAGIC: &[u8; 8] = b"hz3stats";
const NAME: &str = "[anon:hz3-stats]";
const VERSION: u32 = 1;
/// The longest page, in bytes: one page of any system.
const LONGEST: u64 = 64 * 1024;
const HEAD_BYTES: usize = 72;
/// Copies that are tried before a page counts as broken. A writer needs microseconds.
const COPIES: u32 = 1000;

/// A size class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) block_bytes: u64,
    pub(crate) slabs: u64,
    /// Blocks that the program holds.
    pub(crate) live: u64,
    pub(crate) cached: u64,
}

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
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))
            .map_err(|error| refused(pid, &error))?;
        let memory = open(pid, false).map_err(|error| refused(pid, &error))?;
        let is_page = |address: u64| {
            let mut magic = [0; MAGIC.len()];
            memory.read_exact_at(&mut magic, address).is_ok() && magic == *MAGIC
        };
        let places = || maps.lines().filter_map(Place::parse);
        let named = places().filter(|place| place.is_named);
        let small = places().filter(|place| place.bytes <= LONGEST);
        let Some(place) = named.chain(small).find(|place| is_page(place.start)) else {
            let what = format!("process {pid} shows no statistics of hz3");
            let remedy = "it runs on another allocator, or has not allocated much yet";
            return Err(Failure::new(what).with_remedy(remedy).with_code(NO_PAGE));
        };
        Ok(RemotePage { pid, memory, address: place.start })
    }

    /// Copies the page between two equal even sequence numbers.
    ///
    /// # Errors
    /// The process has ended, or the page is of another version.
    pub(crate) fn read(&self) -> Result<Snapshot> {
        for _ in 0..COPIES {
            let head = self.bytes(0, HEAD_BYTES)?;
            let bytes = u64::from(word(&head, 3)).min(LONGEST);
            let page = self.bytes(0, usize::try_from(bytes).unwrap_or(0))?;
            let after = self.bytes(0, HEAD_BYTES)?;
            let sequence = word(&after, SEQUENCE);
            if sequence == word(&head, SEQUENCE) && sequence.is_multiple_of(2) {
                return parse(&page).ok_or_else(|| {
                    let pid = self.pid;
                    Failure::new(format!(
                        "process {pid}: this hz3 does not know version {} of the page",
                        word(&page, 2)
                    ))
                });
            }
        }
        Err(Failure::new(format!("process {}: the page changes while it is read", self.pid)))
    }

    /// Asks the process to bring all figures up to date, and waits for the answer at most so long.
    /// Returns whether it came. A process answers at its next tick or slow path, so one that
    /// neither allocates nor has memory to give back does not answer.
    pub(crate) fn ask(&self, patience: Duration) -> Result<bool> {
        self.request("", patience)
    }

    /// Has the process set an option, `name=value`, and waits for the answer at most so long.
    ///
    /// # Errors
    /// The process refused, or did not answer.
    pub(crate) fn set(&self, command: &str, patience: Duration) -> Result<()> {
        let pid = self.pid;
        if !self.request(command, patience)? {
            let what = format!("process {pid} did not answer within {patience:?}");
            let remedy = "it sets the option when it next runs a slow path";
            return Err(Failure::new(what).with_remedy(remedy));
        }
        let head = self.bytes(0, HEAD_BYTES)?;
        let answer = self.bytes(u64::from(word(&head, REQUEST_AT)), 16)?;
        match word(&answer, ANSWER) {
            1 => Ok(()),
            2 => Err(Failure::usage(format!("`{command}`: no such option of a running process"))
                .with_remedy(
                    "expected tick_ms, policy, limit, limit_mode, profile, profile_rate, \
                     profile_path, metrics, metrics_ms or purge",
                )),
            3 => Err(Failure::usage(format!("`{command}`: the option does not take that value"))),
            _ => Err(Failure::new(format!("process {pid} could not take the request"))
                .with_remedy("try again")),
        }
    }

    fn request(&self, command: &str, patience: Duration) -> Result<bool> {
        let head = self.bytes(0, HEAD_BYTES)?;
        let request = u64::from(word(&head, REQUEST_AT));
        if command.len() >= usize::try_from(word(&head, COMMAND_BYTES)).unwrap_or(0).max(1) {
            return Err(Failure::usage(format!("`{command}` is too long")));
        }
        let answered = word(&self.bytes(request, 4)?, 0);
        let number = answered.wrapping_add(1);
        let Ok(memory) = open(self.pid, true) else { return Ok(false) };
        let write =
            |bytes: &[u8], at: u64| memory.write_all_at(bytes, self.address + request + at).is_ok();
        let is_written = command.is_empty()
            || (write(format!("{command}\0").as_bytes(), 16)
                && write(&hash(command).to_le_bytes(), 8));
        if !is_written || !write(&number.to_le_bytes(), 4) {
            return Ok(false);
        }
        let start = Instant::now();
        loop {
            if word(&self.bytes(request, 4)?, 0) == number {
                return Ok(true);
            }
            if start.elapsed() >= patience {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn bytes(&self, at: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.memory.read_exact_at(&mut bytes, self.address + at).map_err(|_| ended(self.pid))?;
        Ok(bytes)
    }
}

/// The failure of a process that ended.
pub(crate) fn ended(pid: i32) -> Failure {
    Failure::usage(format!("process {pid} has ended"))
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
        let is_candidate = fields.next() == Some("rw-p") && (name.is_empty() || name == NAME);
        is_candidate.then_some(Place { start, bytes, is_named: name == NAME })
    }
}

const SEQUENCE: usize = 4;
const REQUEST_AT: usize = 16;
const COMMAND_BYTES: usize = 17;
/// The word of the answer in a request.
const ANSWER: usize = 3;

/// FNV-1a.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Returns the 32-bit word of that number.
fn word(bytes: &[u8], index: usize) -> u32 {
    let four = bytes.get(index * 4..index * 4 + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_le_bytes)
}

fn parse(page: &[u8]) -> Option<Snapshot> {
    let head = |index| usize::try_from(word(page, index)).unwrap_or(usize::MAX);
    if page.get(..8)? != MAGIC || word(page, 2) != VERSION {
        return None;
    }
    let long = |at: usize, index: usize| {
        let at = at.checked_add(index.checked_mul(8)?)?;
        page.get(at..at.checked_add(8)?).and_then(|eight| eight.try_into().ok())
    };
    let long = |at, index| long(at, index).map(u64::from_le_bytes);
    let names = page.get(head(6)..head(6).checked_add(head(7))?)?;
    let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let names: Vec<String> =
        names.take(head(9)).map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let value = |index: usize| long(head(8), index);
    let values = names.iter().enumerate();
    let values: Option<BTreeMap<_, _>> =
        values.map(|(index, name)| Some((name.clone(), value(index)?))).collect();
    let rows = |table: usize, count: usize, width: usize| {
        let row = move |row: usize| {
            let cell = |column| long(table, row * width + column);
            Some([cell(0)?, cell(1)?, cell(2)?, cell(3)?])
        };
        (0..count).map(row).collect::<Option<Vec<_>>>()
    };
    let classes = rows(head(10), head(11).min(4096), head(12).max(4))?.into_iter().filter_map(
        |[block_bytes, slabs, used, cached]| {
            let cached = cached.min(used);
            let class = Class { block_bytes, slabs, live: used - cached, cached };
            (slabs > 0).then_some(class)
        },
    );
    let values = values?;
    let shown = values.get("threads_shown").copied().unwrap_or(0);
    let shown = usize::try_from(shown).unwrap_or(0).min(head(14));
    let threads = rows(head(13), shown, head(15).max(4))?.into_iter().map(
        |[id, active, cached_bytes, slow_paths]| Thread {
            id,
            is_active: active != 0,
            cached_bytes,
            slow_paths,
        },
    );
    Some(Snapshot {
        writer: word(page, 5),
        names,
        classes: classes.collect(),
        threads: threads.collect(),
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::{Place, parse};

    #[test]
    fn only_small_private_anonymous_memory_is_looked_at() {
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
