//! What is said about rollouts, guards and evidence.
//!
//! Does not know: sockets.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Step;
use crate::judge::GuardState;
use crate::names::{Arm, Guard, PerArm, Split};
use crate::plane::confirm::Checklist;
use crate::rollout::RolloutState;

/// `GET /v1/rollout`, and the answer of every verb: what is going on, and what can be done now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decisions {
    /// The rollout that is running, or the last one.
    pub rollout: Option<RolloutStatus>,
    /// What can be done now.
    pub verbs: Vec<String>,
    /// The arm that reverts go to.
    pub stable: Arm,
    /// An arm that is shut, since a revert, an abort or a drain.
    pub closed: Option<Arm>,
    /// An arm that somebody drains, which is shut too.
    pub drained: Option<Arm>,
    /// The weights in force.
    pub split: Split,
    /// What each guard says.
    pub guards: Vec<GuardStatus>,
    /// Why the candidate should get no more for now.
    pub doubt: Option<String>,
    /// The evidence since the candidate has its weight; nothing while it has none.
    pub evidence: Option<EvidenceStatus>,
    /// In the last step of a rollout: what has to be true before it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Checklist>,
    /// What went wrong besides, though it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A rollout.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// Its name in the journal.
    pub id: String,
    /// The candidate.
    pub to: Arm,
    /// How it stands.
    pub state: RolloutState,
    /// The step, from 1.
    pub step: usize,
    /// All steps.
    pub steps: Vec<Step>,
    /// How long the step has been watched, in milliseconds.
    pub elapsed_ms: u64,
    /// How long it has waited beyond its time, in milliseconds.
    pub held_ms: u64,
    /// Why it was started.
    pub reason: Option<String>,
    /// Why it waits, or ended.
    pub why: Option<String>,
    /// The guard that reverted it.
    pub guard: Option<Guard>,
}

/// What a guard says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuardStatus {
    /// Which.
    pub guard: Guard,
    /// How it stands.
    pub state: GuardState,
    /// In a sentence.
    pub why: String,
    /// How far it is on its way to revert, from 0 to 1; nothing where it has nothing to measure.
    #[serde(default)]
    pub level: Option<f64>,
    /// What the rule is worth at the present traffic, if that is not what one would expect.
    pub forecast: Option<String>,
}

/// The evidence of a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvidenceStatus {
    /// The e-value of all tests together.
    pub e: f64,
    /// At this one the gate shuts.
    pub reverts_at: f64,
    /// Each test's e-value.
    pub tests: Vec<(String, f64)>,
    /// The kind of work with the most evidence against it, and its e-value.
    pub worst: Option<(String, f64)>,
    /// Calls that count: of sessions and callers that began in this step, up to their first error.
    pub calls: PerArm<u64>,
    /// Errors among them.
    pub errors: PerArm<u64>,
    /// Of these, those that are the arm's own fault.
    pub faults: PerArm<u64>,
    /// Speed relative to the stable arm's, tool by tool.
    pub performance: Option<f64>,
    /// Odds of an error on the candidate, relative to the stable arm's.
    pub odds_ratio: Option<f64>,
    /// The candidate's share of faults lies in this interval, with 95 %.
    pub fault_rate: Option<(f64, f64)>,
    /// Whether less than 5 % of the candidate's calls are shown to fail.
    pub enough: bool,
    /// How many more calls would show it if none of them failed.
    pub clean_calls: u64,
    /// The same at the present rate of faults; nothing if it never would.
    pub more_calls: Option<u64>,
}

/// `POST /v1/rollout/start`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRollout {
    /// The candidate; left out, the arm that is not the stable one.
    #[serde(default)]
    pub to: Option<Arm>,
    /// A plan in TOML, with the keys of `[rollout]`.
    #[serde(default)]
    pub plan: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Go on although the candidate's catalogue breaks clients.
    #[serde(default)]
    pub allow_breaking: bool,
}

/// `POST /v1/rollout/{pause,resume,promote,abort,undo}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steer {
    /// `promote`: to the whole weight at once.
    #[serde(default)]
    pub full: bool,
    /// `promote`: only from this step, from 1, so that two who promote at once go one step.
    #[serde(default)]
    pub expected_step: Option<usize>,
    /// `abort` and `undo`: why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `POST /v1/rollout/confirm`: make the candidate the stable arm if all is met.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// Only if this revision of the split is still in force, as the checklist names it.
    #[serde(default)]
    pub expected_revision: Option<u64>,
    /// Also if not all is met; the record says so.
    #[serde(default)]
    pub force: bool,
}

/// One rollout or revert of the past, for `GET /v1/history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Past {
    /// Its name: `r` and a number for a rollout, `s` and one for a split that was set by hand.
    pub id: Option<String>,
    /// When it began, or was reverted.
    pub began: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Who began it.
    pub by: String,
    /// The candidate.
    pub to: Option<Arm>,
    /// How it ended or stands: a state's name.
    pub state: String,
    /// Why it began.
    pub reason: Option<String>,
    /// Why it ended.
    pub why: Option<String>,
    /// The guard that reverted it.
    pub guard: Option<String>,
}

/// `GET /v1/history/ID`: every record of a rollout, as the journal has them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// Its name.
    pub id: String,
    /// The oldest first.
    pub records: Vec<Value>,
}
