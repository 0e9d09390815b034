//! A sweep's declaration to a [`SearchSpec`]: parameters with their groups, conditions, constraints, points, method, pruning.
//!
//! In: a sweep as written and the workflow's inputs. Out: data that needs no document any more, and the compiled space. Must never let
//! through a space in which no point was found.

use std::sync::Arc;

use serde_json::Value;

use super::dimension::{Raw, tied};
use super::domain::{Domain, Places, Stuck, moves_along};
use super::lattice::Lattice;
use super::space::{Context, render};
use crate::base::{Diagnostic, Diagnostics, Severity, Span, suggest, text};
use crate::record::{Distribution, Goal, Method, Options, Params, PruneMethod, PruneSpec, Restarts, SearchSpec, Space};
use crate::spec::lower::Named;
use crate::spec::scalar::Templ;
use crate::spec::types::{Parameter, PruneDecl, Sweep, Text, Word, WrittenPoint};

/// Reads a sweep. What is wrong goes to `diags`, and nothing comes back.
pub fn read(sweep: &Sweep, span: Span, cx: &Context<'_>, diags: &mut Diagnostics) -> Option<(SearchSpec, Domain)> {
    let before = diags.as_slice().len();
    let method = method(&sweep.method.0, diags);
    let mut reader = Reader { cx, space: Space::default(), places: Places::default() };
    reader.group("", &sweep.parameters.0, &[], diags);
    if reader.space.parameters.is_empty() && diags.as_slice().len() == before {
        if !sweep.parameters.0.0.is_empty() && diags.as_slice().iter().any(|d| d.span.is_some_and(|s| within(s, sweep.span))) {
            return None;
        }
        diags.push(Diagnostic::error("empty-space", span, "a sweep without parameters has nothing to try").hint("add `parameters`"));
    }
    reader.space.constraints = sweep.constraints.iter().map(|c| Arc::clone(&c.0)).collect();
    reader.places.constraints = sweep.constraints.iter().map(|c| c.1).collect();
    let trials = sweep.trials.as_ref().and_then(|t| trials(t, cx, diags));
    if let (None, Some(method)) = (&sweep.trials, method.filter(|m| *m != Method::Grid)) {
        let message = format!("a sweep with the method `{}` needs `trials`", method.name());
        diags.push(Diagnostic::error("missing-key", sweep.method.0.1, message).hint("add `trials: 20`"));
    }
    if sweep.prune.is_none() && &*sweep.method.0.0 == "bohb" {
        let message = "`bohb` is TPE with Hyperband, and the sweep has no `prune`";
        diags.push(Diagnostic::error("missing-key", sweep.method.0.1, message).hint("add `prune: {method: hyperband, max: 81}`"));
    }
    let (options, prune) = (options(sweep, diags), sweep.prune.as_ref().and_then(|p| prune(p, diags)));
    let points: Vec<Params> = sweep.points.iter().map(|p| flat(p, &reader.space)).collect();
    if diags.as_slice().len() > before {
        return None;
    }
    let needs_inputs = !reader.space.constraints.is_empty() || reader.space.parameters.iter().any(|p| !p.when.is_empty() || is_tied(p));
    reader.space.inputs = if needs_inputs { cx.inputs.clone() } else { Value::Null };
    let domain = Domain::check(&reader.space, &reader.places, cx.sources, diags)?;
    for (point, at) in points.iter().zip(&sweep.points) {
        if let Some((words, hint)) = domain.objection(point) {
            diags.push(Diagnostic::error("bad-point", at.span, words).maybe_hint(hint));
        }
    }
    if method == Some(Method::CmaEs) && !(0..domain.dims.len()).any(|d| moves_along(&domain, d)) {
        let message = "the method `cma-es` moves along numbers, and every parameter here is a choice, conditional or constant";
        diags.push(Diagnostic::error("bad-value", sweep.method.0.1, message).hint("use `tpe` or `auto`"));
    }
    if method.is_some_and(Method::has_generations) {
        generations(sweep, trials, options.population, diags);
    }
    if !domain.is_plain() {
        probe(method?, &domain, sweep, diags);
        for dim in super::lattice::never(&domain) {
            let at = reader.places.whens.get(dim).and_then(|w| w.last()).or_else(|| reader.places.parameters.get(dim)).copied();
            let name = domain.dims.get(dim).map_or("", |d| &*d.name);
            diags.push(
                Diagnostic::warning("never-exists", at, format!("no trial has `{name}`: its condition holds for none of the values"))
                    .hint("compare with values that the other parameters have"),
            );
        }
    }
    let spec = SearchSpec {
        space: reader.space,
        method: method?,
        options,
        seed: u64::from(known(&sweep.seed).unwrap_or(0)),
        goal: match &sweep.metric {
            Some(metric) if metric.goal.0.known().is_some_and(|g| &**g == "maximize") => Goal::Maximize,
            _ => Goal::Minimize,
        },
        trials,
        parallel: known(&sweep.parallel).map(|p| p.max(1)),
        points,
        prune,
    };
    let wrong = diags.as_slice().iter().skip(before).any(|d| d.severity == Severity::Error);
    (!wrong).then_some((spec, domain))
}

/// The value of a setting; templates were settled before.
fn known<T: Clone>(setting: &Option<Templ<T>>) -> Option<T> {
    setting.as_ref().and_then(|s| s.known().cloned())
}

fn is_tied(p: &crate::record::Parameter) -> bool {
    matches!(p.dist, Distribution::Tied { .. })
}

/// Points that are drawn to tell which constraint is met by how many.
const LOOKED_AT: u64 = 1000;

/// Looks for one point, so that a space without any is found before anything runs.
fn probe(method: Method, domain: &Domain, sweep: &Sweep, diags: &mut Diagnostics) {
    let found = match (method, Lattice::new(domain)) {
        (Method::Grid, _) => return,
        // A small finite space is known exactly.
        (_, Ok(Ok(lattice))) if lattice.is_empty() => Err(Stuck::Exhausted),
        (_, Ok(Ok(_))) => Ok(()),
        (_, Ok(Err(Stuck::Broken(words)))) => Err(Stuck::Broken(words)),
        _ => domain.random(0, 0, &Params::new()).map(|_| ()),
    };
    if let Err(problem) = found {
        stuck(&problem, domain, sweep, diags);
    }
}

/// The grid over a space; what is wrong goes to `diags`.
pub(super) fn lattice(domain: &Domain, sweep: &Sweep, diags: &mut Diagnostics) -> Option<Lattice> {
    match Lattice::new(domain) {
        Ok(Ok(lattice)) if lattice.is_empty() => stuck(&Stuck::Exhausted, domain, sweep, diags),
        Ok(Ok(lattice)) => return Some(lattice),
        Ok(Err(problem)) => stuck(&problem, domain, sweep, diags),
        Err(endless) => {
            let name = domain.dims.get(endless.0).map_or("", |d| &*d.name);
            let at = sweep.parameters.0.iter().find(|(n, _, _)| name.split('.').next() == Some(n)).map_or(sweep.span, |(_, s, _)| *s);
            diags.push(
                Diagnostic::error("continuous-grid", at, format!("a grid over the continuous range of `{name}` has no end"))
                    .hint("give `values`, a `step`, or use `method: random` with `trials`"),
            );
        }
    }
    None
}

/// Says why a space gives no point.
pub(super) fn stuck(problem: &Stuck, domain: &Domain, sweep: &Sweep, diags: &mut Diagnostics) {
    let at = sweep.constraints.first().map_or_else(|| sweep.parameters_span(), |c| c.1);
    let (code, hint) = match problem {
        Stuck::Exhausted => ("empty-space", "loosen the constraints or widen the bounds"),
        Stuck::NoPoint { .. } => ("empty-space", "loosen the constraints, or choose bounds in which more points meet them"),
        Stuck::TooMany { .. } => ("too-many-runs", "use `method: random` with `trials`, or fewer values"),
        Stuck::Broken(_) => ("template", "conditions and constraints compare `params`, and give true or false"),
    };
    let words = match problem {
        Stuck::Exhausted => "no point of the space meets the constraints".to_owned(),
        other => other.to_string(),
    };
    let mut found = Diagnostic::error(code, at, words).hint(hint);
    if matches!(problem, Stuck::Exhausted | Stuck::NoPoint { .. }) {
        for (constraint, met) in sweep.constraints.iter().zip(met(domain)) {
            let of = if met == 0 { "none".to_owned() } else { met.to_string() };
            found = found.related(constraint.1, format!("{of} of {LOOKED_AT} points meet it"));
        }
    }
    diags.push(found);
}

/// How many of some random points meet each constraint alone: which of them is too narrow, and which contradict each other.
fn met(domain: &Domain) -> Vec<usize> {
    let rows: Vec<_> = (0..LOOKED_AT).filter_map(|i| domain.row(&domain.order, |d| domain.draw(d, 0, i, 0)).ok()).collect();
    let holds = |c: &super::domain::Condition| rows.iter().filter(|(row, _)| domain.holds(c, row) == Ok(true)).count();
    domain.constraints.iter().map(holds).collect()
}

struct Reader<'a> {
    cx: &'a Context<'a>,
    space: Space,
    places: Places,
}

impl Reader<'_> {
    /// Reads parameters; members of groups are called `group.member` and exist where the group does.
    fn group(&mut self, prefix: &str, members: &Named<Parameter>, when: &[(Arc<str>, Span)], diags: &mut Diagnostics) {
        for (name, at, p) in members.iter() {
            let full: Arc<str> = if prefix.is_empty() { Arc::clone(name) } else { format!("{prefix}.{name}").into() };
            if name.contains('.') {
                let message = format!("`{}` is not a name for a parameter", text::escape(name));
                diags.push(Diagnostic::error("bad-name", *at, message).hint("put members of a group under its `parameters`"));
                continue;
            }
            let mut when = when.to_vec();
            when.extend(p.when.as_ref().map(|w| (Arc::clone(&w.0), w.1)));
            if !p.parameters.0.is_empty() {
                if p.values.is_some() || p.value.is_some() || p.distribution.is_some() || p.min.is_some() || p.max.is_some() {
                    let message = format!("`{full}` is both a group and a parameter");
                    diags.push(Diagnostic::error("bad-parameter", *at, message).hint("a group has only `parameters` and `when`"));
                }
                if prefix.matches('.').count() >= 7 {
                    diags.push(Diagnostic::error("too-deep", *at, "groups are nested more than 8 deep").hint("flatten them"));
                    continue;
                }
                self.group(&full, &p.parameters, &when, diags);
                continue;
            }
            if let Some(dist) = distribution(p, *at, self.cx, diags) {
                let (when, spans) = when.into_iter().unzip();
                self.space.parameters.push(crate::record::Parameter { name: full, dist, when });
                self.places.parameters.push(*at);
                self.places.whens.push(spans);
            }
        }
    }
}

fn distribution(p: &Parameter, span: Span, cx: &Context<'_>, diags: &mut Diagnostics) -> Option<Distribution> {
    if let Some(expression) = p.value.as_ref().and_then(Value::as_str).filter(|t| looks_at_params(t)) {
        return Some(tied(expression));
    }
    let mut get = |v: &Option<Value>| match v {
        None => Some(None),
        Some(Value::Array(list)) => {
            list.iter().map(|v| render(v, span, cx, diags)).collect::<Option<Vec<_>>>().map(|l| Some(Value::Array(l)))
        }
        Some(v) => render(v, span, cx, diags).map(Some),
    };
    let (values, weights, value) = (get(&p.values)?, get(&p.weights)?, get(&p.value)?);
    let (min, max, step, mean, std) = (get(&p.min)?, get(&p.max)?, get(&p.step)?, get(&p.mean)?, get(&p.std)?);
    let distribution = p.distribution.as_ref().map(|d| &*d.0);
    let ordered = p.ordered.as_ref().is_some_and(|o| o.0);
    match Distribution::build(Raw { distribution, values, weights, ordered, value, min, max, step, mean, std }) {
        Ok(distribution) => Some(distribution),
        // What lacks something since that could not be read has been told.
        Err(_) if diags.as_slice().iter().any(|d| d.span.is_some_and(|s| within(s, p.span))) => None,
        Err((words, hint)) => {
            let at = p.distribution.as_ref().filter(|_| words.contains("distribution")).map_or(span, |d| d.1);
            diags.push(Diagnostic::error("bad-parameter", at, words).hint(hint));
            None
        }
    }
}

fn within(inner: Span, outer: Span) -> bool {
    inner.file == outer.file && outer.start <= inner.start && inner.end <= outer.end
}

fn looks_at_params(text: &str) -> bool {
    super::template::expressions(text).is_ok_and(|all| all.iter().any(|(_, _, inner)| inner.contains("params")))
}

/// A written point with members of groups by their full names.
fn flat(point: &WrittenPoint, space: &Space) -> Params {
    fn add(name: String, value: &Value, space: &Space, out: &mut Params) {
        match value {
            Value::Object(members) if !space.parameters.iter().any(|p| *p.name == name) => {
                members.iter().for_each(|(k, v)| add(format!("{name}.{k}"), v, space, out));
            }
            _ => out.push((name.into(), value.clone())),
        }
    }
    let mut out = Params::new();
    point.values.iter().for_each(|(name, _, value)| add(name.to_string(), value, space, &mut out));
    out
}

fn trials(text: &Text, cx: &Context<'_>, diags: &mut Diagnostics) -> Option<u64> {
    let (raw, span) = match text {
        Templ::Known(t, s) | Templ::Template(t, s) => (t, *s),
    };
    let value = render(&Value::String(raw.to_string()), span, cx, diags)?;
    let mut word = String::new();
    super::template::push_word(&mut word, &value);
    match word.trim().parse::<u64>() {
        Ok(n) if n > 0 => Some(n),
        _ => {
            diags.push(
                Diagnostic::error("wrong-type", span, format!("`{}` is not a number of trials", text::escape(&word)))
                    .hint("write a whole number from 1 up"),
            );
            None
        }
    }
}

fn named<T: Copy>(word: &Word, all: &[(&'static str, T)], code: &'static str, what: &str, diags: &mut Diagnostics) -> Option<T> {
    let found = all.iter().find(|(n, _)| *n == &*word.0).map(|(_, m)| *m);
    if found.is_none() {
        let names: Vec<&str> = all.iter().map(|(n, _)| *n).collect();
        let message = format!("unknown {what} `{}`", text::escape(&word.0));
        let hint = suggest::hint(&word.0, names.iter().copied()).unwrap_or_else(|| format!("use one of {}", names.join(", ")));
        diags.push(Diagnostic::error(code, word.1, message).hint(hint));
    }
    found
}

fn method(word: &Word, diags: &mut Diagnostics) -> Option<Method> {
    match &*word.0 {
        // BOHB is TPE with Hyperband (Falkner, Klein and Hutter 2018): the pruner stands under `prune`.
        "bohb" => Some(Method::Tpe),
        // A rule of pruning is no method.
        rule if PruneMethod::ALL.iter().any(|(n, _)| *n == rule) => {
            let hint = format!("`{rule}` ends bad trials early: write `prune: {{method: {rule}}}`, and `method: random` or `tpe`");
            diags.push(Diagnostic::error("unknown-method", word.1, format!("unknown method `{rule}`")).hint(hint));
            None
        }
        _ => named(word, &Method::ALL, "unknown-method", "method", diags),
    }
}

/// The options that each method that learns has.
const OPTIONS: [(&str, &[&str]); 6] = [
    ("auto", &["startup", "constant_liar", "per_dollar"]),
    ("bohb", &["startup", "multivariate", "group", "candidates", "constant_liar", "per_dollar"]),
    ("cma-es", &["startup", "restarts", "population"]),
    ("gp", &["startup", "constant_liar", "per_dollar"]),
    ("pbt", &["population"]),
    ("tpe", &["startup", "multivariate", "group", "candidates", "constant_liar", "per_dollar"]),
];

fn options(sweep: &Sweep, diags: &mut Diagnostics) -> Options {
    let Some(o) = &sweep.options else { return Options::default() };
    let method = &*sweep.method.0.0;
    if matches!(method, "grid" | "random" | "sobol" | "halton") {
        let message = format!("the method `{method}` has no options");
        diags.push(Diagnostic::error("bad-value", o.span, message).hint("remove `options`, or use a method that learns"));
    }
    let written = [
        ("startup", o.startup.as_ref().map(|w| w.1)),
        ("multivariate", o.multivariate.as_ref().map(|w| w.1)),
        ("group", o.group.as_ref().map(|w| w.1)),
        ("candidates", o.candidates.as_ref().map(|w| w.1)),
        ("constant_liar", o.constant_liar.as_ref().map(|w| w.1)),
        ("per_dollar", o.per_dollar.as_ref().map(|w| w.1)),
        ("restarts", o.restarts.as_ref().map(|w| w.1)),
        ("population", o.population.as_ref().map(|w| w.1)),
    ];
    if let Some((_, has)) = OPTIONS.iter().find(|(m, _)| *m == method) {
        for (name, at) in written.iter().filter(|(name, _)| !has.contains(name)) {
            let Some(at) = at else { continue };
            let message = format!("the method `{method}` has no option `{name}`");
            diags.push(Diagnostic::error("bad-value", *at, message).hint(format!("it has {}", has.join(", "))));
        }
    }
    if let (Some(group), Some(false)) = (o.group.as_ref().filter(|g| g.0), o.multivariate.as_ref().map(|m| m.0)) {
        diags.push(
            Diagnostic::error("bad-value", group.1, "`group` learns parameters together, and `multivariate: false` each alone")
                .hint("remove one of the two"),
        );
    }
    let mut within = |n: &Option<crate::spec::scalar::Plain<u32>>, name: &str, least: u32| {
        if let Some(n) = n.as_ref().filter(|n| !(least..=10_000).contains(&n.0)) {
            let message = format!("`{name}` must lie between {least} and 10000");
            diags.push(Diagnostic::error("bad-value", n.1, message).hint("leave it out for the default"));
        }
    };
    within(&o.candidates, "candidates", 1);
    within(&o.population, "population", 4);
    let all = [("none", Restarts::None), ("ipop", Restarts::Ipop), ("bipop", Restarts::Bipop)];
    Options {
        startup: o.startup.as_ref().map(|s| u64::from(s.0)),
        multivariate: o.multivariate.as_ref().map(|m| m.0),
        group: o.group.as_ref().map(|g| g.0),
        candidates: o.candidates.as_ref().map(|c| c.0),
        constant_liar: o.constant_liar.as_ref().map(|c| c.0),
        per_dollar: o.per_dollar.as_ref().map(|p| p.0),
        restarts: o.restarts.as_ref().and_then(|r| named(r, &all, "bad-value", "kind of restarts", diags)),
        population: o.population.as_ref().map(|p| p.0),
    }
}

/// A population needs a generation after the first, whole ones, and nobody else who ends its members.
fn generations(sweep: &Sweep, trials: Option<u64>, population: Option<u32>, diags: &mut Diagnostics) {
    let members =
        SearchSpec { options: Options { population, ..Options::default() }, ..SearchSpec::new(Space::default(), Method::Pbt) }.population();
    let at = sweep.trials.as_ref().map_or(sweep.span, Templ::span);
    match trials {
        Some(trials) if trials <= members => {
            let message = format!("{trials} trials are one generation of {members}, and `pbt` learns from the one before");
            diags.push(
                Diagnostic::error("bad-value", at, message).hint(format!("write `trials: {}`, or a smaller `population`", members * 5)),
            );
        }
        Some(trials) if trials % members > 0 => {
            let message = format!("{trials} trials are no whole generations of {members}");
            diags.push(Diagnostic::error("bad-value", at, message).hint(format!("write `trials: {}`", trials.next_multiple_of(members))));
        }
        _ => {}
    }
    if let Some(prune) = &sweep.prune {
        let message = "`pbt` replaces bad members itself, and `prune` would end them before";
        diags.push(Diagnostic::error("bad-value", prune.span, message).hint("remove `prune`"));
    }
}

fn prune(p: &PruneDecl, diags: &mut Diagnostics) -> Option<PruneSpec> {
    let method = named(&p.method.0, &PruneMethod::ALL, "bad-value", "rule of pruning", diags)?;
    let number = |n: &Option<Templ<u32>>, default: u64| known(n).map_or(default, u64::from);
    let mut wrong = |span: Span, words: &str, hint: &str| diags.push(Diagnostic::error("bad-value", span, words).hint(hint));
    let spec = PruneSpec {
        method,
        min: number(&p.min, 1).max(1),
        max: known(&p.max).map(u64::from),
        eta: number(&p.eta, 3),
        promote: p.promote.as_ref().is_some_and(|p| p.0),
        every: number(&p.every, 1).max(1),
        startup: known(&p.startup).map(u64::from),
        percentile: known(&p.percentile),
        lower: known(&p.lower),
        upper: known(&p.upper),
        patience: known(&p.patience).map(|s| u64::from(s).max(1)),
        tolerance: known(&p.tolerance),
    };
    if spec.eta < 2 {
        wrong(p.eta.as_ref().map_or(p.span, Templ::span), "`eta` must be 2 or more", "write `eta: 3`");
    }
    if let Some(max) = p.max.as_ref().filter(|_| spec.max.is_some_and(|m| m < spec.min)) {
        wrong(max.span(), "`max` is below `min`", "`max` is the number of steps of a full trial");
    }
    if let Some(share) = p.percentile.as_ref().filter(|_| spec.percentile.is_some_and(|s| !(0.0..=100.0).contains(&s))) {
        wrong(share.span(), "`percentile` must lie between 0 and 100", "write `percentile: 25`");
    }
    if let Some(promote) = p.promote.as_ref().filter(|p| p.0) {
        if !method.has_rungs() {
            let words = format!("`{}` has no rungs to promote from", method.name());
            wrong(promote.1, &words, "`promote` is for `asha`, `successive-halving` and `hyperband`");
        } else if spec.max.is_none() {
            wrong(promote.1, "`promote` needs `max`, the steps of a full trial", "add `max: 81`");
        }
    }
    match method {
        PruneMethod::Hyperband if spec.max.is_none() => {
            wrong(p.span, "`hyperband` needs `max`, the steps of a full trial", "add `max: 81`");
        }
        PruneMethod::Threshold if spec.lower.is_none() && spec.upper.is_none() => {
            wrong(p.span, "`threshold` needs `lower` or `upper`", "add `upper: 10.0`");
        }
        _ => {}
    }
    Some(spec)
}
