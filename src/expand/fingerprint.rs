//! Fingerprints: BLAKE3 over a length-prefixed encoding of what makes a run's result. Priority, labels, retries, timeouts,
//! budgets and how a machine is bought stay out.

use crate::base::{Digest, Fingerprint};
use crate::record::{Arg, CommandLine, JobSpec};

/// Version of the encoding: a change makes every run new, and must be meant.
const DOMAIN: &str = "oppen/v1 fingerprint";

/// A hasher whose parts cannot run into each other.
struct Encoder(blake3::Hasher);

impl Encoder {
    fn new(what: &str) -> Self {
        let mut encoder = Self(blake3::Hasher::new());
        encoder.text(DOMAIN).text(what);
        encoder
    }

    fn number(&mut self, n: u64) -> &mut Self {
        self.0.update(&n.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len() as u64).0.update(text.as_bytes());
        self
    }

    fn arg(&mut self, arg: &Arg) -> &mut Self {
        match arg {
            Arg::Text(text) => self.number(0).text(text),
            Arg::Late(text) => self.number(1).text(text),
        }
    }

    fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// The part that runs of a job with the same settings share.
pub fn of_settings(job: &JobSpec) -> Digest {
    let mut e = Encoder::new("settings");
    e.text(job.image.as_deref().unwrap_or_default()).text(job.workdir.as_deref().unwrap_or_default());
    e.number(job.env.len() as u64);
    for (name, value) in &job.env {
        e.text(name).arg(value);
    }
    e.number(job.secret_env.len() as u64);
    for (name, reference) in &job.secret_env {
        e.text(name).text(reference);
    }
    let r = &job.resources;
    e.number(u64::from(r.gpu.count)).text(r.gpu.kind.as_deref().unwrap_or_default()).number(r.cpu_millis).number(r.memory_bytes);
    // What older runs did not know of counts only where it is asked for.
    if r.disk_bytes > 0 {
        e.text("disk").number(r.disk_bytes);
    }
    e.number(job.inputs.len() as u64);
    for input in &job.inputs {
        e.text(&input.path).0.update(&input.digest.0);
    }
    e.number(job.outputs.len() as u64);
    for output in &job.outputs {
        e.text(output);
    }
    e.text(&job.late_inputs.as_ref().map(ToString::to_string).unwrap_or_default());
    e.finish()
}

/// One run, without what is upstream.
pub fn of_run(settings: &Digest, params: &[(std::sync::Arc<str>, crate::base::Value)], command: &CommandLine) -> Fingerprint {
    let mut e = Encoder::new("run");
    e.0.update(&settings.0);
    e.number(params.len() as u64);
    let mut word = String::new();
    for (name, value) in params {
        word.clear();
        use std::fmt::Write as _;
        let _ = write!(word, "{value}");
        e.text(name).text(&word);
    }
    e.number(command.argv.len() as u64);
    for arg in &command.argv {
        e.arg(arg);
    }
    for (name, value) in &command.vars {
        e.text(name).arg(value);
    }
    e.finish()
}

/// The fingerprints of all runs of a job together: what a need contributes to those that need it.
pub fn of_job(runs: impl Iterator<Item = Fingerprint>) -> Digest {
    let mut e = Encoder::new("job");
    for fingerprint in runs {
        e.0.update(&fingerprint.0);
    }
    e.finish()
}

/// The same for a job whose runs find their params while it runs: the space counts.
pub fn of_search(job: &Digest, space: &crate::record::Space) -> Digest {
    let mut e = Encoder::new("search");
    e.0.update(&job.0);
    e.text(&serde_json::to_string(space).unwrap_or_default());
    e.finish()
}

/// A run's own fingerprint with those of its needs.
pub fn seal(own: Fingerprint, needs: &[(&str, Digest)]) -> Fingerprint {
    if needs.is_empty() {
        return own;
    }
    let mut e = Encoder::new("sealed");
    e.0.update(&own.0);
    for (job, digest) in needs {
        e.text(job).0.update(&digest.0);
    }
    e.finish()
}
