//! Numbers and tables for people.

pub(crate) mod table;

/// A number with a comma between groups of three digits.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// KiB as people read them: `640 KiB`, `1.5 MiB`, `2.10 GiB`.
pub(crate) fn kib(kib: f64) -> String {
    const MIB: f64 = 1024.0;
    const GIB: f64 = 1024.0 * MIB;
    match kib {
        k if k < MIB => format!("{k:.0} KiB"),
        k if k < GIB => format!("{:.1} MiB", k / MIB),
        k => format!("{:.2} GiB", k / GIB),
    }
}

/// Seconds as people read them: `850 us`, `12.3 ms`, `1.234 s`.
pub(crate) fn seconds(s: f64) -> String {
    match s {
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.3} s"),
    }
}

/// Nanoseconds as people read them: `35 ns`, `1.2 us`, `3.4 ms`, `1.234 s`.
pub(crate) fn nanoseconds(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        ns => seconds(ns / 1e9),
    }
}

/// A duration to come, roughly: `40 s`, `12 min`, `2.5 h`.
pub(crate) fn about(s: f64) -> String {
    match s {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// A rate with its thousands in a letter: `950`, `12.3 k`, `98.7 M`, `1.23 G`.
pub(crate) fn si(rate: f64) -> String {
    match rate {
        r if r < 1e3 => format!("{r:.0}"),
        r if r < 1e6 => format!("{:.1} k", r / 1e3),
        r if r < 1e9 => format!("{:.1} M", r / 1e6),
        r => format!("{:.2} G", r / 1e9),
    }
}

/// How `value` stands to `base` in words: `12 % less than`, `3 % more than`, `the same as`.
pub(crate) fn relation(value: f64, base: f64, more: &str, less: &str) -> String {
    if base <= 0.0 {
        return "not comparable with".to_owned();
    }
    let percent = (value / base - 1.0) * 100.0;
    match percent {
        p if p.abs() < 0.5 => "the same as".to_owned(),
        p if p <= -0.5 => format!("{:.0} % {less} than", -p),
        p if p < 100.0 => format!("{p:.0} % {more} than"),
        _ => format!("{:.1} times", value / base),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn units_change_at_their_borders() {
        assert_eq!(kib(1023.0), "1023 KiB");
        assert_eq!(kib(1536.0), "1.5 MiB");
        assert_eq!(kib(3.0 * 1024.0 * 1024.0), "3.00 GiB");
        assert_eq!(seconds(0.000_85), "850 us");
        assert_eq!(seconds(0.012_34), "12.3 ms");
        assert_eq!(seconds(1.2345), "1.234 s");
    }

    #[test]
    fn rates_and_nanoseconds() {
        assert_eq!(
            [950.0, 12_345.0, 98.7e6, 1.234e9].map(si),
            ["950", "12.3 k", "98.7 M", "1.23 G"]
        );
        assert_eq!([35.0, 1234.0, 3_400_000.0].map(nanoseconds), ["35 ns", "1.2 us", "3.4 ms"]);
    }

    #[test]
    fn relations_in_words() {
        let relation = |value, base| relation(value, base, "more", "less");
        assert_eq!(relation(88.0, 100.0), "12 % less than");
        assert_eq!(relation(103.0, 100.0), "3 % more than");
        assert_eq!(relation(100.2, 100.0), "the same as");
        assert_eq!(relation(250.0, 100.0), "2.5 times");
        assert_eq!(relation(1.0, 0.0), "not comparable with");
    }
}
