//! `oppen dashboard`: one screen of everything, for people and programs.
//!
//! In: the monitor's snapshot. Out: text of 80 columns, or JSON. Must never change anything.

mod live;
mod text;
mod words;

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::args::{BackendKind, Output};
use super::backends::tracking;
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form};
use super::session::Place;
use crate::backend::kubernetes;
use crate::base::Diagnostics;
use crate::monitor::health::{Report, Settings, look};
use crate::monitor::{Link, Monitor, Scene, Snapshot};
use text::Page;

/// `dashboard`
#[derive(Debug, Args)]
pub struct Dashboard {
    /// The full screen, with keys: `?` shows them
    #[arg(long, conflicts_with = "output")]
    pub live: bool,
    /// How long a source may take to answer before the screen goes without it
    #[arg(long, value_name = "TIME", default_value = "800ms", value_parser = output::duration)]
    pub deadline: Duration,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// Shows it.
pub fn run(here: &Path, args: &Dashboard) -> Outcome {
    let place = Place::find(here, None)?;
    if args.live {
        return live::run(&place);
    }
    let (shot, health) = seen(&place, args.deadline)?;
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(&json!({"format_version": 1, "health": health, "seen": shot})),
        Form::Text => text::page(&Page { shot: &shot, health: &health, width: output::width() }),
    })?;
    Ok(Exit::Done)
}

/// What there is to look at around a folder.
#[must_use]
pub fn scene(place: &Place) -> Scene {
    let project = place.loaded.project.as_ref();
    let decl = project.and_then(|p| p.kubernetes.as_ref());
    let local = place.backend == BackendKind::Local;
    Scene {
        project: project.map(|p| p.name.0.0.to_string()).unwrap_or_default(),
        broken: place.broken,
        state_dir: place.state_folder(),
        rates: place.rates.clone(),
        limits: place.limits.clone(),
        rules: place.of_project(),
        cluster: (!local || decl.is_some()).then(|| Link::new(kubernetes::Settings::read(decl, "", place.state_folder()))),
        local,
        tracking: project.and_then(|p| tracking(p, &mut Diagnostics::default())),
        dcgm: project.and_then(|p| p.monitor.as_ref()?.dcgm.as_ref()).map(|w| w.0.to_string()),
    }
}

/// Looks at everything once, and whether all is well; each source has this long.
pub fn seen(place: &Place, deadline: Duration) -> Result<(Snapshot, Report), Failure> {
    let scene = scene(place);
    let monitor = Monitor::new(scene.clone(), deadline);
    let settings = Settings { longest: deadline, ..Settings::default() };
    let (shot, health) = std::thread::scope(|all| {
        let health = all.spawn(|| look(&scene, settings));
        (monitor.look(), health.join())
    });
    Ok((shot, health.map_err(|_| Failure::new(Exit::Error, "the checks of health broke off"))?))
}
