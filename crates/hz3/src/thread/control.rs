//! Options that can be set in a running process, and the purge on request.

use super::file::Unread;
use super::{GLOBAL, cgroup, existing_heap, metrics, present_front, profile, shut};
use crate::options::{Config, ControlError, Policy, set_live};

/// Sets an option; see [`crate::control::set`].
pub(crate) fn set(name: &[u8], value: &[u8]) -> Result<(), ControlError> {
    if shut::is_shut() {
        return Err(ControlError::Unavailable);
    }
    let heap = existing_heap().ok_or(ControlError::Unavailable)?;
    if name == b"purge" {
        if value != b"now" {
            return Err(ControlError::BadValue);
        }
        heap.collect(present_front(), 0);
        return Ok(());
    }
    if name == b"profile" {
        return profile::command(heap, value);
    }
    if name == b"profile_to" {
        return profile::write_to(heap, value);
    }
    let mut stored = GLOBAL.config.lock();
    let present = stored.unwrap_or_default();
    let mut config = present;
    set_live(&mut config, name, value)?;
    if config.policy != present.policy && ![config, present].iter().all(is_plain) {
        return Err(ControlError::BadValue);
    }
    let limits = if name.starts_with(b"limit") {
        // Without the group's files the present limit and mode stay.
        Some(cgroup::resolve(config.limit).map_err(|Unread| ControlError::Unavailable)?)
    } else {
        None
    };
    // The lock is held until all of it is in force: of two calls one comes after the other.
    *stored = Some(config);
    if config.profile_rate != present.profile_rate {
        heap.set_profile_rate(u64::from(config.profile_rate.get()));
    }
    if (config.metrics, config.metrics_ms) != (present.metrics, present.metrics_ms) {
        metrics::configure(&config);
        heap.driver().set_max_rest_ms(metrics::period_ms());
    }
    if let Some((limit, soft)) = limits {
        heap.reconfigure_limit(&Config { limit, ..config }, soft);
    } else {
        heap.reconfigure(&config);
    }
    Ok(())
}

/// Returns whether the policy is `default` or `off`. The others have a state of their own, which
/// only the start of a process creates.
fn is_plain(config: &Config) -> bool {
    matches!(config.policy, Policy::Default | Policy::Off)
}
