//! The workflow document, its inputs and its budget.

use serde_json::Value;

use super::{BudgetDecl, Defaults, Job, Text, Word};
use crate::spec::lower::{Must, Named};
use crate::spec::scalar::Plain;

document! {
    /// Jobs, their needs, sweeps, defaults and a budget. With `inputs` it is also a template that others use.
    "a workflow" pub struct Workflow {
        /// The version of the language: `oppen/v1`.
        "apiVersion" api_version: Option<Word>,
        /// `Workflow`.
        "kind" kind: Option<Word>,
        /// Name of the workflow: the first part of its runs' addresses.
        "name" name: Must<Word>,
        /// What it is for, for people.
        "description" description: Option<Word>,
        /// The team that pays.
        "team" team: Option<Word>,
        /// Labels of all its jobs.
        "labels" labels: Named<Text>,
        /// Typed inputs, set with `--set name=value` or by `with` of another workflow.
        "inputs" inputs: Named<InputDecl>,
        /// What holds for every job that does not say otherwise.
        "defaults" defaults: Option<Defaults>,
        /// The jobs, by name.
        "jobs" jobs: Must<Named<Job>>,
        /// What the workflow may cost.
        "budget" budget: Option<BudgetDecl>,
    }
}

document! {
    /// One typed input.
    "an input" pub struct InputDecl {
        /// `string`, `integer`, `number`, `boolean`, `list` or `object`.
        "type" kind: Option<Word>,
        /// Value when none is given; without it the input must be set.
        "default" default: Option<Value>,
        /// Smallest number.
        "minimum" minimum: Option<Plain<f64>>,
        /// Largest number.
        "maximum" maximum: Option<Plain<f64>>,
        /// The only values allowed.
        "values" values: Option<Value>,
        /// What it is for, for people.
        "description" description: Option<Word>,
    }
}
