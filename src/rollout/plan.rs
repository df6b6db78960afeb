//! The plan of one rollout, as it was when the rollout began.
//!
//! A copy and not the configuration itself: what a reload changes holds for the next rollout.
//! Does not know: how a plan is written (`config` reads it), how far a rollout has come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{
    self, Confirmation, Gate, OnInconclusive, OnRevert, Problems, RolloutConfig, Step, millis,
};

/// What a rollout does unless something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// At least one; weights rise from 1 % or more to 100 %, no hold is zero. The last is the bake.
    pub steps: Vec<Step>,
    /// What a step needs to be over, besides its time.
    pub gate: Gate,
    /// How long a step waits for its evidence beyond its time. In milliseconds where it is stored.
    #[serde(with = "millis")]
    pub max_hold: Duration,
    /// What happens then.
    pub on_inconclusive: OnInconclusive,
    /// What becomes of the sessions on the candidate when it is reverted.
    pub on_revert: OnRevert,
    /// Who makes the candidate the stable arm at the end.
    #[serde(default, skip_serializing_if = "is_auto")]
    pub confirm: Confirmation,
}

/// What every plan was before there was a choice; an earlier version can read a plan without it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_auto(confirm: &Confirmation) -> bool {
    *confirm == Confirmation::Auto
}

impl Plan {
    /// The plan of whoever names none.
    pub fn from_config(config: &RolloutConfig) -> Plan {
        let config = config.clone();
        Plan {
            steps: config.steps,
            gate: config.gate,
            max_hold: config.max_hold,
            on_inconclusive: config.on_inconclusive,
            on_revert: config.on_revert,
            confirm: config.confirm,
        }
    }

    /// Reads the text of a plan: TOML with the keys of the section `[rollout]`, at the top. What
    /// it leaves out is as in `defaults`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place, its key and what to write instead.
    pub fn parse(text: &str, defaults: &RolloutConfig) -> Result<Plan, Problems> {
        config::plan(text, defaults).map(|config| Plan::from_config(&config))
    }

    /// Whether it keeps what it promises, which a stored one that was edited may not.
    pub(super) fn is_sound(&self) -> bool {
        let rise = self.steps.is_sorted_by(|one, next| one.weight < next.weight);
        let weights = |step: &Step| (1..=100).contains(&step.weight) && !step.hold.is_zero();
        let ends = self.steps.last().is_some_and(|last| last.weight == 100);
        rise && ends && self.steps.iter().all(weights)
    }
}

#[cfg(test)]
mod tests;
