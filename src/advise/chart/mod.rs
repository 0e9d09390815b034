//! Charts: data in, one SVG text out, readable on light and dark ground and by people who do not see all colours.
//!
//! In: a [`Chart`] with its marks. Out: SVG 1.1 without scripts and without anything to load. Must never hold money: values are
//! positions on a page; what is written beside them is made by [`Unit`] from whole micro-dollars.
//!
//! Colours are those of Okabe and Ito ("Color Universal Design", 2008). Every mark carries its figures as a tooltip.

mod axis;
mod names;
pub mod panel;
mod rank;

use std::fmt::Write as _;

use chrono_tz::Tz;

use crate::base::text::escape;

pub use axis::Unit;
pub(in crate::advise) use axis::{range, ticks};
pub use rank::{Row, ranking};

/// Colours of series, in order of use.
const COLORS: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c"];
/// What must be seen first: limits.
const ALERT: &str = "#d55e00";

const LEFT: f64 = 78.0;
const RIGHT: f64 = 24.0;
const BOTTOM: f64 = 46.0;

/// What stands along the bottom.
#[derive(Debug, Clone, PartialEq)]
pub enum Across {
    /// Points in time, in milliseconds, shown in a time zone.
    Time(Tz),
    /// Numbers.
    Values(Unit),
    /// One place for each word; bars stand on them.
    Words(Vec<String>),
}

/// Something drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// A line through points.
    Line {
        /// In the legend.
        name: String,
        /// x and y.
        points: Vec<(f64, f64)>,
        /// Not measured: a projection.
        dashed: bool,
        /// Goes level to the next point, then up.
        steps: bool,
    },
    /// The room between two lines.
    Band {
        /// In the legend.
        name: String,
        /// x, low, high.
        points: Vec<(f64, f64, f64)>,
    },
    /// Bars on the words, one value each, stacked on the bars before them.
    Bars {
        /// In the legend.
        name: String,
        /// One for each word.
        values: Vec<f64>,
    },
    /// Dots with their names.
    Points {
        /// In the legend.
        name: String,
        /// x, y, what it is.
        points: Vec<(f64, f64, String)>,
        /// Whether the names stand beside the dots.
        labelled: bool,
    },
    /// A level that must not be passed.
    Limit {
        /// Beside the line.
        name: String,
        /// The level.
        y: f64,
    },
}

/// One drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows, in a few words.
    pub title: String,
    /// The sentence below: period, total.
    pub note: String,
    /// Along the bottom.
    pub across: Across,
    /// What the bottom is, in words; may be empty.
    pub across_label: String,
    /// Up the side.
    pub up: Unit,
    /// What is drawn, first things first.
    pub marks: Vec<Mark>,
}

/// Places on the page.
struct Frame {
    width: f64,
    height: f64,
    top: f64,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        let share = (value - self.x.0) / (self.x.1 - self.x.0);
        LEFT + share * (self.width - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.y.0) / (self.y.1 - self.y.0);
        self.height - BOTTOM - share * (self.height - BOTTOM - self.top)
    }
}

/// Text that may stand in SVG.
pub(in crate::advise) fn safe(text: &str) -> String {
    escape(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// How wide a text is, about, in pixels at 12 px.
fn wide(text: &str) -> f64 {
    let columns = unicode_width::UnicodeWidthStr::width(text);
    f64::from(u32::try_from(columns).unwrap_or(u32::MAX)) * 6.6
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn color(index: usize) -> &'static str {
    COLORS.get(index % COLORS.len()).copied().unwrap_or(ALERT)
}

/// The beginning of a picture: sizes, colours of both grounds, title and note.
fn open(width: f64, height: f64, title: &str, note: &str) -> String {
    let (title, note) = (safe(title), safe(note));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n\
         <title>{title}</title>\n<desc>{note}</desc>\n\
         <style>\n\
         .ground{{fill:#fff}} text{{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#333}}\n\
         .title{{font-size:16px;font-weight:600;fill:#111}} .note,.tick{{fill:#666}} .grid{{stroke:#e4e4e4}} .base{{stroke:#999}}\n\
         .edge{{stroke:#fff}} .alert{{fill:#b34700}} .halo{{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}}\n\
         @media (prefers-color-scheme: dark){{\n\
         .ground{{fill:#14171c}} text{{fill:#d0d4da}} .title{{fill:#f2f4f7}} .note,.tick{{fill:#9aa3ad}} .grid{{stroke:#2a3038}}\n\
         .base{{stroke:#6b7580}} .edge,.halo{{stroke:#14171c}} .alert{{fill:#ff9a5c}}\n\
         }}\n</style>\n\
         <rect class=\"ground\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n\
         <text class=\"title\" x=\"16\" y=\"27\">{title}</text>\n<text class=\"note\" x=\"16\" y=\"46\">{note}</text>\n"
    )
}

/// The legend, in as many lines as it needs; the answer is where it ends.
fn legend(out: &mut String, names: &[(String, &str, bool)], width: f64) -> f64 {
    let (mut x, mut y) = (16.0, 68.0);
    if names.is_empty() {
        return 58.0;
    }
    for (name, color, dashed) in names {
        let room = wide(name) + 34.0;
        if x > 16.0 && x + room > width - 16.0 {
            (x, y) = (16.0, y + 18.0);
        }
        let dash = if *dashed { " stroke-dasharray=\"4 3\"" } else { "" };
        let thick = if *dashed { 2.0 } else { 10.0 };
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{color}\" stroke-width=\"{thick}\"{dash}/><text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            x + 14.0,
            y - 4.0,
            y - 4.0,
            x + 20.0,
            safe(name)
        );
        x += room;
    }
    y + 18.0
}

impl Chart {
    /// The picture, 760 by 400 points.
    #[must_use]
    pub fn svg(&self) -> String {
        let (width, height) = (760.0, 400.0);
        let mut out = open(width, height, &self.title, &self.note);
        let names = self.legend();
        let top = if names.len() > 1 { legend(&mut out, &names, width) } else { 66.0 };
        let frame = Frame { width, height, top, x: self.bounds_x(), y: self.bounds_y() };
        self.draw_axes(&mut out, &frame);
        let mut below = match &self.across {
            Across::Words(words) => vec![0.0; words.len()],
            _ => Vec::new(),
        };
        let mut series = 0;
        for mark in &self.marks {
            match mark {
                Mark::Limit { name, y } => limit(&mut out, &frame, name, *y, self.up),
                mark => {
                    self.draw(&mut out, &frame, mark, color(series), &mut below);
                    series += 1;
                }
            }
        }
        let named = self.marks.iter().filter_map(|mark| match mark {
            Mark::Points { points, labelled: true, .. } => Some(points),
            _ => None,
        });
        let named: Vec<(f64, f64, &str)> = named.flatten().map(|(x, y, what)| (frame.x(*x), frame.y(*y), what.as_str())).collect();
        names::write(&mut out, &named, (4.0, width - 4.0));
        out.push_str("</svg>\n");
        out
    }

    fn legend(&self) -> Vec<(String, &'static str, bool)> {
        let named = |m: &Mark| match m {
            Mark::Line { name, dashed, .. } => Some((name.clone(), *dashed)),
            Mark::Band { name, .. } | Mark::Bars { name, .. } | Mark::Points { name, .. } => Some((name.clone(), false)),
            Mark::Limit { .. } => None,
        };
        self.marks.iter().filter_map(named).enumerate().map(|(i, (name, dashed))| (name, color(i), dashed)).collect()
    }

    fn bounds_x(&self) -> (f64, f64) {
        if let Across::Words(words) = &self.across {
            return (0.0, count(words.len()).max(1.0));
        }
        let mut all: Vec<f64> = Vec::new();
        for mark in &self.marks {
            match mark {
                Mark::Line { points, .. } => all.extend(points.iter().map(|p| p.0)),
                Mark::Band { points, .. } => all.extend(points.iter().map(|p| p.0)),
                Mark::Points { points, .. } => all.extend(points.iter().map(|p| p.0)),
                Mark::Bars { .. } | Mark::Limit { .. } => {}
            }
        }
        let (low, high) = axis::range(&all);
        match self.across {
            // Dots do not stand on the edge.
            Across::Values(_) => (low - (high - low) * 0.05, high + (high - low) * 0.08),
            _ => (low, high),
        }
    }

    fn bounds_y(&self) -> (f64, f64) {
        let mut all = Vec::new();
        let mut stacked: Vec<f64> = Vec::new();
        let mut from_zero = false;
        for mark in &self.marks {
            match mark {
                Mark::Line { points, .. } => all.extend(points.iter().map(|p| p.1)),
                Mark::Band { points, .. } => all.extend(points.iter().flat_map(|p| [p.1, p.2])),
                Mark::Points { points, .. } => all.extend(points.iter().map(|p| p.1)),
                Mark::Limit { y, .. } => all.push(*y),
                Mark::Bars { values, .. } => {
                    from_zero = true;
                    stacked.resize(stacked.len().max(values.len()), 0.0);
                    stacked.iter_mut().zip(values).for_each(|(sum, v)| *sum += v.max(0.0));
                }
            }
        }
        all.extend(stacked);
        // Money starts at nothing, so that heights compare.
        if from_zero || self.up == Unit::Money {
            all.push(0.0);
        }
        let (low, high) = axis::range(&all);
        let steps = axis::ticks(low, high, 5);
        let step = steps.get(1).zip(steps.first()).map_or(1.0, |(b, a)| b - a);
        ((low / step).floor() * step, (high / step).ceil() * step)
    }

    fn draw_axes(&self, out: &mut String, frame: &Frame) {
        let (left, right) = (LEFT, frame.width - RIGHT);
        for value in axis::ticks(frame.y.0, frame.y.1, 5) {
            let y = frame.y(value);
            let class = if value == 0.0 { "base" } else { "grid" };
            let _ = writeln!(
                out,
                "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 4.0,
                self.up.show(value)
            );
        }
        let floor = frame.height - BOTTOM;
        for (at, text) in self.across_ticks(frame) {
            let _ =
                writeln!(out, "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", floor + 17.0, safe(&text));
        }
        if !self.across_label.is_empty() {
            let middle = (left + right) / 2.0;
            let _ = writeln!(
                out,
                "<text class=\"note\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                frame.height - 10.0,
                safe(&self.across_label)
            );
        }
    }

    fn across_ticks(&self, frame: &Frame) -> Vec<(f64, String)> {
        match &self.across {
            Across::Values(unit) => axis::ticks(frame.x.0, frame.x.1, 7).into_iter().map(|v| (frame.x(v), unit.show(v))).collect(),
            Across::Time(zone) => axis::times(frame.x.0, frame.x.1, *zone).into_iter().map(|(v, text)| (frame.x(v), text)).collect(),
            Across::Words(words) => {
                let longest = words.iter().map(|w| wide(w)).fold(1.0, f64::max) + 10.0;
                let room = (frame.width - LEFT - RIGHT) / count(words.len()).max(1.0);
                let every = axis::whole(longest / room).max(1);
                let shown = words.iter().enumerate().filter(|(i, _)| i % every == 0);
                shown.map(|(i, w)| (frame.x(count(i) + 0.5), w.clone())).collect()
            }
        }
    }

    fn draw(&self, out: &mut String, frame: &Frame, mark: &Mark, color: &str, below: &mut [f64]) {
        let place = |(x, y): (f64, f64)| format!("{:.1},{:.1}", frame.x(x), frame.y(y));
        match mark {
            Mark::Line { name, points, dashed, steps } => {
                let dash = if *dashed { " stroke-dasharray=\"6 4\"" } else { "" };
                let points = if *steps { stairs(points) } else { points.clone() };
                let path: Vec<String> = points.iter().map(|p| place(*p)).collect();
                let _ = writeln!(
                    out,
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2.5\" stroke-linejoin=\"round\"{dash}><title>{}</title></polyline>",
                    path.join(" "),
                    safe(name)
                );
            }
            Mark::Band { name, points } => {
                let high = points.iter().map(|(x, _, y)| place((*x, *y)));
                let low = points.iter().rev().map(|(x, y, _)| place((*x, *y)));
                let path: Vec<String> = high.chain(low).collect();
                let _ = writeln!(
                    out,
                    "<polygon points=\"{}\" fill=\"{color}\" fill-opacity=\"0.22\"><title>{}</title></polygon>",
                    path.join(" "),
                    safe(name)
                );
            }
            Mark::Bars { name, values } => self.bars(out, frame, (name, values), color, below),
            Mark::Points { points, .. } => {
                for (x, y, what) in points {
                    let (cx, cy) = (frame.x(*x), frame.y(*y));
                    let _ = writeln!(
                        out,
                        "<circle class=\"edge\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"5\" fill=\"{color}\"><title>{}: {}</title></circle>",
                        safe(what),
                        self.up.show(*y)
                    );
                }
            }
            Mark::Limit { .. } => {}
        }
    }

    fn bars(&self, out: &mut String, frame: &Frame, (name, values): (&str, &[f64]), color: &str, below: &mut [f64]) {
        let Across::Words(words) = &self.across else { return };
        let room = (frame.width - LEFT - RIGHT) / count(words.len()).max(1.0);
        let wide = (room * 0.72).min(64.0);
        for (i, ((value, base), word)) in values.iter().zip(below.iter_mut()).zip(words).enumerate().filter(|(_, ((v, _), _))| **v > 0.0) {
            let (top, bottom) = (frame.y(*base + value), frame.y(*base));
            let _ = writeln!(
                out,
                "<rect class=\"edge\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{:.1}\" fill=\"{color}\" stroke-width=\"0.6\"><title>{}, {}: {}</title></rect>",
                frame.x(count(i) + 0.5) - wide / 2.0,
                (bottom - top).max(0.5),
                safe(word),
                safe(name),
                self.up.show(*value)
            );
            *base += value;
        }
    }
}

fn limit(out: &mut String, frame: &Frame, name: &str, level: f64, unit: Unit) {
    let y = frame.y(level);
    let right = frame.width - RIGHT;
    let _ = writeln!(
        out,
        "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{ALERT}\" stroke-width=\"1.5\" stroke-dasharray=\"2 3\"/><text class=\"alert\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{} {}</text>",
        y - 6.0,
        safe(name),
        unit.show(level)
    );
}

/// Level to the next point, then up.
fn stairs(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::with_capacity(points.len() * 2);
    for (x, y) in points {
        if let Some((_, before)) = out.last().copied() {
            out.push((*x, before));
        }
        out.push((*x, *y));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn_down() -> Chart {
        let day = 86_400_000.0;
        Chart {
            title: "Budget of team <vision>".to_owned(),
            note: "$31.00 of $50.00".to_owned(),
            across: Across::Time(Tz::UTC),
            across_label: String::new(),
            up: Unit::Money,
            marks: vec![
                Mark::Line { name: "spent".into(), points: vec![(0.0, 0.0), (day, 12e6), (3.0 * day, 31e6)], dashed: false, steps: true },
                Mark::Line { name: "projection".into(), points: vec![(3.0 * day, 31e6), (6.0 * day, 62e6)], dashed: true, steps: false },
                Mark::Limit { name: "limit".into(), y: 50e6 },
            ],
        }
    }

    #[test]
    fn a_chart_names_its_axes_and_escapes_what_people_wrote() {
        let svg = burn_down().svg();
        assert!(svg.contains("Budget of team &lt;vision&gt;") && !svg.contains("<vision>"), "{svg}");
        for text in [">$0.00<", ">$20.00<", ">$60.00<", ">limit $50.00<", ">Jan 1<", ">projection<"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_an_empty_frame_and_no_panic() {
        for across in [Across::Time(Tz::UTC), Across::Words(vec![]), Across::Values(Unit::Number)] {
            let svg = Chart { across, marks: vec![], ..burn_down() }.svg();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        }
        let odd = Mark::Line { name: "x".into(), points: vec![(f64::NAN, f64::INFINITY), (1.0, 1.0)], dashed: false, steps: false };
        assert!(Chart { marks: vec![odd], ..burn_down() }.svg().contains("<svg"));
    }
}
