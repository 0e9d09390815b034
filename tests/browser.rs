//! Pages and pictures as a real browser shows them: nothing cut off, nothing over something else, nothing outside a small screen, words that can
//! be read, in the light and in the dark.
//!
//! It needs Chromium: `OPPEN_TEST_BROWSER`, or `chromium` where programs are. Without it these tests say that they are skipped.

use std::path::PathBuf;
use std::process::{Command, Stdio};

#[allow(dead_code, reason = "shared with the tests of sweeps")]
#[path = "sweeps/project.rs"]
mod project;
use project::Project;

fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("OPPEN_TEST_BROWSER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| std::env::split_paths(&path).map(|p| p.join("chromium")).find(|p| p.is_file()));
    if found.is_none() {
        eprintln!("skipped: no chromium");
    }
    found
}

/// What does not look right.
fn faults(browser: &PathBuf, pages: &[(&str, String)], dark: bool) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    // Written as JSON, which is JavaScript, but for what would end the script.
    let text = serde_json::to_string(pages).unwrap().replace("</", "<\\/");
    let file = place.path().join("measure.html");
    std::fs::write(&file, include_str!("browser/measure.html").replacen("PAGES", &text, 1)).unwrap();
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--window-size=1400,1000", "--dump-dom"]);
    if dark {
        command.args(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"]);
    }
    let profile = format!("--user-data-dir={}", place.path().join("profile").display());
    let out = command.arg(profile).arg(format!("file://{}", file.display())).stdin(Stdio::null()).output().unwrap();
    let dom = String::from_utf8_lossy(&out.stdout);
    let result = dom.split("<pre id=\"result\">").nth(1).and_then(|r| r.split("</pre>").next());
    let result = result.unwrap_or_else(|| panic!("the browser measured nothing: {dom}\n{}", String::from_utf8_lossy(&out.stderr)));
    let plain = result.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&plain).unwrap_or_else(|e| panic!("{e}: {plain}"))
}

#[test]
fn a_fault_is_seen() {
    let Some(browser) = browser() else { return };
    let page = "<!doctype html><p style='color:#bbb;background:#fff'>pale</p><div style='width:900px'>wide</div>
        <svg width='200' height='50'><text x='190' y='20'>cut off</text><text x='10' y='40'>one</text><text x='12' y='41'>two</text></svg>";
    let found = faults(&browser, &[("it", page.to_owned())], false).join("\n");
    for words in ["\"pale\" has a contrast of 1.9", "it at 800 px: ", "\"cut off\" is cut off by", "\"one\" stands over \"two\""] {
        assert!(found.contains(words), "{words}: {found}");
    }
    let good = "<!doctype html><p>good</p><svg width='200' height='50'><text x='10' y='20'>whole</text></svg>";
    assert_eq!(faults(&browser, &[("it", good.to_owned())], true), [""; 0]);
}

const JOBS: &str = "  long-name-of-a-job:
    run: |
      i=0; while [ $i -lt 6 ]; do i=$((i + 1)); echo \"step=$i loss=$((OPPEN_PARAM_LAYERS * 3 + 20 / i)).5\"; done
    resources: {cpu: 0.01, memory: 1Mi}
    estimate: {time: 1s}
    sweep:
      method: random
      trials: 14
      parameters:
        layers: {min: 1, max: 12}
        learning-rate: {min: 1e-5, max: 1e-1, distribution: log_uniform}
        optimizer: {values: [adam, 'stochastic gradient descent with momentum', '<script>alert(1)</script>']}
      metric: {name: loss, goal: minimize}
  after: {needs: [long-name-of-a-job], run: echo done, estimate: {time: 1s}}
";

#[test]
fn pages_and_pictures_look_right() {
    let Some(browser) = browser() else { return };
    let project = Project::new("rates: {cpu: 36 USD, off_peak: {factor: 1.0}}\nbudget: {limit: 50 USD}\npool: {max_concurrent: 4}\n", JOBS);
    project.expect(&["apply", "--yes"], 0);
    let sweep = "w/long-name-of-a-job";
    let mut pages = vec![("sweep report", project.expect(&["sweep", "report", sweep], 0))];
    for picture in ["history", "parallel", "slices", "contour", "curves"] {
        pages.push((picture, project.expect(&["sweep", "plot", sweep, picture], 0)));
    }
    for (what, args) in [
        ("cost report", &["cost", "report", "--by", "job", "-o", "svg"][..]),
        ("graph", &["graph", "-o", "svg"]),
        ("cost compare", &["cost", "compare", "w/long-name-of-a-job[0]", "w/long-name-of-a-job[1]", "-o", "svg"]),
    ] {
        pages.push((what, project.expect(args, 0)));
    }
    project.expect(&["budget", "status", "--svg", "burn.svg"], 0);
    pages.push(("burn-down", project.read("burn.svg")));
    for dark in [false, true] {
        let found = faults(&browser, &pages, dark);
        assert!(found.is_empty(), "{}:\n{}", if dark { "in the dark" } else { "in the light" }, found.join("\n"));
    }
}
