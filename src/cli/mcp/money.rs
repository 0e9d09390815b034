//! Tools about money before and after: what `oppen budget check` and `oppen cost report` answer.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::jobs::{budget, percent};
use super::{Hands, refusal, stored};
use crate::advise::budget as fits;
use crate::advise::report::{By, Sums as Counted};
use crate::base::Money;
use crate::cli::cost::report;
use crate::cli::desk::ask::{Ask, spread};
use crate::cli::desk::submit::{new_id, prepare, price};
use crate::cli::plan::now;
use crate::cli::session::Place;
use crate::mcp::{Answer, Budget, BudgetCheck, Budgeted, Code, Cost, CostReport, Refusal, Report, ReportRow, Sums, Talk, Trend, plain};

/// Rows of one answer.
const ROWS: usize = 200;

/// `check_training_budget`
pub fn check(hands: &Hands, args: BudgetCheck, _: &Talk<'_>) -> Answer<Budgeted> {
    let place = hands.place()?;
    let model_type = match args.model_type {
        Some(name) => name,
        None => only_model(&place)?,
    };
    let most = args.budget_usd.0;
    if most <= Money::ZERO {
        let words = "`budget_usd` must be more than nothing";
        return Err(Refusal::new(Code::InvalidArguments, words, "give dollars, such as 0.05"));
    }
    let ask = Ask { model_type, epochs: args.epochs, batch_size: args.batch_size, priority: args.priority, ..Ask::default() };
    let asks = spread(vec![ask]).map_err(refusal)?;
    let prepared = prepare(&place.loaded.root, &asks, &new_id()).map_err(refusal)?;
    let plan = price(&prepared).map_err(refusal)?;
    let now = now();
    let user = prepared.submission.by.as_str().into();
    let answer = fits::check(&plan, &place.rates, &user, Some(most), now);
    let blocks = plan.checks.iter().filter(|c| c.blocks);
    let objections: Vec<String> = blocks.map(|c| plain(&format!("{} {}", c.subject, c.message), 300)).collect();
    let feasible = answer.feasible && objections.is_empty();
    let fit = answer.jobs.iter().min_by_key(|f| f.runs_fit);
    let next = match (feasible, answer.unpriced) {
        (true, _) => "call trigger_training_job or queue_training_job with the same values, and max_cost_usd".to_owned(),
        (false, 1..) => "it has no price: declare an `estimate` for the template or the model type in oppen.yaml".to_owned(),
        (false, _) if !objections.is_empty() => "ask for less, or ask a person to raise the project's budget".to_owned(),
        (false, _) => "ask for fewer epochs (see epochs_that_fit), for background priority, or for more money".to_owned(),
    };
    Ok(Budgeted {
        cost: Cost { expected_usd: answer.expected.into(), worst_usd: answer.worst.map(Into::into), unpriced_runs: answer.unpriced },
        feasible,
        budget_usd: args.budget_usd,
        utilisation_percent: percent(fits::tenths(answer.expected, most)),
        left_usd: (answer.expected <= most).then(|| (most - answer.expected).into()),
        epochs_that_fit: fit.and_then(|f| f.epochs_fit),
        runs_that_fit: fit.map_or(0, |f| f.runs_fit),
        model_type: asks.first().map(|a| a.model_type.clone()).unwrap_or_default(),
        objections,
        next,
    })
}

/// The model type of a project that has but one with a template.
pub fn only_model(place: &Place) -> Answer<String> {
    let models = place.loaded.project.as_ref().map(|p| &p.models);
    let names: Vec<String> =
        models.into_iter().flat_map(|m| m.iter().filter(|(_, _, m)| m.template.is_some()).map(|(n, _, _)| n.to_string())).collect();
    match &names[..] {
        [one] => Ok(one.clone()),
        [] => Err(Refusal::new(
            Code::InvalidArguments,
            "the project declares no model type with a template",
            "declare `models: {mnist: {template: workflows/train.yaml}}` in oppen.yaml, or give model_type: a workflow's name or file",
        )),
        many => Err(Refusal::new(
            Code::InvalidArguments,
            "`model_type` is needed: the project has several",
            format!("give one of {}", plain(&many.join(", "), 400)),
        )),
    }
}

/// `get_training_cost_report`
pub fn report(hands: &Hands, args: CostReport, _: &Talk<'_>) -> Answer<Report> {
    let place = hands.place()?;
    let day = |name: &str, text: &Option<String>| {
        let wrong = |t: &str| {
            Refusal::new(Code::InvalidArguments, format!("`{name}` is no date: `{}`", plain(t, 20)), "write a day such as 2026-11-01")
        };
        text.as_deref().map(|t| t.parse::<NaiveDate>().map_err(|_| wrong(t))).transpose()
    };
    let zone = args.timezone.as_deref().unwrap_or("UTC");
    let timezone = zone.parse().map_err(|_| {
        Refusal::new(Code::InvalidArguments, format!("`{}` is no time zone", plain(zone, 64)), "give an IANA name such as Europe/Berlin")
    })?;
    let by = args.by.as_deref().and_then(By::parse).unwrap_or(By::Workflow);
    let (from, to) = (day("start_date", &args.start_date)?, day("end_date", &args.end_date)?);
    let asked = report::Report { from, to, by: vec![by], timezone, output: Vec::new() };
    let Some(store) = crate::store::Store::open_existing(&place.state_folder()).map_err(stored)? else {
        let total = sums(&Counted::default());
        let (rows, saved_usd, budgets) = (Vec::new(), BTreeMap::new(), Vec::new());
        return Ok(Report { total, first: None, last: None, by: by.word().to_owned(), rows, trend: None, saved_usd, budgets });
    };
    let answer = report::answer(&store, &asked).map_err(refusal)?;
    let trend = from.is_some().then(|| Trend {
        before_usd: answer.total.before.into(),
        change_percent: (answer.total.before > Money::ZERO).then(|| percent(fits::tenths(answer.total.spent, answer.total.before)) - 100.0),
    });
    let saved =
        [("reuse", answer.reuse), ("early_stopping", answer.early), ("off_peak", answer.total.off_peak), ("spot", answer.total.spot)];
    let row = |r: &crate::advise::report::Row| ReportRow {
        key: plain(&r.key.join(" "), 200),
        sums: sums(&r.sums),
        before_usd: from.is_some().then(|| r.sums.before.into()),
    };
    Ok(Report {
        total: sums(&answer.total),
        first: answer.span.map(|(first, _)| first.to_string()),
        last: answer.span.map(|(_, last)| last.to_string()),
        by: by.word().to_owned(),
        rows: answer.rows.iter().take(ROWS).map(row).collect(),
        trend,
        saved_usd: saved.into_iter().map(|(name, money)| (name.to_owned(), money.into())).collect(),
        budgets: budgets(&place, &store)?,
    })
}

/// Where all budgets stand, with what is reserved.
fn budgets(place: &Place, store: &crate::store::Store) -> Answer<Vec<Budget>> {
    let rules = place.rules(store).map_err(refusal)?;
    let mut treasury = store.treasury(&place.rates, &rules, &place.limits, now()).map_err(stored)?;
    crate::engine::reserved(&mut treasury, &store.load_open().map_err(stored)?);
    let lines = crate::check::budget_lines(treasury.accounts(), &vec![crate::check::Sums::default(); treasury.accounts().len()]);
    let reserved = |l: &crate::check::BudgetLine| {
        let mut shown = budget(l);
        let committed = l.spent + l.reserved;
        shown.committed_usd = committed.into();
        shown.used_percent = percent(fits::tenths(committed, l.limit));
        shown
    };
    Ok(lines.iter().map(reserved).collect())
}

fn sums(s: &Counted) -> Sums {
    Sums {
        spent_usd: s.spent.into(),
        runs: s.runs,
        average_usd: s.each().into(),
        attempts: s.attempts,
        hours: s.time.as_secs_f64() / 3600.0,
        waste_usd: s.waste().into(),
    }
}
