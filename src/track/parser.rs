//! Bytes to lines to points.
//!
//! In: chunks that end anywhere. Out: the points of complete lines. Must never hold more than one bounded line.

use super::line;
use crate::record::event::MetricPoint;

/// Longest line that is looked at, in bytes; longer ones are skipped to their end.
pub const MAX_LINE: usize = 64 * 1024;

/// Reads metrics out of a stream of bytes. Carriage returns end lines too, so that progress bars do not hide values.
#[derive(Debug, Default)]
pub struct Parser {
    partial: Vec<u8>,
    skipping: bool,
}

impl Parser {
    /// A parser at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and gives the points of all lines that are complete now. An unfinished line is kept.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<MetricPoint> {
        let mut points = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            let (head, tail) = rest.split_at(end);
            self.keep(head);
            self.end_line(&mut points);
            rest = tail.get(1..).unwrap_or_default();
        }
        self.keep(rest);
        points
    }

    /// The points of a last line without an end. Afterwards the parser is at a new start.
    pub fn finish(&mut self) -> Vec<MetricPoint> {
        let mut points = Vec::new();
        self.end_line(&mut points);
        points
    }

    /// Bytes fed since the last line end: where to start again in the stream after a pause is this much before its end.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.partial.len()
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        if self.partial.len() + piece.len() > MAX_LINE {
            self.partial = Vec::new();
            self.skipping = true;
            return;
        }
        self.partial.extend_from_slice(piece);
    }

    fn end_line(&mut self, points: &mut Vec<MetricPoint>) {
        if !self.skipping {
            line::read(&self.partial, points);
        }
        self.partial.clear();
        self.skipping = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<(String, Option<i64>, Option<f64>)> {
        let mut parser = Parser::new();
        let mut points = parser.feed(bytes);
        points.extend(parser.finish());
        points.into_iter().map(|p| (p.name.to_string(), p.step, p.value)).collect()
    }

    fn point(name: &str, step: Option<i64>, value: Option<f64>) -> (String, Option<i64>, Option<f64>) {
        (name.to_owned(), step, value)
    }

    #[test]
    fn reads_pairs_with_their_step() {
        assert_eq!(
            all(b"step=3 val_loss=0.25 acc=0.9\nepoch=2: loss=1e-3, lr=.5;\nplain words\nglobal_step=7 a/b.c-d=-1\n"),
            [
                point("val_loss", Some(3), Some(0.25)),
                point("acc", Some(3), Some(0.9)),
                point("epoch", Some(2), Some(2.0)),
                point("loss", Some(2), Some(1e-3)),
                point("lr", Some(2), Some(0.5)),
                point("a/b.c-d", Some(7), Some(-1.0)),
            ]
        );
        assert_eq!(all(b"epoch=1 step=40 loss=2"), [point("epoch", Some(1), Some(1.0)), point("loss", Some(40), Some(2.0))]);
        assert_eq!(all(b"loss=2 step=x"), [point("loss", None, Some(2.0))]);
        assert_eq!(all(b"loss=2 step=1.5 epoch=4.0"), [point("epoch", Some(4), Some(4.0)), point("loss", Some(4), Some(2.0))]);
    }

    #[test]
    fn reads_json_lines() {
        assert_eq!(
            all(b"{\"step\": 3, \"val_loss\": 0.25, \"name\": \"x=1\", \"ok\": true, \"n\": null}\n"),
            [point("val_loss", Some(3), Some(0.25))]
        );
        assert_eq!(
            all(b"{\"epoch\": 1, \"loss\": NaN, \"gain\": -Infinity, \"note\": \"NaN here\"}\n"),
            [point("epoch", Some(1), Some(1.0)), point("loss", Some(1), None), point("gain", Some(1), None)]
        );
        assert_eq!(all(b"{\"loss\": 1\n{\"loss\": 1} tail\n[1]\n"), []);
    }

    #[test]
    fn unknown_values_have_no_number() {
        let found = all(b"a=nan b=inf c=-inf d=1e999 e=NaN\n");
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|(_, _, value)| value.is_none()), "{found:?}");
    }

    #[test]
    fn only_names_with_numbers_count() {
        assert_eq!(all(b"1a=2 =3 a= a==4 x=1x path=/a/b p=0x10 n=1_000 -q=1 t=93% a=1=2\n"), []);
        let long = format!("{}=1\n", "n".repeat(300));
        assert_eq!(all(long.as_bytes()), []);
    }

    #[test]
    fn pieces_do_not_matter() {
        let text = b"step=1 loss=0.5\r\n\x1b[32mstep=2 loss=0.25\x1b[0m\n{\"step\":3,\"loss\":0.1}\n";
        let whole = all(text);
        assert_eq!(whole.len(), 3);
        for size in 1..text.len() {
            let mut parser = Parser::new();
            let mut points = Vec::new();
            for piece in text.chunks(size) {
                points.extend(parser.feed(piece));
            }
            points.extend(parser.finish());
            let points: Vec<_> = points.into_iter().map(|p| (p.name.to_string(), p.step, p.value)).collect();
            assert_eq!(points, whole, "pieces of {size}");
        }
    }

    #[test]
    fn hostile_bytes_do_no_harm() {
        assert_eq!(all(b"\x1b]0;title\x07 \x00 \xff\xfe loss=1\xff a\x00b=2 ok=3\n"), [point("ok", None, Some(3.0))]);
        assert_eq!(all(b"\x1b[\x1b[31mx=1\n"), [point("x", None, Some(1.0))]);
        assert_eq!(all("gr\u{f6}\u{df}e=1 \u{202e}a=2 b=3\n".as_bytes()), [point("b", None, Some(3.0))]);
        let deep = "[".repeat(50_000);
        assert_eq!(all(format!("{{\"a\":{deep}\nb=1\n").as_bytes()), [point("b", None, Some(1.0))]);
    }

    #[test]
    fn a_huge_line_is_skipped_and_not_kept() {
        let mut parser = Parser::new();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..10 {
            assert!(parser.feed(&piece).is_empty());
            assert!(parser.pending() <= MAX_LINE);
        }
        let points = parser.feed(b" late=1\nloss=2\n");
        assert_eq!(points.len(), 1);
        assert_eq!(points.first().map(|p| p.value), Some(Some(2.0)));
    }
}
