//! `hz3 report`.

use super::compare::sentence;
use crate::cli::ReportArgs;
use crate::experiment::analysis::Analysis;
use crate::experiment::record::{Record, replace};
use crate::failure::Result;
use crate::report::{self, Picture};
use std::path::Path;

/// Writes the page and the pictures.
pub(crate) fn run(args: &ReportArgs) -> Result<u8> {
    let record = Record::load(&args.results)?;
    let out = args.out.clone().unwrap_or_else(|| args.results.with_extension("html"));
    let pictures = write(&record, &out)?;
    if let Some(directory) = &args.svg {
        for picture in &pictures {
            let file = directory.join(format!("{}.svg", picture.name));
            replace(&file, picture.svg.standalone().as_bytes())?;
        }
    }
    if let Some(directory) = &args.png {
        report::png::write(&pictures, directory)?;
    }
    println!("{}", out.display());
    Ok(0)
}

/// Writes the page of `record` to `out`; returns its pictures.
pub(crate) fn write(record: &Record, out: &Path) -> Result<Vec<Picture>> {
    let analysis = Analysis::of(record);
    let drawn = report::pictures(record, &analysis);
    let sentence = sentence(record, &analysis);
    let page = report::html(record, &analysis, &drawn, sentence.as_deref());
    replace(out, page.as_bytes())?;
    Ok(drawn)
}
