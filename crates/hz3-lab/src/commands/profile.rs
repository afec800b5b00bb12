//! `hz3 profile`.

use crate::cli::ProfileArgs;
use crate::failure::{Failure, Result};
use crate::profile::{self, Kind, Live, Named, Sum, Sums};
use crate::{files, text};
use comfy_table::CellAlignment;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Prints the functions, and draws the flame graph.
pub(crate) fn run(args: &ProfileArgs) -> Result<u8> {
    let inputs = [Some(&args.source), args.base.as_ref()];
    let is_input =
        |out: &PathBuf| inputs.into_iter().flatten().any(|input| files::are_same(out, input));
    if args.flame.as_ref().is_some_and(is_input) {
        return Err(Failure::usage("the flame graph would overwrite a profile"));
    }
    if args.save.is_some() && args.save == args.flame {
        return Err(Failure::usage("--save and --flame name the same file"));
    }
    let pid = args.pid();
    if args.save.is_some() && pid.is_none() {
        return Err(Failure::usage("--save needs the number of a process"));
    }
    if args.save.as_ref().is_some_and(is_input) {
        return Err(Failure::usage("--save would overwrite the base"));
    }
    if let Some(flame) = &args.flame {
        files::may_draw(flame)?;
    }
    if let Some(save) = &args.save {
        files::may_write(save, args.force)?;
    }
    let live = pid.map(Live::take).transpose()?;
    let root = live.as_ref().map_or(Path::new("/"), Live::root);
    let profile = match &live {
        Some(live) => {
            let name = format!("the profile of process {}", args.source.display());
            Named::parse(live.bytes(), &name, root)?
        }
        None => Named::read(&args.source, root)?,
    };
    let kind = profile.kind(args.sample.as_deref())?;
    let base = args.base.as_deref().map(|base| Named::read(base, root)).transpose()?;
    let name = profile.kinds[kind].name.as_str();
    let base = match &base {
        Some(base) => Some((base, base.kind(Some(name))?)),
        None => None,
    };
    if let (Some(save), Some(live)) = (&args.save, &live) {
        files::write(save, live.bytes())?;
    }
    let mut nameless: Vec<&String> = profile.nameless.iter().collect();
    nameless.extend(base.iter().flat_map(|(base, _)| &base.nameless));
    nameless.sort_unstable();
    nameless.dedup();
    for reason in nameless {
        text::err::note(&format!("hz3: {reason}; its functions stay without names"))?;
    }
    let sums = Sums::of(&profile, kind, base);
    let title = title(args, &profile.kinds[kind]);
    if let Some(flame) = &args.flame {
        files::write(flame, &profile::draw(&profile, kind, base, &title)?)?;
    }
    if args.json {
        text::out::json(&json(args, &profile.kinds[kind], &sums))?;
    } else {
        text::out::line(&table(args, &profile.kinds[kind], &sums, &title))?;
    }
    Ok(0)
}

fn title(args: &ProfileArgs, kind: &Kind) -> String {
    let source = args.source.display();
    let process = if args.pid().is_some() { "process " } else { "" };
    let mut title = format!("{} of {process}{source}", kind.name);
    if let Some(base) = &args.base {
        let _ = write!(title, " less that of {}", base.display());
    }
    title
}

fn table(args: &ProfileArgs, kind: &Kind, sums: &Sums, title: &str) -> String {
    let show = |value: i64| shown(value, &kind.unit, sums.base.is_some());
    let mut out = format!("{title}: {}", show(sums.total.saturating_sub(sums.base.unwrap_or(0))));
    if let Some(base) = sums.base {
        let _ = write!(
            out,
            " (from {} to {})",
            shown(base, &kind.unit, false),
            shown(sums.total, &kind.unit, false)
        );
    }
    let whole = sums.base.unwrap_or(sums.total);
    let mut table = text::table::plain(&["flat", "flat %", "cum", "cum %", "function"], 0);
    if let Some(names) = table.column_mut(4) {
        names.set_cell_alignment(CellAlignment::Left);
    }
    for sum in sums.functions.iter().take(args.top) {
        let Sum { name, flat, cumulative } = sum;
        table.add_row([
            show(*flat),
            share(*flat, whole),
            show(*cumulative),
            share(*cumulative, whole),
            name.clone(),
        ]);
    }
    let _ = write!(out, "\n\n{}", table.trim_fmt());
    let hidden = sums.functions.len().saturating_sub(args.top);
    if hidden > 0 {
        let _ = write!(out, "\n{} more functions; --top N shows more", text::count(hidden as u64));
    }
    out
}

/// Formats a value in its unit; the difference to a base has a sign.
fn shown(value: i64, unit: &str, is_difference: bool) -> String {
    let size = value.unsigned_abs();
    let text = match unit {
        "bytes" if size < 1024 => format!("{size} B"),
        "bytes" => text::kib(size as f64 / 1024.0),
        "nanoseconds" => text::nanoseconds(size as f64),
        _ => text::count(size),
    };
    let sign = match value {
        0 => "",
        ..0 => "-",
        _ if is_difference => "+",
        _ => "",
    };
    format!("{sign}{text}")
}

fn share(value: i64, whole: i64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1}", 100.0 * value as f64 / whole as f64)
}

fn json(args: &ProfileArgs, kind: &Kind, sums: &Sums) -> serde_json::Value {
    let shown = sums.functions.len().min(args.top);
    serde_json::json!({
        "file": args.source,
        "base": args.base,
        "sample_type": kind.name,
        "unit": kind.unit,
        "total": sums.total,
        "base_total": sums.base,
        "functions": sums.functions[..shown],
        "more_functions": sums.functions.len() - shown,
    })
}
