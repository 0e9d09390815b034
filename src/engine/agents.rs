//! What agents may start without a person.
//!
//! In: the project's rule, what an agent brings. Out: why it must wait for a person. Asked where a submission is made, and again by the
//! engine, so that nothing an agent leaves in the store passes unseen.

use serde::{Deserialize, Serialize};

use crate::base::{Diagnostic, Diagnostics, Money, suggest, text::escape};
use crate::spec::types::AgentsDecl;

/// The project's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agents {
    /// A person agrees to everything that agents start.
    pub approval: bool,
    /// A person agrees to what is expected to cost more.
    pub max_cost: Option<Money>,
}

/// Who brings something, and what it is expected to cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agency {
    /// Name and version that the agent gave itself.
    pub agent: String,
    /// The person who agreed (`user@host`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Expected.
    pub cost: Money,
    /// Runs without a price.
    #[serde(default)]
    pub unpriced: usize,
}

impl Agents {
    /// From the project file. A word that is none asks for approval: what cannot be read must not open a door.
    #[must_use]
    pub fn read(decl: Option<&AgentsDecl>, diags: &mut Diagnostics) -> Self {
        let Some(decl) = decl else { return Self::default() };
        let approval = match decl.approval.as_ref().map(|w| (&*w.0, w.1)) {
            None | Some(("none", _)) => false,
            Some(("required", _)) => true,
            Some((other, span)) => {
                let hint = suggest::hint(other, ["required", "none"]);
                let words = format!("`{}` is no rule of approval", escape(other));
                diags.push(Diagnostic::error("unknown-approval", span, words).maybe_hint(hint));
                true
            }
        };
        Self { approval, max_cost: decl.max_cost.as_ref().map(|m| m.0) }
    }

    /// Why a person must agree first.
    #[must_use]
    pub fn holds_back(&self, by: &Agency) -> Option<String> {
        if by.approved_by.is_some() {
            return None;
        }
        match self.max_cost {
            _ if self.approval => Some("a person must agree to what agents start here".to_owned()),
            Some(most) if by.cost > most => {
                Some(format!("agents may start what costs up to {most} alone, and this is expected to cost {}", by.cost))
            }
            Some(most) if by.unpriced > 0 => {
                Some(format!("agents may start what costs up to {most} alone, and {} runs have no price", by.unpriced))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{Address, Timestamp};
    use crate::engine::{Engine, Input, Submission};
    use crate::queue::Limits;
    use crate::record::{Event, RunSpec, State};

    #[test]
    fn the_engine_holds_back_what_nobody_agreed_to() {
        let run = Arc::new(RunSpec { address: Address::parse("a/b").unwrap(), ..RunSpec::default() });
        let submission = Submission { id: "1".into(), by: "me".into(), jobs: Vec::new(), runs: vec![run], rules: Vec::new() };
        let told = |agents: Agents, approved_by: Option<&str>, cost: i64| {
            let mut engine = Engine::new(State::default(), Limits::default()).ruled_by(agents);
            let approved_by = approved_by.map(str::to_owned);
            let agency = Agency { agent: "a 1".into(), approved_by, cost: Money::from_micros(cost), unpriced: 0 };
            let inputs = vec![Input::Submit(Box::new(submission.clone()))];
            let step = engine.step(Input::OfAgent { agency, inputs }, Timestamp(0));
            let held = step.events.iter().any(|e| matches!(e, Event::HeldBack { .. }));
            assert_eq!(held, engine.state().runs.is_empty());
            held
        };
        let (open, all) = (Agents::default(), Agents { approval: true, max_cost: None });
        let some = Agents { approval: false, max_cost: Some(Money::from_micros(10)) };
        assert_eq!([told(open, None, 1_000), told(all, None, 0), told(all, Some("p"), 1_000)], [false, true, false]);
        assert_eq!([told(some, None, 10), told(some, None, 11), told(some, Some("p"), 11)], [false, true, false]);
    }
}
