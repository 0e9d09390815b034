//! YAML text to a tree with places.
//!
//! In: the text of one file. Out: one [`Node`] a document. Bounded in size, depth, nodes and aliases; refuses tags, duplicate
//! keys and merge keys. Must never recurse on input.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::base::{Diagnostic, Diagnostics, FileId, Span};

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 64;
/// Most nodes of a file, those that aliases repeat included.
pub const MAX_NODES: usize = 1_000_000;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it is written.
    pub span: Span,
}

/// The three shapes of YAML. Scalars keep their text: what they mean depends on what is wanted.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A scalar; `plain` when it stood without quotes.
    Scalar {
        /// The text without quotes.
        text: Arc<str>,
        /// Without quotes and not a block.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of writing.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key's text.
    pub key: Arc<str>,
    /// Where the key is written.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

impl Node {
    /// True for `null`, `~` and nothing at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The scalar's text.
    #[must_use]
    pub fn text(&self) -> Option<&Arc<str>> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What stands here, for messages.
    #[must_use]
    pub fn what(&self) -> String {
        match &self.kind {
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
            Kind::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            Kind::Scalar { text, .. } => {
                let mut short: String = text.chars().take(40).collect();
                if short.len() < text.len() {
                    short.push_str("...");
                }
                format!("`{}`", crate::base::text::escape(&short))
            }
        }
    }
}

enum Open {
    List(usize, Span, Vec<Node>),
    Map(usize, Span, Vec<Entry>, Option<(Arc<str>, Span)>),
}

struct Builder<'a> {
    file: FileId,
    text: &'a str,
    ascii: bool,
    /// Character index and byte index of the last place asked for.
    cursor: (usize, usize),
    open: Vec<Open>,
    anchors: FxHashMap<usize, (Node, usize)>,
    nodes: usize,
    diags: &'a mut Diagnostics,
}

/// Reads all documents of a file. After a syntax error the documents before it are still returned.
pub fn parse(file: FileId, text: &str, diags: &mut Diagnostics) -> Vec<Node> {
    let whole = Span { file, start: 0, end: 0 };
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than the {MAX_BYTES} that are read", text.len());
        diags.push(Diagnostic::error("file-too-large", whole, message).hint("split it into several workflow files"));
        return Vec::new();
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder =
        Builder { file, text, ascii: text.is_ascii(), cursor: (0, 0), open: Vec::new(), anchors: FxHashMap::default(), nodes: 0, diags };
    let mut documents = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, place)) => {
                let span = builder.span(place.start.index(), place.end.index());
                match builder.take(event, span) {
                    Ok(Some(document)) => documents.push(document),
                    Ok(None) => {}
                    Err(diagnostic) => {
                        builder.diags.push(diagnostic);
                        return documents;
                    }
                }
            }
            Err(error) => {
                let at = builder.span(error.marker().index(), error.marker().index() + 1);
                builder.diags.push(syntax(at, error.info()));
                return documents;
            }
        }
    }
    documents
}

fn too_deep(at: Span) -> Diagnostic {
    Diagnostic::error("too-deep", at, format!("nested more than {MAX_DEPTH} levels deep")).hint("nest less deeply")
}

fn syntax(at: Span, info: &str) -> Diagnostic {
    // The parser looks ahead over brackets, and has a limit of its own for that.
    if info.contains("recursion") {
        return too_deep(at);
    }
    let hint = if info.contains("tab") {
        "indent with spaces"
    } else if info.contains("mapping values") || info.contains("simple key") {
        "check the indentation, and quote values that contain `: `"
    } else {
        "check quotes, brackets and indentation here and on the line before"
    };
    Diagnostic::error("yaml-syntax", at, format!("not valid YAML: {info}")).hint(hint)
}

impl Builder<'_> {
    fn span(&mut self, start: usize, end: usize) -> Span {
        let start = self.byte(start);
        let end = self.byte(end).max(start);
        Span { file: self.file, start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
    }

    /// Byte index of a character index. Places come nearly in order, so the walk goes on from the last one.
    fn byte(&mut self, chars: usize) -> usize {
        if self.ascii {
            return chars.min(self.text.len());
        }
        if chars < self.cursor.0 {
            self.cursor = (0, 0);
        }
        let rest = &self.text[self.cursor.1..];
        let step = rest.char_indices().nth(chars - self.cursor.0).map_or(rest.len(), |(i, _)| i);
        self.cursor = (chars, self.cursor.1 + step);
        self.cursor.1
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Diagnostic> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span)?;
                let node = Node { kind: Kind::Scalar { text: text.as_ref().into(), plain: style == ScalarStyle::Plain }, span };
                self.close(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), span)?;
                self.deeper(Open::List(anchor, span, Vec::new()), span)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), span)?;
                self.deeper(Open::Map(anchor, span, Vec::new(), None), span)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(anchor, start, list)) => self.close(Node { kind: Kind::List(list), span: join(start, span) }, anchor),
                Some(Open::Map(anchor, start, map, _)) => self.close(Node { kind: Kind::Map(map), span: join(start, span) }, anchor),
                None => Ok(None),
            },
            Event::Alias(anchor) => {
                match self.anchors.get(&anchor).cloned() {
                    Some((node, weight)) => {
                        self.nodes += weight;
                        self.close(node, 0)
                    }
                    None => Err(Diagnostic::error("unknown-alias", span, "an alias that refers to itself or to nothing")
                        .hint("write the value out")),
                }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => Ok(None),
        }
    }

    fn refuse_tag(&mut self, tagged: bool, span: Span) -> Result<(), Diagnostic> {
        if tagged {
            return Err(Diagnostic::error("tag", span, "YAML tags (`!name`) have no meaning here").hint("remove the tag"));
        }
        Ok(())
    }

    fn deeper(&mut self, open: Open, span: Span) -> Result<Option<Node>, Diagnostic> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        self.open.push(open);
        Ok(None)
    }

    /// Puts a finished node where it belongs; returns it when it is a whole document.
    fn close(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, Diagnostic> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values, those repeated by aliases included");
            return Err(Diagnostic::error("too-many-values", node.span, message).hint("repeat less by alias, or split the file"));
        }
        if anchor != 0 {
            let weight = weight(&node);
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        match self.open.last_mut() {
            None => return Ok(Some(node)),
            Some(Open::List(_, _, list)) => list.push(node),
            Some(Open::Map(_, _, entries, pending)) => match pending.take() {
                Some((key, key_span)) => entries.push(Entry { key, key_span, value: node }),
                None => *pending = Some(key_of(&node, entries, self.diags)?),
            },
        }
        Ok(None)
    }
}

fn key_of(node: &Node, entries: &[Entry], diags: &mut Diagnostics) -> Result<(Arc<str>, Span), Diagnostic> {
    let Some(text) = node.text() else {
        return Err(Diagnostic::error("key-not-text", node.span, "a key must be a plain word")
            .hint("quote the whole value if it is meant as text, such as \"{{ inputs.x }}\""));
    };
    if &**text == "<<" {
        diags.push(
            Diagnostic::error("merge-key", node.span, "merge keys (`<<`) are not supported")
                .hint("use `defaults`, or `uses` with a template"),
        );
    }
    if let Some(first) = entries.iter().find(|e| e.key == *text) {
        diags.push(
            Diagnostic::error("duplicate-key", node.span, format!("`{}` is written twice", crate::base::text::escape(text)))
                .related(first.key_span, "first written here")
                .hint("keep one of them"),
        );
    }
    Ok((Arc::clone(text), node.span))
}

/// How many nodes an alias to this one stands for. Depth is bounded by [`MAX_DEPTH`] plus what aliases nest.
fn weight(node: &Node) -> usize {
    let mut total = 0_usize;
    let mut todo = vec![node];
    while let Some(node) = todo.pop() {
        total += 1;
        match &node.kind {
            Kind::List(list) => todo.extend(list),
            Kind::Map(map) => todo.extend(map.iter().map(|e| &e.value)),
            Kind::Scalar { .. } => {}
        }
    }
    total
}

fn join(start: Span, end: Span) -> Span {
    Span { end: end.end.max(start.end), ..start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<&'static str> {
        let mut diags = Diagnostics::default();
        parse(FileId(0), text, &mut diags);
        diags.as_slice().iter().map(|d| d.code).collect()
    }

    #[test]
    fn refuses_what_would_hurt() {
        assert_eq!(codes("a: 1\na: 2\n"), ["duplicate-key"]);
        assert_eq!(codes("a: !python/object x\n"), ["tag"]);
        assert_eq!(codes("a: &x {b: 1}\nc:\n  <<: *x\n"), ["merge-key"]);
        assert_eq!(codes("a: [1, 2\n"), ["yaml-syntax"]);
        assert_eq!(codes(&format!("a: {}", "- ".repeat(10_000))), ["yaml-syntax"]);
        assert_eq!(codes(&"- ".repeat(10_000)), ["too-deep"]);
        assert_eq!(codes(&"[".repeat(10_000)), ["too-deep"]);
        assert_eq!(codes(&"x".repeat(MAX_BYTES + 1)), ["file-too-large"]);
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let inner = vec![format!("*a{}", i - 1); 10].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{inner}]\n"));
        }
        assert_eq!(codes(&bomb), ["too-many-values"]);
    }

    #[test]
    fn places_are_bytes_even_behind_other_letters() {
        let text = "ä: ü\nname: x\n";
        let mut diags = Diagnostics::default();
        let documents = parse(FileId(0), text, &mut diags);
        let Some(Node { kind: Kind::Map(map), .. }) = documents.first() else { panic!("{documents:?}") };
        let span = map[1].key_span;
        assert_eq!(&text[span.start as usize..span.end as usize], "name");
    }
}
