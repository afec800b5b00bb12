//! Checks the outcome of any entry of the environment, for the tests and the fuzz target `options`.

use core::fmt::Write;

use super::{Config, LONGEST_NAME, Message, PREFIX, Setting, options, try_apply};
use crate::base::fixed_buffer::FixedBuffer;

/// A text with all values of a configuration, in the order of the table.
type Values = FixedBuffer<8192>;

fn value_of(option: &Setting, config: &mut Config) -> FixedBuffer<512> {
    let mut text = FixedBuffer::new();
    (option.field)(config).write(&mut text).expect("a buffer takes every text");
    text
}

fn values(config: &mut Config, except: Option<&Setting>) -> Values {
    let mut text = Values::new();
    for option in options().filter(|option| except.is_none_or(|e| e.name != option.name)) {
        let value = value_of(option, config);
        let value = core::str::from_utf8(value.as_bytes()).expect("values are ASCII");
        writeln!(text, "{}={value}", option.name).expect("a buffer takes every text");
    }
    text
}

/// Applies `entry` to a configuration of defaults. Returns whether the entry named an option of hz3
/// and was accepted.
///
/// # Panics
/// If a refused entry changes a value or does not say one line. If an accepted entry says anything,
/// changes another option, or has a value whose text means another value.
pub(crate) fn check(entry: &[u8]) -> bool {
    let (mut before, mut after) = (Config::new(), Config::new());
    let mut message = Message::new();
    try_apply(&mut after, entry, &mut message);
    let message = message.as_bytes();
    if !message.is_empty() || !entry.starts_with(PREFIX) {
        let (old, new) = (values(&mut before, None), values(&mut after, None));
        assert_eq!(old.as_bytes(), new.as_bytes(), "a refused entry changes a value");
        assert_eq!(message.is_empty(), !entry.starts_with(PREFIX), "one line for a refused entry");
        check_message(message);
        return false;
    }
    let name = entry[PREFIX.len()..].split(|&byte| byte == b'=').next().unwrap_or_default();
    let option = options().find(|option| option.name.as_bytes() == name);
    let option = option.expect("only a known option is accepted without a word");
    let (old, new) = (values(&mut before, Some(option)), values(&mut after, Some(option)));
    assert_eq!(old.as_bytes(), new.as_bytes(), "{} changes another option", option.name);
    check_round_trip(option, &mut after);
    true
}

fn check_message(message: &[u8]) {
    let Some((last, line)) = message.split_last() else { return };
    assert_eq!(*last, b'\n', "the message does not fit its buffer");
    assert!(line.starts_with(b"hz3: HZ3_"), "the message names the option");
    let printable = |&byte: &u8| byte.is_ascii_graphic() || byte == b' ';
    assert!(line.iter().all(printable), "the message is one line of printable ASCII");
    let mut ends = line.rsplit(|&byte| byte == b';');
    let end = ends.next().unwrap_or_default();
    assert!(end.starts_with(b" using ") || end == b" ignored", "the message says what happens");
}

/// The text of a value stands for the same value. A path is shown in a form that can be printed, at
/// most 100 bytes of it, so a long or unprintable one has another text.
fn check_round_trip(option: &Setting, config: &mut Config) {
    let text = value_of(option, config);
    if text.as_bytes().contains(&b'?') || text.as_bytes().len() >= 100 {
        return;
    }
    let mut entry = FixedBuffer::<{ LONGEST_NAME + 512 }>::new();
    let shown = core::str::from_utf8(text.as_bytes()).expect("values are ASCII");
    write!(entry, "HZ3_{}={shown}", option.name).expect("a buffer takes every text");
    let (mut again, mut message) = (Config::new(), Message::new());
    try_apply(&mut again, entry.as_bytes(), &mut message);
    assert!(message.as_bytes().is_empty(), "{}={shown} is refused", option.name);
    let value = value_of(option, &mut again);
    assert_eq!(value.as_bytes(), text.as_bytes(), "{} is read as another value", option.name);
}
