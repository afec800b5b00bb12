//! A profile whose stacks consist of names.

use super::file;
use super::proto::{Location, Mapping, Profile};
use super::symbols::{Object, demangled};
use crate::failure::{self, Failure, Result};
use regex_lite::Regex;
use std::collections::HashMap;
use std::path::Path;

/// A sample type: `inuse_space` in `bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Its name in the profile.
    pub(crate) name: String,
    /// `bytes`, `count`, `nanoseconds` or another unit.
    pub(crate) unit: String,
}

/// The index of a name in [`Named::names`].
pub(crate) type Name = usize;

/// A profile with names instead of addresses.
#[derive(Debug)]
pub(crate) struct Named {
    /// The sample types, in the order of the values.
    pub(crate) kinds: Vec<Kind>,
    /// The sample type that the profile itself proposes.
    pub(crate) default: Option<String>,
    /// All names of functions.
    pub(crate) names: Vec<String>,
    /// The samples: functions, the outermost first, and one value for each kind.
    pub(crate) stacks: Vec<(Vec<Name>, Vec<i64>)>,
    /// Files without names, and why.
    pub(crate) nameless: Vec<String>,
}

impl Named {
    /// Reads a profile and looks its addresses up, in the program's files below `root`.
    pub(crate) fn read(path: &Path, root: &Path) -> Result<Self> {
        Self::pruned(&file::read(path)?, &path.display().to_string(), root)
    }

    /// Names the functions of a profile as [`Self::read`] does. Failures call it `name`.
    pub(crate) fn parse(bytes: &[u8], name: &str, root: &Path) -> Result<Self> {
        Self::pruned(&file::parse(bytes, name)?, name, root)
    }

    fn pruned(profile: &Profile, name: &str, root: &Path) -> Result<Self> {
        let prune = Prune::of(profile)
            .map_err(|e| Failure::new(format!("{name}: the frames to drop: {e}")))?;
        Ok(Self::of(profile, prune.as_ref(), root))
    }

    fn of(profile: &Profile, prune: Option<&Prune>, root: &Path) -> Self {
        let mut table = Names::default();
        let (places, nameless) = look_up(profile, &mut table, root);
        let mut stacks = Vec::with_capacity(profile.sample.len());
        for sample in &profile.sample {
            // The file has the innermost location first, and in it the innermost function.
            let inwards = sample.location.iter().rev();
            let functions = inwards.filter_map(|id| places.get(id));
            let mut stack: Vec<Name> =
                functions.flat_map(|names| names.iter().rev().copied()).collect();
            if let Some(prune) = prune {
                stack.truncate(prune.depth(&stack, &table.all));
            }
            stacks.push((stack, sample.value.clone()));
        }
        let kinds = profile.sample_type.iter().map(|kind| Kind {
            name: string(profile, kind.name).to_owned(),
            unit: string(profile, kind.unit).to_owned(),
        });
        let default = string(profile, profile.default_sample_type);
        Self {
            kinds: kinds.collect(),
            default: (!default.is_empty()).then(|| default.to_owned()),
            names: table.all,
            stacks,
            nameless,
        }
    }

    /// Returns the index of the sample type: the named one; otherwise the one that the profile
    /// proposes, the memory in use, or the last one.
    pub(crate) fn kind(&self, named: Option<&str>) -> Result<usize> {
        let find = |name: &str| self.kinds.iter().position(|kind| kind.name == name);
        let Some(named) = named else {
            let proposed = self.default.as_deref().and_then(find);
            let last = self.kinds.len().saturating_sub(1);
            return Ok(proposed.or_else(|| find("inuse_space")).unwrap_or(last));
        };
        let names = self.kinds.iter().map(|kind| kind.name.as_str());
        find(named).ok_or_else(|| failure::unknown("sample type", named, names))
    }
}

/// Returns the string of an index, which [`file::read`] has checked.
fn string(profile: &Profile, index: i64) -> &str {
    let index = usize::try_from(index).unwrap_or(0);
    profile.string_table.get(index).map_or("", String::as_str)
}

/// Names by number, each once.
#[derive(Default)]
struct Names {
    all: Vec<String>,
    known: HashMap<String, Name>,
}

impl Names {
    fn number(&mut self, name: String) -> Name {
        let next = self.all.len();
        *self.known.entry(name).or_insert_with_key(|name| {
            self.all.push(name.clone());
            next
        })
    }
}

/// Names the functions of every location, the innermost first. Also lists files without names.
fn look_up(
    profile: &Profile,
    table: &mut Names,
    root: &Path,
) -> (HashMap<u64, Vec<Name>>, Vec<String>) {
    let functions: HashMap<u64, &str> = profile
        .function
        .iter()
        .map(|function| {
            let name = string(profile, function.name);
            let system = string(profile, function.system_name);
            (function.id, if name.is_empty() { system } else { name })
        })
        .collect();
    let mappings: HashMap<u64, Mapping> =
        profile.mapping.iter().map(|mapping| (mapping.id, *mapping)).collect();
    let mut objects: HashMap<u64, (Object, Option<String>)> = HashMap::new();
    let mut places = HashMap::new();
    for location in &profile.location {
        let given = location.line.iter().filter_map(|line| functions.get(&line.function).copied());
        let mut names: Vec<String> = given.filter(|name| !name.is_empty()).map(demangled).collect();
        let mapping = mappings.get(&location.mapping).copied();
        if names.is_empty()
            && let Some(mapping) = mapping
        {
            let (object, _) = objects.entry(mapping.id).or_insert_with(|| {
                let build_id = string(profile, mapping.build_id);
                Object::open(mapping, path(profile, mapping), build_id, root)
            });
            names = object.functions(location.address);
        }
        if names.is_empty() {
            names.push(nameless(profile, location, mapping));
        }
        let numbers = names.into_iter().map(|name| table.number(name)).collect();
        places.insert(location.id, numbers);
    }
    let mut reasons: Vec<String> = objects
        .into_values()
        .filter_map(|(object, reason)| Some((object.mapping().file, reason?)))
        .map(|(file, reason)| format!("{} {reason}", string(profile, file)))
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    (places, reasons)
}

/// Returns the file of a mapping. The kernel marks a deleted one.
fn path(profile: &Profile, mapping: Mapping) -> &str {
    string(profile, mapping.file).trim_end_matches(" (deleted)")
}

/// Names an address by its file and the place in it, or by its number.
fn nameless(profile: &Profile, location: &Location, mapping: Option<Mapping>) -> String {
    let address = location.address;
    let file = mapping.map(|mapping| (path(profile, mapping), mapping));
    let Some((path, mapping)) = file.filter(|(path, _)| !path.is_empty()) else {
        return format!("{address:#x}");
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    let within = address.wrapping_sub(mapping.start).wrapping_add(mapping.offset);
    format!("{name}+{within:#x}")
}

/// The frames that a profile wants dropped, together with all that they called.
struct Prune {
    drop: Regex,
    keep: Option<Regex>,
}

impl Prune {
    fn of(profile: &Profile) -> Result<Option<Self>, regex_lite::Error> {
        let [drop, keep] = [profile.drop_frames, profile.keep_frames]
            .map(|index| Some(string(profile, index)).filter(|pattern| !pattern.is_empty()));
        let whole = |pattern: &str| Regex::new(&format!("^(?:{pattern})$"));
        let Some(drop) = drop else { return Ok(None) };
        Ok(Some(Self { drop: whole(drop)?, keep: keep.map(whole).transpose()? }))
    }

    /// Returns how many of the outermost frames stay. A stack is never emptied.
    fn depth(&self, stack: &[Name], names: &[String]) -> usize {
        let drops = |name: &Name| {
            names.get(*name).is_some_and(|name| {
                let kept = self.keep.as_ref().is_some_and(|keep| keep.is_match(name));
                self.drop.is_match(name) && !kept
            })
        };
        let Some(first) = stack.iter().position(|name| !drops(name)) else { return stack.len() };
        let inner = stack.iter().skip(first).position(drops);
        inner.map_or(stack.len(), |dropped| first + dropped)
    }
}
