//! `oppen ci comment` against a real HTTP server on loopback that keeps comments as GitHub and GitLab do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::*;

/// What the server has and was asked.
#[derive(Default)]
struct Kept {
    comments: Vec<(u64, String)>,
    next: u64,
    /// `METHOD path`, in order.
    asked: Vec<String>,
    /// Every header line.
    headers: Vec<String>,
    /// Answers to give before anything else: status and `Retry-After`.
    refuse: Vec<(u16, Option<&'static str>)>,
}

#[derive(Clone)]
struct Server {
    url: String,
    kept: Arc<Mutex<Kept>>,
}

impl Server {
    fn start(comments: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let comments: Vec<(u64, String)> = comments.iter().enumerate().map(|(i, c)| (i as u64 + 1, (*c).to_owned())).collect();
        let kept = Arc::new(Mutex::new(Kept { next: comments.len() as u64 + 1, comments, ..Kept::default() }));
        let shared = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &shared);
            }
        });
        Self { url, kept }
    }

    fn refuse(self, answers: &[(u16, Option<&'static str>)]) -> Self {
        self.kept.lock().expect("kept").refuse = answers.to_vec();
        self
    }

    fn bodies(&self) -> Vec<String> {
        self.kept.lock().expect("kept").comments.iter().map(|(_, b)| b.clone()).collect()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.kept.lock().expect("kept").asked)
    }
}

/// Reads one request, answers it, closes.
fn answer(mut stream: TcpStream, kept: &Mutex<Kept>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let length =
        head.iter().filter_map(|l| l.to_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()).next().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = head.first().map(String::as_str).unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut kept = kept.lock().expect("kept");
    kept.asked.push(format!("{method} {target}"));
    kept.headers.extend(head.iter().skip(1).cloned());
    let (status, extra, value) = match kept.refuse.is_empty() {
        false => {
            let (status, after) = kept.refuse.remove(0);
            (status, after.map(|s| format!("Retry-After: {s}\r\n")).unwrap_or_default(), json!({"message": "not now"}))
        }
        true => {
            let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
            let (status, value) = act(&mut kept, &method, &target, sent["body"].as_str());
            (status, String::new(), value)
        }
    };
    let text = if value.is_null() { String::new() } else { value.to_string() };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

fn act(kept: &mut Kept, method: &str, target: &str, body: Option<&str>) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let list = path.ends_with("/comments") || path.ends_with("/notes");
    let id = path.rsplit('/').next().and_then(|i| i.parse::<u64>().ok());
    match (method, list, id) {
        ("GET", true, _) => {
            let of =
                |name: &str| query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok()).unwrap_or(1);
            let (page, size) = (of("page"), of("per_page"));
            let all = kept.comments.iter().skip((page - 1) * size).take(size);
            (200, all.map(|(id, body)| json!({"id": id, "body": body})).collect())
        }
        ("POST", true, _) => {
            let id = kept.next;
            kept.next += 1;
            kept.comments.push((id, body.unwrap_or_default().to_owned()));
            (201, json!({"id": id}))
        }
        ("PATCH" | "PUT", false, Some(id)) => match kept.comments.iter_mut().find(|(i, _)| *i == id) {
            Some(comment) => {
                comment.1 = body.unwrap_or_default().to_owned();
                (200, json!({"id": id}))
            }
            None => (404, json!({"message": "Not Found"})),
        },
        ("DELETE", false, Some(id)) => {
            kept.comments.retain(|(i, _)| *i != id);
            (204, Value::Null)
        }
        _ => (404, json!({"message": "Not Found"})),
    }
}

const TOKEN: &str = "ghs_sentinel_0123456789";
const MARKER: &str = "<!-- oppen:ci:lab -->";

/// Runs `ci comment` as a step of GitHub would; nothing else of the environment's CI is seen.
fn post(server: &Server, body: &str, args: &[&str]) -> Output {
    let lab = folder(&[("comment.md", body)]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("GITHUB_") || n.starts_with("CI_") || n.starts_with("GITLAB_")) {
        command.env_remove(name);
    }
    command.args(["ci", "comment", "comment.md"]).args(args).current_dir(lab.path()).env("NO_COLOR", "1");
    command
        .env("GITHUB_API_URL", &server.url)
        .env("CI_API_V4_URL", &server.url)
        .env("GITHUB_REPOSITORY", "ann/lab")
        .env("GITHUB_REF", "refs/pull/7/merge")
        .env("GITHUB_TOKEN", TOKEN)
        .env("GITLAB_TOKEN", TOKEN);
    let output = command.output().expect("oppen");
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!all.contains(TOKEN), "the token is shown: {all}");
    output
}

fn said(output: &Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn body(words: &str, delta: &str) -> String {
    format!("{MARKER}\n<!-- oppen:delta {delta} -->\n{words}\n")
}

#[test]
fn a_comment_is_made_once_and_then_kept_current() {
    let server = Server::start(&["hello", "> <!-- oppen:ci:lab --> quoted", "<!-- oppen:ci:other -->\nnot ours"]);
    assert_eq!(said(&post(&server, &body("one", "1.00"), &[]), 0), "a comment was made in request 7\n");
    assert_eq!(said(&post(&server, &body("two", "1.00"), &[]), 0), "the comment was updated in request 7\n");
    assert_eq!(said(&post(&server, &body("two", "1.00"), &[]), 0), "the comment says this already in request 7\n");
    let list = "GET /repos/ann/lab/issues/7/comments?per_page=100&page=1";
    let wanted = [list, "POST /repos/ann/lab/issues/7/comments", list, "PATCH /repos/ann/lab/issues/comments/4", list];
    assert_eq!(server.asked(), wanted);
    let bodies = server.bodies();
    assert_eq!((bodies.len(), bodies[3].contains("two")), (4, true), "{bodies:?}");
    assert!(bodies[1].contains("quoted") && bodies[2].contains("not ours"), "other comments are not touched");
    said(&post(&server, &body("three", "1.00"), &["--behavior", "new"]), 0);
    assert_eq!(server.bodies().len(), 5);
    said(&post(&server, &body("four", "1.00"), &["--behavior", "delete-and-new"]), 0);
    let bodies = server.bodies();
    assert_eq!((bodies.len(), bodies[3].contains("four")), (4, true), "both of ours are gone: {bodies:?}");
    let headers = server.kept.lock().expect("kept").headers.join("\n").to_lowercase();
    assert!(headers.contains(&format!("authorization: bearer {TOKEN}")), "{headers}");
}

#[test]
fn ours_is_found_behind_many_pages() {
    let many: Vec<String> = (0..250).map(|i| if i == 230 { body("old", "1.00") } else { format!("comment {i}") }).collect();
    let server = Server::start(&many.iter().map(String::as_str).collect::<Vec<_>>());
    said(&post(&server, &body("new", "1.00"), &[]), 0);
    assert_eq!((server.bodies().len(), server.bodies()[230].contains("new")), (250, true));
    assert_eq!(server.asked().last().map(String::as_str), Some("PATCH /repos/ann/lab/issues/comments/231"));
}

#[test]
fn small_changes_make_no_first_comment() {
    let server = Server::start(&[]);
    let least = ["--min-delta", "5"];
    let text = said(&post(&server, &body("little", "-4.99"), &least), 0);
    assert!(text.contains("below --min-delta") && server.bodies().is_empty(), "{text}");
    // What is refused is told whatever it costs; what is there already is kept true.
    said(&post(&server, &body("refused", "0.00 blocked"), &least), 0);
    said(&post(&server, &body("little again", "0.10"), &least), 0);
    assert!(server.bodies().len() == 1 && server.bodies()[0].contains("little again"), "{:?}", server.bodies());
}

#[test]
fn gitlab_has_notes() {
    let server = Server::start(&[]);
    let args = ["--forge", "gitlab", "--repo", "group/sub/lab", "--number", "3"];
    said(&post(&server, &body("one", "1.00"), &args), 0);
    said(&post(&server, &body("two", "1.00"), &args), 0);
    let url = "/projects/group%2Fsub%2Flab/merge_requests/3/notes";
    let list = format!("GET {url}?per_page=100&page=1&sort=asc&order_by=created_at");
    assert_eq!(server.asked(), [list.clone(), format!("POST {url}"), list, format!("PUT {url}/1")]);
    let headers = server.kept.lock().expect("kept").headers.join("\n").to_lowercase();
    assert!(headers.contains(&format!("private-token: {TOKEN}")) && !headers.contains("authorization"), "{headers}");
}

#[test]
fn refusals_are_waited_for_and_told_and_nothing_is_doubled() {
    // Asked to wait, then an outage: tried again.
    let server = Server::start(&[]).refuse(&[(429, Some("0")), (502, Some("0"))]);
    said(&post(&server, &body("one", "1.00"), &[]), 0);
    assert_eq!(server.asked().iter().filter(|a| a.starts_with("GET")).count(), 3);
    assert_eq!(server.bodies().len(), 1);
    // A POST whose end nobody knows is not made twice.
    let server = Server::start(&[]).refuse(&[(500, None)]);
    said(&post(&server, &body("one", "1.00"), &["--behavior", "new"]), 1);
    assert_eq!((server.asked().len(), server.bodies().len()), (1, 0));
    // A wait that is too long is not waited for.
    let server = Server::start(&[]).refuse(&[(429, Some("86400"))]);
    let text = said(&post(&server, &body("one", "1.00"), &[]), 1);
    assert!(text.contains("the API refuses with status 429: not now"), "{text}");
    let server = Server::start(&[]).refuse(&[(403, None)]);
    let text = said(&post(&server, &body("one", "1.00"), &[]), 1);
    assert!(text.contains("pull-requests: write"), "{text}");
}

#[test]
fn what_is_missing_or_odd_is_told_before_anything_is_sent() {
    let server = Server::start(&[]);
    let odd = |body: &str, args: &[&str]| said(&post(&server, body, args), 64);
    assert!(odd("no marker\n", &[]).contains("has no marker of `oppen ci`"));
    assert!(odd(&body("x", "1"), &["--token-env", "NOT_SET_ANYWHERE"]).contains("no token in the environment variable NOT_SET_ANYWHERE"));
    assert!(odd(&body("x", "1"), &["--repo", "../../admin"]).contains("names no repository"));
    assert!(odd(&body("x", "1"), &["--api-url", "http://example.org"]).contains("would be read on the way"));
    assert!(server.asked().is_empty());
}
