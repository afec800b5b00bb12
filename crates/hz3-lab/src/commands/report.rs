//! `hz3 report`.

use super::compare::sentence;
use crate::cli::ReportArgs;
use crate::experiment::analysis::Analysis;
use crate::experiment::record::Record;
use crate::failure::{Failure, Result};
use crate::files;
use crate::measure::series_csv;
use crate::report::{self, Picture};
use crate::text;
use std::path::Path;

/// Writes the page and the pictures.
pub(crate) fn run(args: &ReportArgs) -> Result<u8> {
    let out = args.out.clone().unwrap_or_else(|| args.results.with_extension("html"));
    let (json, csv) = files::json_and_csv(&args.results);
    if [&args.results, &json, &csv].iter().any(|file| files::are_same(&out, file)) {
        return Err(Failure::usage(
            "the page would overwrite the results; name another file with --out",
        ));
    }
    if !files::is_stdout(&out) {
        files::may_draw(&out)?;
    }
    for directory in [&args.svg, &args.png].into_iter().flatten() {
        files::may_make_directory(directory)?;
    }
    let pictures = match watched(&args.results)? {
        Some(rss) => {
            let name = args.results.display().to_string();
            let picture = report::watched_picture(&rss, &name);
            put(&out, &report::watched(&picture, &name))?;
            vec![picture]
        }
        None => write(&Record::read(&args.results)?, &out)?,
    };
    if let Some(directory) = &args.svg {
        files::make_directory(directory)?;
        for picture in &pictures {
            let file = directory.join(format!("{}.svg", picture.name));
            files::write(&file, picture.svg.standalone().as_bytes())?;
        }
    }
    if let Some(directory) = &args.png {
        files::make_directory(directory)?;
        report::png::write(&pictures, directory)?;
    }
    if !files::is_stdout(&out) {
        text::out::line(&out.display().to_string())?;
    }
    Ok(0)
}

fn put(out: &Path, page: &str) -> Result<()> {
    if files::is_stdout(out) {
        return text::out::bytes(page.as_bytes());
    }
    files::write(out, page.as_bytes())
}

/// Reads the resident set over time if the file is a CSV of `hz3 watch`.
fn watched(path: &Path) -> Result<Option<Vec<(f64, u64)>>> {
    let bytes = files::read(path)?;
    let name = path.display();
    match std::str::from_utf8(&bytes).ok().and_then(series_csv::read_rss) {
        Some(Ok(rss)) if rss.is_empty() => Err(Failure::new(format!("{name} has no samples"))),
        Some(Ok(rss)) => Ok(Some(rss)),
        Some(Err(line)) => Err(Failure::new(format!("{name}: line {line} is no sample"))),
        None if bytes.trim_ascii_start().starts_with(b"{") => Ok(None),
        None => Err(Failure::new(format!("{name} is no file that hz3 report reads")).with_remedy(
            format!(
                "expected the JSON of `hz3 compare`, or a CSV of `hz3 watch` with the columns {}",
                series_csv::columns()
            ),
        )),
    }
}

/// Writes the page of `record` to `out`; returns its pictures.
pub(crate) fn write(record: &Record, out: &Path) -> Result<Vec<Picture>> {
    let analysis = Analysis::of(record);
    let drawn = report::pictures(record, &analysis);
    let sentence = sentence(record, &analysis);
    let page = report::html(record, &analysis, &drawn, sentence.as_deref());
    put(out, &page)?;
    Ok(drawn)
}
