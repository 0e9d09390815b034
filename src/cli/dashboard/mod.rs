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
use crate::monitor::health::{Settings, look};
use crate::monitor::{Monitor, Scene, Snapshot};
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
    let scene = scene(&place);
    let monitor = Monitor::new(scene.clone(), args.deadline);
    let settings = Settings { longest: args.deadline, ..Settings::default() };
    let (shot, health) = std::thread::scope(|all| {
        let health = all.spawn(|| look(&scene, settings));
        (monitor.look(), health.join())
    });
    let health = health.map_err(|_| Failure::new(Exit::Error, "the checks of health broke off"))?;
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
        state_dir: place.state_folder(),
        rates: place.rates.clone(),
        limits: place.limits.clone(),
        rules: place.of_project(),
        cluster: (!local || decl.is_some()).then(|| kubernetes::Settings::read(decl, "", place.state_folder())),
        local,
        tracking: project.and_then(|p| tracking(p, &mut Diagnostics::default())),
        dcgm: project.and_then(|p| p.monitor.as_ref()?.dcgm.as_ref()).map(|w| w.0.to_string()),
    }
}

/// Looks at everything once; each source has this long.
pub fn snapshot(here: &Path, deadline: Duration) -> Result<Snapshot, Failure> {
    let place = Place::find(here, None)?;
    Ok(Monitor::new(scene(&place), deadline).look())
}
