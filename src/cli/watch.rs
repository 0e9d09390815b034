//! `oppen watch`: a plan after every change of the files; with `--apply` it is obeyed, as far as it costs no more than allowed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::apply::{self, Ground};
use super::args;
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, style};
use super::plan::{now, show};
use super::session::Session;
use super::{problems, signals};
use crate::base::text::escape;
use crate::diff::Plan;
use crate::drive::{Control, Settings};
use crate::record::State;
use crate::store::{Lock, Store};
use crate::watch::{Interest, Watcher};

/// Follows the files until it is interrupted.
pub fn run(here: &Path, args: &args::Watch) -> Outcome {
    let (send, control) = signals::channel()?;
    let (say_changed, changed) = unbounded();
    let leave = send.clone();
    let watcher = Watcher::start(args.debounce, move |paths| {
        if say_changed.send(paths).is_ok() {
            let _ = leave.send(Control::Leave);
        }
    })
    .map_err(|words| Failure::new(Exit::Error, words))?;
    let mut watch = Watch { here, args, control, _send: send, changed, watcher, good: None };
    if !args.apply {
        return watch.follow(None);
    }
    let session = Session::from_files(here, &args.files);
    let mut store = Store::open(&session.state_folder())?;
    store.check()?;
    let lock = store.lock("watch", Duration::ZERO)?;
    let result = watch.follow(Some((&mut store, &lock)));
    store.unlock(&lock)?;
    result
}

struct Watch<'a> {
    here: &'a Path,
    args: &'a args::Watch,
    control: Receiver<Control>,
    /// Keeps the channel open.
    _send: Sender<Control>,
    changed: Receiver<Vec<PathBuf>>,
    watcher: Watcher,
    /// Id of the last plan of files without errors.
    good: Option<String>,
}

impl Watch<'_> {
    fn follow(&mut self, mut writer: Option<(&mut Store, &Lock)>) -> Outcome {
        loop {
            let session = Session::from_files(self.here, &self.args.files);
            self.watch_inputs(&session)?;
            let exit = self.turn(&session, writer.as_mut().map(|(store, lock)| (&mut **store, *lock)))?;
            if let Some(exit) = exit {
                return Ok(exit);
            }
            self.say_changes(&session.loaded.root);
        }
    }

    /// Plans once, applies if that is wanted and allowed, and waits for a change. An exit code means that it is over.
    fn turn(&mut self, session: &Session, writer: Option<(&mut Store, &Lock)>) -> Result<Option<Exit>, Failure> {
        if session.diags.has_errors() {
            let kept = self.good.as_ref().map_or("there is no good plan yet".to_owned(), |id| format!("the last good plan {id} stays"));
            output::say(problems::text(&session.diags, &session.loaded.sources).trim_end());
            output::say(&format!("{}: {kept}", problems::count(&session.diags)));
            return match writer {
                Some((store, lock)) => self.go_on(session, store, lock, None),
                None => Ok(self.wait()),
            };
        }
        match writer {
            None => {
                let store = Store::open_existing(&session.state_folder())?;
                let state = store.as_ref().map_or_else(|| Ok(State::default()), Store::load)?;
                let plan = session.plan(store.as_ref(), &state, &args::Part::default(), now())?;
                self.print(session, &plan)?;
                Ok(self.wait())
            }
            Some((store, lock)) => {
                let state = store.load()?;
                let plan = session.plan(Some(store), &state, &args::Part::default(), now())?;
                self.print(session, &plan)?;
                let most = self.args.max_cost.unwrap_or_default();
                let refused = if plan.is_blocked() {
                    Some("it is blocked".to_owned())
                } else if plan.cost > most {
                    Some(format!("it is expected to cost {}, more than --max-cost {most}", plan.cost))
                } else if plan.unpriced > 0 {
                    Some(format!("{} runs have no price", plan.unpriced))
                } else {
                    None
                };
                if let Some(why) = &refused {
                    output::say(&format!("plan {} is not applied: {why}", plan.plan_id));
                }
                self.go_on(session, store, lock, Some(plan).filter(|_| refused.is_none()))
            }
        }
    }

    fn print(&mut self, session: &Session, plan: &Plan) -> Result<(), Failure> {
        if self.good.as_ref() != Some(&plan.plan_id) {
            show(plan, &self.args.files.output.output, now(), false, &session.loaded)?;
        } else {
            output::say("nothing that a run depends on has changed");
        }
        self.good = Some(plan.plan_id.clone());
        Ok(())
    }

    /// Runs the engine until a file changes: with the orders of a plan, or only with what is pending and live.
    fn go_on(&self, session: &Session, store: &mut Store, lock: &Lock, plan: Option<Plan>) -> Result<Option<Exit>, Failure> {
        let state = store.load()?;
        let plan = match plan {
            Some(plan) => plan,
            None => {
                let mut idle = session.plan(Some(store), &state, &args::Part::default(), now())?;
                idle.runs.clear();
                idle
            }
        };
        let loaded = &session.loaded;
        let json = output::is_json(&self.args.files.output.output);
        let ground = Ground {
            root: &loaded.root,
            project: loaded.project.as_ref(),
            rates: &session.rates,
            backend: session.backend,
            sources: &loaded.sources,
            json,
        };
        let settings = Settings { forever: true, until_quiet: false, patience: Duration::from_secs(3600) };
        let exit = apply::execute(&ground, store, lock, &self.control, state, &plan, settings)?;
        Ok((exit == Exit::Interrupted).then_some(exit))
    }

    /// Waits for a change; an exit code means that somebody interrupted.
    fn wait(&self) -> Option<Exit> {
        match self.control.recv() {
            Ok(Control::Leave) => None,
            Ok(_) | Err(_) => Some(Exit::Interrupted),
        }
    }

    fn say_changes(&self, root: &Path) {
        // More changes may have come with the first: one new plan answers them all.
        while matches!(self.control.try_recv(), Ok(Control::Leave)) {}
        let mut paths: Vec<PathBuf> = self.changed.try_iter().flatten().collect();
        paths.sort();
        paths.dedup();
        let names: Vec<String> =
            paths.iter().take(5).map(|p| escape(&p.strip_prefix(root).unwrap_or(p).to_string_lossy()).into_owned()).collect();
        let more = if paths.len() > 5 { format!(" and {} more", paths.len() - 5) } else { String::new() };
        let what = if names.is_empty() { "files".to_owned() } else { names.join(", ") };
        output::say(&style::paint(style::BOLD, &format!("\n{what}{more} changed")));
    }

    fn watch_inputs(&mut self, session: &Session) -> Result<(), Failure> {
        let root = &session.loaded.root;
        let mut interest = Interest { searched: vec![root.join("workflows")], read: Vec::new() };
        interest.searched.extend(session.loaded.seen.iter().filter(|p| p.is_dir() && *p != root).cloned());
        let mut last = None;
        for run in &session.desired.runs {
            if last != Some(std::sync::Arc::as_ptr(&run.job)) {
                last = Some(std::sync::Arc::as_ptr(&run.job));
                interest.read.extend(run.job.inputs.iter().map(|i| root.join(&i.path)));
            }
        }
        interest.read.sort();
        interest.read.dedup();
        let mut files: Vec<PathBuf> = session.loaded.seen.clone();
        files.extend(session.loaded.library.keys().map(|p| root.join(p)));
        files.extend(self.args.files.paths.iter().map(|p| self.here.join(p)));
        self.watcher.follow(interest, &files).map_err(|words| Failure::new(Exit::Error, words))
    }
}
