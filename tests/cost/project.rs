//! The binary, and projects to try it on.

use std::path::Path;
use std::process::{Command, Output};

pub fn oppen(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
    command.args(args).current_dir(folder).env("NO_COLOR", "1").output().unwrap_or_else(|e| panic!("oppen {args:?}: {e}"))
}

/// Runs in a folder and insists on an exit code; standard output comes back.
pub fn out(folder: &Path, args: &[&str], code: i32) -> String {
    let output = oppen(folder, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "oppen {}\n--- stdout\n{out}\n--- stderr\n{err}", args.join(" "));
    out.into_owned()
}

pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A project that was applied: `a` costs about four cents of the five that its workflow has; a cent passes in a quarter second.
pub fn applied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("workflows")).unwrap();
    let project = "apiVersion: oppen/v1\nkind: Project\nname: lab\nbudget: {limit: 25 USD}\n\
        rates: {cpu: 144 USD, memory: 0 USD, off_peak: {factor: 1}}\n";
    let workflow = "apiVersion: oppen/v1\nkind: Workflow\nname: w\nbudget: {limit: 0.02 USD, on_exceed: warn}\n\
        defaults: {resources: {cpu: 1, memory: 1Mi}, estimate: {time: 500ms}}\n\
        jobs:\n  a: {run: [sleep, \"0.6\"]}\n  b: {run: [\"false\"], needs: [a]}\n";
    std::fs::write(folder.path().join("oppen.yaml"), project).unwrap();
    std::fs::write(folder.path().join("workflows/w.yaml"), workflow).unwrap();
    folder
}
