//! Shell scripts with values: each value is one word whatever quotes stand around it, because the script only ever refers to a
//! variable and the value never becomes shell text (POSIX.1-2017, Shell Command Language, sections 2.2, 2.3 and 2.7.4).
//!
//! In: a script with `{{ }}`. Out: the script with variable references in their place. Where one word cannot be assured, a
//! problem that names the variable to use instead.

/// A place where a value cannot stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsafe {
    /// Which expression, from 0.
    pub index: usize,
    /// What it stands in: `a comment`.
    pub place: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// Words of a command; also inside `$( )`.
    Bare,
    Double,
    Single,
    Comment,
    Heredoc,
    Parameter,
    Arithmetic,
    Backtick,
    DollarSingle,
}

/// Name of the variable that carries the expression with this index.
#[must_use]
pub fn variable(index: usize) -> String {
    format!("OPPEN_VALUE_{}", index + 1)
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Context>,
    /// Delimiters of here-documents that start after this line, and whether tabs are stripped.
    pending: Vec<(Vec<u8>, bool)>,
    /// A word begins here, so `#` starts a comment.
    word_start: bool,
    depth: Vec<u32>,
}

/// Rewrites a script. `expressions` are the byte ranges of its `{{ }}`, in order.
pub fn rewrite(script: &str, expressions: &[(usize, usize)]) -> (String, Vec<Unsafe>) {
    let mut lexer =
        Lexer { bytes: script.as_bytes(), at: 0, stack: vec![Context::Bare], pending: Vec::new(), word_start: true, depth: vec![0] };
    let (mut out, mut problems, mut copied) = (String::with_capacity(script.len() + 64), Vec::new(), 0);
    for (index, &(start, end)) in expressions.iter().enumerate() {
        lexer.run_to(start);
        out.push_str(script.get(copied..start).unwrap_or_default());
        let name = variable(index);
        let context = lexer.context();
        let after_dollar = start > 0 && lexer.bytes[start - 1] == b'$' && context != Context::Single;
        match context {
            _ if after_dollar => problems.push(Unsafe { index, place: "a name after `$`" }),
            Context::Bare if lexer.heredoc_word(start) => problems.push(Unsafe { index, place: "the end mark of a here-document" }),
            Context::Bare => out.push_str(&format!("\"${{{name}}}\"")),
            Context::Double => out.push_str(&format!("${{{name}}}")),
            Context::Single => out.push_str(&format!("'\"${{{name}}}\"'")),
            Context::Comment => problems.push(Unsafe { index, place: "a comment" }),
            Context::Heredoc => problems.push(Unsafe { index, place: "a here-document" }),
            Context::Parameter => problems.push(Unsafe { index, place: "`${ }`" }),
            Context::Arithmetic => problems.push(Unsafe { index, place: "`$(( ))`" }),
            Context::Backtick => problems.push(Unsafe { index, place: "backquotes" }),
            Context::DollarSingle => problems.push(Unsafe { index, place: "`$' '`" }),
        }
        lexer.at = end;
        lexer.word_start = false;
        copied = end;
    }
    out.push_str(script.get(copied..).unwrap_or_default());
    (out, problems)
}

impl Lexer<'_> {
    fn context(&self) -> Context {
        self.stack.last().copied().unwrap_or(Context::Bare)
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn run_to(&mut self, end: usize) {
        while self.at < end.min(self.bytes.len()) {
            self.step();
        }
    }

    fn step(&mut self) {
        let byte = self.peek(0);
        match self.context() {
            Context::Bare => return self.bare(byte),
            Context::Single | Context::DollarSingle => {
                if byte == b'\\' && self.context() == Context::DollarSingle {
                    self.at += 1;
                } else if byte == b'\'' {
                    self.stack.pop();
                }
            }
            Context::Double => match byte {
                b'\\' => self.at += 1,
                b'"' => drop(self.stack.pop()),
                b'`' => self.stack.push(Context::Backtick),
                b'$' => return self.dollar(),
                _ => {}
            },
            Context::Comment => {
                if byte == b'\n' {
                    self.stack.pop();
                    return self.bare(byte);
                }
            }
            Context::Parameter => match byte {
                b'\\' => self.at += 1,
                b'}' => drop(self.stack.pop()),
                b'$' => return self.dollar(),
                b'"' => self.stack.push(Context::Double),
                b'\'' if !self.stack.contains(&Context::Double) => self.stack.push(Context::Single),
                _ => {}
            },
            Context::Arithmetic => {
                if byte == b')' && self.peek(1) == b')' {
                    self.at += 1;
                    self.stack.pop();
                }
            }
            Context::Backtick => match byte {
                b'\\' => self.at += 1,
                b'`' => drop(self.stack.pop()),
                _ => {}
            },
            Context::Heredoc => return self.heredoc_line(),
        }
        self.at += 1;
    }

    fn bare(&mut self, byte: u8) {
        let starts_word = matches!(byte, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')');
        match byte {
            b'\\' => self.at += 1,
            b'\'' => self.stack.push(Context::Single),
            b'"' => self.stack.push(Context::Double),
            b'`' => self.stack.push(Context::Backtick),
            b'#' if self.word_start => self.stack.push(Context::Comment),
            b'$' => {
                self.word_start = false;
                return self.dollar();
            }
            b'<' if self.peek(1) == b'<' && self.peek(2) != b'<' => self.heredoc_start(),
            b'\n' if !self.pending.is_empty() => self.stack.push(Context::Heredoc),
            b'(' => *self.depth_mut() += 1,
            b')' => self.close_paren(),
            _ => {}
        }
        self.word_start = starts_word;
        self.at += 1;
    }

    fn depth_mut(&mut self) -> &mut u32 {
        if self.depth.is_empty() {
            self.depth.push(0);
        }
        let last = self.depth.len() - 1;
        &mut self.depth[last]
    }

    /// `)` ends the innermost `$( )` unless it belongs to a subshell inside it.
    fn close_paren(&mut self) {
        if *self.depth_mut() > 0 {
            *self.depth_mut() -= 1;
        } else if self.stack.len() > 1 {
            self.stack.pop();
            self.depth.pop();
        }
    }

    fn dollar(&mut self) {
        match (self.peek(1), self.peek(2)) {
            (b'(', b'(') => {
                self.stack.push(Context::Arithmetic);
                self.at += 3;
            }
            (b'(', _) => {
                self.stack.push(Context::Bare);
                self.depth.push(0);
                self.word_start = true;
                self.at += 2;
            }
            // `${` begins a parameter; `${{` is `$` before a template, which is judged there.
            (b'{', next) if next != b'{' => {
                self.stack.push(Context::Parameter);
                self.at += 2;
            }
            (b'\'', _) if self.context() == Context::Bare => {
                self.stack.push(Context::DollarSingle);
                self.at += 2;
            }
            _ => self.at += 1,
        }
    }

    fn heredoc_start(&mut self) {
        let mut i = self.at + 2;
        let tabs = self.bytes.get(i) == Some(&b'-');
        i += usize::from(tabs);
        while matches!(self.bytes.get(i), Some(b' ' | b'\t')) {
            i += 1;
        }
        let mut word = Vec::new();
        while let Some(&b) = self.bytes.get(i).filter(|b| !b" \t\n;&|<>()".contains(b)) {
            if !b"'\"\\".contains(&b) {
                word.push(b);
            }
            i += 1;
        }
        self.pending.push((word, tabs));
        self.at += 1;
    }

    /// True when a here-document's end mark is being written here.
    fn heredoc_word(&self, at: usize) -> bool {
        let line = self.bytes[..at].rsplit(|b| *b == b'\n').next().unwrap_or_default();
        let tail: Vec<u8> = line.iter().rev().take_while(|b| !b" \t".contains(b)).copied().collect();
        tail.ends_with(b"<<")
            || tail.ends_with(b"-<<")
            || (tail.is_empty() && {
                let t = line.trim_ascii_end();
                t.ends_with(b"<<") || t.ends_with(b"<<-")
            })
    }

    /// One line of a here-document's body.
    fn heredoc_line(&mut self) {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = &rest[..length];
        let ends = self.pending.first().is_none_or(|(word, tabs)| {
            let line = if *tabs { line.iter().position(|b| *b != b'\t').map_or(&line[..0], |i| &line[i..]) } else { line };
            line == &word[..]
        });
        if ends {
            if !self.pending.is_empty() {
                self.pending.remove(0);
            }
            if self.pending.is_empty() {
                self.stack.pop();
                self.word_start = true;
            }
            self.at += length + 1;
        } else {
            // Step byte by byte so that an expression inside the body is met in this context.
            self.at += 1;
            while self.at < self.bytes.len() && self.bytes[self.at - 1] != b'\n' && !self.bytes[self.at..].starts_with(b"{{") {
                self.at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(script: &str) -> (String, Vec<&'static str>) {
        let found =
            crate::expand::template::expressions(script).map(|f| f.iter().map(|e| (e.0, e.1)).collect::<Vec<_>>()).unwrap_or_default();
        let (text, problems) = rewrite(script, &found);
        (text, problems.into_iter().map(|p| p.place).collect())
    }

    #[test]
    fn a_value_is_one_word_in_every_quoting() {
        assert_eq!(rewritten("echo {{ a }}").0, "echo \"${OPPEN_VALUE_1}\"");
        assert_eq!(rewritten("echo \"x {{ a }}\"").0, "echo \"x ${OPPEN_VALUE_1}\"");
        assert_eq!(rewritten("echo 'x {{ a }} y'").0, "echo 'x '\"${OPPEN_VALUE_1}\"' y'");
        assert_eq!(rewritten("echo \"$(f {{ a }})\"").0, "echo \"$(f \"${OPPEN_VALUE_1}\")\"");
        assert_eq!(rewritten("(a; b {{ a }}) # c\necho {{ b }}").0, "(a; b \"${OPPEN_VALUE_1}\") # c\necho \"${OPPEN_VALUE_2}\"");
        assert_eq!(rewritten("echo a#b {{ a }} \\' {{ b }}").1, Vec::<&str>::new());
        assert_eq!(rewritten("cat <<E\nx\nE\necho {{ a }}").1, Vec::<&str>::new());
    }

    #[test]
    fn says_where_it_cannot_be_assured() {
        for (script, place) in [
            ("echo x # {{ a }}", "a comment"),
            ("cat <<E\n a {{ a }}\nE\n", "a here-document"),
            ("cat <<-'E'\n\t{{ a }}\n\tE\n", "a here-document"),
            ("cat <<{{ a }}\n", "the end mark of a here-document"),
            ("echo ${x:-{{ a }}}", "`${ }`"),
            ("echo $(( {{ a }} + 1 ))", "`$(( ))`"),
            ("echo `f {{ a }}`", "backquotes"),
            ("echo ${{ a }}", "a name after `$`"),
        ] {
            assert_eq!(rewritten(script).1, [place], "{script}");
        }
    }
}
