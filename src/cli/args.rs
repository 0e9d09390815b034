//! Arguments. Doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Terraform for GPU training: plan, price and run training workflows, on this machine or on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "oppen", version, max_term_width = 100, infer_subcommands = false)]
pub struct Cli {
    /// Work as if started in this folder
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    pub chdir: Option<PathBuf>,
    /// Colors: auto, always or never (NO_COLOR is honoured)
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Also in a pipe.
    Always,
    /// Nowhere.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first project: oppen.yaml and a workflow that runs
    Init(Init),
    /// Check files and print every problem
    Validate(Files<Reports>),
    /// Show what would run, when, for how much money, and why
    Plan(Plan),
    /// Do what the plan says
    Apply(Apply),
    /// Follow the files and plan anew on every change
    Watch(Watch),
    /// Show runs, their metrics and where they stand
    Status(Status),
    /// Show the line of waiting runs and why each of them waits
    Queue(super::queue::Queue),
    /// Put a template with values into the queue, without editing a file
    Submit(super::submit::Submit),
    /// One screen: health, what runs and waits, money, machines
    Dashboard(super::dashboard::Dashboard),
    /// Whether everything is as it should be, and what to do where it is not
    Health(super::health::Health),
    /// Print the output of a run
    Logs(Logs),
    /// Tell everything about one run: what it is, why it waits, how it went
    Explain(Explain),
    /// Show what a change of files would run and cost, and refuse it where a check is against it
    Ci(super::ci::Ci),
    /// What runs cost, piece by piece
    Cost(super::cost::Cost),
    /// Where budgets stand, and whether a plan fits
    Budget(super::budget::Budget),
    /// What resources cost, how old these prices are, and prices of clouds read in
    Rates(super::rates::RatesArgs),
    /// List the rules that plans are held to, and test them
    Policy(super::policy::PolicyArgs),
    /// End runs
    Cancel(Select),
    /// Run again what failed, was cancelled or was skipped
    Retry(Select),
    /// End all runs and remove everything that they left in the backend
    Destroy(Destroy),
    /// Draw the jobs and their needs
    Graph(Graph),
    /// End runs that run; what waits goes on waiting
    Stop(Select),
    /// Agree to what an agent proposed, or decline it
    Approve(super::approve::Approve),
    /// Show what happened
    History(History),
    /// Check that the ledger is whole: links, reservations, sums
    Verify(super::verify::Verify),
    /// See or break the lock of the state
    Lock(Lock),
    /// Print the JSON schemas of the language and of the plan
    Schema(Schema),
    /// Print or apply what a Kubernetes namespace needs
    Install(Install),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// Where to
        folder: PathBuf,
    },
    /// Look at sweeps, pause them, let them go on
    Sweep(super::sweep::Args),
    /// Serve agents: the Model Context Protocol over standard input and output, or over HTTP
    Mcp(super::mcp::Mcp),
    /// Run the engine against a simulated cluster with faults
    Sim(Sim),
    /// Keeps local runs alive (started by apply)
    #[command(hide = true)]
    Supervise {
        /// The state folder
        folder: PathBuf,
    },
}

/// Output form and where it goes.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Output: text, json, each with =FILE to write a file; may be given again
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = super::output::parse::<super::output::Form>)]
    pub output: Vec<super::output::Target>,
}

/// Output forms of commands that check files.
#[derive(Debug, Clone, Args)]
pub struct Reports {
    /// Output: text, json, markdown, sarif, junit, github, each with =FILE to write a file; may be given again
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = super::output::parse::<super::output::Format>)]
    pub output: Vec<super::output::Target<super::output::Format>>,
}

/// Files to read.
#[derive(Debug, Clone, Args)]
pub struct Files<O: Args = Output> {
    /// Workflow files or folders; without any, oppen.yaml and workflows/**/*.yaml
    pub paths: Vec<PathBuf>,
    /// Set an input: name=value, or workflow.name=value
    #[arg(long, value_name = "K=V", value_parser = super::output::setting)]
    pub set: Vec<(String, String)>,
    /// Where runs run: local or kubernetes (default: what oppen.yaml says, else local)
    #[arg(long, value_enum)]
    pub backend: Option<BackendKind>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: O,
}

/// A backend by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendKind {
    /// Processes on this machine.
    Local,
    /// Jobs on a cluster.
    Kubernetes,
}

impl BackendKind {
    /// The word in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    /// Folder of the project
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// Name of the project (default: the folder's name)
    #[arg(long)]
    pub name: Option<String>,
}

/// Which part of a plan.
#[derive(Debug, Clone, Default, Args)]
pub struct Part {
    /// Only runs that match: state:failed, state:changed.params, priority:urgent, team:nlp, an address with * and ?; + adds descendants
    #[arg(long, value_name = "SELECTOR")]
    pub select: Vec<String>,
    /// Only these addresses and what they need
    #[arg(long, value_name = "ADDR")]
    pub target: Vec<String>,
}

/// `plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// Shared arguments.
    #[command(flatten)]
    pub files: Files<Reports>,
    /// Shared arguments.
    #[command(flatten)]
    pub part: Part,
    /// Save the plan for `apply FILE`
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Show every run of sweeps and matrices
    #[arg(long)]
    pub expand: bool,
    /// Explain the action of one run
    #[arg(long, value_name = "ADDR")]
    pub explain: Option<String>,
    /// Show also what the files change against a branch, tag or commit (as `ci` does)
    #[arg(long, value_name = "REF", conflicts_with = "explain")]
    pub base: Option<String>,
    /// What runs without a price do
    #[arg(long, value_enum, default_value_t = super::ci::Unpriced::Warn, value_name = "WHAT")]
    pub unpriced: super::ci::Unpriced,
    /// Exit with 2 for changes and 6 for drift alone
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// `apply`
#[derive(Debug, Clone, Args)]
pub struct Apply {
    /// Shared arguments.
    #[command(flatten)]
    pub files: Files,
    /// Shared arguments.
    #[command(flatten)]
    pub part: Part,
    /// Apply only if the plan is this one
    #[arg(long, value_name = "PLAN_ID")]
    pub expect: Option<String>,
    /// Apply only if the plan is expected to cost no more (its worst case is held by budgets, not by this)
    #[arg(long, value_name = "USD", value_parser = super::output::money)]
    pub max_cost: Option<crate::base::Money>,
    /// What runs without a price do
    #[arg(long, value_enum, default_value_t = super::ci::Unpriced::Warn, value_name = "WHAT")]
    pub unpriced: super::ci::Unpriced,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Return at once; runs go on in the background
    #[arg(long)]
    pub detach: bool,
    /// Wait for the lock this long
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = super::output::duration)]
    pub lock_timeout: std::time::Duration,
}

/// `watch`
#[derive(Debug, Args)]
pub struct Watch {
    /// Shared arguments.
    #[command(flatten)]
    pub files: Files,
    /// Apply each plan that costs no more than --max-cost
    #[arg(long, requires = "max_cost")]
    pub apply: bool,
    /// Most that an applied plan may be expected to cost
    #[arg(long, value_name = "USD", value_parser = super::output::money)]
    pub max_cost: Option<crate::base::Money>,
    /// Quiet time after a change before planning
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = super::output::duration)]
    pub debounce: std::time::Duration,
}

/// Commands that only list.
#[derive(Debug, Args)]
pub struct Listing {
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    /// Only runs that match
    pub select: Vec<String>,
    /// Show every run of sweeps and matrices
    #[arg(long)]
    pub expand: bool,
    /// Read the Kubernetes namespace alone, no state: all Jobs of Oppen, by the labels that they carry
    #[arg(long, conflicts_with = "expand")]
    pub from_cluster: bool,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// `logs`
#[derive(Debug, Args)]
pub struct Logs {
    /// The run
    pub address: String,
    /// Go on until the run ends
    #[arg(short, long)]
    pub follow: bool,
    /// Which attempt (default: the last)
    #[arg(long)]
    pub attempt: Option<u32>,
}

/// `explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// The run
    pub address: String,
    /// Shared arguments.
    #[command(flatten)]
    pub files: Files,
}

/// Commands that work on runs.
#[derive(Debug, Args)]
pub struct Select {
    /// Addresses or selectors
    #[arg(required = true)]
    pub select: Vec<String>,
    /// Where runs run, if it is not what oppen.yaml says
    #[arg(long, value_enum)]
    pub backend: Option<BackendKind>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// `destroy`
#[derive(Debug, Args)]
pub struct Destroy {
    /// Addresses or selectors; without any, everything
    pub select: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Where runs run, if it is not what oppen.yaml says
    #[arg(long, value_enum)]
    pub backend: Option<BackendKind>,
}

/// `graph`
#[derive(Debug, Args)]
pub struct Graph {
    /// Shared arguments.
    #[command(flatten)]
    pub files: GraphFiles,
    /// Form of the drawing: text, dot, mermaid, svg, each with =FILE to write a file; may be given again
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = super::output::parse::<Drawing>)]
    pub output: Vec<super::output::Target<Drawing>>,
}

/// Files of `graph`, which has outputs of its own.
#[derive(Debug, Args)]
pub struct GraphFiles {
    /// Workflow files or folders
    pub paths: Vec<PathBuf>,
    /// Set an input
    #[arg(long, value_name = "K=V", value_parser = super::output::setting)]
    pub set: Vec<(String, String)>,
}

/// A form of drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawing {
    /// A tree of characters.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, for Markdown.
    Mermaid,
    /// A picture.
    Svg,
}

impl super::output::Forms for Drawing {
    const ALL: &'static [(&'static str, Self)] =
        &[("text", Self::Text), ("dot", Self::Dot), ("mermaid", Self::Mermaid), ("svg", Self::Svg)];
}

/// `history`
#[derive(Debug, Args)]
pub struct History {
    /// Only this run
    pub address: Option<String>,
    /// How many events
    #[arg(short = 'n', long, default_value_t = 30)]
    pub limit: usize,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// `lock`
#[derive(Debug, Args)]
pub struct Lock {
    /// What to do.
    #[command(subcommand)]
    pub command: LockCommand,
}

/// What to do with the lock.
#[derive(Debug, Subcommand)]
pub enum LockCommand {
    /// Show who holds it
    List(Listing),
    /// Take it away from its holder
    Break {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// `schema`
#[derive(Debug, Args)]
pub struct Schema {
    /// Which: project, rates, workflow or plan; without a name all are listed
    pub name: Option<String>,
    /// Write all into a folder
    #[arg(long, value_name = "DIR")]
    pub write: Option<PathBuf>,
}

/// `install`
#[derive(Debug, Args)]
pub struct Install {
    /// Print YAML for git instead of applying
    #[arg(short, long, value_name = "yaml")]
    pub output: Option<String>,
    /// Namespace (default: what oppen.yaml says, else oppen)
    #[arg(long)]
    pub namespace: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `sim`
#[derive(Debug, Args)]
pub struct Sim {
    /// First seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    pub seeds: u64,
    /// Print every step of the first seed
    #[arg(long)]
    pub trace: bool,
}
