//! What a look is taken at, and what it has found.
//!
//! Plain values. Does not know: how they are come by.

use serde_json::Value;

use crate::names::{Arm, Guard, PerArm};
use crate::observe::tally::Draws;

use super::sequential::{Promotion, Told};

/// How an arm's servers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Standing {
    /// Nobody looks, or has looked yet.
    #[default]
    Unknown,
    /// At least one works.
    Up,
    /// None does.
    Down,
}

/// What a look is taken at besides the counts.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The arm that is judged.
    pub candidate: Arm,
    /// Its weight in percent, as set.
    pub weight: u8,
    /// The rollout that is running, if one is.
    pub rollout: Option<String>,
    /// The chance of a false revert that this step may take, 0 to 1.
    pub alpha: f64,
    /// Kinds of work that may come.
    pub places: usize,
    /// Whether servers are probed at all.
    pub probed: bool,
    /// How the arms' servers stand.
    pub standing: PerArm<Standing>,
    /// What a critical alert says, if one is open.
    pub critical: Option<String>,
}

/// How a guard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardState {
    /// Switched off.
    Off,
    /// There is nothing to guard: the candidate has no weight.
    Idle,
    /// It watches and finds nothing.
    Armed,
    /// It cannot tell at present.
    Cannot,
    /// Both arms have the fault: an alarm, but no reason to change arms.
    CommonCause,
    /// It reverts.
    Fired,
}

impl GuardState {
    /// All of them.
    pub const ALL: [GuardState; 6] = [
        GuardState::Off,
        GuardState::Idle,
        GuardState::Armed,
        GuardState::Cannot,
        GuardState::CommonCause,
        GuardState::Fired,
    ];

    /// The word for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            GuardState::Off => "off",
            GuardState::Idle => "idle",
            GuardState::Armed => "armed",
            GuardState::Cannot => "cannot",
            GuardState::CommonCause => "common_cause",
            GuardState::Fired => "fired",
        }
    }
}

/// What one guard says.
#[derive(Clone, Debug)]
pub struct Opinion {
    /// Which.
    pub guard: Guard,
    /// How it stands.
    pub state: GuardState,
    /// In a sentence, with its numbers.
    pub why: String,
    /// Its numbers, for the record.
    pub evidence: Value,
}

/// What a look has found.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// What each guard says, in the order of [`Guard::ALL`].
    pub guards: Vec<Opinion>,
    /// The evidence of this step.
    pub told: Told,
    /// Why the candidate should get no more for now.
    pub hold: Option<String>,
    /// New sessions of this step, as the weights sent them.
    pub draws: Draws,
    /// The candidate refuses callers that the stable arm lets in.
    pub denied: bool,
}

impl Judgement {
    /// The guard that reverts, if one does.
    pub fn revert(&self) -> Option<&Opinion> {
        self.guards.iter().find(|opinion| opinion.state == GuardState::Fired)
    }

    /// Whether the step is shown to be good.
    pub fn promotion(&self) -> &Promotion {
        &self.told.promotion
    }
}
