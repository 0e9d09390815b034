//! `oppen ci comment`: the Markdown of a check, posted to its pull or merge request, or put in place of the last one.
//!
//! In: the file that `oppen ci -o markdown=FILE` wrote, a token in an environment variable. Out: one comment. Must never touch a
//! comment that does not begin with the marker.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::forge::{Comment, Forge, ForgeError, Kind, Place};
use super::markdown;
use crate::base::Money;
use crate::base::text::escape;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output;

/// `ci comment`
#[derive(Debug, Args)]
pub struct CommentArgs {
    /// What `oppen ci -o markdown=FILE` wrote; - for standard input
    pub file: PathBuf,
    /// What becomes of the last comment of this project
    #[arg(long, value_enum, default_value_t = Behavior::Update)]
    pub behavior: Behavior,
    /// Post no first comment for a smaller change of the expected cost that nothing is against
    #[arg(long, value_name = "USD", value_parser = output::money)]
    pub min_delta: Option<Money>,
    /// Whose API (default: what the CI is)
    #[arg(long, value_enum)]
    pub forge: Option<Kind>,
    /// Environment variable that holds the token (default: GITHUB_TOKEN or GITLAB_TOKEN)
    #[arg(long, value_name = "NAME")]
    pub token_env: Option<String>,
    /// Address of the API (default: GITHUB_API_URL or CI_API_V4_URL)
    #[arg(long, value_name = "URL")]
    pub api_url: Option<String>,
    /// owner/name, or the GitLab project (default: GITHUB_REPOSITORY or CI_PROJECT_ID)
    #[arg(long)]
    pub repo: Option<String>,
    /// Number of the pull or merge request (default: as the CI tells it)
    #[arg(long, value_name = "N")]
    pub number: Option<u64>,
}

/// What becomes of the last comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Behavior {
    /// It gets the new text.
    Update,
    /// It stays, a new one is made.
    New,
    /// It is removed, a new one is made.
    DeleteAndNew,
}

/// Posts or updates.
pub fn run(here: &Path, args: &CommentArgs) -> Outcome {
    let body = body(here, &args.file)?;
    let Some(marker) = body.lines().next().map(str::trim).filter(|l| l.starts_with("<!-- oppen:ci:") && l.ends_with("-->")) else {
        return Err(Failure::new(Exit::Usage, format!("{} has no marker of `oppen ci` in its first line", args.file.display()))
            .hint("make it with `oppen ci --base REF -o markdown=FILE`"));
    };
    let place = place(args)?;
    let name =
        args.token_env.clone().unwrap_or_else(|| if place.kind == Kind::Github { "GITHUB_TOKEN" } else { "GITLAB_TOKEN" }.to_owned());
    let token = std::env::var(&name).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty() && !t.contains(char::is_control));
    let Some(token) = token else {
        return Err(Failure::new(Exit::Usage, format!("there is no token in the environment variable {}", escape(&name)))
            .hint("hand it to the step, or name another variable with --token-env"));
    };
    let number = place.number;
    let mut forge = Forge::new(place, token).map_err(|words| Failure::new(Exit::Usage, words).hint("see --api-url"))?;
    let done = publish(&mut forge, marker, &body, args).map_err(failure)?;
    output::print(&format!("{done} in request {number}\n"))?;
    Ok(Exit::Done)
}

fn body(here: &Path, file: &Path) -> Result<String, Failure> {
    // GitHub and GitLab take less than this; more is no comment of ours.
    const MOST: u64 = 1 << 20;
    let wrong = |e: std::io::Error| {
        Failure::new(Exit::Error, format!("{}: {e}", file.display())).hint("make it with `oppen ci --base REF -o markdown=FILE`")
    };
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().take(MOST).read_to_string(&mut text).map_err(wrong)?;
    } else {
        std::fs::File::open(here.join(file)).and_then(|f| f.take(MOST).read_to_string(&mut text)).map_err(wrong)?;
    }
    Ok(text)
}

/// Does it; tells what was done.
fn publish(forge: &mut Forge, marker: &str, body: &str, args: &CommentArgs) -> Result<&'static str, ForgeError> {
    let mine = if args.behavior == Behavior::New { Vec::new() } else { forge.find(marker)? };
    let small = args.min_delta.is_some_and(|least| markdown::is_below(body, least));
    if small && mine.is_empty() {
        return Ok("the change is below --min-delta: no comment was made");
    }
    match (args.behavior, mine.last()) {
        (Behavior::Update, Some(Comment { body: known, .. })) if known.trim_end() == body.trim_end() => Ok("the comment says this already"),
        (Behavior::Update, Some(last)) => {
            forge.update(last.id, body)?;
            Ok("the comment was updated")
        }
        (Behavior::DeleteAndNew, Some(_)) => {
            // First the new one: what is said is never nothing.
            forge.create(body)?;
            for old in &mine {
                forge.delete(old.id)?;
            }
            Ok("the comment was removed and made anew")
        }
        _ => {
            forge.create(body)?;
            Ok("a comment was made")
        }
    }
}

fn failure(error: ForgeError) -> Failure {
    let hint = match &error {
        ForgeError::Refused(401, _) => "the token is not valid there",
        ForgeError::Refused(403, _) => {
            "the token may not write comments: `permissions: pull-requests: write`; requests from forks get a token that only reads"
        }
        ForgeError::Refused(404, _) => "see --repo and --number; a token that may not read the repository gets the same answer",
        ForgeError::Unknown(_) => "try again; with `--behavior update` nothing is doubled",
        _ => "see --api-url and the API's status page",
    };
    Failure::new(Exit::Error, error.to_string()).hint(hint)
}

/// From arguments, else as the CI tells it.
fn place(args: &CommentArgs) -> Result<Place, Failure> {
    let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let gitlab = var("GITLAB_CI").is_some() || (var("CI_API_V4_URL").is_some() && var("GITHUB_REPOSITORY").is_none());
    let kind = args.forge.unwrap_or(if gitlab { Kind::Gitlab } else { Kind::Github });
    let (api, repo, number) = match kind {
        Kind::Github => (var("GITHUB_API_URL").or(Some("https://api.github.com".to_owned())), var("GITHUB_REPOSITORY"), github_number()),
        Kind::Gitlab => (var("CI_API_V4_URL"), var("CI_PROJECT_ID"), var("CI_MERGE_REQUEST_IID").and_then(|n| n.parse().ok())),
    };
    let missing = |what: &str, flag: &str| Failure::new(Exit::Usage, format!("nothing tells {what}")).hint(format!("say {flag}"));
    let api = args.api_url.clone().or(api).ok_or_else(|| missing("the address of the API", "--api-url URL"))?;
    let repo = args.repo.clone().or(repo).ok_or_else(|| missing("the repository", "--repo OWNER/NAME"))?;
    let number = args.number.or(number).ok_or_else(|| missing("which pull or merge request it is", "--number N"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let parts = repo.split('/').count();
    let shaped = !repo.is_empty() && repo.chars().all(plain) && !repo.split('/').any(|p| p.is_empty() || p == "." || p == "..");
    if !shaped || (kind == Kind::Github && parts != 2) {
        return Err(Failure::new(Exit::Usage, format!("--repo {}: that names no repository", escape(&repo))).hint("write OWNER/NAME"));
    }
    Ok(Place { kind, api: api.trim_end_matches('/').to_owned(), repo, number })
}

/// The pull request of a workflow of GitHub: from its ref, else from its event.
fn github_number() -> Option<u64> {
    let of_ref = std::env::var("GITHUB_REF").ok().and_then(|r| r.strip_prefix("refs/pull/")?.split('/').next()?.parse().ok());
    of_ref.or_else(|| {
        let mut text = String::new();
        let path = std::env::var_os("GITHUB_EVENT_PATH")?;
        std::fs::File::open(path).ok()?.take(16 << 20).read_to_string(&mut text).ok()?;
        let event: serde_json::Value = serde_json::from_str(&text).ok()?;
        event.pointer("/pull_request/number").or_else(|| event.pointer("/issue/number"))?.as_u64()
    })
}
