//! The table of options: one source for the names, the accepted values and the messages.
//!
//! For an option that cannot be used, one line on stderr says which values are accepted and which
//! value is used instead.

use core::fmt::{self, Write};

use super::value::{Value, write_bytes};
use super::{Config, ControlError, Limit, LimitMode};
use crate::base::fixed_buffer::FixedBuffer;

/// The prefix of the names of hz3's variables.
const PREFIX: &[u8] = b"HZ3_";

/// One option: its name without the prefix, the unit of its value, and its field in [`Config`].
struct Setting {
    name: &'static str,
    unit: &'static str,
    field: fn(&mut Config) -> &mut dyn Value,
    /// The name under which it can be set in a running process.
    live: Option<&'static str>,
    /// Returns what the option lacks to have an effect, for a message.
    lacks: fn(&Config) -> Option<&'static str>,
}

impl Setting {
    /// Lets the option be set in a running process, under this name.
    const fn live(mut self, name: &'static str) -> Setting {
        self.live = Some(name);
        self
    }

    /// Names what else must be set for the option to have an effect.
    const fn lacks(mut self, lacks: fn(&Config) -> Option<&'static str>) -> Setting {
        self.lacks = lacks;
        self
    }
}

const fn setting(
    name: &'static str,
    unit: &'static str,
    field: fn(&mut Config) -> &mut dyn Value,
) -> Setting {
    Setting { name, unit, field, live: None, lacks: |_| None }
}

const OPTIONS: [Setting; 23] = [
    setting("THREAD_CACHE", "", |config| &mut config.thread_cache_bytes),
    setting("CACHE_LENGTH", "blocks", |config| &mut config.cache_length),
    setting("ARENA", "", |config| &mut config.arena_bytes),
    setting("SHARDS", "a number", |config| &mut config.shards),
    setting("COUNT", "", |config| &mut config.count),
    setting("STATS", "", |config| &mut config.report),
    setting("POLICY", "", |config| &mut config.policy).live("policy"),
    setting("BACKGROUND", "", |config| &mut config.background),
    setting("TICK", "milliseconds", |config| &mut config.tick_ms).live("tick_ms"),
    setting("HUGE_PAGES", "", |config| &mut config.huge_pages),
    setting("PREFAULT", "", |config| &mut config.prefault),
    setting("LIMIT", "", |config| &mut config.limit).live("limit"),
    setting("LIMIT_MODE", "", |config| &mut config.limit_mode).live("limit_mode").lacks(|config| {
        let is_needed = config.limit_mode != LimitMode::Fail && config.limit == Limit::None;
        is_needed.then_some("HZ3_LIMIT is not set; no effect until it is")
    }),
    setting("PRESSURE", "", |config| &mut config.pressure).live("pressure"),
    setting("PROFILE", "", |config| &mut config.profile).live("profile_path"),
    setting("PROFILE_RATE", "", |config| &mut config.profile_rate).live("profile_rate").lacks(
        |config| {
            let samples = config.profile.is_some() || config.profile_leaks || config.guard;
            (!samples).then_some("HZ3_PROFILE is not set; no effect until a profile starts")
        },
    ),
    setting("PROFILE_SIGNAL", "a number", |config| &mut config.profile_signal).lacks(|config| {
        let is_needed = config.profile_signal.get() > 0 && config.profile.is_none();
        is_needed.then_some("HZ3_PROFILE is not set; no effect")
    }),
    setting("PROFILE_GROWTH", "", |config| &mut config.profile_growth).lacks(|config| {
        let is_needed = config.profile_growth > 0 && config.profile.is_none();
        is_needed.then_some("HZ3_PROFILE is not set; no effect until a profile has a path")
    }),
    setting("PROFILE_LEAKS", "", |config| &mut config.profile_leaks),
    setting("METRICS", "", |config| &mut config.metrics).live("metrics"),
    setting("METRICS_MS", "milliseconds", |config| &mut config.metrics_ms)
        .live("metrics_ms")
        .lacks(|config| {
            let lacks = "HZ3_METRICS is not set; no effect until it is";
            config.metrics.is_none().then_some(lacks)
        }),
    setting("GUARD", "", |config| &mut config.guard),
    setting("VERBOSE", "", |config| &mut config.verbose),
];

/// The options of the experiments: their limits.
#[cfg(feature = "experiments")]
const EXPERIMENTS: [Setting; 12] = [
    setting("EPOCH_INTERVAL", "slow paths", |config| &mut config.limits.epoch_interval),
    setting("PURGE_DELAY", "epochs", |config| &mut config.limits.purge_delay),
    setting("PURGE_DELAY_MS", "milliseconds", |config| &mut config.limits.purge_delay_ms),
    setting("PURGE_PAGES", "pages of 4 KiB", |config| &mut config.limits.purge_pages),
    setting("PURGE_CALLS", "calls", |config| &mut config.limits.purge_calls),
    setting("PURGE_QUEUE", "entries", |config| &mut config.limits.purge_queue),
    setting("MIN_RANGE", "pages of 4 KiB", |config| &mut config.limits.min_range),
    setting("DECAY_EPOCHS", "epochs", |config| &mut config.limits.decay_epochs),
    setting("CACHE_OVERAGES", "epochs", |config| &mut config.limits.cache_overages),
    setting("RECLAIM_BUDGET", "blocks", |config| &mut config.limits.reclaim_budget),
    setting("RETIRE_BUDGET", "pages of 4 KiB", |config| &mut config.limits.retire_budget),
    setting("DUMP_BUDGET", "blocks", |config| &mut config.limits.dump_budget),
];
#[cfg(not(feature = "experiments"))]
const EXPERIMENTS: [Setting; 0] = [];

/// The option of the feature `check`.
#[cfg(feature = "check")]
const CHECKS: [Setting; 1] = [setting("VALIDATE", "slow paths", |config| &mut config.validate)];
#[cfg(not(feature = "check"))]
const CHECKS: [Setting; 0] = [];

fn options() -> impl Iterator<Item = &'static Setting> {
    OPTIONS.iter().chain(&EXPERIMENTS).chain(&CHECKS)
}

/// Applies one entry of the environment, `NAME=value`, if its name has the prefix `HZ3_`. Returns
/// whether it has.
pub(crate) fn apply(config: &mut Config, entry: &[u8]) -> bool {
    let mut message = Message::new();
    try_apply(config, entry, &mut message);
    // Most entries are fine and say nothing.
    if !message.as_bytes().is_empty() {
        message.print();
    }
    entry.starts_with(PREFIX)
}

/// Says on stderr what an entry that was applied lacks to have an effect, if all others were
/// applied too.
#[cold]
pub(crate) fn mention_without_effect(config: &mut Config, entry: &[u8]) {
    let mut message = Message::new();
    write_without_effect(config, entry, &mut message);
    if !message.as_bytes().is_empty() {
        message.print();
    }
}

fn write_without_effect(config: &mut Config, entry: &[u8], message: &mut Message) {
    let Some((name, text)) = parts(entry) else { return };
    let Some(option) = options().find(|option| option.name.as_bytes() == name) else { return };
    let Some(lacks) = (option.lacks)(config) else { return };
    // A refused value has its line already. An accepted one is set to what it is.
    if (option.field)(config).set(text) {
        // Writing to a `FixedBuffer` never fails.
        let _ = write!(message, "hz3: HZ3_{}=", option.name);
        let _ = write_bytes(message, text);
        let _ = writeln!(message, ": {lacks}");
    }
}

/// Returns whether an entry of the environment sets jemalloc's options.
pub(crate) fn is_of_jemalloc(entry: &[u8]) -> bool {
    entry.starts_with(b"MALLOC_CONF=")
}

/// Says on stderr that hz3 does not read an entry of the environment.
#[cold]
pub(crate) fn mention(entry: &[u8]) {
    let mut message = Message::new();
    write_unread(&mut message, entry);
    message.print();
}

fn write_unread(message: &mut Message, entry: &[u8]) {
    // Writing to a `FixedBuffer` never fails.
    let _ = message.write_str("hz3: ");
    let _ = write_bytes(message, entry);
    let _ = message.write_str(": hz3 does not read it; expected HZ3_ variables, ");
    let _ = message.write_str("see libhz3(7) or docs/tuning.md; ignored\n");
}

/// The line for one entry that cannot be used.
type Message = FixedBuffer<1024>;

/// Applies one entry as [`apply`] does, and writes the message instead of printing it.
fn try_apply(config: &mut Config, entry: &[u8], message: &mut Message) {
    let Some((name, text)) = parts(entry) else { return };
    // Writing to a `FixedBuffer` never fails.
    let _ = match options().find(|option| option.name.as_bytes() == name) {
        None => write_unknown(message, name),
        Some(option) => {
            let value = (option.field)(config);
            if value.set(text) {
                return;
            }
            write_refused(message, option, text, value)
        }
    };
}

/// Splits an entry of hz3's into the name without the prefix and the value.
fn parts(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = entry.strip_prefix(PREFIX)?;
    let split = rest.iter().position(|&byte| byte == b'=').unwrap_or(rest.len());
    Some((&rest[..split], rest.get(split + 1..).unwrap_or_default()))
}

/// Changes an option that can be set in a running process.
///
/// # Errors
/// Says what is wrong, and changes nothing.
pub(crate) fn set_live(config: &mut Config, name: &[u8], text: &[u8]) -> Result<(), ControlError> {
    let is_it = |option: &&Setting| option.live.is_some_and(|live| live.as_bytes() == name);
    let option = options().find(is_it).ok_or(ControlError::UnknownName)?;
    if (option.field)(config).set(text) { Ok(()) } else { Err(ControlError::BadValue) }
}

#[cold]
fn write_unknown(out: &mut dyn Write, name: &[u8]) -> fmt::Result {
    out.write_str("hz3: HZ3_")?;
    write_bytes(out, name)?;
    match nearest(name) {
        Some(nearest) => writeln!(out, ": no such option, the nearest is HZ3_{nearest}; ignored"),
        None => writeln!(out, ": no such option, see libhz3(7) or docs/tuning.md; ignored"),
    }
}

#[cold]
fn write_refused(
    out: &mut dyn Write,
    option: &Setting,
    text: &[u8],
    value: &dyn Value,
) -> fmt::Result {
    write!(out, "hz3: HZ3_{}=", option.name)?;
    write_bytes(out, text)?;
    let space = if option.unit.is_empty() { "" } else { " " };
    write!(out, ": expected {}{space}", option.unit)?;
    value.write_accepted(out)?;
    out.write_str("; using ")?;
    value.write(out)?;
    out.write_char('\n')
}

/// Returns the name of the option that `name` was probably meant to be: that with the smallest edit
/// distance, if it is at most a third of the letters.
fn nearest(name: &[u8]) -> Option<&'static str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let distances = options().map(|option| (distance(name, option.name.as_bytes()), option.name));
    let (least, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (usize::from(least) <= name.len().max(3) / 3).then_some(nearest)
}

/// The longest name that is compared, in bytes; the names of all options are shorter.
const LONGEST_NAME: usize = 32;

/// Returns the edit distance of two names of at most [`LONGEST_NAME`] bytes: how many bytes must be
/// changed, inserted, removed or swapped with the next one to turn one into the other. Upper and
/// lower case are equal.
fn distance(typed: &[u8], known: &[u8]) -> u8 {
    // The distances of all prefixes of `typed` from the prefix of `known` that was read so far, and
    // from the one before it.
    let mut row: [u8; LONGEST_NAME + 1] = [0; LONGEST_NAME + 1];
    for at in 0..typed.len() {
        row[at + 1] = row[at] + 1;
    }
    let mut above = row;
    for (index, letter) in known.iter().enumerate() {
        let mut below = [row[0] + 1; LONGEST_NAME + 1];
        for (at, other) in typed.iter().enumerate() {
            let changed = row[at] + u8::from(!letter.eq_ignore_ascii_case(other));
            let mut least = changed.min(row[at + 1] + 1).min(below[at] + 1);
            let is_swapped = index > 0
                && at > 0
                && letter.eq_ignore_ascii_case(&typed[at - 1])
                && known[index - 1].eq_ignore_ascii_case(other);
            if is_swapped {
                least = least.min(above[at - 1] + 1);
            }
            below[at + 1] = least;
        }
        (above, row) = (row, below);
    }
    row[typed.len()]
}

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;
