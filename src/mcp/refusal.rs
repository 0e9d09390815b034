//! What an agent is told when a tool does not do its work: a code to branch on, a sentence, and what to do next.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Arguments are missing, unknown, of the wrong type or out of range.
    InvalidArguments,
    /// There is no such run, sweep, plan or submission.
    NotFound,
    /// Files of the project hold errors.
    InvalidFiles,
    /// A budget, a quota, a policy or the caller's own ceiling is against it.
    Blocked,
    /// A person must agree first.
    ApprovalRequired,
    /// It has started, or is over: what waits alone can be taken back.
    NotQueued,
    /// It is over already.
    AlreadyEnded,
    /// The files or the state have changed since the plan was made.
    StalePlan,
    /// Somebody else holds the state.
    Locked,
    /// The call was cancelled.
    Cancelled,
    /// It failed on the way.
    Failed,
}

/// The answer of a tool that did nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// To branch on.
    pub code: Code,
    /// One sentence, or a list of problems; control characters escaped.
    pub message: String,
    /// What the agent can do.
    pub next: String,
    /// More, for programs.
    pub details: Option<Box<Value>>,
}

/// What tools give.
pub type Answer<T> = Result<T, Refusal>;

/// Most characters of a sentence: an agent that gives a book is not given it back.
const LONGEST: usize = 4000;

fn clipped(text: String) -> String {
    if text.len() <= LONGEST {
        return text;
    }
    let mut out: String = text.chars().take(LONGEST).collect();
    out.push_str("...");
    out
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code, message: clipped(message.into()), next: clipped(next.into()), details: None }
    }

    /// With more for programs.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// As it is sent.
    #[must_use]
    pub fn value(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message, "next": self.next});
        if let (Some(details), Some(fields)) = (&self.details, error.as_object_mut()) {
            fields.insert("details".to_owned(), (**details).clone());
        }
        json!({"error": error})
    }
}
