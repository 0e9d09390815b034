//! The command of a job: compiled once, filled in for each run.

use std::sync::Arc;

use super::shell;
use super::slot::Compile;
use super::template::{RenderError, Scope, Template, expressions, narrow};
use crate::base::{Diagnostic, Diagnostics, Span};
use crate::record::{Arg, CommandLine};
use crate::spec::scalar::Templ;
use crate::spec::types::{RunText, Text};

/// Words of a command whose templates are checked.
#[derive(Debug)]
pub struct Command {
    argv: Vec<Template>,
    vars: Vec<(Arc<str>, Template)>,
}

impl Command {
    /// Checks a `run`.
    pub fn compile(run: &RunText, cx: Compile<'_>, diags: &mut Diagnostics) -> Option<Self> {
        match run {
            RunText::Argv(words, span) => argv(words, *span, cx, diags),
            RunText::Script(text, span) => script(text, *span, cx, diags),
        }
    }

    /// Words that wait for results of needs, or for params where these are `open`.
    pub fn late(&self, open: bool) -> impl Iterator<Item = &Template> {
        self.argv.iter().chain(self.vars.iter().map(|(_, t)| t)).filter(move |t| t.is_late() || (open && t.is_per_run()))
    }

    /// The words of one run.
    /// `open`: what depends on params stays a template.
    pub fn render(&self, scope: Scope<'_>, open: bool) -> Result<CommandLine, (Span, RenderError)> {
        let argv = self.argv.iter().map(|t| word(t, scope, open)).collect::<Result<Vec<_>, _>>()?;
        let vars = self.vars.iter().map(|(n, t)| word(t, scope, open).map(|w| (Arc::clone(n), w))).collect::<Result<Vec<_>, _>>()?;
        Ok(CommandLine { argv, vars })
    }
}

/// A word of one run: known now, or the template when it waits for needs or for params.
pub fn word(template: &Template, scope: Scope<'_>, open: bool) -> Result<Arg, (Span, RenderError)> {
    if template.is_late() || (open && template.is_per_run()) {
        return Ok(Arg::Late(Arc::clone(&template.source)));
    }
    template.word(scope).map(Arg::Text).map_err(|words| (template.span(), words))
}

/// Compiles a text, template or not.
pub fn text_template(text: &Text, cx: Compile<'_>, diags: &mut Diagnostics) -> Option<Template> {
    let (Templ::Known(text, span) | Templ::Template(text, span)) = text;
    Template::compile(text, *span, cx.names, cx.sources, diags)
}

fn argv(words: &[Text], span: Span, cx: Compile<'_>, diags: &mut Diagnostics) -> Option<Command> {
    let first = words.first().map(|(Templ::Known(t, _) | Templ::Template(t, _))| t);
    if first.is_none_or(|t| t.is_empty()) {
        diags.push(Diagnostic::error("empty-command", span, "the command has no program").hint("write `run: [python, train.py]`"));
        return None;
    }
    let argv: Vec<Option<Template>> = words.iter().map(|w| text_template(w, cx, diags)).collect();
    argv.into_iter().collect::<Option<Vec<_>>>().map(|argv| Command { argv, vars: Vec::new() })
}

/// A script keeps its text; each value becomes a variable that the text refers to, so that no value is ever parsed.
fn script(text: &Arc<str>, span: Span, cx: Compile<'_>, diags: &mut Diagnostics) -> Option<Command> {
    if text.trim().is_empty() {
        diags.push(Diagnostic::error("empty-command", span, "the script is empty").hint("write `run: python train.py`"));
        return None;
    }
    let found = match expressions(text) {
        Ok(found) => found,
        Err((at, words)) => {
            diags.push(Diagnostic::error("template", narrow(span, text, at, at + 2, cx.sources), words).hint("write `{{ params.name }}`"));
            return None;
        }
    };
    let mut vars = Vec::new();
    for (index, (start, end, _)) in found.iter().enumerate() {
        let piece: Arc<str> = text.get(*start..*end).unwrap_or_default().into();
        let at = narrow(span, text, *start, *end, cx.sources);
        let template = Template::compile(&piece, at, cx.names, cx.sources, diags);
        vars.push(template.map(|t| (Arc::<str>::from(shell::variable(index)), t)));
    }
    let ranges: Vec<(usize, usize)> = found.iter().map(|(s, e, _)| (*s, *e)).collect();
    let (rewritten, problems) = shell::rewrite(text, &ranges);
    for problem in &problems {
        let (start, end, inner) = found.get(problem.index).copied().unwrap_or_default();
        let at = narrow(span, text, start, end, cx.sources);
        let hint = match inner.strip_prefix("params.") {
            Some(name) => format!("use the variable instead: \"$OPPEN_PARAM_{}\"", variable_name(name)),
            None => format!("set it under `env`, as `NAME: \"{{{{ {inner} }}}}\"`, and write \"$NAME\""),
        };
        diags.push(
            Diagnostic::error("unsafe-value", at, format!("a value in {} cannot be kept apart from the script", problem.place)).hint(hint),
        );
    }
    let vars = vars.into_iter().collect::<Option<Vec<_>>>().filter(|_| problems.is_empty())?;
    let constant = |text: &str| Template::literal(text, span);
    Some(Command { argv: vec![constant("/bin/sh"), constant("-ec"), constant(&rewritten)], vars })
}

/// A param's name as part of a variable's: upper case, everything odd as `_`.
pub fn variable_name(param: &str) -> String {
    param.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
