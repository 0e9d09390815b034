//! Samplers and pruners of the library, driven from outside: one JSON request a line on stdin, one answer a line on stdout.
//!
//! `{"open": SearchSpec}` begins a search, `{"tell": {index, params, state, value, cost_micros, step}}` notes a trial, `{"ask": index}`
//! gives `{params, why}`, `{"report": {trial, step, value}}` judges one, `{"complete": trial}` ends one, `{"cpu": null}` gives the seconds
//! of CPU that samplers and pruners have used since `open`, without reading and writing JSON.

use std::io::{BufRead, Write};

use oppen::base::Money;
use oppen::record::{Params, SearchSpec};
use oppen::search::{Pruner, Sampler, Trial, TrialState, Verdict, pruner, sampler};
use serde_json::{Value, json};

#[derive(Default)]
struct Session {
    sampler: Option<Box<dyn Sampler>>,
    pruner: Option<Box<dyn Pruner>>,
    cpu: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Session::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let (word, body) = request.as_object().and_then(|o| o.iter().next()).ok_or("a request is an object")?;
        let answer = session.answer(word, body)?;
        if !answer.is_null() {
            writeln!(out, "{answer}")?;
            out.flush()?;
        }
    }
    Ok(())
}

impl Session {
    fn answer(&mut self, word: &str, body: &Value) -> Result<Value, Box<dyn std::error::Error>> {
        match word {
            "open" => {
                let spec: SearchSpec = serde_json::from_value(body.clone())?;
                *self = Self { sampler: Some(sampler(&spec)?), pruner: pruner(&spec), cpu: 0.0 };
                return Ok(json!({"describe": self.sampler()?.describe()}));
            }
            "tell" => {
                let trial = trial(body)?;
                self.timed(|s| s.sampler().map(|s| s.tell(&trial)))??;
            }
            "ask" => {
                let index = body.as_u64().ok_or("ask needs an index")?;
                let made = self.timed(|s| s.sampler().map(|s| s.ask(index)))???;
                let params: serde_json::Map<String, Value> = made.params.into_iter().map(|(n, v)| (n.to_string(), v)).collect();
                return Ok(json!({"params": params, "why": made.why}));
            }
            "report" => {
                let number = |name: &str| body[name].as_u64().ok_or("report needs trial and step");
                let (trial, step, value) = (number("trial")?, number("step")?, body["value"].as_f64());
                let verdict = self.timed(|s| s.pruner.as_mut().map(|p| p.report(trial, step, value)))?;
                return Ok(match verdict.ok_or("no pruner")? {
                    Verdict::Continue => json!({"prune": null}),
                    Verdict::Prune { why } | Verdict::Pause { why } => json!({"prune": why}),
                });
            }
            "complete" => {
                let trial = body.as_u64().ok_or("complete needs a trial")?;
                self.timed(|s| s.pruner.as_mut().map(|p| p.complete(trial)))?;
            }
            "cpu" => return Ok(json!({"cpu": self.cpu})),
            other => return Err(format!("unknown request {other}").into()),
        }
        Ok(Value::Null)
    }

    fn sampler(&mut self) -> Result<&mut Box<dyn Sampler>, &'static str> {
        self.sampler.as_mut().ok_or("nothing is open")
    }

    fn timed<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Result<T, &'static str> {
        let before = cpu();
        let done = work(self);
        self.cpu += cpu() - before;
        Ok(done)
    }
}

/// Seconds of CPU that this process has used.
fn cpu() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

fn trial(body: &Value) -> Result<Trial, Box<dyn std::error::Error>> {
    let params: Params =
        body["params"].as_object().ok_or("tell needs params")?.iter().map(|(n, v)| (n.as_str().into(), v.clone())).collect();
    let state = match body["state"].as_str() {
        Some("running") => TrialState::Running,
        Some("pruned") => TrialState::Pruned,
        Some("failed") => TrialState::Failed,
        _ => TrialState::Complete,
    };
    Ok(Trial {
        index: body["index"].as_u64().ok_or("tell needs an index")?,
        params,
        state,
        value: body["value"].as_f64(),
        cost: body["cost_micros"].as_i64().map(Money::from_micros),
        step: body["step"].as_u64(),
    })
}
