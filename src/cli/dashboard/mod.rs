//! What the monitor looks at around a folder.

use std::path::Path;
use std::time::Duration;

use super::args::BackendKind;
use super::backends::tracking;
use super::exit::Failure;
use super::session::Place;
use crate::backend::kubernetes::Settings;
use crate::base::Diagnostics;
use crate::monitor::{Monitor, Scene, Snapshot};

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
        cluster: (!local || decl.is_some()).then(|| Settings::read(decl, "", place.state_folder())),
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
