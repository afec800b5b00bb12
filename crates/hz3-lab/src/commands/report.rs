//! `hz3 report`.

use super::compare::sentence;
use crate::cli::ReportArgs;
use crate::experiment::analysis::Analysis;
use crate::experiment::record::{Record, replace};
use crate::failure::Result;
use crate::report;
use std::path::Path;

/// Writes the page and the pictures.
pub(crate) fn run(args: &ReportArgs) -> Result<u8> {
    let record = Record::load(&args.results)?;
    let out = args.out.clone().unwrap_or_else(|| args.results.with_extension("html"));
    write(&record, &out, args.svg.as_deref())?;
    println!("{}", out.display());
    Ok(0)
}

/// Writes the page of `record` to `out` and, if asked for, its pictures into `pictures`.
pub(crate) fn write(record: &Record, out: &Path, pictures: Option<&Path>) -> Result<()> {
    let analysis = Analysis::of(record);
    let drawn = report::pictures(record, &analysis);
    let sentence = sentence(record, &analysis);
    let page = report::html(record, &analysis, &drawn, sentence.as_deref());
    replace(out, page.as_bytes())?;
    for picture in drawn.iter().filter(|_| pictures.is_some()) {
        let directory = pictures.unwrap_or(Path::new("."));
        let file = directory.join(format!("{}.svg", picture.name));
        replace(&file, picture.svg.standalone().as_bytes())?;
    }
    Ok(())
}
