//! The table of options: one source for the names, the accepted values and the messages.
//!
//! For an option that cannot be used, one line on stderr says which values are accepted and which
//! value is used instead.

use core::fmt::{self, Write};

use super::value::{Value, write_bytes};
use super::{Config, ControlError};
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
}

impl Setting {
    /// Lets the option be set in a running process, under this name.
    const fn live(mut self, name: &'static str) -> Setting {
        self.live = Some(name);
        self
    }
}

const fn setting(
    name: &'static str,
    unit: &'static str,
    field: fn(&mut Config) -> &mut dyn Value,
) -> Setting {
    Setting { name, unit, field, live: None }
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
    setting("LIMIT_MODE", "", |config| &mut config.limit_mode).live("limit_mode"),
    setting("PRESSURE", "", |config| &mut config.pressure).live("pressure"),
    setting("PROFILE", "", |config| &mut config.profile).live("profile_path"),
    setting("PROFILE_RATE", "", |config| &mut config.profile_rate).live("profile_rate"),
    setting("PROFILE_SIGNAL", "a number", |config| &mut config.profile_signal),
    setting("PROFILE_GROWTH", "", |config| &mut config.profile_growth),
    setting("PROFILE_LEAKS", "", |config| &mut config.profile_leaks),
    setting("METRICS", "", |config| &mut config.metrics).live("metrics"),
    setting("METRICS_MS", "milliseconds", |config| &mut config.metrics_ms).live("metrics_ms"),
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

/// Applies one entry of the environment, `NAME=value`, if its name has the prefix `HZ3_`.
pub(crate) fn apply(config: &mut Config, entry: &[u8]) {
    let mut message = Message::new();
    try_apply(config, entry, &mut message);
    // Most entries are fine and say nothing.
    if !message.as_bytes().is_empty() {
        message.print();
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
    let Some(rest) = entry.strip_prefix(PREFIX) else { return };
    let split = rest.iter().position(|&byte| byte == b'=').unwrap_or(rest.len());
    let (name, text) = (&rest[..split], rest.get(split + 1..).unwrap_or_default());
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
    writeln!(out, ": no such option, the nearest is HZ3_{}; ignored", nearest(name))
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

/// Returns the name of the option with the smallest edit distance from `name`.
fn nearest(name: &[u8]) -> &'static str {
    let names = options().map(|option| option.name);
    names.min_by_key(|known| distance(name, known.as_bytes())).unwrap_or_default()
}

/// The longest name that is compared, in bytes; the names of all options are shorter.
const LONGEST_NAME: usize = 32;

/// Returns the edit distance of two names: how many bytes must be changed, inserted or removed to
/// turn one into the other. Upper and lower case are equal.
fn distance(typed: &[u8], known: &[u8]) -> usize {
    let typed = &typed[..typed.len().min(LONGEST_NAME)];
    // The distances of all prefixes of `typed` from the prefix of `known` that was read so far.
    let mut row: [usize; LONGEST_NAME + 1] = core::array::from_fn(|length| length);
    for (index, letter) in known.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (at, other) in typed.iter().enumerate() {
            let changed = diagonal + usize::from(!letter.eq_ignore_ascii_case(other));
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[typed.len()]
}

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;
