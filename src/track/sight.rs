//! Which names a log or a metrics file reports, and on which lines.
//!
//! In: a stream of bytes and the name that is looked for. Out: [`Sights`]. Must never hold more than one bounded line and a bounded number
//! of names; texts are the program's own words, not escaped and not to be trusted.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use super::line;
use super::parser::MAX_LINE;

/// Most bytes of a stream that are looked at.
pub const MOST: u64 = 16 << 20;
/// Most names that are told apart.
const NAMES: usize = 256;
/// Bytes of a line that are kept to show it.
const SHOWN: usize = 160;

/// What a stream reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sights {
    /// By name.
    pub names: BTreeMap<Arc<str>, Sight>,
    /// The first line that has the name without reporting it, such as `loss: 0.5`.
    pub missed: Option<(u64, String)>,
    /// How many lines there are.
    pub lines: u64,
    /// True when the stream goes on behind what was looked at.
    pub cut: bool,
}

/// The reports of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Line of the first, from 1 on.
    pub first: u64,
    /// Line of the last.
    pub last: u64,
    /// How many.
    pub count: u64,
    /// How many of them have a finite value.
    pub finite: u64,
    /// The first line, cut.
    pub text: String,
}

/// Looks through a stream.
///
/// # Errors
/// When it cannot be read.
pub fn look(stream: impl Read, wanted: &str) -> io::Result<Sights> {
    let mut stream = stream.take(MOST + 1);
    let (mut sights, mut line, mut buffer, mut total, mut number) = (Sights::default(), Vec::new(), vec![0; 64 << 10], 0_u64, 1_u64);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        total += count as u64;
        for byte in buffer.iter().take(count) {
            match byte {
                b'\n' | b'\r' => {
                    sights.note(&line, number, wanted);
                    line.clear();
                    number += u64::from(*byte == b'\n');
                }
                // One byte more says that it is too long.
                _ if line.len() <= MAX_LINE => line.push(*byte),
                _ => {}
            }
        }
    }
    let open = !line.is_empty();
    sights.cut = total > MOST;
    sights.note(&line, number, wanted);
    sights.lines = number - u64::from(!open);
    Ok(sights)
}

impl Sights {
    fn note(&mut self, line: &[u8], number: u64, wanted: &str) {
        if line.is_empty() || line.len() > MAX_LINE {
            return;
        }
        let mut points = Vec::new();
        line::read(line, &mut points);
        for point in &points {
            let full = self.names.len() >= NAMES;
            if full && !self.names.contains_key(&point.name) {
                continue;
            }
            let new = || Sight { first: number, last: number, count: 0, finite: 0, text: shown(line) };
            let sight = self.names.entry(Arc::clone(&point.name)).or_insert_with(new);
            sight.last = number;
            sight.count += 1;
            sight.finite += u64::from(point.value.is_some());
        }
        if self.missed.is_none() && points.iter().all(|p| *p.name != *wanted) && names(line, wanted) {
            self.missed = Some((number, shown(line)));
        }
    }
}

fn shown(line: &[u8]) -> String {
    let line = &*line::without_colours(line);
    let text = String::from_utf8_lossy(line.get(..SHOWN).unwrap_or(line)).trim().to_owned();
    if line.len() > SHOWN { text + ".." } else { text }
}

/// True when the name stands in the line as a word of its own, in whatever case.
fn names(line: &[u8], wanted: &str) -> bool {
    let (line, wanted) = (line::without_colours(line).to_ascii_lowercase(), wanted.to_ascii_lowercase().into_bytes());
    let inside = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'));
    !wanted.is_empty()
        && line.windows(wanted.len()).enumerate().any(|(at, piece)| {
            let before = at.checked_sub(1).and_then(|i| line.get(i));
            piece == wanted && !inside(before) && !inside(line.get(at + wanted.len()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(first: u64, last: u64, count: u64, finite: u64, text: &str) -> Sight {
        Sight { first, last, count, finite, text: text.to_owned() }
    }

    #[test]
    fn names_are_told_with_their_lines() {
        let log = b"start\nval_loss: 0.5\nstep=1 los=0.5 acc=nan\n10%\r90%\rstep=2 los=0.25\n{\"step\": 3, \"los\": 0.1}";
        let found = look(&log[..], "val_loss").unwrap();
        assert_eq!(found.lines, 5);
        assert_eq!(found.missed, Some((2, "val_loss: 0.5".to_owned())));
        let all: Vec<_> = found.names.into_iter().map(|(n, s)| (n.to_string(), s)).collect();
        assert_eq!(
            all,
            [
                ("acc".to_owned(), sight(3, 3, 1, 0, "step=1 los=0.5 acc=nan")),
                ("los".to_owned(), sight(3, 5, 3, 3, "step=1 los=0.5 acc=nan"))
            ]
        );
    }

    #[test]
    fn a_name_counts_as_a_word_of_its_own() {
        let missed = |log: &[u8]| look(log, "loss").unwrap().missed.map(|(line, _)| line);
        assert_eq!(missed(b"val_loss 3\nlossy=1\nLoss is 4\n"), Some(3));
        assert_eq!(missed(b"loss=3\nval/loss=2\nlosses\n"), None);
        assert_eq!(missed(b"loss=tensor(0.5)\n"), Some(1));
    }

    #[test]
    fn memory_stays_bounded_whatever_comes() {
        let mut many = String::new();
        for i in 0..1000 {
            many += &format!("n{i}=1\n");
        }
        many += &"x=1 ".repeat(MAX_LINE);
        let found = look(many.as_bytes(), "loss").unwrap();
        assert_eq!((found.names.len(), found.lines, found.cut), (NAMES, 1001, false));
        let long = format!("a=1 {}\n", "x".repeat(5000));
        assert_eq!(look(long.as_bytes(), "loss").unwrap().names["a"].text.len(), SHOWN + 2);
    }
}
