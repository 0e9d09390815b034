//! A sweep as one page of HTML: figures, pictures, tables.
//!
//! In: an overview, a table, the params of the best trial as YAML. Out: HTML that loads nothing and runs nothing. Must never contain text
//! of people unescaped; every picture has its words, every table its heads.

use std::fmt::Write as _;

use super::Overview;
use super::importance::{Importance, importance};
use super::plots;
use super::table::{Row, Table};
use crate::advise::chart::{Unit, safe};

/// Most rows of the table of trials; CSV has all.
const MOST: usize = 500;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#5c6670;--line:#d9dee3;--ground:#fff;--soft:#f5f7f9;--mark:#0060a0}\
@media (prefers-color-scheme:dark){:root{--ink:#e3e7eb;--dim:#9aa3ad;--line:#2f363e;--ground:#14171c;--soft:#1c2127;--mark:#6fb7e9}}\
body{margin:0 auto;max-width:72rem;padding:1.5rem 1rem 4rem;font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;color:var(--ink);background:var(--ground)}\
h1{font-size:1.6rem;margin:.2rem 0}h2{font-size:1.2rem;margin:2.2rem 0 .6rem}p{max-width:46rem}.dim{color:var(--dim)}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1.2rem;margin:1rem 0}dt{color:var(--dim)}dd{margin:0}\
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.8rem 1rem;overflow-x:auto;font-size:.9rem}\
figure{margin:1rem 0;overflow-x:auto}svg{max-width:100%;height:auto;border:1px solid var(--line);border-radius:6px}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}caption{text-align:left;color:var(--dim);padding:.3rem 0}\
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);white-space:nowrap}td.n,th.n{text-align:right}\
tr.best td,tr.best th{font-weight:600;color:var(--mark)}a{color:var(--mark)}nav a{margin-right:1rem}pre.warn{border-radius:0 6px 6px 0}.warn,pre.warn{border-left:4px solid #d55e00;padding:.2rem .8rem;background:var(--soft)}";

/// The page.
#[must_use]
pub fn html(overview: &Overview, table: &Table, best: Option<&str>, warning: Option<&str>, made: &str) -> String {
    let name = safe(&overview.sweep);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>Sweep {name}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>Sweep {name}</h1>\n<p class=\"dim\">{}</p>\n</header>\n<main>\n",
        safe(made)
    );
    summary(&mut out, overview, table);
    if let Some(warning) = warning {
        let _ = writeln!(out, "<pre class=\"warn\" tabindex=\"0\">{}</pre>", safe_lines(warning));
    }
    if let Some(best) = best {
        let _ = write!(
            out,
            "<section aria-labelledby=\"best\">\n<h2 id=\"best\">Best params</h2>\n<pre tabindex=\"0\">{}</pre>\n</section>\n",
            safe_lines(best)
        );
    }
    if overview.metric.is_some() && overview.best.is_some() {
        picture(&mut out, "history", "History", &overview.chart().svg(), "The best value so far over the trials with a result.");
        match importance(table, false) {
            Ok(answer) => what_matters(&mut out, &answer),
            Err((words, _)) => {
                let _ = write!(
                    out,
                    "<section aria-labelledby=\"matters\">\n<h2 id=\"matters\">What matters</h2>\n<p class=\"warn\">{}.</p>\n</section>\n",
                    safe(&words)
                );
            }
        }
        picture(
            &mut out,
            "parallel",
            "Parallel coordinates",
            &plots::parallel(table),
            "A line a trial through all of its params to its value.",
        );
        picture(&mut out, "slices", "Slices", &plots::slices(table), "The value of each trial against each param.");
        if let Ok(svg) = plots::contour(table, None) {
            picture(
                &mut out,
                "contour",
                "Contour",
                &svg,
                "What a forest expects over the two params that matter most; the best trial is the large dot.",
            );
        }
        if table.rows.iter().any(|r| r.curve.len() > 1) {
            picture(&mut out, "curves", "Learning curves", &plots::curves(table), "The value of each trial by step.");
        }
    }
    trials(&mut out, overview, table);
    out + "</main>\n</body>\n</html>\n"
}

/// Text that keeps its lines.
fn safe_lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

fn picture(out: &mut String, id: &str, title: &str, svg: &str, words: &str) {
    // Classes of one picture hold for all of them: they are the same.
    let _ = write!(
        out,
        "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n<figure>\n{svg}<figcaption class=\"dim\">{words}</figcaption>\n</figure>\n</section>\n"
    );
}

fn summary(out: &mut String, o: &Overview, table: &Table) {
    out.push_str("<dl>\n");
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", safe(&text));
    };
    line("method", o.method.to_owned());
    if let Some(metric) = &o.metric {
        let goal = if table.maximizes() { "maximize" } else { "minimize" };
        line("metric", format!("{goal} {}", metric.name));
    }
    let c = &o.counts;
    let parts = [
        (c.succeeded, "succeeded"),
        (c.live, "running"),
        (c.pending, "pending"),
        (c.pruned, "pruned"),
        (c.unneeded, "not needed"),
        (c.failed, "failed"),
        (c.lost, "cancelled or skipped"),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, w)| format!("{n} {w}")).collect();
    line("trials", format!("{}: {}", o.trials, parts.join(", ")));
    let spent = o.spent.map_or_else(|| "unpriced".to_owned(), |m| m.to_string());
    line("cost", o.max_cost.map_or_else(|| spent.clone(), |limit| format!("{spent} of max_cost {limit}")));
    line("machine time", table.totals().1.to_string());
    if let Some(best) = &o.best {
        line("best", format!("{} in {}", best.value.map_or_else(String::new, |v| Unit::Number.show(v)), best.address));
    }
    out.push_str("</dl>\n");
}

fn what_matters(out: &mut String, answer: &Importance) {
    let _ = write!(out, "<section aria-labelledby=\"matters\">\n<h2 id=\"matters\">What matters</h2>\n");
    for words in &answer.warnings {
        let _ = writeln!(out, "<p class=\"warn\">{}.</p>", safe(words));
    }
    let _ = write!(
        out,
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-labelledby=\"matters\">\n<table>\n<caption>Share of the variance of {} (functional ANOVA of a forest over {} results; it predicts {:.0}% of the variance of trials that it has not seen)</caption>\n\
         <thead><tr><th scope=\"col\">param</th><th scope=\"col\" class=\"n\">share</th><th scope=\"col\" class=\"n\">95% of the trees</th><th scope=\"col\">best in the mean</th></tr></thead>\n<tbody>\n",
        safe(&answer.metric),
        answer.results,
        (answer.fit * 100.0).max(0.0)
    );
    for s in answer.params.iter().chain(answer.pairs.iter().filter(|p| p.share >= 0.01)) {
        let name = s.params.iter().map(|p| &**p).collect::<Vec<_>>().join(" with ");
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{:.1}%</td><td class=\"n\">{:.0}% to {:.0}%</td><td>{}</td></tr>",
            safe(&name),
            s.share * 100.0,
            s.interval.0 * 100.0,
            s.interval.1 * 100.0,
            s.best.as_deref().map(safe).unwrap_or_default()
        );
    }
    out.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

fn trials(out: &mut String, o: &Overview, table: &Table) {
    let mut rows: Vec<&Row> = table.rows.iter().collect();
    let badness = table.badness();
    let mut order: Vec<(usize, f64, bool)> = rows.iter().zip(badness).enumerate().map(|(i, (r, b))| (i, b, r.counts())).collect();
    order.sort_by(|(_, a, x), (_, b, y)| y.cmp(x).then(a.total_cmp(b)));
    rows = order.iter().filter_map(|(i, _, _)| table.rows.get(*i)).collect();
    let shown = rows.len().min(MOST);
    let words = if shown < rows.len() { format!("the best {shown} of {}", rows.len()) } else { "best first".to_owned() };
    let _ = write!(
        out,
        "<section aria-labelledby=\"trials\">\n<h2 id=\"trials\">Trials</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-labelledby=\"trials\">\n<table>\n<caption>{words}</caption>\n<thead><tr><th scope=\"col\">trial</th><th scope=\"col\">status</th><th scope=\"col\" class=\"n\">{}</th><th scope=\"col\" class=\"n\">step</th><th scope=\"col\" class=\"n\">time</th><th scope=\"col\" class=\"n\">cost</th>",
        if table.metric_name().is_empty() { "value".to_owned() } else { safe(table.metric_name()) }
    );
    for axis in &table.axes {
        let _ = write!(out, "<th scope=\"col\">{}</th>", safe(&axis.name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows.into_iter().take(MOST) {
        let t = &row.trial;
        let best = o.best.as_ref().is_some_and(|b| b.address == t.address);
        let _ = write!(
            out,
            "<tr{}><th scope=\"row\">{}</th><td>{}{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
            if best { " class=\"best\"" } else { "" },
            safe(t.address.key().unwrap_or(t.address.as_str())),
            t.status.word(),
            if best { " (best)" } else { "" },
            t.value.map_or_else(String::new, |v| Unit::Number.show(v)),
            t.step.map_or_else(String::new, |s| s.to_string()),
            t.took.map_or_else(String::new, |m| m.to_string()),
            t.spent.map_or_else(|| "unpriced".to_owned(), |m| m.to_string())
        );
        for axis in &table.axes {
            let value = t.params.iter().find(|(n, _)| *n == axis.name).map(|(_, v)| v);
            let words = value.map_or_else(String::new, |v| match v.as_f64() {
                Some(number) if !v.is_i64() => Unit::Number.show(number),
                _ => v.as_str().map_or_else(|| v.to_string(), str::to_owned),
            });
            let _ = write!(out, "<td>{}</td>", safe(&words));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}
