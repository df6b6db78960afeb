//! One rollout from its first step to its end: what was seen or said goes in, what is to be done
//! comes out.
//!
//! A share is raised in one function, `enter`, which only a step that is over and a person's word
//! reach; everything else leaves it or takes it all away. Time is what was watched: it comes in
//! with each look, so that a clock that jumps, a process that stalls and a restart skip nothing.
//! Does not know: where evidence comes from, how a revert is made, whether anybody stores it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::config::{Gate, OnInconclusive, Step, millis};
use crate::names::{Arm, Guard};

/// As much of the time between two looks counts as watched.
pub const PASSED_MAX: Duration = Duration::from_secs(10);

/// A rollout, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// What people call it by.
    pub id: String,
    /// The candidate; the other arm is the stable one.
    pub to: Arm,
    /// What happens unless something is wrong.
    pub plan: Plan,
    /// Why somebody started it, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whoever started it accepts a catalogue that breaks clients.
    #[serde(default)]
    pub allow_breaking: bool,
    /// Where it stands.
    pub state: RolloutState,
    /// The step of the plan, from 0; of one that is over, the last that it was in.
    pub step: usize,
    /// How long this step has been watched, pauses left out. In milliseconds where it is stored.
    #[serde(with = "millis")]
    pub elapsed: Duration,
    /// Why it waits or is over, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The rule that reverted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// In a step before the last.
    Progressing,
    /// The time of its step is over, and something else is missing.
    Holding,
    /// Stopped by a person; its share stays and the guards watch on.
    Paused,
    /// In the last step: the candidate has everything, the stable arm is kept warm.
    Baking,
    /// Over: the candidate became the stable arm.
    Promoted,
    /// Over: a guard took everything from the candidate.
    Reverted,
    /// Over: a person did, or the evidence never came.
    Aborted,
    /// Over: it was promoted, and a person took that back.
    Undone,
}

/// What a person can do with a rollout; to start one is [`Rollout::start`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Leave the share as it is.
    Pause,
    /// Go on after a pause, in the step and at the time where it stopped.
    Resume,
    /// To the next step now; in the last one: confirm. The person's word stands for time and
    /// evidence. Whether an alert forbids it is the caller's to ask.
    Promote,
    /// To the last step now.
    PromoteFull,
    /// Take everything from the candidate.
    Abort {
        /// In the person's words.
        reason: Option<String>,
    },
    /// Take a promotion back, as long as no other rollout has begun.
    Undo {
        /// In the person's words.
        reason: Option<String>,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The candidate's share of new work in percent, 1 to 100; the stable arm gets the rest.
    SetWeight(u8),
    /// The candidate gets nothing more; its sessions fare as the plan's `on_revert` says.
    Revert,
    /// The candidate is the stable arm from now on.
    Confirm,
    /// The arm that was stable before gets everything and is the stable one again.
    Undo,
}

/// What is seen at a tick.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Since the tick before, or since the process began; up to [`PASSED_MAX`] of it counts.
    pub passed: Duration,
    /// The rule that wants the candidate gone, and why.
    pub revert: Option<(Guard, &'a str)>,
    /// A doubt for which no share is raised: evidence of 10 and more against the candidate, a fault
    /// of both arms, no health, a breaking catalogue, shares that differ from the weights, a failing
    /// journal. It has no end of its own: the rollout waits until the doubt or a person ends it.
    pub hold: Option<&'a str>,
    /// Whether there is evidence that the candidate is good enough.
    pub promotion: Readiness,
}

/// Whether there is evidence that a candidate is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// There is.
    Passes,
    /// Not yet.
    Inconclusive {
        /// Calls that are still needed if they go as the ones before; `None`: nobody can say.
        more_calls: Option<u64>,
    },
}

/// A verb that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {verb}: the rollout is {state}; what can be done now: {}", verbs.join(", "))]
pub struct Refused {
    /// Where the rollout stands.
    pub state: RolloutState,
    /// What was asked.
    pub verb: &'static str,
    /// What fits.
    pub verbs: Vec<&'static str>,
}

// === impl RolloutState ===

impl RolloutState {
    /// All of them.
    pub const ALL: [RolloutState; 8] = [
        RolloutState::Progressing,
        RolloutState::Holding,
        RolloutState::Paused,
        RolloutState::Baking,
        RolloutState::Promoted,
        RolloutState::Reverted,
        RolloutState::Aborted,
        RolloutState::Undone,
    ];

    /// The word for labels, records and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            RolloutState::Progressing => "progressing",
            RolloutState::Holding => "holding",
            RolloutState::Paused => "paused",
            RolloutState::Baking => "baking",
            RolloutState::Promoted => "promoted",
            RolloutState::Reverted => "reverted",
            RolloutState::Aborted => "aborted",
            RolloutState::Undone => "undone",
        }
    }

    /// Whether another rollout can start.
    pub const fn is_over(self) -> bool {
        match self {
            RolloutState::Progressing
            | RolloutState::Holding
            | RolloutState::Paused
            | RolloutState::Baking => false,
            RolloutState::Promoted
            | RolloutState::Reverted
            | RolloutState::Aborted
            | RolloutState::Undone => true,
        }
    }
}

impl fmt::Display for RolloutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Verb ===

impl Verb {
    /// As a person types it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Promote => "promote",
            Verb::PromoteFull => "promote --full",
            Verb::Abort { .. } => "abort",
            Verb::Undo { .. } => "undo",
        }
    }
}

// === impl Rollout ===

impl Rollout {
    /// Begins in the first step of its plan; [`Rollout::weight`] is to be set then. Whether one
    /// may start now (health, catalogue, alerts, another rollout) is the caller's to ask.
    pub fn start(id: String, to: Arm, plan: Plan, reason: Option<String>) -> Rollout {
        let mut rollout = Rollout {
            id,
            to,
            plan,
            reason,
            allow_breaking: false,
            state: RolloutState::Progressing,
            step: 0,
            elapsed: Duration::ZERO,
            why: None,
            guard: None,
        };
        rollout.state = rollout.running();
        rollout
    }

    /// What a restart makes of a stored rollout: the same, with its clock where it was, for nobody
    /// watched since. One that cannot be (its file was edited) is aborted: on a doubt, never up.
    #[must_use]
    pub fn restored(mut self) -> Rollout {
        let possible = self.plan.is_sound() && self.step < self.plan.steps.len();
        if !self.state.is_over() && !possible {
            let why = "what was stored of it cannot be: its plan or its step is impossible";
            self.end(RolloutState::Aborted, Some(why.to_owned()));
        }
        self
    }

    /// Takes what was seen since the tick before. Goes at most one step on, however much time
    /// has passed.
    pub fn tick(&mut self, look: &Look<'_>) -> Option<Effect> {
        if self.state.is_over() {
            return None;
        }
        if let Some((guard, why)) = look.revert {
            self.guard = Some(guard);
            return Some(self.take_away(RolloutState::Reverted, Some(why.to_owned())));
        }
        if self.state == RolloutState::Paused {
            return None;
        }
        self.elapsed = self.elapsed.saturating_add(look.passed.min(PASSED_MAX));
        if self.elapsed < self.here()?.hold {
            return None;
        }
        if let Some(why) = look.hold {
            self.wait(why.to_owned());
            return None;
        }
        match (self.plan.gate, look.promotion) {
            (Gate::Evidence, Readiness::Inconclusive { more_calls }) => {
                self.inconclusive(more_calls)
            }
            (Gate::Evidence, Readiness::Passes) | (Gate::Time, _) => Some(self.go_on()),
        }
    }

    /// Does what a person asks.
    pub fn apply(&mut self, verb: Verb) -> Result<Option<Effect>, Refused> {
        let verbs = self.verbs();
        if !verbs.contains(&verb.as_str()) {
            return Err(Refused { state: self.state, verb: verb.as_str(), verbs });
        }
        Ok(match verb {
            Verb::Pause => {
                (self.state, self.why) = (RolloutState::Paused, None);
                None
            }
            Verb::Resume => {
                self.state = self.running();
                None
            }
            Verb::Promote => Some(self.go_on()),
            Verb::PromoteFull => Some(self.enter(self.plan.steps.len() - 1)),
            Verb::Abort { reason } => Some(self.take_away(RolloutState::Aborted, reason)),
            Verb::Undo { reason } => {
                self.end(RolloutState::Undone, reason);
                Some(Effect::Undo)
            }
        })
    }

    /// What a person can do now, in their words: the one place that says so. `start` is that of
    /// another rollout.
    pub fn verbs(&self) -> Vec<&'static str> {
        let first = match self.state {
            RolloutState::Progressing | RolloutState::Holding | RolloutState::Baking => "pause",
            RolloutState::Paused => "resume",
            RolloutState::Promoted => return vec!["undo", "start"],
            RolloutState::Reverted | RolloutState::Aborted | RolloutState::Undone => {
                return vec!["start"];
            }
        };
        if self.is_last() {
            return vec![first, "promote", "abort"];
        }
        vec![first, "promote", "promote --full", "abort"]
    }

    /// The candidate's share of new work in percent, 0 to 100.
    pub fn weight(&self) -> u8 {
        match self.state {
            RolloutState::Promoted => 100,
            state if state.is_over() => 0,
            _ => self.here().map_or(0, |step| step.weight),
        }
    }

    /// How long this step has lasted beyond its time.
    pub fn held(&self) -> Duration {
        self.here().map_or(Duration::ZERO, |step| self.elapsed.saturating_sub(step.hold))
    }

    /// The step of the plan. There is always one, unless a stored rollout was edited and not
    /// [`Rollout::restored`].
    fn here(&self) -> Option<Step> {
        self.plan.steps.get(self.step).copied()
    }

    fn is_last(&self) -> bool {
        self.step + 1 >= self.plan.steps.len()
    }

    /// The state of a step in which nothing is wrong.
    fn running(&self) -> RolloutState {
        if self.is_last() { RolloutState::Baking } else { RolloutState::Progressing }
    }

    fn inconclusive(&mut self, more_calls: Option<u64>) -> Option<Effect> {
        let calls = more_calls.map_or(String::new(), |calls| format!("; calls needed: {calls}"));
        if self.held() < self.plan.max_hold {
            self.wait(format!("inconclusive{calls}"));
            return None;
        }
        if self.plan.on_inconclusive == OnInconclusive::Proceed {
            return Some(self.go_on());
        }
        let max_hold = humantime::format_duration(self.plan.max_hold);
        let why = format!("still inconclusive {max_hold} after the time of its step{calls}");
        Some(self.take_away(RolloutState::Aborted, Some(why)))
    }

    fn wait(&mut self, why: String) {
        (self.state, self.why) = (RolloutState::Holding, Some(why));
    }

    fn go_on(&mut self) -> Effect {
        if self.is_last() {
            self.end(RolloutState::Promoted, None);
            return Effect::Confirm;
        }
        self.enter(self.step + 1)
    }

    /// The one way up.
    fn enter(&mut self, step: usize) -> Effect {
        (self.step, self.elapsed, self.why) = (step, Duration::ZERO, None);
        self.state = self.running();
        Effect::SetWeight(self.weight())
    }

    fn take_away(&mut self, state: RolloutState, why: Option<String>) -> Effect {
        self.end(state, why);
        Effect::Revert
    }

    fn end(&mut self, state: RolloutState, why: Option<String>) {
        (self.state, self.why) = (state, why);
    }
}

#[cfg(test)]
mod tests;
