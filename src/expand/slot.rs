//! Settings that may be templates: compiled once for a job, read for each run.

use std::sync::Arc;

use super::template::{Names, Scope, Template, push_word};
use crate::base::{Diagnostic, Diagnostics, SourceMap, Span, Value};
use crate::spec::lower::Named;
use crate::spec::scalar::{Scalar, Templ, is_template};
use crate::spec::types::Text;

/// What templates are compiled in.
#[derive(Clone, Copy)]
pub struct Compile<'a> {
    /// Names that may be used.
    pub names: &'a Names,
    /// For places inside scalars.
    pub sources: &'a SourceMap,
}

/// A setting: its value, or the template that gives it.
#[derive(Debug, Clone)]
pub enum Slot<T> {
    /// Written out.
    Known(T, Span),
    /// Read from a template for each run.
    Rendered(Template),
}

impl<T: Scalar + Clone> Slot<T> {
    /// Checks the template, if it is one.
    pub fn compile(text: &Templ<T>, cx: Compile<'_>, diags: &mut Diagnostics) -> Option<Self> {
        match text {
            Templ::Known(value, span) => Some(Self::Known(value.clone(), *span)),
            Templ::Template(text, span) => Template::compile(text, *span, cx.names, cx.sources, diags).map(Self::Rendered),
        }
    }

    /// Where it is written.
    pub fn span(&self) -> Span {
        match self {
            Self::Known(_, span) => *span,
            Self::Rendered(template) => template.span(),
        }
    }

    /// True when other params give another value.
    pub fn is_per_run(&self) -> bool {
        matches!(self, Self::Rendered(t) if t.is_per_run())
    }

    /// The value for one run.
    pub fn get(&self, scope: Scope<'_>, diags: &mut Diagnostics) -> Option<T> {
        let template = match self {
            Self::Known(value, _) => return Some(value.clone()),
            Self::Rendered(template) => template,
        };
        let mut word = String::new();
        let problem = match template.value(scope) {
            Err(words) => words,
            Ok(value) => {
                push_word(&mut word, &value);
                match T::read(&word, true) {
                    Ok(value) => return Some(value),
                    Err(words) => words.unwrap_or_else(|| format!("gives `{}`", crate::base::text::escape(&word))),
                }
            }
        };
        diags.push(Diagnostic::error("template", template.span(), problem).hint(format!("expected {}", T::EXPECTED)));
        None
    }
}

/// An optional setting: the job's own, or the default's.
pub fn pick<T: Scalar + Clone>(
    own: Option<&Templ<T>>,
    default: Option<&Templ<T>>,
    cx: Compile<'_>,
    diags: &mut Diagnostics,
) -> Option<Slot<T>> {
    own.or(default).and_then(|t| Slot::compile(t, cx, diags))
}

/// Named texts: the defaults' and the job's own, which win.
pub fn merged<'a>(default: Option<&'a Named<Text>>, own: &'a Named<Text>) -> Vec<(&'a Arc<str>, Span, &'a Text)> {
    let mut all: Vec<(&Arc<str>, Span, &Text)> = Vec::new();
    for (name, span, text) in default.into_iter().flat_map(Named::iter).chain(own.iter()) {
        match all.iter_mut().find(|(n, _, _)| *n == name) {
            Some(slot) => *slot = (name, *span, text),
            None => all.push((name, *span, text)),
        }
    }
    all
}

/// Renders a value of the typed tree over a workflow's inputs, inside lists and mappings too.
pub fn render_tree(value: &Value, span: Span, cx: Compile<'_>, inputs: &Value, diags: &mut Diagnostics) -> Option<Value> {
    match value {
        Value::String(text) if is_template(text) => {
            let template = Template::compile(&text.as_str().into(), span, cx.names, cx.sources, diags)?;
            match template.value(Scope { inputs, params: &[], needs: None }) {
                Ok(value) => Some(value),
                Err(words) => {
                    diags.push(Diagnostic::error("template", span, words));
                    None
                }
            }
        }
        Value::Array(list) => list.iter().map(|v| render_tree(v, span, cx, inputs, diags)).collect::<Option<Vec<_>>>().map(Value::Array),
        Value::Object(map) => {
            let entries = map.iter().map(|(k, v)| render_tree(v, span, cx, inputs, diags).map(|v| (k.clone(), v)));
            entries.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
        }
        other => Some(other.clone()),
    }
}
