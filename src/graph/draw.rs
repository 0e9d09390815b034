//! Drawings of the jobs and their needs: text tree, Graphviz dot, Mermaid, SVG.

use std::fmt::Write as _;

use crate::base::text::escape;
use crate::expand::{Desired, DesiredJob};

/// One line about a job: its name and how many runs it has.
fn label(job: &DesiredJob) -> String {
    match (job.runs.len(), &job.method) {
        (n, Some(method)) => format!("{} ({method}, {n} run{})", job.address, if n == 1 { "" } else { "s" }),
        _ => job.address.to_string(),
    }
}

/// A line of the tree that is still to be written.
struct Line {
    job: usize,
    indent: String,
    mark: &'static str,
    below: &'static str,
    /// Named only; its own place is elsewhere.
    reference: bool,
}

/// A tree from the jobs without needs downwards. A job with several needs stands below the last of them; below the others
/// there is a reference to it.
#[must_use]
pub fn tree(desired: &Desired, unicode: bool) -> String {
    let (tee, corner, bar) = if unicode { ("├─ ", "└─ ", "│  ") } else { ("|- ", "`- ", "|  ") };
    let children = children(desired);
    let mut out = String::new();
    let roots = desired.jobs.iter().enumerate().filter(|(_, j)| j.needs.is_empty()).map(|(i, _)| i);
    for root in roots {
        // A stack instead of recursion: a chain may be as long as the project has jobs.
        let mut stack = vec![Line { job: root, indent: String::new(), mark: "", below: "", reference: false }];
        while let Some(line) = stack.pop() {
            let Some(job) = desired.jobs.get(line.job) else { continue };
            let tail = if line.reference { " (below)" } else { "" };
            let _ = writeln!(out, "{}{}{}{tail}", line.indent, line.mark, label(job));
            if line.reference {
                continue;
            }
            let indent = format!("{}{}", line.indent, line.below);
            let mine = children.get(line.job).map(Vec::as_slice).unwrap_or_default();
            for (i, child) in mine.iter().enumerate().rev() {
                let (mark, below) = if i + 1 == mine.len() { (corner, "   ") } else { (tee, bar) };
                let owner = desired.jobs.get(*child).and_then(|c| c.needs.iter().map(|(n, _)| *n).max());
                stack.push(Line { job: *child, indent: indent.clone(), mark, below, reference: owner != Some(line.job) });
            }
        }
    }
    out
}

fn children(desired: &Desired) -> Vec<Vec<usize>> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); desired.jobs.len()];
    for (i, job) in desired.jobs.iter().enumerate() {
        for (need, _) in &job.needs {
            if let Some(list) = children.get_mut(*need) {
                list.push(i);
            }
        }
    }
    children
}

/// For Graphviz.
#[must_use]
pub fn dot(desired: &Desired) -> String {
    let mut out = "digraph oppen {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n".to_owned();
    let quoted = |text: &str| escape(text).replace('\\', "\\\\").replace('"', "\\\"");
    for (i, job) in desired.jobs.iter().enumerate() {
        let _ = writeln!(out, "  j{i} [label=\"{}\"];", quoted(&label(job)));
    }
    for (from, to) in edges(desired) {
        let _ = writeln!(out, "  j{from} -> j{to};");
    }
    out + "}\n"
}

/// For Markdown pages that draw Mermaid.
#[must_use]
pub fn mermaid(desired: &Desired) -> String {
    let mut out = "flowchart LR\n".to_owned();
    for (i, job) in desired.jobs.iter().enumerate() {
        let _ = writeln!(out, "  j{i}[\"{}\"]", escape(&label(job)).replace('"', "#quot;"));
    }
    for (from, to) in edges(desired) {
        let _ = writeln!(out, "  j{from} --> j{to}");
    }
    out
}

fn edges(desired: &Desired) -> impl Iterator<Item = (usize, usize)> + '_ {
    desired.jobs.iter().enumerate().flat_map(|(i, j)| j.needs.iter().map(move |(n, _)| (*n, i)))
}

/// The longest way from a job without needs, for each job: its column in the drawing.
fn levels(desired: &Desired) -> Vec<usize> {
    let mut levels: Vec<usize> = Vec::with_capacity(desired.jobs.len());
    for job in &desired.jobs {
        let level = job.needs.iter().filter_map(|(n, _)| levels.get(*n)).max().map_or(0, |l| l + 1);
        levels.push(level);
    }
    levels
}

const ROW: usize = 56;
const BOX_HEIGHT: usize = 34;
const CHARACTER: usize = 8;

/// A picture: columns by level, rows in the order of jobs.
#[must_use]
pub fn svg(desired: &Desired) -> String {
    let levels = levels(desired);
    let widest = desired.jobs.iter().map(|j| label(j).chars().count()).max().unwrap_or(8);
    let (width, column) = (widest * CHARACTER + 20, widest * CHARACTER + 90);
    let mut rows: Vec<usize> = Vec::new();
    let places: Vec<(usize, usize)> = levels
        .iter()
        .map(|level| {
            if rows.len() <= *level {
                rows.resize(level + 1, 0);
            }
            let row = rows.get_mut(*level).map_or(0, |r| {
                *r += 1;
                *r - 1
            });
            (20 + level * column, 20 + row * ROW)
        })
        .collect();
    let (w, h) = (rows.len().max(1) * column, 40 + rows.iter().max().copied().unwrap_or(1) * ROW);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" font-family=\"sans-serif\" font-size=\"14\" role=\"img\">\n<title>Jobs and their needs</title>\n"
    );
    for (from, to) in edges(desired) {
        let (Some((x1, y1)), Some((x2, y2))) = (places.get(from), places.get(to)) else { continue };
        let (x1, y1, y2) = (x1 + width, y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2);
        let middle = (x1 + x2) / 2;
        let _ = writeln!(
            out,
            "<path d=\"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#667\" stroke-width=\"1.5\"/>"
        );
    }
    for (job, (x, y)) in desired.jobs.iter().zip(&places) {
        let text = escape(&label(job)).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{BOX_HEIGHT}\" rx=\"6\" fill=\"#eef3fb\" stroke=\"#35507a\"/>"
        );
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#111\">{text}</text>",
            x + width / 2,
            y + BOX_HEIGHT / 2 + 5
        );
    }
    out + "</svg>\n"
}
