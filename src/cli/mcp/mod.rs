//! `oppen mcp`: the agent tools over the same functions as the commands.
//!
//! In: calls that were held against their schemas. Out: answers, or refusals that say what to do next. A file a group of tools.
//! Must never print: standard output is the protocol's.

mod advice;
mod board;
mod jobs;
mod look;
#[expect(unsafe_code, reason = "malloc_trim has no safe form; one call that takes no pointer")]
mod memory;
mod money;
mod plans;
mod queue;
mod reading;
mod resolve;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::exit::{Exit, Failure, Outcome};
use super::session::Place;
use super::{output, signals};
use crate::files::STATE_FOLDER;
use crate::mcp::{self, Answer, Code, Refusal, Talk};

/// Where the token of HTTP lies, in the state folder.
const TOKEN_FILE: &str = "mcp-token";
/// The same by environment.
const TOKEN: &str = "OPPEN_MCP_TOKEN";

/// `mcp`
#[derive(Debug, Args)]
pub struct Mcp {
    /// Listen for HTTP at this address instead of speaking over standard input and output: 127.0.0.1:PORT (0: any free port)
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// Listen beyond loopback, behind a proxy that speaks TLS and is called by this name
    #[arg(long, value_name = "NAME", requires = "http")]
    pub behind_tls: Option<String>,
}

/// Serves until the agent hangs up, or until it is interrupted.
pub fn run(here: &Path, args: &Mcp) -> Outcome {
    let here = here.canonicalize()?;
    let hands = Arc::new(Hands { here });
    let Some(listen) = args.http else {
        mcp::serve_stdio(hands)?;
        return Ok(Exit::Done);
    };
    if !listen.ip().is_loopback() && args.behind_tls.is_none() {
        return Err(Failure::new(Exit::Usage, format!("{listen} can be reached from other machines: a token would travel in clear text"))
            .hint("listen on 127.0.0.1:PORT, or say --behind-tls NAME when a proxy with TLS stands in front and is called so"));
    }
    let root = Place::find(&hands.here, None)?.loaded.root;
    let (token, whence) = token(&root)?;
    let interrupts = signals::listen()?;
    let door = mcp::Door { listen, token, hosts: args.behind_tls.iter().cloned().collect() };
    let ready = |at: SocketAddr| output::say(&format!("agents can connect to http://{at}/mcp with the token {whence}"));
    mcp::serve_http(hands, door, ready, move || {
        let _ = interrupts.recv();
    })
    .map_err(|e| Failure::new(Exit::Error, format!("{listen}: {e}")).hint("choose another port, or 127.0.0.1:0 for a free one"))?;
    Ok(Exit::Done)
}

/// The token that requests must bring, and where it comes from: the environment, else a file that only its owner can read.
fn token(root: &Path) -> Result<(String, String), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
    if let Ok(token) = std::env::var(TOKEN) {
        let sound = token.len() >= 16 && token.bytes().all(|b| b.is_ascii_graphic());
        let wrong = || Failure::new(Exit::Usage, format!("{TOKEN} must have 16 printable characters or more, without spaces"));
        return if sound { Ok((token, format!("of {TOKEN}"))) } else { Err(wrong()) };
    }
    drop(crate::store::Store::open(&root.join(STATE_FOLDER))?);
    let file = root.join(STATE_FOLDER).join(TOKEN_FILE);
    let whence = format!("in {}", file.display());
    if let Ok(meta) = std::fs::symlink_metadata(&file)
        && meta.is_file()
        && meta.mode() & 0o077 == 0
        && meta.uid() == rustix::process::getuid().as_raw()
        && let Ok(token) = std::fs::read_to_string(&file)
        && token.trim().len() >= 32
    {
        return Ok((token.trim().to_owned(), whence));
    }
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let fresh = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut out = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writeln!(out, "{token}")?;
    std::fs::rename(&fresh, &file)?;
    Ok((token, whence))
}

/// Does the work of tools in one project.
struct Hands {
    here: PathBuf,
}

impl Hands {
    fn place(&self) -> Answer<Place> {
        Place::find(&self.here, None).map_err(refusal)
    }
}

/// A failure of a command as an agent is told it.
fn refusal(failure: Failure) -> Refusal {
    let (code, next) = match failure.exit {
        Exit::Usage => (Code::InvalidArguments, "give other arguments"),
        Exit::Invalid => (Code::InvalidFiles, "call validate_workflow, mend what it names, and call again"),
        Exit::Blocked => (Code::Blocked, "ask for less (fewer epochs or runs, background priority), or ask a person to raise the budget"),
        Exit::Stale => (Code::StalePlan, "call plan_workflow again and look at the new plan"),
        Exit::Locked => (Code::Locked, "wait and call again"),
        Exit::Declined => (Code::ApprovalRequired, "ask a person"),
        _ => (Code::Failed, "call get_training_dashboard to see whether all is well, then call again"),
    };
    let hint = failure.hint.filter(|h| !h.is_empty());
    Refusal::new(code, failure.message, hint.unwrap_or_else(|| next.to_owned()))
}

fn stored(error: crate::store::StoreError) -> Refusal {
    refusal(error.into())
}

fn gone(talk: &Talk<'_>) -> Answer<()> {
    let words = || Refusal::new(Code::Cancelled, "the call was cancelled before anything was done", "call again if you still want it");
    if (talk.cancelled)() { Err(words()) } else { Ok(()) }
}

macro_rules! hands {
    ($($name:ident($input:ident) -> $output:ident = $how:path;)+) => {
        impl mcp::Desk for Hands {
            $(fn $name(&self, args: mcp::$input, talk: &Talk<'_>) -> Answer<mcp::$output> {
                gone(talk)?;
                let answer = $how(self, args, talk);
                memory::give_back();
                answer
            })+

            fn items(&self, cursor: Option<&str>) -> Answer<(Vec<mcp::Item>, Option<String>)> {
                reading::items(self, cursor)
            }

            fn read(&self, uri: &str) -> Answer<(String, &'static str)> {
                reading::read(self, uri)
            }
        }
    };
}

hands! {
    trigger_training_job(Train) -> Submitted = jobs::train;
    get_training_status(Status) -> Training = look::status;
    list_training_runs(RunPage) -> RunList = look::list;
    get_training_logs(Logs) -> LogText = look::logs;
    stop_training_job(JobRef) -> Stopped = jobs::stop;
    check_training_budget(BudgetCheck) -> Budgeted = money::check;
    recommend_cost_optimization(RunRef) -> Recommended = advice::recommend;
    forecast_training_cost(ForecastAsk) -> Forecast = advice::forecast;
    compare_training_configs(CompareConfigs) -> Compared = advice::configs;
    get_training_cost_report(CostReport) -> Report = money::report;
    queue_training_job(Train) -> Submitted = jobs::train;
    get_queue_status(Nothing) -> Queue = queue::status;
    submit_batch_training_jobs(TrainBatch) -> Submitted = jobs::batch;
    cancel_queued_job(JobRef) -> Stopped = jobs::cancel;
    list_queued_jobs(Page) -> QueuePage = queue::list;
    get_training_dashboard(Nothing) -> Dashboard = board::dashboard;
    validate_workflow(Files) -> Validated = plans::validate;
    plan_workflow(PlanFiles) -> Plan = plans::plan;
    apply_plan(ApplyPlan) -> Apply = plans::apply;
    explain_run(JobRef) -> Explained = look::explain;
    sweep_status(JobRef) -> SweepView = look::sweep;
}
