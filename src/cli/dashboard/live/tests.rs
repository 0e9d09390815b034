//! The screen at several sizes, and what keys do.

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw;
use super::model::{Model, Over, Tab, Theme, Wish};
use super::update::update;
use crate::base::{Money, Timestamp};
use crate::monitor::health::{Finding, Level, Report};
use crate::monitor::reading::{Quality, Reading};
use crate::monitor::view::{
    Budget, Cluster, Eta, Gpu, Machine, Metric, Node, Pod, Processes, Progress, Queue, Record, Run, Snapshot, Spend, Sweep, Totals, Waiting,
};

const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

fn later(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

fn run(address: &str, status: &str, done: Option<(u64, u64)>) -> Run {
    Run {
        address: address.to_owned(),
        status: status.to_owned(),
        priority: "normal".to_owned(),
        attempt: Some(1),
        started: Some(later(-300)),
        progress: done.map(|(done, total)| Progress { unit: "epochs".to_owned(), done, total: Some(total) }),
        eta: done.map(|_| Eta { at: later(252), basis: "declared".to_owned(), ..Eta::default() }),
        cost: Some(money("0.0012")),
        expected_cost: Some(money("0.046")),
        metrics: vec![Metric { name: "val_loss".to_owned(), value: Some(0.3125), step: Some(2) }],
        ..Run::default()
    }
}

fn record() -> Record {
    let waiting = |position: u64, why: &str| Waiting {
        address: format!("w/train[lr=0.{position}]"),
        position,
        priority: if position == 1 { "urgent" } else { "normal" }.to_owned(),
        start: Some(later(60 * i64::try_from(position).unwrap())),
        cost: Some(money("0.046")),
        why: why.to_owned(),
    };
    let failed = Run { ended: Some(later(-90)), because: Some("exit status 3".to_owned()), ..run("w/fail", "failed", None) };
    let hostile = run("w/evil\u{1b}[2J\u{202e}name", "running", None);
    Record {
        counts: [("running".to_owned(), 3), ("failed".to_owned(), 1), ("pending".to_owned(), 3)].into(),
        running: vec![run("w/train[lr=0.01]", "running", Some((12, 60))), run("nlp/finetune", "launching", None), hostile],
        ended: vec![failed, Run { ended: Some(later(-3700)), ..run("w/prepare", "succeeded", None) }],
        queue: Queue {
            waiting: 3,
            first: vec![waiting(1, "3 of 3 runs at a time"), waiting(2, "3 of 3 runs at a time"), waiting(3, "asks for 2 GPU, 1 free")],
            pending_cost: money("0.138"),
            running: 3,
            slots: 3,
            next_free: Some(later(252)),
            ..Queue::default()
        },
        budgets: vec![
            Budget {
                name: "project vision".to_owned(),
                spent: money("4.10"),
                reserved: money("0.30"),
                left: money("0.60"),
                limit: money("5"),
                spent_tenths: 820,
                reserved_tenths: 60,
                reached: Some(80),
                next: None,
            },
            Budget {
                name: "team nlp a day".to_owned(),
                spent: money("0.25"),
                left: money("0.75"),
                limit: money("1"),
                spent_tenths: 250,
                ..Budget::default()
            },
        ],
        spend: Spend {
            total: money("4.1"),
            today: money("1.2"),
            week: money("4.1"),
            attempts: 40,
            per_attempt: Some(money("0.1025")),
            live: money("0.0036"),
        },
        sweeps: vec![Sweep {
            name: "w/train".to_owned(),
            method: "tpe".to_owned(),
            trials: 24,
            counts: [("succeeded".to_owned(), 10), ("pruned".to_owned(), 4), ("running".to_owned(), 2), ("pending".to_owned(), 8)].into(),
            metric: Some("val_loss".to_owned()),
            best: Some((0.2871, "w/train[7]".to_owned())),
            spent: Some(money("1.41")),
            paused_by: None,
        }],
        holder: Some("ann@host".to_owned()),
        ..Record::default()
    }
}

fn machine() -> Machine {
    Machine {
        host: "box".to_owned(),
        cores: 8,
        cpu_percent: Some(61.4),
        memory_total: 32 << 30,
        memory_used: 12 << 30,
        ..Machine::default()
    }
}

fn model() -> Model {
    let mut model = Model::new(Theme { color: true, unicode: true }, ["urgent", "normal", "background"].map(str::to_owned).to_vec());
    let processes =
        vec![Processes { address: "w/train[lr=0.01]".to_owned(), count: 3, cpu_percent: Some(182.0), rss_bytes: 3 << 30, gpu_bytes: None }];
    let gpu = Gpu {
        host: "box".to_owned(),
        name: "NVIDIA T4".to_owned(),
        uuid: "GPU-1".to_owned(),
        percent: Some(91.0),
        memory_used: Some(9 << 30),
        memory_total: Some(15 << 30),
        ..Gpu::default()
    };
    model.shot = Snapshot {
        format_version: 1,
        at: NOW,
        project: "vision".to_owned(),
        backend: "local".to_owned(),
        record: Reading::fresh("the state", NOW, record()),
        machine: Reading::fresh("/proc", NOW, machine()),
        processes: Reading::fresh("/proc", NOW, processes),
        gpus: Reading::fresh("nvidia-smi", NOW, vec![gpu]),
        totals: Some(Totals {
            machines: 1,
            ready: 1,
            cpu_millis: 8000,
            cpu_requested_millis: Some(3000),
            cpu_percent: Some(61.4),
            memory_bytes: 32 << 30,
            memory_requested_bytes: Some(9 << 30),
            memory_percent: Some(37.5),
            gpus: 1,
            gpus_requested: Some(1),
            gpu_percent: Some(91.0),
        }),
        ..Snapshot::default()
    };
    let finding = |level, message: &str| Finding {
        check: "store".to_owned(),
        level,
        message: message.to_owned(),
        hint: Some("free some room".to_owned()),
    };
    model.health = Some(Report {
        format_version: 1,
        at: NOW,
        healthy: true,
        took_ms: crate::base::Millis(12),
        findings: vec![finding(Level::Warning, "only 0.5 GiB left on the disk")],
    });
    model
}

fn screen(model: &mut Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| (0..width).filter_map(|x| buffer.cell((x, y))).map(|c| c.symbol().to_owned()).collect::<String>();
    let text = (0..height).map(|y| line(y).trim_end().to_owned()).collect::<Vec<_>>().join("\n");
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "something acts on the terminal: {text:?}");
    text
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

fn press(model: &mut Model, keys: &str) -> Option<Wish> {
    keys.chars().map(|c| update(model, key(if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) }))).last().flatten()
}

#[test]
fn pages_at_both_sizes() {
    for (name, keys) in [("runs", "1"), ("queue", "2"), ("sweeps", "3"), ("costs", "4"), ("cluster", "5"), ("help", "1?")] {
        let mut model = model();
        press(&mut model, keys);
        insta::assert_snapshot!(format!("{name}_80x24"), screen(&mut model, 80, 24));
        insta::assert_snapshot!(format!("{name}_200x60"), screen(&mut model, 200, 60));
    }
}

#[test]
fn without_color_and_unicode_all_is_said_all_the_same() {
    let mut model = model();
    model.theme = Theme { color: false, unicode: false };
    let text = screen(&mut model, 80, 24);
    assert!(text.is_ascii(), "{text}");
    for part in ["> running", "~ launching", ". pending", "x failed", "+ succeeded", "1 warning"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw::draw(frame, &mut model)).unwrap();
    let colored =
        terminal.backend().buffer().content().iter().any(|c| c.fg != ratatui::style::Color::Reset || c.bg != ratatui::style::Color::Reset);
    assert!(!colored, "NO_COLOR is kept");
}

#[test]
fn what_is_old_or_missing_says_so() {
    let mut model = model();
    model.shot.record.quality = Quality::Stale;
    model.shot.record.why = Some("no answer within 1s".to_owned());
    model.shot.record.age_ms = Some(crate::base::Millis(73_000));
    let text = screen(&mut model, 80, 24);
    assert!(text.contains("! the state: 1m13s old: no answer within 1s"), "{text}");
    model.shot.record = Reading {
        source: "the state".into(),
        quality: Quality::Failed,
        at: None,
        age_ms: None,
        why: Some("is damaged".to_owned()),
        value: None,
    };
    let text = screen(&mut model, 80, 24);
    assert!(text.contains("the state: is damaged"), "{text}");
    assert!(screen(&mut model, 30, 5).contains("too small"));
}

#[test]
fn a_cluster_shows_nodes_pods_and_what_is_free() {
    let mut model = model();
    let node = Node {
        name: "n1".to_owned(),
        ready: true,
        schedulable: true,
        gpu_type: Some("A100".to_owned()),
        cpu_millis: Some(8000),
        cpu_requested_millis: Some(2500),
        memory_bytes: Some(32 << 30),
        memory_requested_bytes: Some(4 << 30),
        gpus: 4,
        gpus_requested: Some(1),
    };
    let dead = Node { name: "n2".to_owned(), gpus: 4, ..Node::default() };
    let pod = Pod {
        name: "w-train-x-1".to_owned(),
        namespace: "ml".to_owned(),
        phase: "Running".to_owned(),
        run: Some("w/train".to_owned()),
        cpu_millis: 500,
        memory_bytes: 1 << 30,
        gpus: 1,
        ..Pod::default()
    };
    model.shot.backend = "kubernetes".to_owned();
    model.shot.cluster = Reading::fresh(
        "the API server",
        NOW,
        Cluster { namespace: "ml".to_owned(), nodes: vec![node, dead], pods: vec![pod], notes: Vec::new() },
    );
    press(&mut model, "5");
    let text = screen(&mut model, 80, 24);
    assert!(screen(&mut model, 200, 60).contains("? of 8, 2.5 asked"));
    for part in ["n1", "? of 8", "1 of 4 A100", "✗ not ready", "w-train-x-1", "? of 0.5"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn nothing_is_ended_without_a_yes() {
    let mut model = model();
    assert_eq!(press(&mut model, "c"), None);
    assert_eq!(
        model.over,
        Some(Over::Confirm(Wish::Cancel("w/train[lr=0.01]".to_owned()), "Cancel w/train[lr=0.01], which is running?".to_owned()))
    );
    assert!(screen(&mut model, 80, 24).contains("y does it, n or Esc does not"));
    for no in ["n", "q", "\n", "x"] {
        model.over = None;
        press(&mut model, "c");
        assert_eq!(press(&mut model, no), None, "{no:?} is no yes");
    }
    model.over = None;
    assert_eq!(press(&mut model, "cy"), Some(Wish::Cancel("w/train[lr=0.01]".to_owned())));
    assert_eq!(press(&mut model, "r"), None);
    assert_eq!(model.message, "w/train[lr=0.01] is running: only what failed, was cancelled or skipped runs again");
    assert_eq!(press(&mut model, "/fail\nry"), Some(Wish::Retry("w/fail".to_owned())));
    assert_eq!(press(&mut model, "c"), None);
    assert_eq!(model.message, "w/fail is over: there is nothing to cancel");
    update(&mut model, key(KeyCode::Esc));
    // The first of the classes is one above the usual.
    assert_eq!(press(&mut model, "2pk\ny"), Some(Wish::Priority("w/train[lr=0.1]".to_owned(), "urgent".to_owned())));
}

#[test]
fn rows_are_searched_filtered_sorted_and_stay_chosen() {
    let mut model = model();
    let names = |model: &Model| model.rows().iter().map(|r| r.id.clone()).collect::<Vec<_>>();
    assert_eq!(names(&model).len(), 8);
    press(&mut model, "ff");
    assert!(names(&model).iter().all(|n| n.starts_with("w/train[lr=0.")));
    press(&mut model, "fff");
    press(&mut model, "/TRAIN\n");
    assert_eq!(names(&model).len(), 4);
    press(&mut model, "sjj");
    assert_eq!(names(&model)[0], "w/train[lr=0.01]");
    let chosen = model.row().unwrap().id;
    let mut shot = model.shot.clone();
    shot.record.value.as_mut().unwrap().running.insert(0, run("w/a-train", "running", None));
    assert!(model.see(shot.clone()), "something new is seen");
    assert!(!model.see(shot), "the same again is not drawn again");
    assert_eq!(model.row().unwrap().id, chosen, "the chosen run stays chosen");
    assert_eq!(press(&mut model, "l"), Some(Wish::Follow(chosen.clone())));
    assert_eq!(model.tab, Tab::Logs);
    update(&mut model, key(KeyCode::Esc));
    model.hear(&chosen, (0..100).map(|i| format!("line {i}")).collect(), None);
    assert!(screen(&mut model, 80, 24).contains("line 99"));
    press(&mut model, "kk");
    model.hear(&chosen, vec!["line 100".to_owned()], None);
    let text = screen(&mut model, 80, 24);
    assert!(text.contains("line 97") && !text.contains("line 99") && text.contains("3 lines up"), "who scrolled up stays: {text}");
    press(&mut model, "G");
    assert!(screen(&mut model, 80, 24).contains("line 100"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_key_and_no_size_breaks_anything(
        codes in proptest::collection::vec((0..22_usize, any::<char>()), 0..40), width in 1..220_u16, height in 1..70_u16,
    ) {
        let mut model = model();
        for (kind, c) in codes {
            let code = match kind {
                0 => KeyCode::Up, 1 => KeyCode::Down, 2 => KeyCode::PageUp, 3 => KeyCode::PageDown, 4 => KeyCode::Home, 5 => KeyCode::End,
                6 => KeyCode::Tab, 7 => KeyCode::BackTab, 8 => KeyCode::Enter, 9 => KeyCode::Esc, 10 => KeyCode::Backspace,
                11 => KeyCode::Char('/'), 12 => KeyCode::Char('?'), 13 => KeyCode::Char('c'), 14 => KeyCode::Char('p'), 15 => KeyCode::Char('s'),
                16 => KeyCode::Char('S'), 17 => KeyCode::Char('f'), 18 => KeyCode::Char('5'), 19 => KeyCode::Char('2'), _ => KeyCode::Char(c),
            };
            let wish = update(&mut model, key(code));
            if let Some(Wish::Cancel(_) | Wish::Retry(_) | Wish::Priority(..)) = wish {
                prop_assert!(matches!(code, KeyCode::Char('y' | 'Y')), "only a yes changes something");
            }
        }
        screen(&mut model, width, height);
    }
}
