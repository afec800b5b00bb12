//! Numbers as readers want them.

const KIB_IN_MIB: f64 = 1024.0;

/// Returns a number of MiB with one digit after the point.
pub(super) fn mib(kib: f64) -> String {
    let text = format!("{:.1}", kib / KIB_IN_MIB);
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    divided(whole) + fraction
}

/// Returns operations a second in thousands: whole ones from 10,000 operations on.
pub(super) fn thousands(value: f64) -> String {
    let text =
        if value < 1e4 { format!("{:.1}", value / 1e3) } else { format!("{:.0}", value / 1e3) };
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    divided(whole) + fraction
}

/// Returns a whole number with a comma between thousands.
pub(super) fn divided(whole: &str) -> String {
    let first = (whole.len() + 2) % 3 + 1;
    let mut text = whole[..first.min(whole.len())].to_owned();
    for at in (first..whole.len()).step_by(3) {
        text.push(',');
        text += &whole[at..at + 3];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_divided() {
        assert_eq!(mib(1024.0 * 1234.5), "1,234.5");
        assert_eq!(mib(1024.0 * 12.34), "12.3");
        assert_eq!(mib(1024.0 * 123.0), "123.0");
        assert_eq!(thousands(1_234_567_890.0), "1,234,568");
        assert_eq!(thousands(642.0), "0.6");
    }
}
