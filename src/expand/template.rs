//! Templates: minijinja expressions over the typed tree, one pass, strict.
//!
//! In: the text of a scalar and the values it may use. Out: typed values or words. A rendered value is never parsed again.

use std::sync::{Arc, LazyLock};

use minijinja::{Environment, UndefinedBehavior};

use crate::base::{Diagnostic, Diagnostics, SourceMap, Span, Value, suggest};

/// Longest text that a template may render to, in bytes.
pub const MAX_RENDERED: usize = 1 << 20;

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(100_000));
    env.set_recursion_limit(64);
    env
});

/// What names a template may use, checked once for each template.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Declared inputs.
    pub inputs: Vec<Arc<str>>,
    /// Params of the job, in their order.
    pub params: Vec<Arc<str>>,
    /// Needs of the job as written; `needs.NAME` may use them. None where nothing is known of needs (late words cannot stand).
    pub needs: Option<Vec<Arc<str>>>,
}

/// The values for one run.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The workflow's inputs.
    pub inputs: &'a Value,
    /// Params in the order of [`Names::params`].
    pub params: &'a [(Arc<str>, Value)],
    /// Results of the needs, when they are known.
    pub needs: Option<&'a Value>,
}

/// A template, parsed once.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
    /// The text as written.
    pub source: Arc<str>,
    span: Span,
    late: bool,
    per_run: bool,
    uses: Vec<Arc<str>>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(Arc<str>),
    Expr(Expr),
}

/// One expression.
#[derive(Debug, Clone)]
pub struct Expr {
    text: Arc<str>,
    quick: Quick,
    /// Place of the braces in the source text.
    range: (usize, usize),
    per_run: bool,
    /// Inputs that it uses; an empty name stands for all of them.
    inputs: Box<[Arc<str>]>,
    /// Names after `params.` and `inputs.`, whole, with their root; the root alone where all of them are meant.
    uses: Vec<Arc<str>>,
}

#[derive(Debug, Clone)]
enum Quick {
    Param(usize),
    Input(Arc<str>),
    Full(Arc<minijinja::Expression<'static, 'static>>),
}

/// A problem of rendering, in words.
pub type RenderError = String;

/// Start and end of an expression's braces, and what stands between them.
pub type Stretch<'t> = (usize, usize, &'t str);

/// Splits a text into literal stretches and expressions: `(start, end, inner)` of every `{{ }}`.
///
/// # Errors
/// Byte place and words of what is wrong.
pub fn expressions(text: &str) -> Result<Vec<Stretch<'_>>, (usize, &'static str)> {
    // `${#name}` is the shell's word for a length.
    let statement = |m: &str| text.match_indices(m).map(|(i, _)| i).find(|i| !text[..*i].ends_with('$'));
    if let Some(at) = statement("{%").or_else(|| statement("{#")) {
        return Err((
            at,
            "statements (`{% %}`) and comments (`{# #}`) cannot stand in a value; use an expression such as `{{ a if b else c }}`",
        ));
    }
    let (bytes, mut found, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(start) = text[at..].find("{{").map(|i| i + at) {
        // A closing brace belongs to a mapping of the expression as long as one is open; what follows `}}` is text.
        let (mut i, mut quote, mut open) = (start + 2, None, 0_usize);
        let end = loop {
            match (bytes.get(i), quote) {
                (None, _) => return Err((start, "`{{` is never closed by `}}`")),
                (Some(b'\\'), Some(_)) => i += 1,
                (Some(c), Some(q)) if *c == q => quote = None,
                (Some(c @ (b'"' | b'\'')), None) => quote = Some(*c),
                (Some(b'{'), None) => open += 1,
                (Some(b'}'), None) if open > 0 => open -= 1,
                (Some(b'}'), None) if bytes.get(i + 1) == Some(&b'}') => break i,
                _ => {}
            }
            i += 1;
        };
        found.push((start, end + 2, text[start + 2..end].trim_matches('-').trim()));
        at = end + 2;
    }
    Ok(found)
}

impl Template {
    /// Parses and checks a template. Problems go to `diags`.
    pub fn compile(text: &Arc<str>, span: Span, names: &Names, sources: &SourceMap, diags: &mut Diagnostics) -> Option<Self> {
        let found = match expressions(text) {
            Ok(found) => found,
            Err((at, words)) => {
                let at = narrow(span, text, at, at + 2, sources);
                diags.push(Diagnostic::error("template", at, words).hint("write `{{ inputs.name }}` or `{{ params.name }}`"));
                return None;
            }
        };
        let mut template = Self { parts: Vec::new(), source: Arc::clone(text), span, late: false, per_run: false, uses: Vec::new() };
        let mut last = 0;
        for (start, end, inner) in found {
            if start > last {
                template.parts.push(Part::Text(text[last..start].into()));
            }
            let at = narrow(span, text, start, end, sources);
            let (expr, late) = Expr::compile(inner, (start, end), at, names, diags)?;
            template.late |= late;
            template.per_run |= expr.per_run;
            template.uses.extend(expr.uses.iter().cloned());
            template.parts.push(Part::Expr(expr));
            last = end;
        }
        if last < text.len() {
            template.parts.push(Part::Text(text[last..].into()));
        }
        Some(template)
    }

    /// A text that is no template, whatever it holds.
    #[must_use]
    pub fn literal(text: &str, span: Span) -> Self {
        let text: Arc<str> = text.into();
        Self { parts: vec![Part::Text(Arc::clone(&text))], source: text, span, late: false, per_run: false, uses: Vec::new() }
    }

    /// True when it waits for results of needs.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// Inputs that it uses; an empty name stands for all of them.
    pub fn inputs(&self) -> impl Iterator<Item = &Arc<str>> {
        self.parts.iter().flat_map(|p| match p {
            Part::Text(_) => &[][..],
            Part::Expr(expr) => &expr.inputs,
        })
    }

    /// True when it gives another value for other params.
    #[must_use]
    pub fn is_per_run(&self) -> bool {
        self.per_run
    }

    /// The names that it uses, such as `params.lr`; a root alone where all of them are meant.
    #[must_use]
    pub fn uses(&self) -> &[Arc<str>] {
        &self.uses
    }

    /// Where it is written.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// True when it is a plain text without an expression.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|p| matches!(p, Part::Text(_)))
    }

    /// The value: typed when the template is one expression, else a text.
    ///
    /// # Errors
    /// What could not be evaluated.
    pub fn value(&self, scope: Scope<'_>) -> Result<Value, RenderError> {
        match &self.parts[..] {
            [Part::Expr(expr)] => expr.value(scope),
            _ => self.word(scope).map(|w| Value::String(w.to_string())),
        }
    }

    /// The value as a word of a command.
    ///
    /// # Errors
    /// What could not be evaluated, or that the result is too long or holds a NUL.
    pub fn word(&self, scope: Scope<'_>) -> Result<Arc<str>, RenderError> {
        if let [Part::Text(text)] = &self.parts[..] {
            return Ok(Arc::clone(text));
        }
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expr(expr) => push_word(&mut out, &expr.value(scope)?),
            }
            if out.len() > MAX_RENDERED {
                return Err(format!("renders to more than {MAX_RENDERED} bytes"));
            }
        }
        if out.contains('\0') {
            return Err("renders to text with a NUL character, which cannot be passed to a program".to_owned());
        }
        Ok(out.into())
    }
}

/// Params as a mapping; members of groups, called `group.member`, stand in a mapping of the group.
pub fn nested<'p>(params: impl Iterator<Item = (&'p Arc<str>, &'p Value)>) -> serde_json::Map<String, Value> {
    let mut all = serde_json::Map::new();
    for (name, value) in params {
        let mut parts = name.split('.').peekable();
        let mut at = &mut all;
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                at.insert(part.to_owned(), value.clone());
                break;
            }
            match at.entry(part).or_insert_with(|| Value::Object(serde_json::Map::new())) {
                Value::Object(inner) => at = inner,
                _ => break,
            }
        }
    }
    all
}

/// A value as the word a program gets: text as it is, numbers in their shortest form, lists and mappings as JSON.
pub fn push_word(out: &mut String, value: &Value) {
    use std::fmt::Write as _;
    match value {
        Value::String(text) => out.push_str(text),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

impl Expr {
    fn compile(text: &str, range: (usize, usize), at: Span, names: &Names, diags: &mut Diagnostics) -> Option<(Self, bool)> {
        if text.is_empty() {
            diags.push(Diagnostic::error("template", at, "an empty expression").hint("write `{{ inputs.name }}` or `{{ params.name }}`"));
            return None;
        }
        let compiled = match ENGINE.compile_expression_owned(text.to_owned()) {
            Ok(compiled) => compiled,
            Err(error) => {
                let words = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
                diags.push(
                    Diagnostic::error("template", at, format!("not a valid expression: {words}"))
                        .hint("see the expressions page of minijinja; names are `inputs.X`, `params.X`, `needs.X`"),
                );
                return None;
            }
        };
        let mut late = false;
        let mut sound = true;
        let mut used: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
        used.sort_unstable();
        for name in &used {
            match check_name(name, names) {
                Ok(is_late) => late |= is_late,
                Err((words, hint)) => {
                    diags.push(Diagnostic::error("unknown-name", at, words).maybe_hint(hint));
                    sound = false;
                }
            }
        }
        let per_run = used.iter().any(|n| n == "params" || n.starts_with("params."));
        let inputs = used.iter().filter_map(|n| n.strip_prefix("inputs")).map(|n| n.trim_start_matches('.'));
        let inputs = inputs.map(|n| Arc::from(n.split('.').next().unwrap_or_default())).collect();
        let simple = |root: &str| text.strip_prefix(root).filter(|n| n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        let quick = match (simple("params."), simple("inputs.")) {
            (Some(name), _) => names.params.iter().position(|p| &**p == name).map(Quick::Param),
            (_, Some(name)) => Some(Quick::Input(name.into())),
            _ => None,
        };
        let quick = quick.unwrap_or_else(|| Quick::Full(Arc::new(compiled)));
        let uses = used.iter().map(|n| Arc::from(n.as_str())).collect();
        sound.then(|| (Self { text: text.into(), quick, range, per_run, inputs, uses }, late))
    }

    /// Byte range of the braces in the template's text.
    #[must_use]
    pub fn range(&self) -> (usize, usize) {
        self.range
    }

    fn value(&self, scope: Scope<'_>) -> Result<Value, RenderError> {
        match &self.quick {
            Quick::Param(index) => {
                scope.params.get(*index).map(|(_, v)| v.clone()).ok_or_else(|| format!("`{}` has no value here", self.text))
            }
            Quick::Input(name) => scope.inputs.get(&**name).cloned().ok_or_else(|| format!("`{}` has no value here", self.text)),
            Quick::Full(expression) => self.evaluate(expression, scope),
        }
    }

    fn evaluate(&self, expression: &minijinja::Expression<'_, '_>, scope: Scope<'_>) -> Result<Value, RenderError> {
        let params = nested(scope.params.iter().map(|(k, v)| (k, v)));
        let mut context = serde_json::Map::new();
        context.insert("inputs".to_owned(), scope.inputs.clone());
        context.insert("params".to_owned(), Value::Object(params));
        if let Some(needs) = scope.needs {
            context.insert("needs".to_owned(), needs.clone());
        }
        let result = expression.eval(minijinja::value::Serde(Value::Object(context))).map_err(|e| self.explain(&e))?;
        if result.is_undefined() {
            return Err(format!("`{}` is not defined", self.text));
        }
        let value = serde_json::to_value(&result).map_err(|e| format!("`{}` gives no value: {e}", self.text))?;
        match value {
            Value::Null if result.kind() == minijinja::value::ValueKind::Number => Err(format!("`{}` is not a finite number", self.text)),
            value => Ok(value),
        }
    }

    fn explain(&self, error: &minijinja::Error) -> String {
        let detail = error.detail().map_or_else(|| error.kind().to_string(), |d| format!("{}: {d}", error.kind()));
        format!("`{}` cannot be evaluated: {detail}", self.text)
    }
}

fn check_name(name: &str, names: &Names) -> Result<bool, (String, Option<String>)> {
    let mut parts = name.split('.');
    let (root, first) = (parts.next().unwrap_or_default(), parts.next());
    let group = |n: &Arc<str>, first: &str| n.strip_prefix(first).is_some_and(|rest| rest.starts_with('.'));
    let known = |list: &[Arc<str>], what: &str| match first {
        Some(first) if !list.iter().any(|n| &**n == first || group(n, first)) => Err((
            format!("there is no {what} `{first}`"),
            suggest::hint(first, list.iter().map(AsRef::as_ref)).or_else(|| Some(format!("declare it under `{root}`"))),
        )),
        _ => Ok(false),
    };
    match (root, &names.needs) {
        ("inputs", _) => known(&names.inputs, "input"),
        ("params", _) => known(&names.params, "param").map_err(|(words, hint)| {
            (words, hint.map(|h| h.replace("declare it under `params`", "params come from `matrix` and `sweep.parameters`")))
        }),
        ("needs", Some(needs)) => {
            known(needs, "need").map_err(|(words, _)| (words, Some("name the job under `needs`".to_owned()))).map(|_| true)
        }
        ("needs", None) => Err(("results of needs are not known here".to_owned(), Some("they can be used in `run` and `env`".to_owned()))),
        ("range" | "dict", _) => Ok(false),
        // Loop variables never show up as undeclared; what is left is unknown.
        (other, _) => Err((format!("unknown name `{other}`"), suggest::hint(other, ["inputs", "params", "needs"]))),
    }
}

/// The span of a stretch inside a scalar, found again in the source so that quotes and indentation are right.
#[must_use]
pub fn narrow(span: Span, text: &str, start: usize, end: usize, sources: &SourceMap) -> Span {
    let Some(written) = sources.text(span.file).get(span.start as usize..span.end as usize) else { return span };
    let (Some(piece), Some(before)) = (text.get(start..end), text.get(..start)) else { return span };
    let nth = before.matches(piece).count();
    let Some((at, _)) = written.match_indices(piece).nth(nth) else { return span };
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Span { file: span.file, start: span.start + small(at), end: span.start + small(at + piece.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::FileId;
    use serde_json::json;

    const SPAN: Span = Span { file: FileId(0), start: 0, end: 0 };

    fn render(text: &str) -> Result<Value, String> {
        let names = Names { inputs: vec!["n".into(), "list".into()], params: vec!["lr".into(), "s".into()], needs: None };
        let mut diags = Diagnostics::default();
        let template = Template::compile(&text.into(), SPAN, &names, &SourceMap::default(), &mut diags);
        let Some(template) = template else {
            return Err(diags.as_slice().iter().map(|d| d.message.clone()).collect::<Vec<_>>().join("; "));
        };
        let params = [("lr".into(), json!(1e-5)), ("s".into(), json!("{{ inputs.n }}"))];
        template.value(Scope { inputs: &json!({"n": 3, "list": [1, 2]}), params: &params, needs: None })
    }

    #[test]
    fn one_expression_keeps_its_type_and_is_not_read_again() {
        assert_eq!(render("{{ inputs.n }}"), Ok(json!(3)));
        assert_eq!(render("{{ inputs.list }}"), Ok(json!([1, 2])));
        assert_eq!(render("{{ inputs.n * 2 + 1 }}"), Ok(json!(7)));
        assert_eq!(render("n={{ inputs.n }} lr={{ params.lr }}"), Ok(json!("n=3 lr=0.00001")));
        assert_eq!(render("{{ range(1, inputs.n + 1) | list }}"), Ok(json!([1, 2, 3])));
        assert_eq!(render("{{ params.s }}"), Ok(json!("{{ inputs.n }}")));
        assert_eq!(render("x {{ '}}' }} y"), Ok(json!("x }} y")));
        assert_eq!(render("{{ {'a': params.lr} | tojson }}"), Ok(json!("{\"a\": 0.00001}")));
        assert_eq!(render("{{ {'a': {'b': 1}}}}"), Ok(json!({"a": {"b": 1}})));
        assert_eq!(render("awk {x = {{ inputs.n }}}"), Ok(json!("awk {x = 3}")));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(render("{{ inputs.m }}"), Err("there is no input `m`".to_owned()));
        assert_eq!(render("{{ needs.a.best }}"), Err("results of needs are not known here".to_owned()));
        assert_eq!(render("{{ oops }}"), Err("unknown name `oops`".to_owned()));
        assert!(render("{{ inputs.n ").is_err());
        assert!(render("{% for x in y %}").is_err());
        assert!(render("{{ 'a' * 10000000 }}").is_err() || render("{{ 'a' * 10000000 }}!").is_err());
        assert!(render("{{ range(100000000) | list }}").is_err());
    }
}
