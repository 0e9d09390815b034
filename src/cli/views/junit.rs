//! JUnit XML, in the shape that Jenkins, GitLab and GitHub's reporters read: a test case for everything that was looked at.

use std::fmt::Write as _;

use super::{Finding, Found, Level};
use crate::base::text::escape;

/// One suite. A finding is a case of its own, since a case has one failure.
#[must_use]
pub fn text(found: &Found) -> String {
    let failures = found.findings.iter().filter(|f| f.level == Level::Error).count();
    let about = |name: &str| found.findings.iter().any(|f| f.subject == name || f.at.as_ref().is_some_and(|a| a.file == name));
    let fine: Vec<&String> = found.looked_at.iter().filter(|name| !about(name)).collect();
    let total = fine.len() + found.findings.len();
    let suite = attribute(&format!("oppen {}", found.command));
    let counts = format!("tests=\"{total}\" failures=\"{failures}\" errors=\"0\"");
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"oppen\" {counts}>\n");
    let _ = writeln!(out, "  <testsuite name=\"{suite}\" {counts} skipped=\"0\" time=\"0\">");
    for name in fine {
        let _ = writeln!(out, "    <testcase classname=\"{suite}\" name=\"{}\" time=\"0\"/>", attribute(name));
    }
    for finding in &found.findings {
        case(&mut out, finding, &suite);
    }
    out + "  </testsuite>\n</testsuites>\n"
}

fn case(out: &mut String, finding: &Finding, suite: &str) {
    let place = finding.at.as_ref().map(|a| format!("{}:{}:{}", a.file, a.line, a.column));
    let subject = if finding.subject.is_empty() { place.clone().unwrap_or_default() } else { finding.subject.clone() };
    let name = attribute(format!("{} {subject}", finding.rule).trim_end());
    let file = finding.at.as_ref().map(|a| format!(" file=\"{}\" line=\"{}\"", attribute(&a.file), a.line)).unwrap_or_default();
    let mut body = escape(&finding.sentence()).into_owned();
    if let Some(place) = place {
        let _ = write!(body, "\nat {}", escape(&place));
    }
    if !finding.hint.is_empty() {
        let _ = write!(body, "\nhelp: {}", escape(&finding.hint));
    }
    let (message, body) = (attribute(&finding.sentence()), xml(&body));
    let _ = writeln!(out, "    <testcase classname=\"{suite}\" name=\"{name}\"{file} time=\"0\">");
    let _ = match finding.level {
        Level::Error => writeln!(out, "      <failure type=\"{}\" message=\"{message}\">{body}</failure>", attribute(&finding.rule)),
        Level::Warning => writeln!(out, "      <system-out>warning: {body}</system-out>"),
    };
    out.push_str("    </testcase>\n");
}

/// Text between tags. XML 1.0 has no way to write most control characters: they are shown escaped.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn attribute(text: &str) -> String {
    let shown: String = escape(text).chars().map(|c| if matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c }).collect();
    xml(&shown).replace('"', "&quot;")
}
