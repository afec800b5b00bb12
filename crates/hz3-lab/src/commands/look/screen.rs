//! `hz3 top` in a terminal: the view of each second, and the resident set over time.

use super::observation::Observation;
use super::view;
use crate::failure::{Failure, Result};
use crate::measure::signals::Interruption;
use crate::measure::stats_page::RemotePage;
use crate::text::out;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::Stylize;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Paragraph, Sparkline};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Looks that the curve remembers: more than a terminal has columns.
const HISTORY: usize = 512;
/// How often keys and signals are looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows the process until it ends, or until a key or a signal.
pub(super) fn run(remote: &RemotePage, pid: i32, interval: Duration) -> Result<u8> {
    if !std::io::stdout().is_terminal() {
        let what = "the standard output is no terminal";
        return Err(Failure::usage(what).with_remedy("hz3 top --once or --json prints one look"));
    }
    let signals = Interruption::watch()?;
    let mut seen = Observation::take(remote, pid)?;
    let mut terminal =
        ratatui::try_init().map_err(|error| Failure::io("use the terminal", error))?;
    let ended = show(&mut terminal, remote, &mut seen, interval, &signals);
    if is_hung_up() {
        // Nobody sees a message any more, and one that cannot be written would be a panic.
        std::mem::forget(terminal);
        return Ok(signals.exit_code().unwrap_or(0));
    }
    ratatui::restore();
    match ended? {
        End::Asked => Ok(signals.exit_code().unwrap_or(0)),
        End::Process => {
            out::line(&view::text(&seen, None, columns()).join("\n"))?;
            out::line(&format!("\nprocess {pid} has ended; these were its last figures"))?;
            Ok(0)
        }
    }
}

/// Returns the columns of the terminal at the standard output, or the usual number.
pub(super) fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { view::COLUMNS } else { columns }
}

enum End {
    Asked,
    Process,
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    remote: &RemotePage,
    seen: &mut Observation,
    interval: Duration,
    signals: &Interruption,
) -> Result<End> {
    let failed = |error| Failure::io("use the terminal", error);
    let mut history: VecDeque<u64> = VecDeque::new();
    let mut before = None;
    loop {
        let columns = usize::from(terminal.size().map_err(failed)?.width);
        let lines = view::text(seen, before.as_ref(), columns);
        history.push_back(seen.resident / 1024);
        if history.len() > HISTORY {
            history.pop_front();
        }
        terminal.draw(|frame| draw(frame, &lines, &history)).map_err(failed)?;
        let next = Instant::now() + interval;
        while Instant::now() < next {
            if signals.signal().is_some() || is_asked_to_end(PAUSE.min(interval)).map_err(failed)? {
                return Ok(End::Asked);
            }
        }
        let Ok(now) = Observation::take(remote, seen.pid) else { return Ok(End::Process) };
        before = Some(std::mem::replace(seen, now));
    }
}

/// Waits for a key. A change of the terminal's size is drawn at the next look.
fn is_asked_to_end(patience: Duration) -> std::io::Result<bool> {
    // At the end of its input the library that reads keys would ask again for ever.
    if is_hung_up() {
        return Ok(true);
    }
    if !event::poll(patience)? {
        return Ok(false);
    }
    let Event::Key(key) = event::read()? else { return Ok(false) };
    let is_control_c = key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL;
    Ok(is_control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// Returns whether nobody is at the other end of the terminal.
fn is_hung_up() -> bool {
    let mut input = libc::pollfd { fd: libc::STDIN_FILENO, events: 0, revents: 0 };
    // SAFETY: one valid descriptor, and no waiting.
    let found = unsafe { libc::poll(&raw mut input, 1, 0) };
    found == 1 && input.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}

fn draw(frame: &mut ratatui::Frame<'_>, lines: &[String], history: &VecDeque<u64>) {
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let areas = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]);
    let [top, bottom] = areas.areas(frame.area());
    let lines = lines.iter().enumerate().map(|(index, line)| {
        let line = Line::raw(line.as_str());
        if index == 0 { line.bold() } else { line }
    });
    frame.render_widget(Paragraph::new(lines.collect::<Text<'_>>()), top);
    let columns = usize::from(bottom.width);
    let shown: Vec<u64> =
        history.iter().skip(history.len().saturating_sub(columns)).copied().collect();
    let curve = Sparkline::default().block(Block::new().title("resident")).data(&shown);
    frame.render_widget(curve, bottom);
}
