//! Names of functions for addresses, from the files that the program had mapped.
//!
//! A file that is gone or is another build than the program's gives no names, because wrong names
//! would mislead. Its debug information may lie in the system's store of debug files.

use super::proto::Mapping;
use addr2line::{Loader, demangle_auto};
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _, SymbolKind};
use std::borrow::Cow;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Where distributions put separate debug information, by build id.
const DEBUG_STORE: &str = "/usr/lib/debug/.build-id";

/// A file of the program, open for look-ups.
pub(super) struct Object {
    mapping: Mapping,
    loader: Option<Loader>,
    /// Loaded parts of the file: first byte, length, address at which it was linked.
    segments: Vec<(u64, u64, u64)>,
    /// The functions that the file exports, by address: address, length, name.
    exported: Vec<(u64, u64, String)>,
}

impl Object {
    /// Opens the file of a mapping, an absolute path below `root`. If it cannot give names, also
    /// returns the reason.
    pub(super) fn open(
        mapping: Mapping,
        file: &str,
        build_id: &str,
        root: &Path,
    ) -> (Self, Option<String>) {
        let mut object = Self { mapping, loader: None, segments: Vec::new(), exported: Vec::new() };
        // The kernel's own mappings have names in brackets, and anonymous memory has none.
        if !file.starts_with('/') || file.starts_with("//") {
            return (object, None);
        }
        let store = debug_file(build_id).filter(|debug| debug.is_file());
        let file = root.join(file.trim_start_matches('/'));
        let failed = object.load(&file, build_id, store.as_deref()).err();
        (object, failed)
    }

    fn load(&mut self, file: &Path, build_id: &str, store: Option<&Path>) -> Result<(), String> {
        let readable = if file.is_file() { Some(file) } else { store };
        let Some(readable) = readable else { return Err("is gone".to_owned()) };
        let bytes = std::fs::read(readable).map_err(|e| format!("cannot be read ({e})"))?;
        let parsed =
            object::File::parse(&*bytes).map_err(|e| format!("is no object file ({e})"))?;
        let present = parsed.build_id().ok().flatten().map(hex);
        if !build_id.is_empty() && present.as_deref() != Some(build_id) {
            return Err(format!("is another build than the program's (build id {build_id})"));
        }
        let segments = parsed.segments().map(|segment| {
            let (offset, length) = segment.file_range();
            (offset, length, segment.address())
        });
        self.segments = segments.collect();
        let symbols = parsed.dynamic_symbols().filter(|symbol| {
            symbol.is_definition() && symbol.kind() == SymbolKind::Text && symbol.size() > 0
        });
        let named = symbols.filter_map(|symbol| {
            Some((symbol.address(), symbol.size(), symbol.name().ok()?.to_owned()))
        });
        self.exported = named.collect();
        self.exported.sort_unstable();
        self.loader = Loader::new(store.unwrap_or(readable)).ok();
        Ok(())
    }

    /// Returns the mapping as the profile has it.
    pub(super) fn mapping(&self) -> Mapping {
        self.mapping
    }

    /// Returns the functions at an address, the innermost inlined one first; none if unknown.
    pub(super) fn functions(&self, address: u64) -> Vec<String> {
        let Some(linked) = self.linked(address) else { return Vec::new() };
        let inlined = self.inlined(linked);
        if !inlined.is_empty() {
            return inlined;
        }
        let symbol = self.loader.as_ref().and_then(|loader| loader.find_symbol(linked));
        symbol.or_else(|| self.exported(linked)).map(demangled).into_iter().collect()
    }

    /// Converts an address of the process to one of the file as it was linked.
    fn linked(&self, address: u64) -> Option<u64> {
        let in_file = address.checked_sub(self.mapping.start)?.checked_add(self.mapping.offset)?;
        let mut segments = self.segments.iter();
        let holds = |&&(offset, length, _): &&(u64, u64, u64)| {
            in_file.checked_sub(offset).is_some_and(|within| within < length)
        };
        let &(offset, _, linked) = segments.find(holds)?;
        linked.checked_add(in_file - offset)
    }

    fn inlined(&self, linked: u64) -> Vec<String> {
        let mut names = Vec::new();
        let frames = self.loader.as_ref().and_then(|loader| loader.find_frames(linked).ok());
        let Some(mut frames) = frames else { return names };
        while let Ok(Some(frame)) = frames.next() {
            let Some(function) = frame.function else { return Vec::new() };
            let Ok(name) = function.demangle() else { return Vec::new() };
            names.push(name.into_owned());
        }
        names
    }

    fn exported(&self, linked: u64) -> Option<&str> {
        let after = self.exported.partition_point(|&(start, _, _)| start <= linked);
        let (start, length, name) = self.exported.get(after.checked_sub(1)?)?;
        (linked - start < *length).then_some(name.as_str())
    }
}

/// Demangles a name of Rust or C++; returns any other name as it is.
pub(super) fn demangled(name: &str) -> String {
    demangle_auto(Cow::Borrowed(name), None).into_owned()
}

fn debug_file(build_id: &str) -> Option<PathBuf> {
    let (directory, rest) = build_id.split_at_checked(2)?;
    let is_hex = build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| Path::new(DEBUG_STORE).join(directory).join(format!("{rest}.debug")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
