//! A series of samples as CSV, written sample by sample.

use super::sample::Sample;
use std::io::Write;

const COLUMNS: [&str; 10] = [
    "t_ms",
    "rss_kb",
    "vms_kb",
    "pss_kb",
    "uss_kb",
    "lazyfree_kb",
    "anon_huge_kb",
    "faults",
    "processes",
    "cgroup_kb",
];

/// A growing CSV file. Every line goes to the kernel at once.
pub(crate) struct SeriesWriter<W: Write>(csv::Writer<W>);

impl<W: Write> SeriesWriter<W> {
    /// Writes the head line.
    pub(crate) fn new(out: W) -> csv::Result<Self> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(COLUMNS)?;
        writer.flush()?;
        Ok(Self(writer))
    }

    /// Writes a line. A figure that was not read is empty.
    pub(crate) fn write(&mut self, sample: &Sample) -> csv::Result<()> {
        let known = |value: Option<u64>| value.map(|v| v.to_string()).unwrap_or_default();
        let detail =
            |field: fn(&super::sample::Detail) -> u64| known(sample.detail.as_ref().map(field));
        self.0.write_record([
            format!("{:.1}", sample.t_ms),
            sample.rss_kb.to_string(),
            sample.vms_kb.to_string(),
            detail(|d| d.pss_kb),
            detail(|d| d.uss_kb),
            detail(|d| d.lazyfree_kb),
            detail(|d| d.anon_huge_kb),
            sample.faults.to_string(),
            sample.processes.to_string(),
            known(sample.cgroup_kb),
        ])?;
        self.0.flush()?;
        Ok(())
    }
}

/// Reads the resident set over time, in milliseconds and KiB; `None` if the text is no series.
///
/// # Errors
/// The number of the first line that is no sample.
pub(crate) fn read_rss(text: &str) -> Option<Result<Vec<(f64, u64)>, usize>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    if !reader.headers().ok()?.iter().eq(COLUMNS) {
        return None;
    }
    let point = |row: csv::StringRecord| {
        let time: f64 = row.get(0)?.parse().ok()?;
        Some((time, row.get(1)?.parse().ok()?)).filter(|_| time.is_finite())
    };
    let points: Vec<_> = reader.records().map(|row| row.ok().and_then(point)).collect();
    // A watch that was killed may have left half a line at the end.
    let whole = points.len() - usize::from(points.last().is_some_and(Option::is_none));
    let wrong = points.iter().take(whole).position(Option::is_none);
    // The first sample is in the second line.
    Some(wrong.map_or_else(|| Ok(points.into_iter().flatten().collect()), |row| Err(row + 2)))
}

/// Returns the names of the columns.
pub(crate) fn columns() -> String {
    COLUMNS.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::Detail;

    #[test]
    fn what_was_not_looked_at_is_empty() {
        let plain = Sample {
            t_ms: 0.04,
            rss_kb: 10,
            vms_kb: 20,
            faults: 3,
            processes: 1,
            ..Sample::default()
        };
        let detail = Detail { pss_kb: 5, uss_kb: 4, lazyfree_kb: 0, anon_huge_kb: 2 };
        let full =
            Sample { t_ms: 50.0, detail: Some(detail), cgroup_kb: Some(99), ..plain.clone() };
        let mut out = Vec::new();
        let mut series = SeriesWriter::new(&mut out).unwrap();
        series.write(&plain).unwrap();
        series.write(&full).unwrap();
        drop(series);
        let expected = "\
t_ms,rss_kb,vms_kb,pss_kb,uss_kb,lazyfree_kb,anon_huge_kb,faults,processes,cgroup_kb
0.0,10,20,,,,,3,1,
50.0,10,20,5,4,0,2,3,1,99
";
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, expected);
        let cut = &text[..text.len() - 12];
        assert_eq!(read_rss(&text).unwrap().unwrap(), [(0.0, 10), (50.0, 10)]);
        assert!(read_rss(cut).unwrap().unwrap().starts_with(&[(0.0, 10)]));
        assert_eq!(read_rss(&text.replace("0.0,10", "NaN,10")), Some(Err(2)));
        assert_eq!(read_rss(&text.replace("0.0,10", "garbage")), Some(Err(2)));
        assert_eq!(read_rss("round,case\n0,x\n"), None);
    }
}
