//! `oppen dashboard --live`: the full screen.
//!
//! In: keys, snapshots, answers. Out: cells, and wishes that go to the engine by the same commands that people type. Draws only what
//! changed; state and keys are pure (`model.rs`, `update.rs`), drawing is apart (`draw.rs`).

mod act;
mod draw;
mod log;
mod model;
mod rows;
mod term;
mod update;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::scene;
use crate::base::text::escape;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::unicode;
use crate::cli::session::Place;
use crate::monitor::health::{Settings, look};
use crate::monitor::{DEADLINE, Monitor, Scene};
use act::{Answer, act};
use log::Tail;
use model::{Model, Over, Tab, Theme, Wish};
use term::Screen;
use update::update;

/// How long a key may have to wait at the most: the rest is done in between.
const TICK: Duration = Duration::from_millis(250);
/// How often the record, the machines and health are looked at.
const RECORD: Duration = Duration::from_secs(1);
const MACHINES: Duration = Duration::from_secs(4);
const HEALTH: Duration = Duration::from_secs(30);

/// Shows it until somebody leaves.
pub fn run(place: &Place) -> Outcome {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(
            Failure::new(Exit::Usage, "--live needs a terminal").hint("without it `oppen dashboard` prints one screen, also into a pipe")
        );
    }
    let color =
        std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && anstream::ColorChoice::global() != anstream::ColorChoice::Never;
    let classes = crate::expand::priorities(place.loaded.project.as_ref()).iter().map(|(name, _)| name.to_string()).collect();
    let model = Model::new(Theme { color, unicode: unicode() }, classes);
    let scene = scene(place);
    let (out, answers) = unbounded();
    let mut live = Live {
        root: place.loaded.root.clone(),
        monitor: Monitor::new(scene.clone(), DEADLINE),
        scene,
        model,
        tail: None,
        out,
        answers,
        health: None,
        heard: (u64::MAX, Instant::now()),
    };
    let mut screen = Screen::take().map_err(|e| Failure::new(Exit::Error, format!("the terminal cannot be used: {e}")))?;
    let end = live.show(&mut screen);
    drop(screen);
    end
}

struct Live {
    root: PathBuf,
    scene: Scene,
    monitor: Monitor,
    model: Model,
    tail: Option<Tail>,
    out: Sender<Answer>,
    answers: Receiver<Answer>,
    /// When health was asked for last.
    health: Option<Instant>,
    /// What was heard when it was looked last, and when that was.
    heard: (u64, Instant),
}

/// When each kind of source was asked last.
#[derive(Default)]
struct Asked {
    record: Option<Instant>,
    machines: Option<Instant>,
}

fn due(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|at| at.elapsed() >= every)
}

/// Esc and the key after it, where a slow line brought both at once: terminals write Alt so, and no key of ours has it.
fn apart(key: KeyEvent) -> impl Iterator<Item = KeyEvent> {
    let both = key.modifiers.contains(KeyModifiers::ALT);
    let escape = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
    both.then_some(escape).into_iter().chain([KeyEvent { modifiers: key.modifiers - KeyModifiers::ALT, ..key }])
}

impl Live {
    fn show(&mut self, screen: &mut Screen) -> Outcome {
        let mut asked = Asked::default();
        let mut dirty = true;
        loop {
            if screen.ended.load(Ordering::Relaxed) {
                return Ok(Exit::Interrupted);
            }
            self.ask(&mut asked);
            dirty |= self.look();
            dirty |= self.answered();
            dirty |= self.listen();
            if dirty {
                screen.terminal.draw(|frame| draw::draw(frame, &mut self.model))?;
                dirty = false;
            }
            // The first answers are quick: they are not waited for as long as a person's next key.
            let wait = if self.model.shot.record.at.is_none() && self.model.health.is_none() { Duration::from_millis(30) } else { TICK };
            if !event::poll(wait)? {
                continue;
            }
            // All that was typed meanwhile is one change.
            while event::poll(Duration::ZERO)? {
                match event::read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        dirty = true;
                        for key in apart(key) {
                            match update(&mut self.model, key) {
                                Some(Wish::Quit) => return Ok(Exit::Done),
                                Some(Wish::Refresh) => {
                                    screen.terminal.clear()?;
                                    (asked, self.health) = (Asked::default(), None);
                                }
                                Some(wish) => self.wish(wish),
                                None => {}
                            }
                        }
                    }
                    Event::Resize(..) => dirty = true,
                    _ => {}
                }
            }
        }
    }

    /// Takes what was heard since; once a second in any case, since ages and lengths grow.
    fn look(&mut self) -> bool {
        let heard = self.monitor.heard();
        if heard == self.heard.0 && self.heard.1.elapsed() < RECORD {
            return false;
        }
        self.heard = (heard, Instant::now());
        self.model.see(self.monitor.snapshot())
    }

    fn ask(&mut self, asked: &mut Asked) {
        if due(asked.machines, MACHINES) {
            (asked.machines, asked.record) = (Some(Instant::now()), Some(Instant::now()));
            self.monitor.ask();
        } else if due(asked.record, RECORD) {
            asked.record = Some(Instant::now());
            self.monitor.ask_record();
        }
        if due(self.health, HEALTH) {
            self.health = Some(Instant::now());
            let (scene, out) = (self.scene.clone(), self.out.clone());
            let looked = move || {
                let _ = out.send(Answer::Health(look(&scene, Settings::default())));
            };
            if let Err(e) = std::thread::Builder::new().name("health".to_owned()).spawn(looked) {
                self.model.message = format!("the system gives no thread: {e}");
            }
        }
    }

    fn answered(&mut self) -> bool {
        let mut any = false;
        while let Ok(answer) = self.answers.try_recv() {
            any = true;
            match answer {
                Answer::Message(words) => self.model.message = words,
                Answer::Text(title, lines) => self.model.over = Some(Over::Text(title, lines, 0)),
                Answer::Health(report) => self.model.health = Some(report),
            }
            self.monitor.ask_record();
        }
        any
    }

    /// Reads on in the followed log, while it is on the screen.
    fn listen(&mut self) -> bool {
        if self.model.tab != Tab::Logs || self.model.log.address.is_empty() {
            return false;
        }
        let address = self.model.log.address.clone();
        let fresh = match self.tail.as_mut().filter(|t| t.address == address) {
            Some(tail) => tail.read(),
            None => match Tail::of(&self.scene.state_dir, &address) {
                Ok(mut tail) => {
                    let read = tail.read();
                    self.tail = Some(tail);
                    read
                }
                Err(e) => {
                    self.tail = Some(Tail::none(&address));
                    Err(e)
                }
            },
        };
        match fresh {
            Ok(lines) => {
                let missing = self.model.log.missing.take().filter(|_| lines.is_empty());
                self.model.hear(&address, lines, missing)
            }
            Err(why) => self.model.hear(&address, Vec::new(), Some(escape(&why).into_owned())),
        }
    }

    fn wish(&mut self, wish: Wish) {
        match &wish {
            Wish::Follow(_) => {
                self.tail = None;
                return;
            }
            Wish::Cancel(address) => self.model.message = format!("asks for the end of {}", escape(address)),
            Wish::Retry(address) => self.model.message = format!("asks for {} to run again", escape(address)),
            Wish::Priority(address, class) => self.model.message = format!("asks for {} to be {}", escape(address), escape(class)),
            _ => {}
        }
        act(self.root.clone(), wish, self.out.clone());
    }
}

#[cfg(test)]
mod tests;
