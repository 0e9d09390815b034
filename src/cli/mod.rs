//! Arguments in, text and exit codes out. A file a command; views alone render.

pub mod args;
mod apply;
pub mod approve;
mod backends;
pub mod budget;
pub mod ci;
pub mod cost;
pub mod dashboard;
mod desk;
mod detach;
mod exit;
mod from_cluster;
pub mod health;
mod house;
mod install;
pub mod mcp;
mod output;
mod plan;
mod plan_markdown;
mod plan_schema;
mod plan_text;
mod problems;
mod progress;
pub mod policy;
pub mod queue;
pub mod rates;
mod runs;
mod session;
mod signals;
mod sim;
mod status;
pub mod submit;
mod sweep;
mod validate;
mod verify;
mod views;
mod watch;

pub use house::schemas;

use std::path::PathBuf;

use clap::Parser as _;

use args::{Cli, Command};
use exit::{Exit, Failure, Outcome};

/// Runs the command line; the answer is the exit code.
#[must_use]
pub fn run() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print();
            return code(if wrong { Exit::Usage } else { Exit::Done });
        }
    };
    match cli.color {
        args::Color::Auto => {}
        args::Color::Always => anstream::ColorChoice::Always.write_global(),
        args::Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    code(match dispatch(&cli) {
        Ok(exit) => exit,
        Err(failure) => {
            report(&failure);
            failure.exit
        }
    })
}

fn code(exit: Exit) -> std::process::ExitCode {
    std::process::ExitCode::from(exit as u8)
}

fn report(failure: &Failure) {
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    if !failure.message.is_empty() {
        let word = output::style::paint(output::style::BAD, "error");
        output::say(&output::hang(&format!("{word}: {}", failure.message), terminal));
    }
    if let Some(hint) = failure.hint.as_ref().filter(|h| !h.is_empty()) {
        output::say(&format!("  {}", output::hang(&format!("help: {hint}"), terminal)));
    }
}

fn here(cli: &Cli) -> Result<PathBuf, Failure> {
    let now = std::env::current_dir()?;
    let Some(folder) = &cli.chdir else { return Ok(now) };
    let folder = now.join(folder);
    if !folder.is_dir() {
        return Err(Failure::new(Exit::Usage, format!("--chdir: no such folder: {}", folder.display())));
    }
    std::env::set_current_dir(&folder)?;
    Ok(folder)
}

fn dispatch(cli: &Cli) -> Outcome {
    let here = here(cli)?;
    match &cli.command {
        Command::Validate(args) => validate::run(&here, args),
        Command::Init(args) => house::init(&here, args),
        Command::Plan(args) => plan::run(&here, args),
        Command::Apply(args) => apply::run(&here, args),
        Command::Status(args) => status::status(&here, args),
        Command::Queue(args) => queue::run(&here, args),
        Command::Submit(args) => submit::run(&here, args),
        Command::Approve(args) => approve::run(&here, args),
        Command::Stop(args) => runs::end(&here, args, runs::Deed::Stop),
        Command::History(args) => status::history(&here, args),
        Command::Dashboard(args) => dashboard::run(&here, args),
        Command::Health(args) => health::run(&here, args),
        Command::Logs(args) => runs::logs(&here, args),
        Command::Explain(args) => runs::explain(&here, args),
        Command::Ci(args) => ci::run(&here, args),
        Command::Policy(args) => policy::run(&here, args),
        Command::Cost(args) => cost::run(&here, args),
        Command::Budget(args) => budget::run(&here, args),
        Command::Rates(args) => rates::run(&here, args),
        Command::Cancel(args) => runs::act(&here, args, false),
        Command::Retry(args) => runs::act(&here, args, true),
        Command::Destroy(args) => runs::destroy(&here, args),
        Command::Graph(args) => house::graph(&here, args),
        Command::Verify(args) => verify::run(&here, args),
        Command::Lock(args) => house::lock(&here, args),
        Command::Schema(args) => house::schema(&here, args),
        Command::Completions { shell } => house::completions(*shell),
        Command::Man { folder } => house::man(&here, folder),
        Command::Supervise { folder } => backends::supervise(folder),
        Command::Watch(args) => watch::run(&here, args),
        Command::Install(args) => install::run(&here, args),
        Command::Sweep(args) => sweep::run(&here, args),
        Command::Mcp(args) => mcp::run(&here, args),
        Command::Sim(args) => sim::run(args),
    }
}
