//! Agents: the official Python client against `oppen mcp`, the real engine and real processes.
//!
//! `OPPEN_TEST_MCP` names a Python that has the `mcp` package; without it these tests say that they are skipped.

use std::path::Path;
use std::process::{Command, Stdio};

/// Plays a script of `tests/mcp`; it prints `ok` at its end.
fn play(script: &str, name: &str) {
    let Some(python) = std::env::var_os("OPPEN_TEST_MCP") else {
        println!("skipped: OPPEN_TEST_MCP names no Python with the `mcp` package");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp");
    let mut command = Command::new(python);
    command.arg("-B").arg(scripts.join(script)).arg(name).arg(folder.path());
    command.env("OPPEN", env!("CARGO_BIN_EXE_oppen")).env_remove("OPPEN_MCP_TOKEN").stdin(Stdio::null());
    let out = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("ok"), "{script} {name}: {said}");
}

#[test]
fn mnist_for_two_epochs_with_five_cents() {
    play("conversations.py", "a");
}

#[test]
fn twenty_urgent_models_go_first() {
    play("conversations.py", "b");
}

#[test]
fn fifty_configurations_for_half_a_dollar() {
    play("conversations.py", "c");
}

#[test]
fn how_do_i_reduce_the_cost() {
    play("conversations.py", "d");
}

#[test]
fn what_is_the_systems_status() {
    play("conversations.py", "e");
}

#[test]
fn what_agents_start_waits_for_a_person_where_the_project_says_so() {
    play("approval.py", "required");
}

#[test]
fn agents_spend_a_little_alone() {
    play("approval.py", "ceiling");
}

#[test]
fn every_tool_that_the_server_lists_refuses_bad_input() {
    play("inputs.py", "table");
}

#[test]
fn logs_are_data_and_hold_no_secret() {
    play("inputs.py", "hostile");
}

#[test]
fn two_agents_cannot_spend_the_last_dollar_twice() {
    play("inputs.py", "together");
}

#[test]
fn who_hangs_up_leaves_nothing_half_done() {
    play("inputs.py", "gone");
}

#[test]
fn lines_that_no_sound_client_writes_are_answered() {
    play("inputs.py", "raw");
}

#[test]
fn http_lets_in_only_who_has_the_token() {
    play("web.py", "gate");
}

#[test]
fn http_serves_the_official_client_beside_rude_ones() {
    play("web.py", "client");
}
