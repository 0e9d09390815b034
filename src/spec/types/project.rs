//! The project document: backend, pool, rates, models, limits.

use serde_json::Value;

use super::{BudgetDecl, EstimateDecl, RatesDecl, RuleDecl, TrackingDecl, Word};
use crate::base::{Millis, Money};
use crate::spec::lower::{Must, Named};
use crate::spec::scalar::{Cpu, GpuHours, Memory, Plain};

document! {
    /// The project file `oppen.yaml`: where runs run, what they may use and what that costs.
    "a project" pub struct Project {
        /// The version of the language: `oppen/v1`.
        "apiVersion" api_version: Option<Word>,
        /// `Project`.
        "kind" kind: Option<Word>,
        /// Name of the project.
        "name" name: Must<Word>,
        /// What it is for, for people.
        "description" description: Option<Word>,
        /// `local` (the default) or `kubernetes`.
        "backend" backend: Option<Word>,
        /// Capacity that admits runs.
        "pool" pool: Option<PoolDecl>,
        /// What resources cost; the built-in rates hold where it says nothing. `pool.rates` can name a card of its own instead.
        "rates" rates: Option<RatesDecl>,
        /// Default estimates by model type.
        "models" models: Named<ModelDecl>,
        /// Further priority classes: name and weight (urgent is 1000, normal 100, background 10).
        "priorities" priorities: Named<Plain<u32>>,
        /// Most that a single run may ask for.
        "limits" limits: Option<LimitsDecl>,
        /// Teams by name, each with the most that its runs may hold together.
        "teams" teams: Named<TeamDecl>,
        /// What the project may cost.
        "budget" budget: Option<BudgetDecl>,
        /// Further budgets, each with a `scope`.
        "budgets" budgets: Vec<BudgetDecl>,
        /// Rules that plans are held to; more of them in documents of kind Policy in `policies/`.
        "policies" policies: Vec<RuleDecl>,
        /// The cluster, for `backend: kubernetes`.
        "kubernetes" kubernetes: Option<KubernetesDecl>,
        /// What agents may start without a person.
        "agents" agents: Option<AgentsDecl>,
        /// Where runs are tracked beside Oppen's own record.
        "tracking" tracking: Option<TrackingDecl>,
        /// What is looked at beside Oppen's own record.
        "monitor" monitor: Option<MonitorDecl>,
    }
}

document! {
    /// What `oppen dashboard` and `oppen health` look at.
    "a monitor" pub struct MonitorDecl {
        /// Address of a DCGM exporter's metrics, such as `http://dcgm.example:9400/metrics`; in a cluster it is found by its usual labels.
        "dcgm" dcgm: Option<Word>,
    }
}

document! {
    /// What agents may start without a person.
    "agents" pub struct AgentsDecl {
        /// `required`: a person agrees to everything that agents start; `none` (the default).
        "approval" approval: Option<Word>,
        /// A person agrees to what is expected to cost more than this.
        "max_cost" max_cost: Option<Plain<Money>>,
    }
}

document! {
    /// Capacity that admits runs.
    "a pool" pub struct PoolDecl {
        /// Most runs at a time (default 3).
        "max_concurrent" max_concurrent: Option<Plain<u32>>,
        /// Most of each resource at a time.
        "quotas" quotas: Option<QuotasDecl>,
        /// Further quotas by priority class.
        "classes" classes: Named<QuotasDecl>,
        /// Most GPU-hours that all runs may use in a window.
        "gpu_hours" gpu_hours: Option<GpuHoursDecl>,
        /// The rate card that holds here: the name of a document of kind Rates. Without it, `rates` of the project.
        "rates" rates: Option<Word>,
        /// Region that runs run in, where the card has prices by region.
        "region" region: Option<Word>,
        /// Zone of that region.
        "zone" zone: Option<Word>,
    }
}

document! {
    /// Most of each resource that runs may hold together.
    "quotas" pub struct QuotasDecl {
        /// GPUs.
        "gpu" gpu: Option<Plain<u32>>,
        /// Cores.
        "cpu" cpu: Option<Plain<Cpu>>,
        /// Memory.
        "memory" memory: Option<Plain<Memory>>,
    }
}

document! {
    /// Most GPU-hours that runs may use in a window: what does not fit waits for the next one.
    "a quota of GPU-hours" pub struct GpuHoursDecl {
        /// The hours, such as `100` or `2.5`.
        "limit" limit: Must<Plain<GpuHours>>,
        /// `total` (the default), `day`, `week`, `month` or `quarter`: when it begins anew.
        "window" window: Option<Word>,
        /// Time zone of the window by its IANA name (default UTC).
        "timezone" timezone: Option<Word>,
    }
}

document! {
    /// Most that a team's runs may hold together, and cost each.
    "a team" pub struct TeamDecl {
        /// GPUs at a time.
        "gpu" gpu: Option<Plain<u32>>,
        /// Cores at a time.
        "cpu" cpu: Option<Plain<Cpu>>,
        /// Memory at a time.
        "memory" memory: Option<Plain<Memory>>,
        /// Most GPU-hours in a window.
        "gpu_hours" gpu_hours: Option<GpuHoursDecl>,
        /// Runs at a time.
        "max_concurrent" max_concurrent: Option<Plain<u32>>,
        /// Most that one of its runs may cost: more is refused, and a run that lasts longer is ended when that money is used up.
        "max_run_cost" max_run_cost: Option<Plain<Money>>,
    }
}

document! {
    /// Most that a single run may ask for.
    "limits" pub struct LimitsDecl {
        /// GPUs.
        "gpu" gpu: Option<Plain<u32>>,
        /// Cores.
        "cpu" cpu: Option<Plain<Cpu>>,
        /// Memory.
        "memory" memory: Option<Plain<Memory>>,
        /// Longest timeout.
        "timeout" timeout: Option<Plain<Millis>>,
        /// Expected cost.
        "cost" cost: Option<Plain<Money>>,
    }
}

document! {
    /// A model type: how long it is thought to take, and the template that trains it.
    "a model" pub struct ModelDecl {
        /// How long a run is thought to take, where its job does not say.
        "estimate" estimate: Option<EstimateDecl>,
        /// Workflow file that `oppen submit MODEL` and agents run, relative to the project's root.
        "template" template: Option<Word>,
        /// Values of the template's inputs; who submits can give others.
        "with" with: Named<Value>,
    }
}

document! {
    /// The cluster and how runs stand in it.
    "kubernetes" pub struct KubernetesDecl {
        /// Context of the kubeconfig; without it the current one.
        "context" context: Option<Word>,
        /// Namespace of all objects.
        "namespace" namespace: Option<Word>,
        /// Claim that holds the project's files in pods.
        "claim" claim: Option<Word>,
        /// Where the claim is mounted; runs start there (default /workspace).
        "mount" mount: Option<Word>,
        /// `Always`, `IfNotPresent` (the default) or `Never`.
        "image_pull_policy" image_pull_policy: Option<Word>,
        /// Secrets for pulling images.
        "image_pull_secrets" image_pull_secrets: Vec<Word>,
        /// Local queue, where Kueue admits.
        "queue" queue: Option<Word>,
        /// Node label that holds the GPU type.
        "gpu_label" gpu_label: Option<Word>,
        /// User that containers run as (default 65534).
        "user" user: Option<Plain<u32>>,
    }
}
