//! The full screen, drawn from the model.
//!
//! In: the model. Out: cells. Must never show foreign text unescaped (rows and lines come safe), never say a thing by color alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row as Cells, Table, TableState};

use super::super::words;
use super::model::{FILTERS, Model, Over, Tab, Theme};
use super::rows::{columns, note};
use crate::base::text::escape;
use crate::cli::output::{fit, wrap};
use crate::monitor::health::Level;
use crate::monitor::{Quality, Reading};

/// Smallest screen.
pub const SMALLEST: (u16, u16) = (60, 12);
/// From this width on, more columns.
const WIDE: u16 = 140;

/// What a state looks like: a sign that says it without color, and a color of the palette that color-blind people tell apart
/// (Okabe and Ito: blue, orange, vermillion, in the terminal's own 16 colors).
fn look(state: &str, theme: Theme) -> (&'static str, Style) {
    let (fancy, plain, color) = match state {
        "running" => ("▶", ">", Color::Blue),
        "launching" | "stopping" => ("◌", "~", Color::Blue),
        "pending" => ("…", ".", Color::Yellow),
        "paused" => ("‖", "=", Color::Yellow),
        "succeeded" => ("✓", "+", Color::Cyan),
        "failed" => ("✗", "x", Color::Magenta),
        "cancelled" | "skipped" => ("−", "-", Color::Magenta),
        _ => ("·", " ", Color::Reset),
    };
    let style = if theme.color { Style::new().fg(color) } else { Style::new() };
    (if theme.unicode { fancy } else { plain }, style)
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let words = format!("{} x {} is too small: {} x {} are needed. q leaves.", area.width, area.height, SMALLEST.0, SMALLEST.1);
        frame.render_widget(Paragraph::new(words).wrap(ratatui::widgets::Wrap { trim: true }), area);
        return;
    }
    let head = head(model, area.width);
    let [top, tabs, middle, bottom] = Layout::vertical([
        Constraint::Length(u16::try_from(head.len()).unwrap_or(3)),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    frame.render_widget(Paragraph::new(tab_line(model)), tabs);
    model.page = usize::from(middle.height.saturating_sub(2)).max(1);
    if model.tab == Tab::Logs {
        log(frame, middle, model)
    } else {
        table(frame, middle, model)
    }
    frame.render_widget(Paragraph::new(foot(model, area.width)), bottom);
    over(frame, middle, model);
}

/// What a person wants to know first.
fn head(model: &Model, width: u16) -> Vec<Line<'static>> {
    let (shot, wide, width) = (&model.shot, width >= 100, usize::from(width));
    let time = shot.at.utc().map(|t| t.format("%H:%M:%S UTC").to_string()).unwrap_or_default();
    let project = if shot.project.is_empty() { "no project".to_owned() } else { escape(&shot.project).into_owned() };
    let title = fit(&format!("{project} ({})", shot.backend), width.saturating_sub(48).max(20));
    let mut first = vec![Span::styled(title.clone(), bold()), Span::raw("  ")];
    first.extend(health(model));
    let used: usize = first.iter().map(Span::width).sum();
    let gap = width.saturating_sub(used + time.len());
    first.push(Span::raw(" ".repeat(gap)));
    first.push(Span::styled(time, dim()));
    let mut lines = vec![Line::from(first)];
    match &shot.record.value {
        None => lines.push(Line::raw(fit(&why(&shot.record), width))),
        Some(r) => {
            let queue = &r.queue;
            let paused = queue.paused_by.as_ref().map(|by| format!(", paused by {}", escape(by))).unwrap_or_default();
            let free = queue.next_free.map(|t| format!(", next slot {}", words::until(Some(t), model.now()))).unwrap_or_default();
            let week = if wide { format!(", {} in 7 days", words::dollars(r.spend.week)) } else { String::new() };
            let line = format!(
                "{} of {} running, {} waiting for {}{paused}{free}; spent {} today{week}",
                queue.running,
                queue.slots,
                queue.waiting,
                words::dollars(queue.pending_cost),
                words::dollars(r.spend.today)
            );
            lines.push(Line::raw(fit(&line, width)));
        }
    }
    let far = shot.backend != "local";
    let machines = shot.totals.as_ref().map(|t| words::machines(t, wide).join("; "));
    let place = machines.unwrap_or_else(|| if far { why(&shot.cluster) } else { why(&shot.machine) });
    lines.push(Line::styled(fit(&place, width), dim()));
    if let Some(line) = stale(model) {
        lines.push(Line::styled(fit(&format!("! {line}"), width), warn(model.theme)));
    }
    lines
}

fn warn(theme: Theme) -> Style {
    if theme.color { bold().fg(Color::Yellow) } else { bold() }
}

fn why<T>(reading: &Reading<T>) -> String {
    format!("{}: {}", reading.source, escape(reading.why.as_deref().unwrap_or("not asked yet")))
}

/// What is old or missing, once.
fn stale(model: &Model) -> Option<String> {
    fn one<T>(r: &Reading<T>) -> Option<String> {
        let age = r.age_ms.map(|a| format!("{a} old: ")).unwrap_or_default();
        let asked = r.why.as_deref().is_some_and(|w| w != "not answered yet");
        (matches!(r.quality, Quality::Stale | Quality::Failed) && asked)
            .then(|| format!("{}: {age}{}", r.source, escape(r.why.as_deref().unwrap_or_default())))
    }
    let shot = &model.shot;
    let record = one(&shot.record).filter(|_| shot.record.value.is_some());
    record
        .or_else(|| one(&shot.cluster))
        .or_else(|| one(&shot.usage))
        .or_else(|| one(&shot.gpus))
        .or_else(|| one(&shot.cluster_gpus))
        .or_else(|| one(&shot.tracking))
        .or_else(|| one(&shot.machine))
}

fn health(model: &Model) -> Vec<Span<'static>> {
    let Some(report) = &model.health else { return vec![Span::styled("health is looked at", dim())] };
    let (problems, warnings) = (report.count(Level::Problem), report.count(Level::Warning));
    let (state, words) = match (problems, warnings) {
        (0, 0) => ("succeeded", "healthy".to_owned()),
        (0, n) => ("pending", format!("{n} warning{}", if n == 1 { "" } else { "s" })),
        (n, _) => ("failed", format!("{n} problem{}: h tells", if n == 1 { "" } else { "s" })),
    };
    let (sign, style) = look(state, model.theme);
    vec![Span::styled(format!("{sign} {words}"), style)]
}

fn tab_line(model: &Model) -> Line<'static> {
    let mut spans = Vec::new();
    for (i, tab) in Tab::ALL.iter().enumerate() {
        let style = if *tab == model.tab { bold().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!(" {} {} ", i + 1, tab.word()), style));
        spans.push(Span::raw(" "));
    }
    let (sort, reversed) = model.sort.get(model.at()).copied().unwrap_or_default();
    let mut parts = Vec::new();
    if model.tab == Tab::Runs && model.filter > 0 {
        parts.push(format!("only {}", FILTERS.get(model.filter).copied().unwrap_or_default()));
    }
    if sort > 0 || reversed {
        parts.push(format!("by {}{}", model.tab.sorts().get(sort).copied().unwrap_or_default(), if reversed { ", reversed" } else { "" }));
    }
    spans.push(Span::styled(parts.join(", "), dim()));
    Line::from(spans)
}

fn table(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let note = note(model);
    let [area, below] = Layout::vertical([Constraint::Min(2), Constraint::Length(u16::from(note.is_some()))]).areas(area);
    frame.render_widget(Paragraph::new(Line::styled(fit(&note.unwrap_or_default(), usize::from(below.width)), dim())), below);
    let wide = area.width >= WIDE;
    let columns = columns(model.tab, wide);
    let rows = model.rows();
    if rows.is_empty() {
        let words = match model.tab {
            _ if model.shot.record.value.is_none() && model.tab != Tab::Cluster => why(&model.shot.record),
            _ if !model.search.is_empty() => format!("nothing here matches `{}`; Esc shows all", escape(&model.search)),
            Tab::Runs => "no runs".to_owned(),
            Tab::Queue => "nothing waits".to_owned(),
            Tab::Sweeps => "no sweep is under way".to_owned(),
            Tab::Costs => "no budgets: write `budget: {limit: 50 USD}` into oppen.yaml".to_owned(),
            Tab::Cluster | Tab::Logs => "nothing was seen".to_owned(),
        };
        frame.render_widget(Paragraph::new(Line::styled(fit(&words, usize::from(area.width)), dim())), area);
        return;
    }
    let fixed: u16 = columns.iter().map(|(_, w)| w + 1).sum();
    let left = area.width.saturating_sub(fixed).max(8);
    let width = |w: u16| if w == 0 { left } else { w };
    let header = Cells::new(columns.iter().map(|(name, _)| Cell::from(*name))).style(dim());
    let at = model.chosen.get(model.at()).copied().unwrap_or(0).min(rows.len() - 1);
    let names = picked(model.tab, wide);
    let body = rows.iter().map(|row| {
        let (sign, style) = look(&row.state, model.theme);
        Cells::new(columns.iter().enumerate().map(|(i, (name, w))| {
            let text = names.get(i).and_then(|n| row.cells.get(*n)).cloned().unwrap_or_default();
            let room = usize::from(width(*w));
            if *name == "STATE" { Cell::from(fit(&format!("{sign} {text}"), room)).style(style) } else { Cell::from(fit(&text, room)) }
        }))
    });
    let widths = columns.iter().map(|(_, w)| Constraint::Length(width(*w)));
    let table =
        Table::new(body, widths).header(header).column_spacing(1).row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::default().with_selected(Some(at));
    let page = model.page.max(1);
    *state.offset_mut() = (at / page) * page;
    frame.render_stateful_widget(table, area, &mut state);
}

/// Which cell of a row stands in which column.
const fn picked(tab: Tab, wide: bool) -> &'static [usize] {
    match (tab, wide) {
        (Tab::Runs, true) => &[0, 1, 9, 3, 10, 5, 6, 7, 8],
        (Tab::Sweeps, false) => &[0, 2, 3, 4, 6, 7],
        (Tab::Cluster, true) => &[0, 1, 6, 7, 4, 5],
        _ => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    }
}

fn log(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let log = &model.log;
    let [title, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let words = if log.address.is_empty() {
        "choose a run on another page and press l".to_owned()
    } else {
        let place = if log.up > 0 { format!("{} lines up; G goes to the end", log.up) } else { "follows".to_owned() };
        format!("output of {}: {place}", escape(&log.address))
    };
    frame.render_widget(Paragraph::new(Line::styled(fit(&words, usize::from(area.width)), dim())), title);
    if let Some(missing) = &log.missing {
        frame.render_widget(Paragraph::new(fit(missing, usize::from(area.width))), body);
        return;
    }
    let wanted = model.search.to_lowercase();
    let lines: Vec<&String> = log.lines.iter().filter(|l| wanted.is_empty() || l.to_lowercase().contains(&wanted)).collect();
    let end = lines.len().saturating_sub(log.up);
    let start = end.saturating_sub(usize::from(body.height));
    let shown: Vec<Line<'_>> =
        lines.get(start..end).unwrap_or_default().iter().map(|l| Line::raw(fit(l, usize::from(area.width)))).collect();
    frame.render_widget(Paragraph::new(shown), body);
}

fn foot(model: &Model, width: u16) -> Line<'static> {
    let width = usize::from(width);
    if model.typing {
        return Line::raw(fit(&format!("/{}_   Enter keeps it, Esc shows all", escape(&model.search)), width));
    }
    if !model.message.is_empty() {
        return Line::styled(fit(&model.message, width), bold());
    }
    let keys = match model.tab {
        Tab::Logs => "up/down scroll  G end  / search  e explain  c cancel  ? help  q quit",
        Tab::Runs => "Enter explain  l log  c cancel  r retry  p priority  f filter  s sort  / ? q",
        Tab::Queue => "Enter explain  c cancel  p priority  s sort  / search  ? help  q quit",
        _ => "up/down choose  s sort  / search  1-6 pages  h health  ? help  q quit",
    };
    let searched = if model.search.is_empty() { String::new() } else { format!("/{}  ", escape(&model.search)) };
    Line::styled(fit(&format!("{searched}{keys}"), width), dim())
}

const HELP: [&str; 17] = [
    "1 to 6, Tab      pages: runs, queue, sweeps, costs, cluster, logs",
    "up, down, j, k   choose a row; PgUp, PgDn, g, G go further",
    "Enter, e         explain the chosen run",
    "l                follow its output",
    "c                cancel it (asks first)",
    "r                run it again (asks first)",
    "p                change its priority while it waits (asks first)",
    "h                health: each finding and what to do",
    "f                runs: all, running, waiting, failed, ended",
    "s, S             sort by the next column; turn around",
    "/                search; Enter keeps it, Esc shows all again",
    "R, Ctrl-L        look again now, draw anew",
    "q, Ctrl-C        leave; what runs goes on",
    "",
    "> running   . waiting   + succeeded   x failed   - cancelled, skipped",
    "~ starts or ends   = paused",
    "Figures are as old as the time above says; what is older says so.",
];

fn over(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let Some(over) = &model.over else { return };
    let room = usize::from(area.width.saturating_sub(6)).min(100);
    let (title, lines, at): (String, Vec<String>, usize) = match over {
        Over::Help => ("Keys".to_owned(), HELP.iter().map(|l| signs(l, model.theme)).collect(), 0),
        Over::Confirm(_, question) => {
            let mut lines = wrap(question, room);
            lines.extend([String::new(), "y does it, n or Esc does not".to_owned()]);
            ("Sure?".to_owned(), lines, 0)
        }
        Over::Priorities(address, at) => {
            let mark = |i: usize| if i == *at { ">" } else { " " };
            let mut lines: Vec<String> = model.classes.iter().enumerate().map(|(i, c)| format!("{} {}", mark(i), escape(c))).collect();
            lines.extend([String::new(), "up, down choose; Enter takes it; Esc leaves".to_owned()]);
            (format!("Priority of {}", escape(address)), lines, 0)
        }
        Over::Text(title, lines, at) => (title.clone(), lines.iter().flat_map(|l| broken(l, room)).collect(), *at),
    };
    let height = u16::try_from(lines.len().saturating_add(2)).unwrap_or(u16::MAX).min(area.height);
    let width = u16::try_from(lines.iter().map(|l| l.chars().count()).max().unwrap_or(0).max(title.chars().count() + 2).saturating_add(4))
        .unwrap_or(area.width)
        .min(area.width);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let inside = usize::from(height.saturating_sub(2));
    let at = at.min(lines.len().saturating_sub(inside));
    let more = if lines.len() > inside {
        format!(" {}-{} of {}, Esc closes ", at + 1, (at + inside).min(lines.len()), lines.len())
    } else {
        " Esc closes ".to_owned()
    };
    let set = if model.theme.unicode { ratatui::symbols::border::PLAIN } else { ASCII };
    let block = Block::new()
        .borders(Borders::ALL)
        .border_set(set)
        .title(fit(&format!(" {title} "), usize::from(width.saturating_sub(2))))
        .title_bottom(more);
    let shown: Vec<Line<'_>> =
        lines.iter().skip(at).take(inside).map(|l| Line::raw(fit(&format!(" {l}"), usize::from(width.saturating_sub(2))))).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(shown).block(block), place);
}

/// The legend's signs as they are drawn.
fn signs(line: &str, theme: Theme) -> String {
    if !theme.unicode || !line.starts_with(['>', '~']) {
        return line.to_owned();
    }
    let pairs = [
        ("> running", "running"),
        (". waiting", "pending"),
        ("+ succeeded", "succeeded"),
        ("x failed", "failed"),
        ("- cancelled", "cancelled"),
        ("~ starts", "launching"),
        ("= paused", "paused"),
    ];
    pairs.iter().fold(line.to_owned(), |line, (plain, state)| {
        let words = plain.get(1..).unwrap_or_default();
        line.replace(plain, &format!("{}{words}", look(state, theme).0))
    })
}

/// A long line in pieces; what stands in front stays there.
fn broken(line: &str, room: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    if line.trim().is_empty() {
        return vec![String::new()];
    }
    wrap(line.trim_start(), room.saturating_sub(indent.len() + 2).max(10)).into_iter().map(|l| format!("{indent}{l}")).collect()
}

const ASCII: ratatui::symbols::border::Set<'static> = ratatui::symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};
