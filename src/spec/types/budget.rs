//! Budgets.

use super::Word;
use crate::base::Money;
use crate::spec::lower::Must;
use crate::spec::scalar::Plain;

document! {
    /// A limit of money.
    "a budget" pub struct BudgetDecl {
        /// Name, for people (default: what it counts).
        "name" name: Option<Word>,
        /// Whose money counts, in `budgets` of the project: `project` (the default), `run`, `team/NAME`, `workflow/NAME`, `job/WORKFLOW/JOB`, `user/NAME` or `label/KEY=VALUE`.
        "scope" scope: Option<Word>,
        /// The limit, such as `50 USD`.
        "limit" limit: Must<Plain<Money>>,
        /// `stop` (the default) refuses what the limit cannot pay, `hold` lets it wait for the next window or a higher limit, `warn` only says so.
        "on_exceed" on_exceed: Option<Word>,
        /// `total` (the default), `day`, `week`, `month` or `quarter`: when it begins anew.
        "window" window: Option<Word>,
        /// Time zone of the window by its IANA name (default UTC).
        "timezone" timezone: Option<Word>,
        /// Percentages of the limit that are announced when spending reaches them (default 50, 80, 100).
        "thresholds" thresholds: Vec<Plain<u32>>,
        /// What becomes of live runs when it is used up: `finish` (the default) or `end`.
        "running" running: Option<Word>,
    }
}
