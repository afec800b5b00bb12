//! The instructions that every call of a function runs, and what kind they are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use hz3_programs::packages;
use hz3_tools::{Failure, Result};

use super::profile::Profile;
use crate::shell;

/// The functions that a library exports: address and size by name.
#[derive(Debug)]
pub(super) struct Symbols(BTreeMap<String, (u64, u64)>);

/// The hit path of one function.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HitPath {
    pub(super) instructions: u32,
    branches: u32,
    memory: u32,
    /// Instructions that a hit path must not contain, as found.
    pub(super) faults: Vec<String>,
}

impl Symbols {
    pub(super) fn read(library: &Path) -> Result<Self> {
        let mut nm = shell::program("nm");
        nm.args(["--dynamic", "--defined-only", "--print-size"]).arg(library);
        Ok(Self::parse(&shell::capture(&mut nm)?))
    }

    /// Lines `ADDRESS SIZE T name`.
    fn parse(text: &str) -> Self {
        let symbol = |line: &str| {
            let mut parts = line.split_whitespace();
            let address = u64::from_str_radix(parts.next()?, 16).ok()?;
            let size = u64::from_str_radix(parts.next()?, 16).ok()?;
            let name = parts.nth(1)?.split('@').next()?.to_owned();
            Some((name, (address, size)))
        };
        Self(text.lines().filter_map(symbol).collect())
    }

    /// Address and size of a function, and every name that it has.
    fn function(&self, name: &str) -> Result<((u64, u64), Vec<&str>)> {
        let Some(&place) = self.0.get(name) else {
            return Err(Failure::new(format!("the library does not export {name}")));
        };
        let names = self.0.iter().filter(|(_, other)| other.0 == place.0);
        Ok((place, names.map(|(name, _)| name.as_str()).collect()))
    }
}

impl HitPath {
    /// Returns the instructions that ran in every call of `name` by the program of pairs.
    pub(super) fn of(
        name: &str,
        symbols: &Symbols,
        profile: &Profile,
        library: &Path,
        pairs: u32,
    ) -> Result<Self> {
        let ((address, size), names) = symbols.function(name)?;
        // Half of the pairs is far above what start-up and warm-up call and tolerates none of a
        // miss.
        let hot = hottest(profile, &names, address, u64::from(pairs) / 2)?;
        let mut objdump = shell::program(packages::find("objdump")?.path());
        objdump.args(["--disassemble", "--no-show-raw-insn"]).arg(library);
        objdump.arg(format!("--start-address={address}"));
        objdump.arg(format!("--stop-address={}", address + size));
        Self::classify(name, &hot, &shell::capture(&mut objdump)?)
    }

    fn classify(name: &str, hot: &[u64], disassembly: &str) -> Result<Self> {
        let listing: BTreeMap<u64, &str> = disassembly.lines().filter_map(instruction).collect();
        let mut path = Self::default();
        for address in hot {
            let Some(text) = listing.get(address) else {
                return Err(Failure::new(format!("{name}: nothing disassembles at {address:#x}")));
            };
            path.add(name, text);
        }
        if !hot
            .iter()
            .any(|address| listing.get(address).is_some_and(|text| text.starts_with("ret")))
        {
            path.faults.push(format!("{name} goes on in another function"));
        }
        Ok(path)
    }

    fn add(&mut self, function: &str, text: &str) {
        self.instructions += 1;
        let mnemonic = text.split_whitespace().next().unwrap_or_default();
        self.branches += u32::from(mnemonic.starts_with('j') && mnemonic != "jmp");
        // `lea` computes an address, and a nop may name one.
        let touches = text.contains('(') || text.contains("%fs:");
        self.memory +=
            u32::from(touches && !mnemonic.starts_with("lea") && !mnemonic.starts_with("nop"));
        let what = match mnemonic {
            "call" | "callq" => "a call",
            "lock" => "a locked instruction",
            "xchg" if touches => "a locked instruction",
            "div" | "divq" | "divl" | "idiv" | "idivq" | "idivl" => "a division",
            _ => return,
        };
        self.faults.push(format!("{function} has {what}: {text}"));
    }
}

/// Returns the addresses (as in the file) of the instructions of a function that ran at least
/// `least` times.
fn hottest(profile: &Profile, names: &[&str], entry: u64, least: u64) -> Result<Vec<u64>> {
    let mut hot: Vec<u64> = Vec::new();
    for (function, costs) in profile {
        if names.contains(&function.as_str()) {
            hot.extend(costs.iter().filter(|&(_, &count)| count >= least).map(|(&at, _)| at));
        }
    }
    hot.sort_unstable();
    // Callgrind gives addresses in the file or in memory; these differ by whole pages, and every
    // call runs the first instruction, which is the lowest of a function.
    let Some(&first) = hot.first() else {
        return Err(Failure::new(format!("{}: the program never called it", names.join(", "))));
    };
    let shift = first.wrapping_sub(entry);
    if !shift.is_multiple_of(4096) {
        return Err(Failure::new(format!(
            "{}: the first hot instruction {first:#x} is not the entry {entry:#x}",
            names.join(", ")
        )));
    }
    Ok(hot.into_iter().map(|at| at.wrapping_sub(shift)).collect())
}

/// Parses a line of objdump, `  1234:<tab>mov ...`.
fn instruction(line: &str) -> Option<(u64, &str)> {
    let (address, text) = line.split_once(":\t")?;
    Some((u64::from_str_radix(address.trim(), 16).ok()?, text.trim()))
}

impl fmt::Display for HitPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instructions, branches, memory, .. } = self;
        write!(f, "{instructions:>3} ({branches:>2} branches, {memory:>2} memory)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\n0000000000001000 <malloc>:\n    1000:\tmov    %fs:0x0,%rax\n    1009:\tcmp    $0x8000,%rdi\n    \
        1010:\tja     1040 <malloc+0x40>\n    1012:\tlea    (%rax,%rdi,8),%rcx\n    1016:\tmov    (%rcx),%rax\n    1019:\tret\n    \
        1040:\tlock cmpxchg %rax,(%rdi)\n    1046:\tcall   2000 <cold>\n    104b:\tdiv    %rcx\n";

    #[test]
    fn symbols_with_two_names_are_one_function() {
        let text = "0000000000001000 0000000000000050 T malloc\n0000000000001000 0000000000000050 T __libc_malloc@@V\n\
                    0000000000002000 0000000000000010 T free\n                 U abort\n";
        let symbols = Symbols::parse(text);
        let (place, names) = symbols.function("malloc").unwrap();
        assert_eq!(place, (0x1000, 0x50));
        assert_eq!(names, ["__libc_malloc", "malloc"]);
        assert!(symbols.function("calloc").is_err());
    }

    #[test]
    fn only_what_runs_every_time_is_counted_wherever_the_library_lies() {
        for base in [0, 0x4850_0000] {
            let costs = [(base + 0x1000, 10_300), (base + 0x1009, 10_300), (base + 0x1040, 300)];
            let profile = Profile::from([("malloc".to_owned(), BTreeMap::from(costs))]);
            assert_eq!(hottest(&profile, &["malloc"], 0x1000, 5000).unwrap(), [0x1000, 0x1009]);
        }
        let elsewhere = Profile::from([("malloc".to_owned(), BTreeMap::from([(0x1234, 10_000)]))]);
        assert!(hottest(&elsewhere, &["malloc"], 0x1000, 5000).is_err());
        assert!(hottest(&Profile::new(), &["malloc"], 0x1000, 5000).is_err());
    }

    #[test]
    fn kinds_are_told_apart() {
        let hot = [0x1000, 0x1009, 0x1010, 0x1012, 0x1016, 0x1019];
        let path = HitPath::classify("malloc", &hot, LISTING).unwrap();
        assert_eq!(path, HitPath { instructions: 6, branches: 1, memory: 2, faults: Vec::new() });
        assert!(HitPath::classify("malloc", &[0x9999], LISTING).is_err());
    }

    #[test]
    fn a_call_a_lock_and_a_division_are_faults() {
        for (address, what) in [(0x1040, "locked"), (0x1046, "call"), (0x104b, "division")] {
            let path = HitPath::classify("malloc", &[address, 0x1019], LISTING).unwrap();
            assert_eq!(path.faults.len(), 1);
            assert!(path.faults[0].contains(what), "{}", path.faults[0]);
        }
    }

    #[test]
    fn a_path_that_does_not_return_is_a_fault() {
        let path = HitPath::classify("malloc", &[0x1000, 0x1010], LISTING).unwrap();
        assert_eq!(path.faults, ["malloc goes on in another function"]);
    }
}
