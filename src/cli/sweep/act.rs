//! `oppen sweep pause` and `resume`: asked of whoever applies right now, else done here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::args::{BackendKind, Output};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;
use super::super::plan::now;
use super::super::runs;
use super::super::session::Place;
use crate::engine::Input;
use crate::store::{Request, StoreError};

/// `sweep pause`, `sweep resume`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sweep: WORKFLOW/JOB, or a pattern with * and ?
    pub address: String,
    /// Where runs run, if it is not what oppen.yaml says
    #[arg(long, value_enum)]
    pub backend: Option<BackendKind>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// `sweep pause`
pub fn pause(here: &Path, args: &Args) -> Outcome {
    act(here, args, true)
}

/// `sweep resume`
pub fn resume(here: &Path, args: &Args) -> Outcome {
    act(here, args, false)
}

fn act(here: &Path, args: &Args, pause: bool) -> Outcome {
    let place = Place::find(here, args.backend)?;
    let mut store = place.store()?;
    let state = store.load()?;
    let mut jobs = super::matching(&state, Some(&args.address))?;
    jobs.retain(|job| state.sweeps.get(job).is_some_and(|s| s.paused.is_some()) != pause);
    if jobs.is_empty() {
        let words = if pause { "it is paused already" } else { "it is not paused" };
        output::print(&format!("Nothing to do: {words}.\n"))?;
        return Ok(Exit::Done);
    }
    let me = crate::store::me(if pause { "pause" } else { "resume" }, now());
    let (by, names) = (me.who(), jobs.join(", "));
    match store.lock(&me.what, Duration::ZERO) {
        Err(StoreError::Held(holder)) => {
            store.request(&if pause { Request::Pause { jobs, by } } else { Request::Resume { jobs, by } })?;
            output::print(&format!("Asked {holder} to {} {names}.\n", me.what))?;
            Ok(Exit::Done)
        }
        Err(error) => Err(error.into()),
        Ok(lock) => {
            let result = if pause {
                note(&place, &mut store, &lock, jobs, by).and_then(|()| {
                    output::print(&format!("Paused {names}: no further trial starts; `oppen sweep resume` lets it go on.\n"))?;
                    Ok(Exit::Done)
                })
            } else {
                runs::drive(&place, &mut store, &lock, vec![Input::Resume { jobs, by }], true, output::is_json(&args.output.output))
            };
            store.unlock(&lock)?;
            result
        }
    }
}

/// Nobody applies: the wish alone is noted, and what may still run is left alone.
fn note(place: &Place, store: &mut crate::store::Store, lock: &crate::store::Lock, jobs: Vec<Arc<str>>, by: String) -> Result<(), Failure> {
    store.check()?;
    let mut engine = place.engine(store, store.load()?)?;
    let now = now();
    engine.step(Input::Launching(false), now);
    let step = engine.step(Input::Pause { jobs, by }, now);
    Ok(store.append(lock, &step.events, engine.state(), &[], now)?)
}
