//! A key and what it does: state and key in, state and wish out. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{FILTERS, Log, Model, Over, Tab, Wish, told};
use crate::base::text::escape;

/// What a key does.
pub fn update(model: &mut Model, key: KeyEvent) -> Option<Wish> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Wish::Quit),
            KeyCode::Char('l') => Some(Wish::Refresh),
            KeyCode::Char('u') if model.typing => {
                model.search.clear();
                None
            }
            _ => None,
        };
    }
    model.message.clear();
    if model.typing {
        return typing(model, key.code);
    }
    if model.over.is_some() {
        return over(model, key.code);
    }
    if model.tab == Tab::Logs && scroll(model, key.code) {
        return None;
    }
    if moved(model, key.code) {
        return None;
    }
    page(model, key.code)
}

/// Keys while a search is typed.
fn typing(model: &mut Model, code: KeyCode) -> Option<Wish> {
    match code {
        KeyCode::Enter => model.typing = false,
        KeyCode::Esc => {
            model.typing = false;
            model.search.clear();
        }
        KeyCode::Backspace => {
            model.search.pop();
        }
        KeyCode::Char(c) if !c.is_control() && model.search.chars().count() < 100 => model.search.push(c),
        _ => {}
    }
    rechoose(model);
    None
}

/// After what is shown changed, the first row is chosen.
fn rechoose(model: &mut Model) {
    let at = model.at();
    if let Some(chosen) = model.chosen.get_mut(at) {
        *chosen = 0;
    }
}

/// Keys while something lies over the page.
fn over(model: &mut Model, code: KeyCode) -> Option<Wish> {
    let closes = matches!(code, KeyCode::Esc | KeyCode::Char('q'));
    let over = model.over.take()?;
    if closes {
        return None;
    }
    match (over, code) {
        // Only `y` agrees: nothing is ended by a key too many.
        (Over::Confirm(wish, _), KeyCode::Char('y' | 'Y')) => return Some(wish),
        (Over::Confirm(..), KeyCode::Char('n' | 'N')) => {}
        (Over::Help, _) => {}
        (Over::Priorities(address, at), code) => {
            let last = model.classes.len().saturating_sub(1);
            match code {
                KeyCode::Down | KeyCode::Char('j') => model.over = Some(Over::Priorities(address, (at + 1).min(last))),
                KeyCode::Up | KeyCode::Char('k') => model.over = Some(Over::Priorities(address, at.saturating_sub(1))),
                KeyCode::Enter => {
                    let class = model.classes.get(at)?.clone();
                    let words = format!("Give {} the priority {}? Its price follows.", escape(&address), escape(&class));
                    model.over = Some(Over::Confirm(Wish::Priority(address, class), words));
                }
                _ => model.over = Some(Over::Priorities(address, at)),
            }
        }
        (Over::Text(title, lines, at), code) => {
            let (page, last) = (model.page.max(1), lines.len().saturating_sub(1));
            let at = match code {
                KeyCode::Down | KeyCode::Char('j') => at + 1,
                KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
                KeyCode::PageDown | KeyCode::Char(' ') => at + page,
                KeyCode::PageUp => at.saturating_sub(page),
                KeyCode::Home | KeyCode::Char('g') => 0,
                KeyCode::End | KeyCode::Char('G') => last,
                KeyCode::Enter => return None,
                _ => at,
            };
            model.over = Some(Over::Text(title, lines, at.min(last)));
        }
        (over, _) => model.over = Some(over),
    }
    None
}

/// Keys that move through a log.
fn scroll(model: &mut Model, code: KeyCode) -> bool {
    let (page, most) = (model.page.max(1), model.log.lines.len().saturating_sub(1));
    let up = model.log.up;
    model.log.up = match code {
        KeyCode::Up | KeyCode::Char('k') => up + 1,
        KeyCode::Down | KeyCode::Char('j') => up.saturating_sub(1),
        KeyCode::PageUp => up + page,
        KeyCode::PageDown | KeyCode::Char(' ') => up.saturating_sub(page),
        KeyCode::Home | KeyCode::Char('g') => most,
        KeyCode::End | KeyCode::Char('G') => 0,
        _ => return false,
    }
    .min(most);
    true
}

/// Keys that choose a row.
fn moved(model: &mut Model, code: KeyCode) -> bool {
    let (last, page, at) = (model.rows().len().saturating_sub(1), model.page.max(1), model.at());
    let Some(chosen) = model.chosen.get_mut(at) else { return false };
    *chosen = match code {
        KeyCode::Down | KeyCode::Char('j') => *chosen + 1,
        KeyCode::Up | KeyCode::Char('k') => chosen.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ') => *chosen + page,
        KeyCode::PageUp => chosen.saturating_sub(page),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => last,
        _ => return false,
    }
    .min(last);
    true
}

fn go(model: &mut Model, by: usize) {
    let next = (model.at() + by) % Tab::ALL.len();
    model.tab = Tab::ALL.get(next).copied().unwrap_or(Tab::Runs);
}

/// All other keys.
fn page(model: &mut Model, code: KeyCode) -> Option<Wish> {
    match code {
        KeyCode::Char('q') => return Some(Wish::Quit),
        KeyCode::Char('?') | KeyCode::F(1) => model.over = Some(Over::Help),
        KeyCode::Char('h') => model.over = Some(Over::Text("Health".to_owned(), told(model.health.as_ref()), 0)),
        KeyCode::Char(c @ '1'..='6') => {
            let at = c.to_digit(10).map_or(0, |d| d as usize - 1);
            model.tab = Tab::ALL.get(at).copied().unwrap_or(model.tab);
        }
        KeyCode::Tab | KeyCode::Right => go(model, 1),
        KeyCode::BackTab | KeyCode::Left => go(model, Tab::ALL.len() - 1),
        KeyCode::Char('/') => model.typing = true,
        KeyCode::Esc => {
            model.search.clear();
            rechoose(model);
        }
        KeyCode::Char('f') if model.tab == Tab::Runs => {
            model.filter = (model.filter + 1) % FILTERS.len();
            rechoose(model);
        }
        KeyCode::Char('s') => {
            let (at, count) = (model.at(), model.tab.sorts().len());
            if let Some(sort) = model.sort.get_mut(at) {
                sort.0 = (sort.0 + 1) % count;
            }
        }
        KeyCode::Char('S') => {
            let at = model.at();
            if let Some(sort) = model.sort.get_mut(at) {
                sort.1 = !sort.1;
            }
        }
        KeyCode::Char('R') | KeyCode::F(5) => return Some(Wish::Refresh),
        _ => return act(model, code),
    }
    None
}

/// Keys about the chosen run.
fn act(model: &mut Model, code: KeyCode) -> Option<Wish> {
    let known = matches!(code, KeyCode::Enter | KeyCode::Char('e' | 'l' | 'c' | 'r' | 'p'));
    let chosen = model.row().filter(|r| r.is_run);
    let (address, state) = match chosen {
        Some(row) => (row.id, row.state),
        None if model.tab == Tab::Logs && !model.log.address.is_empty() => {
            let address = model.log.address.clone();
            let runs = model.shot.record.value.iter().flat_map(|r| r.running.iter().chain(&r.ended));
            let state = runs.filter(|r| r.address == address).map(|r| r.status.clone()).next().unwrap_or_default();
            (address, state)
        }
        None => {
            if known {
                "no run is chosen here".clone_into(&mut model.message);
            }
            return None;
        }
    };
    let shown = escape(&address).into_owned();
    let over = matches!(state.as_str(), "succeeded" | "failed" | "cancelled" | "skipped" | "pruned" | "unneeded");
    match code {
        KeyCode::Enter | KeyCode::Char('e') => return Some(Wish::Explain(address)),
        KeyCode::Char('l') => {
            model.log = Log { address: address.clone(), ..Log::default() };
            model.tab = Tab::Logs;
            return Some(Wish::Follow(address));
        }
        KeyCode::Char('c') if over => model.message = format!("{shown} is over: there is nothing to cancel"),
        KeyCode::Char('c') => model.over = Some(Over::Confirm(Wish::Cancel(address), format!("Cancel {shown}, which is {state}?"))),
        KeyCode::Char('r') if over && state != "succeeded" && state != "pruned" => {
            model.over = Some(Over::Confirm(Wish::Retry(address), format!("Run {shown} again? It costs money again.")));
        }
        KeyCode::Char('r') => model.message = format!("{shown} is {state}: only what failed, was cancelled or skipped runs again"),
        KeyCode::Char('p') if state == "pending" => {
            let at = model.classes.iter().position(|c| c == "normal").unwrap_or(0);
            model.over = Some(Over::Priorities(address, at));
        }
        KeyCode::Char('p') => model.message = format!("{shown} is {state}: only what waits changes its priority"),
        _ => {}
    }
    None
}
