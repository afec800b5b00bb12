//! The path of a file that hz3 writes.

use core::ffi::CStr;
use core::fmt::Write;

use crate::base::fixed_buffer::FixedBuffer;

/// The longest path that is accepted, in bytes.
const MAX_PATH: usize = 255;

/// The most `%p` of a path that are replaced, so that a path fits on the stack of a small thread.
const MAX_NUMBERS: usize = 16;

/// The longest path after its `%p` are replaced, each by at most ten digits, in bytes. There is
/// room for a suffix.
const MAX_PROCESS_PATH: usize = MAX_PATH + 8 * MAX_NUMBERS + 32;

/// The absolute path of a file that hz3 writes, of at most 255 bytes.
///
/// In the paths of profiles and metrics each of the first 16 `%p` stands for the number of the
/// process. A forked child, whose path would be that of its parent without it, adds a point and its
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportPath {
    /// The path, followed by at least one NUL.
    bytes: [u8; MAX_PATH + 1],
}

impl ReportPath {
    /// Returns the path, or `None` if it is relative, longer than 255 bytes, or contains a NUL.
    ///
    /// ```
    /// use hz3::{Config, Report, ReportPath};
    ///
    /// const PATH: ReportPath = ReportPath::new("/var/log/program-heap.json").unwrap();
    /// const CONFIG: Config = Config::new().report(Report::File(PATH));
    /// # let _ = CONFIG;
    /// ```
    pub const fn new(path: &str) -> Option<ReportPath> {
        Self::from_bytes(path.as_bytes())
    }

    /// Returns the path as [`ReportPath::new`] does; the bytes need not be UTF-8.
    pub(super) const fn from_bytes(path: &[u8]) -> Option<ReportPath> {
        if path.is_empty() || path[0] != b'/' || path.len() > MAX_PATH {
            return None;
        }
        let mut bytes = [0; MAX_PATH + 1];
        let mut at = 0;
        while at < path.len() {
            if path[at] == 0 {
                return None;
            }
            bytes[at] = path[at];
            at += 1;
        }
        Some(ReportPath { bytes })
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        // There is always a NUL, so the default is never used.
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    /// Returns the path of process `pid`, which is a forked child of the one that read the options
    /// if `is_forked`.
    pub(crate) fn of_process(&self, pid: u32, is_forked: bool) -> ProcessPath {
        let mut path = ProcessPath { path: FixedBuffer::new(), has_number: is_forked };
        let mut rest = self.as_c_str().to_bytes();
        let mut is_number_due = is_forked;
        // Writing to a `FixedBuffer` never fails.
        for _ in 0..MAX_NUMBERS {
            let Some(at) = rest.windows(2).position(|pair| pair == b"%p") else { break };
            path.path.push(&rest[..at]);
            let _ = write!(path.path, "{pid}");
            rest = &rest[at + 2..];
            is_number_due = false;
            path.has_number = true;
        }
        path.path.push(rest);
        if is_number_due {
            let _ = write!(path.path, ".{pid}");
        }
        path.path.push(b"\0");
        path
    }
}

/// The path of a file that one process writes.
#[derive(Debug)]
pub(crate) struct ProcessPath {
    path: FixedBuffer<MAX_PROCESS_PATH>,
    /// Whether it has the number of the process.
    has_number: bool,
}

impl ProcessPath {
    pub(crate) fn as_c_str(&self) -> &CStr {
        // There is always a NUL, so the default is never used.
        CStr::from_bytes_until_nul(self.path.as_bytes()).unwrap_or_default()
    }

    /// Returns whether other processes with the same options write to other files.
    pub(crate) fn is_of_one_process(&self) -> bool {
        self.has_number
    }

    /// Returns the path of a file in the same directory that only process `pid` uses.
    pub(crate) fn beside(&self, pid: u32) -> ProcessPath {
        let mut path = ProcessPath { path: FixedBuffer::new(), has_number: true };
        path.path.push(self.as_c_str().to_bytes());
        // Writing to a `FixedBuffer` never fails.
        let _ = write!(path.path, ".{pid}.tmp\0");
        path
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_NUMBERS, MAX_PATH, ReportPath};
    use std::string::String;

    #[test]
    fn a_path_has_the_number_of_its_process_where_it_asks_for_it_or_is_shared() {
        for (path, is_forked, expected) in [
            ("/a/b", false, "/a/b"),
            ("/a/b", true, "/a/b.4294967295"),
            ("/a%p/%pb%", false, "/a4294967295/4294967295b%"),
            ("/a%p", true, "/a4294967295"),
        ] {
            let path = ReportPath::new(path).expect("a path").of_process(u32::MAX, is_forked);
            assert_eq!(path.as_c_str().to_str(), Ok(expected));
        }
        let longest = String::from("/") + &"%p".repeat(MAX_PATH / 2);
        let path = ReportPath::new(&longest).expect("a path").of_process(u32::MAX, true);
        let path = path.beside(u32::MAX);
        assert_eq!(
            path.as_c_str().to_bytes().len(),
            MAX_PATH + MAX_NUMBERS * 8 + ".4294967295.tmp".len()
        );
    }

    #[test]
    fn only_absolute_paths_of_at_most_255_bytes_are_accepted() {
        for wrong in ["", "relative", "./x", "/a\0b"] {
            assert_eq!(ReportPath::new(wrong), None, "{wrong:?}");
        }
        let longest = String::from("/") + &"a".repeat(MAX_PATH - 1);
        let path = ReportPath::new(&longest).expect("the longest");
        assert_eq!(path.as_c_str().to_bytes(), longest.as_bytes());
        assert_eq!(ReportPath::new(&(longest + "a")), None);
    }
}
