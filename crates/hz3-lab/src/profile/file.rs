//! Reads a pprof file and checks that it holds together.

use super::proto::Profile;
use crate::failure::{Failure, Result};
use crate::files;
use flate2::read::MultiGzDecoder;
use prost::Message;
use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

/// The most bytes of a profile, unpacked. A file of a few KiB can hold terabytes of zeros.
const MAX_BYTES: u64 = 1 << 30;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// How the text forms begin that jemalloc, gperftools and Go's `debug=1` write.
const TEXT_FORMS: [&[u8]; 3] = [b"heap profile:", b"heap_v2/", b"--- "];

/// Reads the profile in a file, gzipped or plain.
pub(super) fn read(path: &Path) -> Result<Profile> {
    parse(&files::read(path)?, &path.display().to_string())
}

/// Reads a profile, gzipped or plain. Failures call it `name`.
pub(super) fn parse(bytes: &[u8], name: &str) -> Result<Profile> {
    let bytes = unpacked(bytes).map_err(|e| Failure::io(format!("unpack {name}"), e))?;
    if TEXT_FORMS.iter().any(|form| bytes.starts_with(form)) {
        return Err(Failure::new(format!("{name} is a profile in a text form"))
            .with_remedy("`jeprof` or `pprof -proto` read it"));
    }
    let foreign = |why: String| {
        Failure::new(format!("{name} is not a pprof file, or only a part of one: {why}"))
    };
    let profile = Profile::decode(&*bytes).map_err(|e| foreign(e.to_string()))?;
    check(&profile).map_err(|why| foreign(why.to_owned()))?;
    Ok(profile)
}

fn unpacked(bytes: &[u8]) -> std::io::Result<Cow<'_, [u8]>> {
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes.into());
    }
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes).take(MAX_BYTES + 1).read_to_end(&mut plain)?;
    if plain.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("more than 1 GiB"));
    }
    Ok(plain.into())
}

/// Checks what the other modules rely on: every number names something that exists.
fn check(profile: &Profile) -> Result<(), &'static str> {
    let is_string =
        |index: i64| usize::try_from(index).is_ok_and(|i| i < profile.string_table.len());
    if profile.sample_type.is_empty() || profile.string_table.first().is_none_or(|s| !s.is_empty())
    {
        return Err("it has no sample types");
    }
    let strings = profile.sample_type.iter().flat_map(|kind| [kind.name, kind.unit]);
    let strings = strings.chain(profile.function.iter().flat_map(|f| [f.name, f.system_name]));
    let strings = strings.chain(profile.mapping.iter().flat_map(|m| [m.file, m.build_id]));
    let single = [profile.drop_frames, profile.keep_frames, profile.default_sample_type];
    if !strings.chain(single).all(is_string) {
        return Err("a string is missing");
    }
    let functions: HashSet<u64> = profile.function.iter().map(|function| function.id).collect();
    let mut lines = profile.location.iter().flat_map(|location| &location.line);
    if !lines.all(|line| functions.contains(&line.function)) {
        return Err("a function is missing");
    }
    let mappings: HashSet<u64> = profile.mapping.iter().map(|mapping| mapping.id).collect();
    let mut used = profile.location.iter().map(|location| location.mapping);
    if !used.all(|mapping| mapping == 0 || mappings.contains(&mapping)) {
        return Err("a mapping is missing");
    }
    let locations: HashSet<u64> = profile.location.iter().map(|location| location.id).collect();
    let mut places = profile.sample.iter().flat_map(|sample| &sample.location);
    if !places.all(|place| locations.contains(place)) {
        return Err("a location is missing");
    }
    let kinds = profile.sample_type.len();
    if profile.sample.iter().any(|sample| sample.value.len() != kinds) {
        return Err("a sample has another number of values than there are sample types");
    }
    Ok(())
}
