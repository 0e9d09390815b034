//! The terminal: taken over, and given back however this ends.
//!
//! Must never leave a terminal raw or on its other screen: not after a panic, not after SIGTERM or SIGHUP.

use std::io::{self, Stdout, stdout};
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use signal_hook::iterator::Signals;

/// A terminal that is given back when it is dropped.
pub struct Screen {
    /// To draw on.
    pub terminal: Terminal<CrosstermBackend<Stdout>>,
    /// Set by a signal that ends us.
    pub ended: Arc<AtomicBool>,
}

/// As long as the loop may take to end after a signal.
const LEAVE: Duration = Duration::from_secs(1);

static HOOK: Once = Once::new();

fn give_back() {
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Ends the program when it has not ended by itself: where the terminal has gone, the wait for the next key never comes back.
fn leave_for_sure() -> io::Result<()> {
    let mut told = Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP])?;
    std::thread::Builder::new().name("leave".to_owned()).spawn(move || {
        if let Some(signal) = told.forever().next() {
            std::thread::sleep(LEAVE);
            give_back();
            std::process::exit(signal.saturating_add(128));
        }
    })?;
    Ok(())
}

impl Screen {
    /// Takes it.
    ///
    /// # Errors
    /// When it is no terminal, or does not obey.
    pub fn take() -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&ended))?;
        }
        leave_for_sure()?;
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                // Only the thread that draws owns the screen; its words must be seen on the usual one.
                if std::thread::current().name() == Some("main") {
                    give_back();
                }
                before(info);
            }));
        });
        enable_raw_mode()?;
        let made = execute!(stdout(), EnterAlternateScreen).and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match made {
            Ok(terminal) => Ok(Self { terminal, ended }),
            Err(e) => {
                give_back();
                Err(e)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}
