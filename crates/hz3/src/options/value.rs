//! Parses the values of options from text, and writes them as text.

use core::fmt::{self, Write};
use core::num::NonZero;

use super::{Background, Limit, LimitMode, Policy, Report, ReportPath, Within};
use crate::base::units::to_u64;

/// The value of one option, of any type.
pub(super) trait Value {
    /// Parses the text and stores the value. If the text is invalid, returns false and changes
    /// nothing.
    fn set(&mut self, text: &[u8]) -> bool;
    /// Writes a description of the accepted texts.
    fn write_accepted(&self, out: &mut dyn Write) -> fmt::Result;
    /// Writes the present value as text, or "the default" if hz3 chooses the value.
    fn write(&self, out: &mut dyn Write) -> fmt::Result;
}

/// A type whose values can be read from text.
trait Text: Sized {
    /// Parses the text; returns `None` if it is invalid.
    fn parse(text: &[u8]) -> Option<Self>;
    /// Writes a description of the accepted texts.
    fn accepted(out: &mut dyn Write) -> fmt::Result;
    /// Writes the value as text, or "the default" if hz3 chooses the value.
    fn show(&self, out: &mut dyn Write) -> fmt::Result;
}

impl<T: Text> Value for T {
    fn set(&mut self, text: &[u8]) -> bool {
        let value = T::parse(text);
        let is_valid = value.is_some();
        if let Some(value) = value {
            *self = value;
        }
        is_valid
    }

    fn write_accepted(&self, out: &mut dyn Write) -> fmt::Result {
        T::accepted(out)
    }

    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        self.show(out)
    }
}

/// Parses a decimal number that consists of digits only.
fn number<T: core::str::FromStr>(text: &[u8]) -> Option<T> {
    // The parser of the standard library also accepts a plus sign.
    let digits = text.first().is_some_and(u8::is_ascii_digit);
    core::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// Implements [`Text`] for a type with a fixed set of named values.
macro_rules! named {
    ($type:ty: $($name:literal => $value:expr),+; $accepted:literal) => {
        impl Text for $type {
            fn parse(text: &[u8]) -> Option<Self> {
                let names = [$(($name, $value)),+];
                names.iter().find(|(name, _)| name.as_bytes() == text).map(|&(_, value)| value)
            }

            fn accepted(out: &mut dyn Write) -> fmt::Result {
                out.write_str($accepted)
            }

            fn show(&self, out: &mut dyn Write) -> fmt::Result {
                let names = [$(($name, $value)),+];
                let name = names.iter().find(|(_, value)| value == self).map(|&(name, _)| name);
                out.write_str(name.unwrap_or_default())
            }
        }
    };
}

named!(bool: "0" => false, "1" => true; "0 or 1");
named!(Background: "auto" => Background::Auto, "1" => Background::Always, "0" => Background::Never;
    "auto, 1 or 0");
named!(LimitMode: "fail" => LimitMode::Fail, "reclaim" => LimitMode::Reclaim; "fail or reclaim");

impl Text for Policy {
    fn parse(text: &[u8]) -> Option<Self> {
        Policy::named(text)
    }

    fn accepted(out: &mut dyn Write) -> fmt::Result {
        Policy::write_names(out)
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl<const MIN: u32, const MAX: u32> Text for Within<MIN, MAX> {
    fn parse(text: &[u8]) -> Option<Self> {
        Within::new(number(text)?)
    }

    fn accepted(out: &mut dyn Write) -> fmt::Result {
        write!(out, "from {MIN} to {MAX}")
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "{}", self.get())
    }
}

/// A number of bytes.
impl Text for usize {
    fn parse(text: &[u8]) -> Option<Self> {
        let (digits, shift) = match text.split_last()? {
            (b'K' | b'k', digits) => (digits, 10),
            (b'M' | b'm', digits) => (digits, 20),
            (b'G' | b'g', digits) => (digits, 30),
            (b'T' | b't', digits) => (digits, 40),
            _ => (text, 0),
        };
        number::<usize>(digits)?.checked_mul(1 << shift)
    }

    fn accepted(out: &mut dyn Write) -> fmt::Result {
        out.write_str("bytes, with suffix K, M, G, T or none")
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// A number of bytes that is not 0.
impl Text for NonZero<u32> {
    fn parse(text: &[u8]) -> Option<Self> {
        u32::try_from(usize::parse(text)?).ok().and_then(NonZero::new)
    }

    fn accepted(out: &mut dyn Write) -> fmt::Result {
        write!(out, "from 1 to {} ", u32::MAX)?;
        usize::accepted(out)
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "{self}")
    }
}

impl Text for ReportPath {
    fn parse(text: &[u8]) -> Option<Self> {
        ReportPath::from_bytes(text)
    }

    fn accepted(out: &mut dyn Write) -> fmt::Result {
        out.write_str("an absolute path of at most 255 bytes")
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        write_bytes(out, self.as_c_str().to_bytes())
    }
}

/// A value that hz3 chooses unless the option is set.
impl<T: Text> Text for Option<T> {
    fn parse(text: &[u8]) -> Option<Self> {
        T::parse(text).map(Some)
    }

    fn accepted(out: &mut dyn Write) -> fmt::Result {
        T::accepted(out)
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Some(value) => value.show(out),
            None => out.write_str("the default"),
        }
    }
}

impl Text for Limit {
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"auto" => Some(Limit::Cgroup { percent: Within::new(100)? }),
            [digits @ .., b'%'] => Some(Limit::Cgroup { percent: Within::new(number(digits)?)? }),
            _ => Some(NonZero::new(to_u64(usize::parse(text)?)).map_or(Limit::None, Limit::Bytes)),
        }
    }

    fn accepted(out: &mut dyn Write) -> fmt::Result {
        out.write_str("0, auto, 1% to 100%, or ")?;
        usize::accepted(out)
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Limit::None => out.write_str("0"),
            Limit::Bytes(bytes) => write!(out, "{bytes}"),
            Limit::Cgroup { percent } => write!(out, "{}%", percent.get()),
        }
    }
}

impl Text for Report {
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"0" => Some(Report::None),
            b"1" => Some(Report::Text),
            b"json" => Some(Report::Json),
            path => ReportPath::from_bytes(path).map(Report::File),
        }
    }

    fn accepted(out: &mut dyn Write) -> fmt::Result {
        out.write_str("0, 1, json, or an absolute path of at most 255 bytes")
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Report::None => out.write_str("0"),
            Report::Text => out.write_str("1"),
            Report::Json => out.write_str("json"),
            Report::File(path) => write_bytes(out, path.as_c_str().to_bytes()),
        }
    }
}

/// Writes the first 100 bytes of a text, with `?` for each byte that is not printable ASCII.
pub(crate) fn write_bytes(out: &mut dyn Write, bytes: &[u8]) -> fmt::Result {
    for &byte in bytes.iter().take(100) {
        let shown = if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
        out.write_char(shown)?;
    }
    Ok(())
}
