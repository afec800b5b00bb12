//! `hz3 top`, `hz3 why`, `hz3 metrics`: a running process, looked at from outside.

mod metrics;
mod observation;
mod screen;
mod view;
mod why;

use crate::cli::{LookArgs, SetArgs, TopArgs};
use crate::failure::{Failure, Result};
use crate::measure::stats_page::{self, RemotePage};
use crate::text::out;
use observation::Observation;

/// Shows the figures, once or until the process ends.
pub(crate) fn top(args: &TopArgs) -> Result<u8> {
    let remote = RemotePage::find(args.pid)?;
    if !args.once && !args.json {
        return screen::run(&remote, args.pid, args.interval);
    }
    let seen = Observation::take(&remote, args.pid)?;
    if args.json {
        out::json(&view::json(&seen))?;
    } else {
        out::line(&view::text(&seen, None, screen::columns()).join("\n"))?;
    }
    Ok(0)
}

/// How long a process may take to set an option.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Sets options of the process, in order, up to the first that it refuses.
pub(crate) fn set(args: &SetArgs) -> Result<u8> {
    args.options.iter().try_for_each(|option| stats_page::check(option))?;
    let remote = RemotePage::find(args.pid)?;
    for (index, option) in args.options.iter().enumerate() {
        remote.set(option, PATIENCE).map_err(|failure| match &args.options[index + 1..] {
            [] => failure,
            rest => {
                let code = failure.code();
                Failure::new(format!("{failure}; not sent: {}", rest.join(" "))).with_code(code)
            }
        })?;
    }
    Ok(0)
}

/// Says why the process holds its memory.
pub(crate) fn why(args: &LookArgs) -> Result<u8> {
    let remote = RemotePage::find(args.pid)?;
    out::line(&why::sentences(&Observation::take(&remote, args.pid)?).join("\n"))?;
    Ok(0)
}

/// Prints `OpenMetrics` text.
pub(crate) fn metrics(args: &LookArgs) -> Result<u8> {
    let remote = RemotePage::find(args.pid)?;
    out::bytes(metrics::text(&Observation::take(&remote, args.pid)?).as_bytes())?;
    Ok(0)
}
