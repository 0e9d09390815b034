//! Settings of a sweep that are templates over the workflow's inputs: known before anything else looks at them.
//!
//! In: a job as declared, the inputs. Out: the same job without templates in its sweep's settings and its metric. Must never touch
//! what may differ from trial to trial.

use std::borrow::Cow;

use super::slot::{Compile, Slot};
use super::template::Scope;
use crate::base::{Diagnostics, Value};
use crate::spec::scalar::{Scalar, Templ};
use crate::spec::types::{Job, MetricDecl, PruneDecl, Sweep};

/// The job with known settings; itself where none is a template.
pub fn job<'a>(job: &'a Job, cx: Compile<'_>, inputs: &Value, diags: &mut Diagnostics) -> Cow<'a, Job> {
    let open = job.sweep.as_ref().is_some_and(is_open) || job.metric.as_ref().is_some_and(metric_is_open);
    if !open {
        return Cow::Borrowed(job);
    }
    let mut job = job.clone();
    let mut settler = Settler { cx, inputs, diags };
    if let Some(sweep) = &mut job.sweep {
        settler.sweep(sweep);
    }
    if let Some(metric) = &mut job.metric {
        settler.metric(metric);
    }
    Cow::Owned(job)
}

fn open<T>(setting: Option<&Templ<T>>) -> bool {
    setting.is_some_and(|s| s.known().is_none())
}

fn metric_is_open(metric: &MetricDecl) -> bool {
    open(Some(&metric.name.0)) || open(Some(&metric.goal.0))
}

fn is_open(s: &Sweep) -> bool {
    let counts = [s.parallel.as_ref(), s.seed.as_ref(), s.max_failed.as_ref()];
    counts.into_iter().any(open)
        || open(s.max_cost.as_ref())
        || open(s.max_time.as_ref())
        || s.metric.as_ref().is_some_and(metric_is_open)
        || s.prune.as_ref().is_some_and(|p| {
            let counts = [&p.min, &p.max, &p.eta, &p.every, &p.startup, &p.patience];
            let shares = [&p.percentile, &p.lower, &p.upper, &p.tolerance];
            counts.into_iter().any(|c| open(c.as_ref())) || shares.into_iter().any(|s| open(s.as_ref()))
        })
}

struct Settler<'a, 'd> {
    cx: Compile<'a>,
    inputs: &'a Value,
    diags: &'d mut Diagnostics,
}

impl Settler<'_, '_> {
    fn one<T: Scalar + Clone>(&mut self, setting: &mut Templ<T>) {
        if setting.known().is_some() {
            return;
        }
        let scope = Scope { inputs: self.inputs, params: &[], needs: None };
        if let Some(value) = Slot::compile(setting, self.cx, self.diags).and_then(|slot| slot.get(scope, self.diags)) {
            *setting = Templ::Known(value, setting.span());
        }
    }

    fn all<'s, T: Scalar + Clone + 's>(&mut self, settings: impl IntoIterator<Item = &'s mut Option<Templ<T>>>) {
        settings.into_iter().flatten().for_each(|setting| self.one(setting));
    }

    fn metric(&mut self, metric: &mut MetricDecl) {
        self.one(&mut metric.name.0);
        self.one(&mut metric.goal.0);
    }

    fn prune(&mut self, p: &mut PruneDecl) {
        self.all([&mut p.min, &mut p.max, &mut p.eta, &mut p.every, &mut p.startup, &mut p.patience]);
        self.all([&mut p.percentile, &mut p.lower, &mut p.upper, &mut p.tolerance]);
    }

    fn sweep(&mut self, s: &mut Sweep) {
        self.all([&mut s.parallel, &mut s.seed, &mut s.max_failed]);
        self.all([&mut s.max_cost]);
        self.all([&mut s.max_time]);
        if let Some(metric) = &mut s.metric {
            self.metric(metric);
        }
        if let Some(prune) = &mut s.prune {
            self.prune(prune);
        }
    }
}
