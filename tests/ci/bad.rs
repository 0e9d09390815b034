//! `oppen ci` on repositories and files that are not as they should be.

use crate::*;

fn err(folder: &Path, args: &[&str], code: i32) -> String {
    let output = oppen(folder, args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_base_that_is_not_there_is_told_with_what_would_help() {
    let lab = repository(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", NLP)]);
    let slip = err(lab.path(), &["ci", "--base", "mian"], 64);
    assert_eq!(slip, "error: --base mian: this clone knows no such commit\n  help: did you mean `main`?\n");
    // A reference is never an option of git.
    assert!(err(lab.path(), &["ci", "--base=--upload-pack=x"], 64).contains("knows no such commit"));
    let outside = folder(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", NLP)]);
    assert!(err(outside.path(), &["ci", "--base", "main"], 1).contains("is in no git repository"));
    let command =
        Command::new(env!("CARGO_BIN_EXE_oppen")).arg("ci").current_dir(lab.path()).env_remove("GITHUB_BASE_REF").output().expect("oppen");
    assert_eq!(command.status.code(), Some(64));
    // A shallow clone does not have the commits of other branches.
    git(lab.path(), &["commit", "-q", "--allow-empty", "-m", "more"]);
    let clone = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", lab.path().display());
    git(clone.path(), &["clone", "-q", "--depth=1", &url, "here"]);
    let shallow = err(&clone.path().join("here"), &["ci", "--base", "HEAD~1"], 64);
    assert!(shallow.contains("the clone is shallow") && shallow.contains("fetch-depth: 0"), "{shallow}");
}

#[test]
fn a_base_that_cannot_be_read_leaves_the_edit_to_be_shown_alone() {
    let lab = repository(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", "jobs: [\n")]);
    write(lab.path(), &[("workflows/nlp.yaml", NLP)]);
    let text = out(lab.path(), &["ci", "--base", "main", "--at", NOON], 0);
    assert!(text.contains("The base cannot be planned, so everything counts as new: "), "{text}");
    assert!(text.contains("(workflows/nlp.yaml:") && text.contains("2 runs would run, expected $1.18"), "{text}");
    let markdown = out(lab.path(), &["ci", "--base", "main", "-o", "markdown"], 0);
    assert!(markdown.contains("> [!WARNING]\n> The base cannot be planned"), "{markdown}");
    // Files that do not parse now: every form says so, and the comment keeps its marker.
    write(lab.path(), &[("workflows/nlp.yaml", &NLP.replace("jobs:", "jbos:"))]);
    let markdown = out(lab.path(), &["ci", "--base", "main", "-o", "markdown"], 4);
    assert!(markdown.starts_with("<!-- oppen:ci:lab -->\n### Oppen ci: ") && markdown.contains("did you mean `jobs`?"), "{markdown}");
    assert!(err(lab.path(), &["ci", "--base", "main"], 4).contains("did you mean `jobs`?"));
}

#[test]
fn files_that_come_and_go_are_runs_that_come_and_go() {
    let lab = repository(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", NLP), ("data/raw.csv", "1\n")]);
    std::fs::remove_file(lab.path().join("workflows/nlp.yaml")).expect("removed");
    write(lab.path(), &[("workflows/vision.yaml", VISION)]);
    let text = out(lab.path(), &["ci", "--base", "main", "--at", NOON], 0);
    assert!(text.contains("+ vision/train (2 runs)") && text.contains("- nlp/finetune"), "{text}");
    // A path that only the edit has is new; one that only the base has is no path.
    let one = out(lab.path(), &["ci", "--base", "main", "--at", NOON, "workflows/vision.yaml"], 0);
    assert!(one.contains("Runs: 3 added.") && !one.contains("nlp"), "{one}");
    out(lab.path(), &["ci", "--base", "main", "workflows/nlp.yaml"], 4);
    // The project may lie below the repository: places are told from its root.
    let inner = lab.path().join("deep/inner");
    write(&inner, &[("oppen.yaml", LAB), ("workflows/big.yaml", &NLP.replace("gpu: 2", "gpu: 16"))]);
    git(lab.path(), &["add", "-A"]);
    git(lab.path(), &["commit", "-qm", "inner"]);
    let notes = out(&inner, &["ci", "--base", "main", "-o", "github"], 3);
    assert!(notes.starts_with("::error file=deep/inner/workflows/big.yaml,line=5,"), "{notes}");
}

#[test]
fn values_cannot_act_in_a_comment() {
    let lab = repository(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", NLP)]);
    let hostile = r#"["@all|`x`<img src=x>", "\e[31mred\u202e", "]: <!-- -->", "::error::hi"]"#;
    write(
        lab.path(),
        &[
            (
                "workflows/nlp.yaml",
                &NLP.replace("    run: [python, tune.py]\n", &format!("    run: [python, tune.py]\n    matrix: {{evil: {hostile}}}\n")),
            ),
            ("plain.md", ""),
        ],
    );
    let markdown = out(lab.path(), &["ci", "--base", "main", "-o", "markdown"], 0);
    assert!(!markdown.contains('\u{1b}') && !markdown.contains('\u{202e}'), "{markdown:?}");
    for line in markdown.lines().skip(2).filter(|l| l.contains("img") || l.contains("@all") || l.contains("<!--")) {
        // What is hostile stands in code spans alone, and opens no cell.
        let outside: String = line.replace("\\|", "").split("``").step_by(2).flat_map(|p| p.split('`').step_by(2)).collect();
        assert!(!outside.contains("img") && !outside.contains('@') && !outside.contains("<!--"), "{line}");
    }
    let text = out(lab.path(), &["ci", "--base", "main"], 0);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(!out(lab.path(), &["ci", "--base", "main", "-o", "github"], 0).lines().any(|l| l.starts_with("::error::hi")));
}

#[test]
fn links_of_the_base_lead_nowhere_outside() {
    let lab = folder(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", NLP)]);
    let secret = folder(&[("secret.yaml", NLP)]);
    std::os::unix::fs::symlink(secret.path().join("secret.yaml"), lab.path().join("workflows/leak.yaml")).expect("a link");
    std::os::unix::fs::symlink("nlp.yaml", lab.path().join("workflows/again.yaml")).expect("a link");
    git(lab.path(), &["init", "-q"]);
    git(lab.path(), &["add", "-A"]);
    git(lab.path(), &["commit", "-qm", "base"]);
    std::fs::remove_file(lab.path().join("workflows/leak.yaml")).expect("removed");
    std::fs::remove_file(lab.path().join("workflows/again.yaml")).expect("removed");
    let text = out(lab.path(), &["ci", "--base", "HEAD"], 0);
    assert!(text.contains("Runs: 2 unchanged."), "{text}");
}

#[test]
fn a_comment_is_cut_at_a_row_and_says_how_many_are_left_out() {
    let lab = repository(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", NLP)]);
    let jobs: String = (0..900)
        .map(|i| format!("  job-with-a-rather-long-name-{i}:\n    run: [python, tune.py]\n    estimate: {{time: 1m}}\n    timeout: 2m\n"))
        .collect();
    let many = format!("apiVersion: oppen/v1\nkind: Workflow\nname: many\njobs:\n{jobs}");
    write(lab.path(), &[("workflows/many.yaml", &many)]);
    let markdown = out(lab.path(), &["ci", "--base", "main", "-o", "markdown"], 0);
    assert!(markdown.len() < 65_536 && markdown.len() > 40_000, "{}", markdown.len());
    let rows = markdown.lines().filter(|l| l.starts_with("| added | ")).count();
    let left = format!("{} more lines had no room here", 900 - rows);
    assert!(markdown.contains(&left) && markdown.trim_end().ends_with("</sub>"), "{rows} rows: {left}");
}
