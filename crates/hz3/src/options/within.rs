//! An integer type whose range is part of the type.

/// A whole number from `MIN` to `MAX`.
///
/// The signature of an option's setter states the accepted range. Values from the environment use
/// the same type:
///
/// ```
/// use hz3::{Config, Within};
///
/// const CONFIG: Config = Config::new().tick_ms(Within::new(250).unwrap());
/// assert!(Within::<1, 60_000>::new(0).is_none());
/// # let _ = CONFIG;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Within<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Within<MIN, MAX> {
    /// Returns the number, or `None` if it lies outside the range.
    pub const fn new(number: u32) -> Option<Self> {
        if MIN <= number && number <= MAX { Some(Within(number)) } else { None }
    }

    /// Returns the number as an integer.
    pub const fn get(self) -> u32 {
        self.0
    }
}
