//! The allocators that are looked for by default.

use crate::preload;
use std::path::{Path, PathBuf};

/// An allocator, the file names of its library, and the command that installs it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    /// File names, preferred first. Empty for the C library's own malloc.
    pub(super) files: &'static [&'static str],
    pub(super) remedy: &'static str,
}

/// The libraries that `crates/hz3-peers` builds from crates.io.
const PEERS: &str = "cargo build --release --examples --manifest-path crates/hz3-peers/Cargo.toml \
                     --target-dir target";

/// All known allocators, hz3 and the C library first.
pub(super) const KNOWN: [Known; 9] = [
    Known { name: "hz3", files: &preload::LIBRARIES, remedy: preload::BUILD },
    Known { name: "glibc", files: &[], remedy: "" },
    Known {
        name: "jemalloc",
        files: &["libjemalloc.so.2"],
        remedy: "apt-get install libjemalloc2",
    },
    Known {
        name: "tcmalloc",
        files: &["libtcmalloc_minimal.so.4"],
        remedy: "apt-get install libtcmalloc-minimal4",
    },
    Known {
        name: "mimalloc",
        files: &["libmimalloc.so.2", "libmimalloc.so.2.0"],
        remedy: "apt-get install libmimalloc2.0",
    },
    Known { name: "mimalloc3", files: &["libhz3_peer_mimalloc3.so"], remedy: PEERS },
    Known { name: "jemalloc5", files: &["libhz3_peer_jemalloc5.so"], remedy: PEERS },
    Known { name: "snmalloc", files: &["libhz3_peer_snmalloc.so"], remedy: PEERS },
    Known { name: "rpmalloc", files: &["libhz3_peer_rpmalloc.so"], remedy: PEERS },
];

/// Lists the directories to search: that of this program, then the system's.
pub(super) fn directories(exe: &Path) -> Vec<PathBuf> {
    let beside = exe.parent().unwrap_or(Path::new("."));
    let mut all = vec![beside.to_owned(), beside.join("examples"), beside.join("../lib")];
    // A debug build of this program still measures release builds of the allocators.
    all.extend(["../release", "../release/examples"].map(|place| beside.join(place)));
    let listed = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    all.extend(std::env::split_paths(&listed));
    let system = [
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    all.extend(system.map(PathBuf::from));
    all
}

/// Returns the first of these files that exists in these directories.
pub(super) fn locate(files: &[&str], directories: &[PathBuf]) -> Option<PathBuf> {
    let places = files.iter().flat_map(|file| directories.iter().map(move |dir| dir.join(file)));
    places.into_iter().find(|place| place.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_name_wins_over_the_nearer_directory() {
        let root = tempfile::tempdir().unwrap();
        let dirs = ["near", "far"].map(|name| root.path().join(name));
        for dir in &dirs {
            std::fs::create_dir(dir).unwrap();
        }
        std::fs::write(dirs[0].join("second.so"), "").unwrap();
        assert_eq!(locate(&["first.so", "second.so"], &dirs), Some(dirs[0].join("second.so")));
        std::fs::write(dirs[1].join("first.so"), "").unwrap();
        assert_eq!(locate(&["first.so", "second.so"], &dirs), Some(dirs[1].join("first.so")));
        assert_eq!(locate(&["third.so"], &dirs), None);
    }

    #[test]
    fn names_are_unique_and_every_library_has_a_way_to_get_it() {
        for (i, known) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..i].iter().all(|other| other.name != known.name), "{}", known.name);
            assert!(known.files.is_empty() || !known.remedy.is_empty(), "{}", known.name);
        }
    }
}
