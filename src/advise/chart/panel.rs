//! Drawings over axes that go from 0 to 1: parallel coordinates, small multiples, a map of heat, many curves.
//!
//! In: places from 0 to 1 with their ticks in words, and how bad each thing is (0 the best, 1 the worst). Out: SVG without scripts. Must
//! never draw what is not a number.
//!
//! The best stand out in blue and in width, and the others fade into grey: that is seen by people who see no colours, too.

use std::fmt::Write as _;

use super::{count, open, safe, wide};

/// An axis: what it is, and words at places from 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axis {
    /// Its name.
    pub name: String,
    /// Places and words.
    pub ticks: Vec<(f64, String)>,
}

/// Something with a place on some axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// A place on each axis; not a number where it has none.
    pub at: Vec<f64>,
    /// 0 for the best, 1 for the worst, not a number where that is not known.
    pub bad: f64,
    /// What it is, for the tooltip.
    pub label: String,
}

/// A line of values by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Places.
    pub points: Vec<(f64, f64)>,
    /// As of a [`Thing`].
    pub bad: f64,
    /// It was ended early.
    pub ended: bool,
    /// What it is, for the tooltip.
    pub label: String,
}

/// Colour, opacity and width by badness.
fn look(bad: f64) -> (String, f64, f64) {
    let share = if bad.is_nan() { 1.0 } else { bad.clamp(0.0, 1.0).powf(0.35) };
    (mix((0.0, 114.0, 178.0), (154.0, 160.0, 166.0), share), 0.95 - 0.65 * share, 2.6 - 1.6 * share)
}

fn mix(a: (f64, f64, f64), b: (f64, f64, f64), share: f64) -> String {
    let part = |a: f64, b: f64| a + (b - a) * share;
    format!("rgb({:.0},{:.0},{:.0})", part(a.0, b.0), part(a.1, b.1), part(a.2, b.2))
}

/// From blue (good) to yellow.
fn heat_color(bad: f64) -> String {
    mix((0.0, 114.0, 178.0), (240.0, 228.0, 66.0), bad.clamp(0.0, 1.0))
}

/// Cuts a text to a room in pixels.
fn cut(text: &str, room: f64) -> String {
    if wide(text) <= room {
        return text.to_owned();
    }
    let mut out = text.to_owned();
    while wide(&out) > room - 8.0 && out.chars().count() > 1 {
        out.pop();
    }
    out + "…"
}

/// Indices, the worst first, so that the best are drawn over them.
fn worst_first(bad: impl Iterator<Item = f64>) -> Vec<usize> {
    let mut order: Vec<(usize, f64)> = bad.enumerate().map(|(i, b)| (i, if b.is_nan() { 2.0 } else { b })).collect();
    order.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    order.into_iter().map(|(i, _)| i).collect()
}

/// Parallel coordinates: an upright axis a param, a line a thing.
#[must_use]
pub fn parallel(title: &str, note: &str, axes: &[Axis], things: &[Thing]) -> String {
    let gap = 120.0_f64.max(700.0 / count(axes.len().max(2) - 1)).min(220.0);
    let (left, top, tall) = (72.0, 92.0, 270.0);
    let last = axes.last().map_or(0.0, |a| a.ticks.iter().map(|(_, t)| wide(t)).fold(0.0, f64::max));
    let width = (left + gap * count(axes.len().saturating_sub(1)) + last.min(150.0) + 40.0).max(760.0);
    let height = top + tall + 34.0;
    let mut out = open(width, height, title, note);
    let (x, y) = (|i: usize| left + gap * count(i), |at: f64| top + tall * (1.0 - at));
    for i in worst_first(things.iter().map(|t| t.bad)) {
        let Some(thing) = things.get(i) else { continue };
        let (color, opacity, thick) = look(thing.bad);
        let mut path = String::new();
        let mut lifted = true;
        for (i, at) in thing.at.iter().enumerate() {
            if at.is_nan() {
                lifted = true;
                continue;
            }
            let _ = write!(path, "{}{:.1} {:.1} ", if lifted { 'M' } else { 'L' }, x(i), y(*at));
            lifted = false;
        }
        let _ = writeln!(
            out,
            "<path d=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-opacity=\"{opacity:.2}\" stroke-width=\"{thick:.1}\"><title>{}</title></path>",
            path.trim_end(),
            safe(&thing.label)
        );
    }
    for (i, axis) in axes.iter().enumerate() {
        let _ = writeln!(out, "<line class=\"base\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{top}\" y2=\"{1:.1}\"/>", x(i), top + tall);
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-weight=\"600\">{}</text>",
            x(i),
            top - 14.0,
            safe(&cut(&axis.name, gap - 12.0))
        );
        let mut free = f64::INFINITY;
        for (at, text) in &axis.ticks {
            // Words that would lie on each other are left out.
            if free - y(*at) < 13.0 && free.is_finite() {
                continue;
            }
            free = y(*at);
            let _ = writeln!(
                out,
                "<line class=\"base\" x1=\"{0:.1}\" x2=\"{1:.1}\" y1=\"{2:.1}\" y2=\"{2:.1}\"/><text class=\"tick halo\" x=\"{3:.1}\" y=\"{4:.1}\">{5}</text>",
                x(i),
                x(i) + 4.0,
                y(*at),
                x(i) + 7.0,
                y(*at) + 4.0,
                safe(&cut(text, gap - 20.0))
            );
        }
    }
    out + "</svg>\n"
}

/// One small drawing a param: the metric against it.
#[must_use]
pub fn slices(title: &str, note: &str, up: &Axis, panels: &[(Axis, Vec<Thing>)]) -> String {
    let columns = panels.len().clamp(1, 3);
    let (wide_one, tall_one, top) = (240.0, 190.0, 62.0);
    let width = (60.0 + wide_one * count(columns) + 16.0).max(420.0);
    let rows = panels.len().div_ceil(columns).max(1);
    let height = top + (tall_one + 56.0) * count(rows);
    let mut out = open(width, height, title, note);
    for (i, (axis, things)) in panels.iter().enumerate() {
        let (left, head) = (60.0 + wide_one * count(i % columns), top + (tall_one + 56.0) * count(i / columns) + 10.0);
        let frame = Frame { left: left + 6.0, top: head, width: wide_one - 24.0, height: tall_one };
        frame.grid(&mut out, axis, up, i % columns == 0);
        frame.dots(&mut out, things);
    }
    out + "</svg>\n"
}

/// What a model thinks over two params, with the trials on it. Rows of cells go from the bottom up.
#[must_use]
pub fn heat(title: &str, note: &str, (across, up): (&Axis, &Axis), cells: &[Vec<f64>], things: &[Thing], ends: (&str, &str)) -> String {
    let (width, height) = (640.0, 478.0);
    let mut out = open(width, height, title, note);
    let frame = Frame { left: 96.0, top: 74.0, width: 430.0, height: 330.0 };
    for (j, row) in cells.iter().enumerate() {
        let (tall, wide) = (frame.height / count(cells.len()), frame.width / count(row.len().max(1)));
        for (i, bad) in row.iter().enumerate() {
            let (x, y) = (frame.left + wide * count(i), frame.top + frame.height - tall * count(j + 1));
            // A little larger than its share: no ground shines through.
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                wide + 0.6,
                tall + 0.6,
                heat_color(*bad)
            );
        }
    }
    frame.labels(&mut out, across, up, true);
    for thing in worst_first(things.iter().map(|t| t.bad)).into_iter().filter_map(|i| things.get(i)) {
        let [x, y] = thing.at[..] else { continue };
        if x.is_nan() || y.is_nan() {
            continue;
        }
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{:.1}\" fill=\"{}\" stroke=\"#111\"><title>{}</title></circle>",
            frame.x(x),
            frame.y(y),
            if thing.bad <= 0.0 { 6.0 } else { 3.4 },
            if thing.bad <= 0.0 { "#d55e00" } else { "#fff" },
            safe(&thing.label)
        );
    }
    let (x, steps) = (frame.left + frame.width + 24.0, 24);
    for i in 0..steps {
        let y = frame.top + frame.height * count(i) / count(steps);
        let bad = count(i) / count(steps - 1);
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"16\" height=\"{:.1}\" fill=\"{}\"/>",
            frame.height / count(steps) + 0.6,
            heat_color(bad)
        );
    }
    let _ = writeln!(out, "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 21.0, frame.top + 10.0, safe(ends.0));
    let _ = writeln!(out, "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 21.0, frame.top + frame.height, safe(ends.1));
    out + "</svg>\n"
}

/// Many lines of values by step.
#[must_use]
pub fn curves(title: &str, note: &str, across: &Axis, up: &Axis, lines: &[Curve]) -> String {
    let (width, height) = (760.0, 400.0);
    let mut out = open(width, height, title, note);
    let frame = Frame { left: 78.0, top: 74.0, width: width - 102.0, height: height - 74.0 - 50.0 };
    frame.grid(&mut out, across, up, true);
    for i in worst_first(lines.iter().map(|l| l.bad)) {
        let Some(line) = lines.get(i) else { continue };
        let (color, opacity, thick) = look(line.bad);
        let points: Vec<String> =
            line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", frame.x(*x), frame.y(y.clamp(0.0, 1.0)))).collect();
        let dash = if line.ended { " stroke-dasharray=\"4 3\"" } else { "" };
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-opacity=\"{opacity:.2}\" stroke-width=\"{thick:.1}\"{dash}><title>{}</title></polyline>",
            points.join(" "),
            safe(&line.label)
        );
        if let Some((x, y)) = line.points.last() {
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{thick:.1}\" fill=\"{color}\" fill-opacity=\"{opacity:.2}\"/>",
                frame.x(*x),
                frame.y(y.clamp(0.0, 1.0))
            );
        }
    }
    out + "</svg>\n"
}

/// A field with axes from 0 to 1.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Frame {
    fn x(&self, at: f64) -> f64 {
        self.left + self.width * at
    }

    fn y(&self, at: f64) -> f64 {
        self.top + self.height * (1.0 - at)
    }

    fn grid(&self, out: &mut String, across: &Axis, up: &Axis, named: bool) {
        for (at, _) in &up.ticks {
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{2:.1}\" y2=\"{2:.1}\"/>",
                self.left,
                self.left + self.width,
                self.y(*at)
            );
        }
        let floor = self.top + self.height;
        let _ = writeln!(
            out,
            "<line class=\"base\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{floor:.1}\" y2=\"{floor:.1}\"/>",
            self.left,
            self.left + self.width
        );
        self.labels(out, across, up, named);
    }

    fn labels(&self, out: &mut String, across: &Axis, up: &Axis, named: bool) {
        let floor = self.top + self.height;
        let mut free = f64::NEG_INFINITY;
        let room = (self.width / count(across.ticks.len().max(1))).max(60.0);
        for (at, text) in &across.ticks {
            let text = cut(text, room);
            let half = wide(&text) / 2.0;
            if self.x(*at) - half < free + 6.0 {
                continue;
            }
            free = self.x(*at) + half;
            let _ = writeln!(
                out,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                self.x(*at),
                floor + 16.0,
                safe(&text)
            );
        }
        let middle = self.left + self.width / 2.0;
        let _ = writeln!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            floor + 35.0,
            safe(&cut(&across.name, self.width))
        );
        if !named {
            return;
        }
        for (at, text) in &up.ticks {
            let _ = writeln!(
                out,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                self.left - 7.0,
                self.y(*at) + 4.0,
                safe(&cut(text, self.left - 10.0))
            );
        }
        if !up.name.is_empty() {
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                self.left - 7.0,
                self.top - 12.0,
                safe(&cut(&up.name, self.left - 10.0))
            );
        }
    }

    fn dots(&self, out: &mut String, things: &[Thing]) {
        for i in worst_first(things.iter().map(|t| t.bad)) {
            let Some((thing, [x, y])) = things.get(i).and_then(|t| Some((t, <[f64; 2]>::try_from(&t.at[..]).ok()?))) else { continue };
            if x.is_nan() || y.is_nan() {
                continue;
            }
            let (color, opacity, thick) = look(thing.bad);
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{:.1}\" fill=\"{color}\" fill-opacity=\"{opacity:.2}\"><title>{}</title></circle>",
                self.x(x),
                self.y(y.clamp(0.0, 1.0)),
                1.8 + thick,
                safe(&thing.label)
            );
        }
    }
}
