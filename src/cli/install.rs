//! `oppen install`: what a namespace needs.

use std::io::IsTerminal as _;
use std::path::Path;

use super::args;
use super::exit::{Exit, Failure, Outcome};
use super::output;
use super::session::Place;
use crate::backend::kubernetes::install;

/// Prints or applies the objects.
pub fn run(here: &Path, args: &args::Install) -> Outcome {
    let place = Place::find(here, Some(args::BackendKind::Kubernetes))?;
    let decl = place.loaded.project.as_ref().and_then(|p| p.kubernetes.as_ref());
    let declared = decl.and_then(|d| d.namespace.as_ref()).map(|n| n.0.to_string());
    let namespace = args.namespace.clone().or(declared).unwrap_or_else(|| "oppen".to_owned());
    let named = !namespace.is_empty()
        && namespace.len() <= 63
        && namespace.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !named || namespace.starts_with('-') || namespace.ends_with('-') {
        return Err(Failure::new(Exit::Usage, format!("`{}` is not a name for a namespace", crate::base::text::escape(&namespace)))
            .hint("use lower-case letters, digits and `-`"));
    }
    let objects = install::objects(&namespace, &place.rates, place.limits.max_concurrent);
    match args.output.as_deref() {
        Some("yaml") => {
            output::print(&install::yaml(&objects).map_err(|e| Failure::new(Exit::Error, e))?)?;
            return Ok(Exit::Done);
        }
        Some(other) => {
            return Err(Failure::new(Exit::Usage, format!("`install` has no output `{}`", crate::base::text::escape(other)))
                .hint("write `-o yaml`"));
        }
        None => {}
    }
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(Exit::Declined, "there is no terminal to ask on; nothing was applied")
                .hint("say --yes, or print the objects with -o yaml"));
        }
        if !super::apply::ask(&format!("Apply {} objects for the namespace {namespace}?", objects.len()))? {
            return Err(Failure::new(Exit::Declined, "nothing was applied"));
        }
    }
    let context = decl.and_then(|d| d.context.as_ref()).map(|c| c.0.to_string());
    install::apply(context.as_deref(), &objects, |line| {
        let _ = output::print(&format!("{line}\n"));
    })?;
    Ok(Exit::Done)
}
