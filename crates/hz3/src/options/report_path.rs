//! The path of the file to which statistics are appended.

use core::ffi::CStr;

/// The longest path that is accepted, in bytes.
const LONGEST: usize = 255;

/// The absolute path of a file, of at most 255 bytes, to which statistics are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportPath {
    /// The path, followed by at least one NUL.
    bytes: [u8; LONGEST + 1],
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
        if path.is_empty() || path[0] != b'/' || path.len() > LONGEST {
            return None;
        }
        let mut bytes = [0; LONGEST + 1];
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
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, ReportPath};
    use std::string::String;

    #[test]
    fn only_absolute_paths_of_at_most_255_bytes_are_accepted() {
        for wrong in ["", "relative", "./x", "/a\0b"] {
            assert_eq!(ReportPath::new(wrong), None, "{wrong:?}");
        }
        let longest = String::from("/") + &"a".repeat(LONGEST - 1);
        let path = ReportPath::new(&longest).expect("the longest");
        assert_eq!(path.as_c_str().to_bytes(), longest.as_bytes());
        assert_eq!(ReportPath::new(&(longest + "a")), None);
    }
}
