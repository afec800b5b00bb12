//! How often each instruction of a function ran, from callgrind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hz3_programs::packages;
use hz3_tools::Result;

use crate::shell;

/// Address and count of every instruction that ran, by the name of its function.
pub(super) type Profile = BTreeMap<String, BTreeMap<u64, u64>>;

/// Runs the program of pairs with the library preloaded under callgrind.
pub(super) fn take(
    program: &Path,
    library: &Path,
    folder: &Path,
    size: u32,
    pairs: u32,
) -> Result<Profile> {
    let out = folder.join(format!("callgrind.{size}"));
    let mut command = shell::program(packages::find("valgrind")?.path());
    command
        .args(["--tool=callgrind", "--dump-instr=yes", "--dump-line=no"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args([size.to_string(), pairs.to_string()])
        .env("LD_PRELOAD", library);
    shell::capture(&mut command)?;
    Ok(parse(&fs::read_to_string(out)?))
}

/// Reads callgrind's format as far as it is asked for here: no compression, positions are
/// addresses.
fn parse(text: &str) -> Profile {
    let mut profile = Profile::new();
    let mut function = None;
    let mut inclusive = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = Some(name.to_owned());
        } else if line.starts_with("calls=") {
            // The next line is the cost of the callee, not of an instruction here.
            inclusive = true;
        } else if let Some((address, count)) = cost(line) {
            if let Some(function) = function.as_ref().filter(|_| !inclusive) {
                let costs = profile.entry(function.clone()).or_default();
                *costs.entry(address).or_default() += count;
            }
            inclusive = false;
        }
    }
    profile
}

/// Parses a line `0xADDRESS COUNT`.
fn cost(line: &str) -> Option<(u64, u64)> {
    let (address, count) = line.strip_prefix("0x")?.split_once(' ')?;
    Some((u64::from_str_radix(address, 16).ok()?, count.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_go_to_their_function_and_calls_to_none() {
        let text = "positions: instr\nevents: Ir\n\nob=/x.so\nfn=malloc\n0x10 7\n0x13 7\ncfn=cold\n\
                    calls=1 0x99 \n0x13 5000\n0x17 6\n\nfn=free\n0x40 7\n\nfn=malloc\n0x10 3\n";
        let profile = parse(text);
        assert_eq!(profile["malloc"], BTreeMap::from([(0x10, 10), (0x13, 7), (0x17, 6)]));
        assert_eq!(profile["free"], BTreeMap::from([(0x40, 7)]));
    }
}
