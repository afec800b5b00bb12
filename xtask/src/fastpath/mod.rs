//! Counts the instructions of the fast paths of malloc and free in libhz3.so.
//!
//! A small program allocates and frees one size ten thousand times under callgrind, which says how
//! often each single instruction ran. Those that ran at least once a pair are the hit path:
//! counting them is exact and the same in every run, since start-up and warm-up run far less often.
//! The disassembly of these instructions shows what kind they are: a call, a locked instruction or
//! a division on the hit path is a fault whatever the count.

mod golden;
mod path;
mod profile;

use std::path::Path;

use hz3_tools::{Failure, Result};

use crate::shell;
use golden::{Figure, Golden};
use path::HitPath;

/// The sizes that are measured: the smallest classes, the middle, the end of the fine classes.
const SIZES: [u32; 4] = [24, 100, 512, 1500];

/// Pairs in one run. Start-up allocates much less often than this.
const PAIRS: u32 = 10_000;

const GOLDEN: &str = "crates/hz3-c/fastpath.golden.toml";

/// Measures, prints a table, and compares with the golden file or (`bless`: the reason) adds to it.
pub(crate) fn run(library: Option<&Path>, bless: Option<&str>) -> Result {
    let subject = library.map_or_else(shell::library, |path| Ok(path.to_owned()))?;
    let Measured { figure, faults } = measure(&subject)?;
    if !faults.is_empty() {
        return Err(Failure::new(faults.join("\n")).during("on the hit path"));
    }
    if library.is_some() {
        return Ok(());
    }
    let file = shell::root().join(GOLDEN);
    let mut golden = Golden::read(&file)?;
    if let Some(why) = bless {
        golden.add(figure, today()?, compiler()?, why)?;
        return golden.write(&file);
    }
    let complaints = golden.compare(&figure)?;
    if complaints.is_empty() {
        println!("no more than the golden figure in {GOLDEN}");
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}\nif the growth is worth it: cargo xtask fastpath --bless --why REASON",
        complaints.join("\n")
    )))
}

struct Measured {
    figure: Figure,
    faults: Vec<String>,
}

fn measure(subject: &Path) -> Result<Measured> {
    let folder = shell::target().join("fastpath");
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("pair");
    shell::compile("xtask/cost/pair.c", &["-O1"], &program)?;
    let symbols = path::Symbols::read(subject)?;
    let (mut figure, mut faults) = (Figure::default(), Vec::new());
    println!(
        "size   malloc                                free                                 pair"
    );
    for size in SIZES {
        let profile = profile::take(&program, subject, &folder, size, PAIRS)?;
        let malloc = HitPath::of("malloc", &symbols, &profile, subject, PAIRS)?;
        let free = HitPath::of("free", &symbols, &profile, subject, PAIRS)?;
        println!("{size:>4}   {malloc}   {free}   {}", malloc.instructions + free.instructions);
        faults.extend(
            malloc.faults.iter().chain(&free.faults).map(|text| format!("size {size}: {text}")),
        );
        figure.malloc.insert(size.to_string(), malloc.instructions);
        figure.free.insert(size.to_string(), free.instructions);
    }
    Ok(Measured { figure, faults })
}

fn today() -> Result<String> {
    Ok(shell::capture(shell::program("date").args(["--utc", "+%Y-%m-%d"]))?.trim().to_owned())
}

fn compiler() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(shell::capture(shell::program(rustc).arg("--version"))?.trim().to_owned())
}
