//! Names of points: beside each, where the picture has room and no other name stands.
//!
//! In: points on the page with their names, the page's width. Out: text elements. Must never cut a name off, nor write one over another: what
//! finds no place is left to the point's own title.

use std::fmt::Write as _;

use super::{safe, wide};

/// Height of a line of 12 px.
const LINE: f64 = 14.0;
/// From the middle of a point to its name.
const GAP: f64 = 8.0;

/// Left, right, top, bottom.
type Place = (f64, f64, f64, f64);

/// Writes the names of all points, the first first.
pub fn write(out: &mut String, points: &[(f64, f64, &str)], (left, right): (f64, f64)) {
    let mut taken: Vec<Place> = Vec::new();
    for (x, y, name) in points {
        let length = wide(name);
        let spots = [(GAP, -6.0), (GAP, 16.0), (-GAP - length, -6.0), (-GAP - length, 16.0), (-length / 2.0, -12.0), (-length / 2.0, 22.0)];
        let places = spots.map(|(dx, dy)| (x + dx, x + dx + length, y + dy - LINE + 3.0, y + dy + 3.0));
        let free = |p: &Place| p.0 >= left && p.1 <= right && !taken.iter().any(|t| p.0 < t.1 && t.0 < p.1 && p.2 < t.3 && t.2 < p.3);
        let Some(place) = places.into_iter().find(free) else { continue };
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", place.0, place.3 - 3.0, safe(name));
        taken.push(place);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_stay_on_the_page_and_apart() {
        let mut out = String::new();
        let points =
            [(100.0, 50.0, "first"), (102.0, 51.0, "second"), (395.0, 50.0, "at the edge"), (100.0, 50.0, "x".repeat(80).leak() as &str)];
        super::write(&mut out, &points, (0.0, 400.0));
        let at = |line: usize| out.lines().nth(line).unwrap().split("\">").next().unwrap().to_owned();
        assert_eq!((at(0), at(1)), ("<text x=\"108.0\" y=\"44.0".to_owned(), "<text x=\"110.0\" y=\"67.0".to_owned()), "above, then below");
        assert!(at(2).starts_with("<text x=\"314.4\""), "left of the point: {}", at(2));
        assert_eq!(out.lines().count(), 3, "what is too long has no name: {out}");
    }
}
