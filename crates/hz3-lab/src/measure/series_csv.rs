//! A series of samples as CSV.

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

/// Writes a head line and one line a sample; what was not looked at is empty.
pub(crate) fn write(samples: &[Sample], out: impl Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(COLUMNS)?;
    for sample in samples {
        let known = |value: Option<u64>| value.map(|v| v.to_string()).unwrap_or_default();
        let detail =
            |field: fn(&super::sample::Detail) -> u64| known(sample.detail.as_ref().map(field));
        writer.write_record([
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
    }
    writer.flush()?;
    Ok(())
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
        write(&[plain, full], &mut out).unwrap();
        let expected = "\
t_ms,rss_kb,vms_kb,pss_kb,uss_kb,lazyfree_kb,anon_huge_kb,faults,processes,cgroup_kb
0.0,10,20,,,,,3,1,
50.0,10,20,5,4,0,2,3,1,99
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
