//! `oppen sweep status --watch`: a sweep as it goes on.
//!
//! In: the state, each second. Out: on a terminal one screen that is drawn over in place; in a pipe the whole once, a line for each change,
//! and the whole at the end. Must never leave a terminal on its other screen or without its cursor.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{self, style};
use super::super::signals;
use super::status::{Whole, text};
use super::{Desk, counts, shown};
use crate::advise::sweeps::Overview;
use crate::base::text::escape;

/// How often it is looked.
const PACE: Duration = Duration::from_secs(1);

/// Follows the sweeps that an address or a pattern names, until they are over.
pub fn watch(mut desk: Desk, address: &str) -> Outcome {
    let interrupts = signals::listen()?;
    let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
    let mut screen = (std::io::stdout().is_terminal() && !dumb).then(Screen::take).transpose()?;
    let mut lines = Lines::default();
    let mut version = desk.store.version()?;
    loop {
        let whole = desk.whole(&desk.names(Some(address))?);
        let over = whole.iter().all(|(o, _)| o.is_over());
        match &mut screen {
            Some(screen) if !over => screen.show(&whole)?,
            None if !over => output::print(&lines.changed(&whole))?,
            // The other screen goes; what it came to stays.
            _ => {
                drop(screen.take());
                let gap = if lines.told.is_empty() { "" } else { "\n" };
                output::print(&format!("{gap}{}", text(&whole, None)))?;
                return Ok(Exit::Done);
            }
        }
        if interrupts.recv_timeout(PACE).is_ok() {
            drop(screen.take());
            if std::io::stdout().is_terminal() {
                output::print(&text(&whole, None))?;
            }
            return Ok(Exit::Interrupted);
        }
        let now = desk.store.version()?;
        if std::mem::replace(&mut version, now) != now {
            desk.refresh()?;
        }
    }
}

/// What a pipe was told last of each sweep.
#[derive(Default)]
struct Lines {
    told: BTreeMap<Arc<str>, String>,
}

impl Lines {
    /// All of it the first time, later a line for each sweep that changed.
    fn changed(&mut self, all: &[Whole]) -> String {
        if self.told.is_empty() {
            self.told = all.iter().map(|(o, _)| (Arc::clone(&o.sweep), line(o))).collect();
            return text(all, None) + "\n";
        }
        let mut out = String::new();
        for (o, _) in all {
            let new = line(o);
            if self.told.get(&o.sweep) != Some(&new) {
                out += &new;
                self.told.insert(Arc::clone(&o.sweep), new);
            }
        }
        out
    }
}

/// A sweep in a line.
fn line(o: &Overview) -> String {
    let best = match (&o.best, &o.metric) {
        (Some(best), Some(metric)) => format!("; best {} {} in {}", escape(&metric.name), shown(best.value), escape(best.address.as_str())),
        _ => String::new(),
    };
    let paused = if o.paused.is_some() { ", paused" } else { "" };
    format!("{}: {} of {}{paused}{best}\n", escape(&o.sweep), counts(&o.counts), o.trials)
}

/// The terminal's other screen.
struct Screen;

impl Screen {
    fn take() -> Result<Self, Failure> {
        put("\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(Self)
    }

    /// Draws over what is there, line by line and as one change, so that nothing flickers.
    fn show(&mut self, all: &[Whole]) -> Result<(), Failure> {
        let rows = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map_or(24, |w| usize::from(w.ws_row)).max(2);
        let plain = anstream::AutoStream::choice(&std::io::stdout()) == anstream::ColorChoice::Never;
        let text = text(all, Some(rows - 1));
        let text = if plain { anstream::adapter::strip_str(&text).to_string() } else { text };
        put(&frame(&text, rows, &if plain { FOOT.to_owned() } else { style::paint(style::DIM, FOOT) }))
    }
}

const FOOT: &str = "Ctrl-C leaves; the trials go on";

/// The bytes that make the screen show a text, and a line at its bottom.
fn frame(text: &str, rows: usize, foot: &str) -> String {
    let mut out = "\x1b[?2026h\x1b[H".to_owned();
    for line in text.lines().take(rows.saturating_sub(1)) {
        out += &format!("{line}\x1b[K\r\n");
    }
    out + &format!("\x1b[J\x1b[{rows};1H{foot}\x1b[K\x1b[?2026l")
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = put("\x1b[?25h\x1b[?1049l");
    }
}

/// As it is: without colors, too, a screen is drawn in place.
fn put(bytes: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_draws_over_what_was_there_and_is_no_higher_than_the_screen() {
        assert_eq!(frame("a\nb\nc\n", 3, "foot"), "\x1b[?2026h\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J\x1b[3;1Hfoot\x1b[K\x1b[?2026l");
    }
}
