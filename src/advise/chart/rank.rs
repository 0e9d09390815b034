//! Bars that lie, longest first: one row a thing, its parts in colours, its figure at the end.

use std::fmt::Write as _;

use super::{Unit, color, count, legend, open, safe, wide};

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// One value for each part.
    pub parts: Vec<f64>,
}

/// Draws rows with their parts; `parts` names them.
#[must_use]
pub fn ranking(title: &str, note: &str, parts: &[&str], rows: &[Row], unit: Unit) -> String {
    let width = 760.0;
    let name_room = (rows.iter().map(|r| wide(&r.name)).fold(40.0, f64::max) + 28.0).min(260.0);
    let mut head = String::new();
    let names: Vec<(String, &str, bool)> = parts.iter().enumerate().map(|(i, p)| ((*p).to_owned(), color(i), false)).collect();
    let top = if names.len() > 1 { legend(&mut head, &names, width) } else { 60.0 };
    let row = 26.0;
    let height = top + row * count(rows.len()).max(1.0) + 18.0;
    let mut out = open(width, height, title, note);
    out.push_str(&head);
    let sum = |r: &Row| r.parts.iter().copied().filter(|v| v.is_finite() && *v > 0.0).sum::<f64>();
    let most = rows.iter().map(sum).fold(0.0, f64::max);
    let figure_room = rows.iter().map(|r| wide(&unit.show(sum(r)))).fold(40.0, f64::max) + 16.0;
    let scale = if most > 0.0 { (width - name_room - figure_room - 12.0) / most } else { 0.0 };
    for (i, r) in rows.iter().enumerate() {
        let y = top + row * count(i);
        let mut name = r.name.clone();
        while wide(&name) > name_room - 24.0 && name.len() > 4 {
            name.pop();
        }
        let name = if name == r.name { name } else { format!("{name}…") };
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", name_room - 8.0, y + 16.0, safe(&name));
        let mut x = name_room;
        for (part, value) in r.parts.iter().enumerate().filter(|(_, v)| v.is_finite() && **v > 0.0) {
            let long = value * scale;
            let what = parts.get(part).copied().unwrap_or_default();
            let _ = writeln!(
                out,
                "<rect class=\"edge\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{long:.1}\" height=\"18\" fill=\"{}\" stroke-width=\"0.6\"><title>{}, {}: {}</title></rect>",
                y + 3.0,
                color(part),
                safe(&r.name),
                safe(what),
                unit.show(*value)
            );
            x += long;
        }
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 8.0, y + 16.0, unit.show(sum(r)));
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_row_fills_the_page_and_each_has_its_figure() {
        let rows = [("a&b", 3e6), ("c", 1e6), ("none", 0.0)].map(|(name, v)| Row { name: name.into(), parts: vec![v, 0.0] });
        let svg = ranking("By team", "", &["spent", "waste"], &rows, Unit::Money);
        assert!(svg.contains("a&amp;b") && svg.contains(">$3.00<") && svg.contains(">$0.00<"), "{svg}");
        assert!(ranking("Nothing", "", &[], &[], Unit::Money).ends_with("</svg>\n"));
    }
}
