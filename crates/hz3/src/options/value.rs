//! What the texts of options mean; `None` is what cannot be used.

use core::ops::RangeInclusive;

use super::{Background, Limit, LimitMode, PATH_BYTES, Report};
use crate::base::units::wide;

/// A decimal number.
pub(super) fn number(text: &[u8]) -> Option<usize> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// A decimal number within `range`.
pub(super) fn within<T: TryFrom<usize> + PartialOrd>(
    text: &[u8],
    range: RangeInclusive<T>,
) -> Option<T> {
    T::try_from(number(text)?).ok().filter(|n| range.contains(n))
}

/// A number of bytes: decimal digits, perhaps with a binary unit.
pub(super) fn bytes(text: &[u8]) -> Option<usize> {
    let (digits, shift) = match text.split_last()? {
        (b'K' | b'k', digits) => (digits, 10),
        (b'M' | b'm', digits) => (digits, 20),
        (b'G' | b'g', digits) => (digits, 30),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

/// `0` or `1`.
pub(super) fn flag(text: &[u8]) -> Option<bool> {
    match text {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
}

/// Which threads give memory back.
pub(super) fn background(text: &[u8]) -> Option<Background> {
    match text {
        b"auto" => Some(Background::Auto),
        b"1" => Some(Background::Always),
        b"0" => Some(Background::Never),
        _ => None,
    }
}

/// A limit of a policy: sets `place` to a number within `range`.
pub(super) fn limit(place: &mut Option<u32>, value: &[u8], range: RangeInclusive<u32>) -> bool {
    let number = within(value, range);
    if number.is_some() {
        *place = number;
    }
    number.is_some()
}

/// What the heap may hold.
pub(super) fn heap_limit(text: &[u8]) -> Option<Limit> {
    match text {
        b"auto" => Some(Limit::Cgroup { percent: 100 }),
        [digits @ .., b'%'] => match number(digits)? {
            percent @ 1..=100 => {
                u8::try_from(percent).ok().map(|percent| Limit::Cgroup { percent })
            }
            _ => None,
        },
        _ => match bytes(text)? {
            0 => Some(Limit::None),
            bytes => Some(Limit::Bytes(wide(bytes))),
        },
    }
}

/// What happens at the limit.
pub(super) fn limit_mode(text: &[u8]) -> Option<LimitMode> {
    match text {
        b"fail" => Some(LimitMode::Fail),
        b"reclaim" => Some(LimitMode::Reclaim),
        _ => None,
    }
}

/// Where statistics go.
pub(super) fn report(text: &[u8]) -> Option<Report> {
    match text {
        b"0" => Some(Report::None),
        b"1" => Some(Report::Text),
        b"json" => Some(Report::Json),
        [b'/', ..] if text.len() < PATH_BYTES => {
            let mut path = [0; PATH_BYTES];
            path[..text.len()].copy_from_slice(text);
            Some(Report::File(path))
        }
        _ => None,
    }
}
