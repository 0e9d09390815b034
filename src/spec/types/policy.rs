//! Policies: rules over a plan, and cases that they are tested with.

use serde_json::Value;

use super::Word;
use crate::spec::lower::Must;

document! {
    /// A document of rules that plans are held to, in `policies/` beside `oppen.yaml`.
    "a policy" pub struct PolicyDoc {
        /// The version of the language: `oppen/v1`.
        "apiVersion" api_version: Option<Word>,
        /// `Policy`.
        "kind" kind: Option<Word>,
        /// Name of the document.
        "name" name: Must<Word>,
        /// What it is for, for people.
        "description" description: Option<Word>,
        /// The rules.
        "rules" rules: Vec<RuleDecl>,
        /// Cases for `oppen policy test`.
        "tests" tests: Vec<CaseDecl>,
    }
}

document! {
    /// One rule: an expression that is true where something is wrong. It names `run` (and is asked for each run) or `plan`.
    "a policy rule" pub struct RuleDecl {
        /// Name, unique in the project.
        "name" name: Must<Word>,
        /// Refuses the plan where it is true, such as `run.capacity == 'spot' and run.priority == 'urgent'`.
        "deny" deny: Option<Word>,
        /// Only says so where it is true.
        "warn" warn: Option<Word>,
        /// What is wrong, for people.
        "message" message: Must<Word>,
        /// What would help, for people.
        "hint" hint: Option<Word>,
    }
}

document! {
    /// A case: a run or a plan, and the rules that it must set off.
    "a policy test" pub struct CaseDecl {
        /// Name, for people.
        "name" name: Must<Word>,
        /// What differs from an ordinary run (1 GPU, normal priority, on-demand, 1 USD): keys as rules see them.
        "run" run: Option<Value>,
        /// Several runs, for rules over the plan.
        "runs" runs: Vec<Value>,
        /// What differs from the plan of these runs: `cost`, `count`, `unpriced`.
        "plan" plan: Option<Value>,
        /// The rules that it sets off.
        "expect" expect: Must<ExpectDecl>,
    }
}

document! {
    /// The names of the rules that a case sets off; all others must be silent.
    "expected verdicts" pub struct ExpectDecl {
        /// Rules that refuse.
        "deny" deny: Vec<Word>,
        /// Rules that warn.
        "warn" warn: Vec<Word>,
    }
}
