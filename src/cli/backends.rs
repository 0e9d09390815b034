//! The backend that a project names.

use std::path::Path;

use super::args::BackendKind;
use super::exit::Failure;
use crate::backend::Backend;
use crate::backend::kubernetes::{KubernetesBackend, Settings};
use crate::backend::local::{LocalBackend, LocalConfig};
use crate::backend::tracked::Tracked;
use crate::base::Diagnostics;
use crate::files::STATE_FOLDER;
use crate::queue::Limits;
use crate::spec::Project;
use crate::track::mlflow;

/// Makes the backend; nothing is started yet.
pub fn open(
    kind: BackendKind,
    root: &Path,
    project: Option<&Project>,
    lineage: &str,
    limits: &Limits,
) -> Result<Box<dyn Backend>, Failure> {
    let inside = inside(kind, root, project, lineage, limits)?;
    let settings = project.and_then(|p| tracking(p, &mut Diagnostics::default()));
    Ok(match settings {
        Some(settings) => Box::new(Tracked::new(inside, settings, lineage, root.join(STATE_FOLDER))),
        None => inside,
    })
}

/// The server that tracks the project's runs, if it names one.
pub fn tracking(project: &Project, diags: &mut Diagnostics) -> Option<mlflow::Settings> {
    let decl = project.tracking.as_ref()?.mlflow.as_ref()?;
    mlflow::Settings::read(decl, &project.name.0.0, diags)
}

fn inside(kind: BackendKind, root: &Path, project: Option<&Project>, lineage: &str, limits: &Limits) -> Result<Box<dyn Backend>, Failure> {
    match kind {
        BackendKind::Local => Ok(Box::new(LocalBackend::new(LocalConfig {
            root: root.to_owned(),
            state_dir: root.join(STATE_FOLDER),
            lineage: lineage.to_owned(),
            exe: std::env::current_exe()?,
            gpus: limits.quotas.gpu.unwrap_or(0),
        }))),
        BackendKind::Kubernetes => {
            let decl = project.and_then(|p| p.kubernetes.as_ref());
            Ok(Box::new(KubernetesBackend::new(Settings::read(decl, lineage, root.join(STATE_FOLDER)))?))
        }
    }
}

/// `supervise`: what the local backend starts for itself.
pub fn supervise(folder: &Path) -> super::exit::Outcome {
    crate::backend::local::supervise(folder)?;
    Ok(super::exit::Exit::Done)
}
