//! Versions that are put on an arm and taken off it: whether the arm may be touched, and what the
//! journal keeps of it.
//!
//! Does not know: how servers are started and stopped, HTTP.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::names::Arm;
use crate::records::journal::{Actor, Sync};
use crate::records::state::{Deployed, State};
use crate::rollout::RolloutState;

use super::{ChangeError, Control};

/// How long something that has begun and not ended keeps others away: whoever did it may be gone.
const UNDER_WAY_MAX: Duration = Duration::from_secs(600);

/// What is done to the servers of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A version is put on it.
    Deploy,
    /// They are stopped.
    Stop,
    /// The version before is put back.
    Rollback,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The servers are about to be touched.
    Begin,
    /// It is done, and the servers work.
    Done,
    /// It is not.
    Failed,
}

/// Something that is done to the servers of an arm.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// Which arm.
    pub arm: Arm,
    /// What.
    pub action: Action,
    /// How far it is.
    pub phase: Phase,
    /// The version that comes, as far as it is known.
    pub version: Option<String>,
    /// The version that goes, as far as it is known.
    pub previous: Option<String>,
    /// The reason at the beginning, the failure at the end; for people.
    pub detail: Option<String>,
    /// Go on although the arm is in use.
    pub force: bool,
}

impl Deploy {
    /// The word in the journal. `stop` alone is the end of the router itself.
    const fn event(&self) -> &'static str {
        match (self.action, self.phase) {
            (Action::Deploy, Phase::Begin) => "deploy",
            (Action::Deploy, Phase::Done) => "deploy-done",
            (Action::Deploy, Phase::Failed) => "deploy-failed",
            (Action::Stop, Phase::Begin) => "stop-begin",
            (Action::Stop, Phase::Done) => "stop-done",
            (Action::Stop, Phase::Failed) => "stop-failed",
            (Action::Rollback, Phase::Begin) => "rollback",
            (Action::Rollback, Phase::Done) => "rollback-done",
            (Action::Rollback, Phase::Failed) => "rollback-failed",
        }
    }
}

impl Control {
    /// Why the servers of an arm must not be touched, and what to do about it; empty if nobody
    /// would notice.
    pub fn in_use(&self, arm: Arm) -> Vec<String> {
        let state = self.state();
        let mut why = Vec::new();
        if let Some(running) = state.running() {
            why.push(format!(
                "rollout {} to the {} is {}: end it first, with `tidegate rollout abort`",
                running.id, running.to, running.state
            ));
        }
        let (weight, other) = (state.split.weight(arm), arm.other());
        if state.stable == arm {
            why.push(format!(
                "it is the stable arm, and gets {weight} % of new work: deploy to the {other}, and \
                 let a rollout make that the stable one"
            ));
        } else if weight > 0 {
            why.push(format!(
                "it gets {weight} % of new work: `tidegate set-traffic-split {other}:100`, or \
                 `tidegate drain {arm} --wait`"
            ));
        }
        why
    }

    /// The same, with what somebody else is doing to them at this moment.
    pub fn kept_from(&self, arm: Arm) -> Vec<String> {
        let mut why = self.in_use(arm);
        let since = self.under_way.get(arm).map(|began| began.elapsed());
        if let Some(since) = since.filter(|since| *since < UNDER_WAY_MAX) {
            let since = humantime::format_duration(Duration::from_secs(since.as_secs()));
            why.push(format!(
                "a deploy, stop or rollback of it began {since} ago and has not ended: wait for its end"
            ));
        }
        why
    }

    /// Why no rollout should go to what is on an arm.
    pub fn unfit(&self, arm: Arm) -> Option<String> {
        let deployed = self.state.deployed.get(arm).as_ref().filter(|it| !it.works)?;
        let version = deployed.version.as_deref().unwrap_or("a version");
        Some(format!(
            "the deploy of {version} to the {arm} has not ended well, or not yet: deploy again, or \
             `tidegate rollback {arm}`"
        ))
    }

    /// Records a step of what is done to an arm's servers. The first one is refused while the arm
    /// is in use, and when it cannot be recorded; but nothing keeps a rollback from going on. No
    /// force lets a deploy into a rollout, whose evidence would be that of another version.
    pub fn deploy(&mut self, actor: &Actor, step: &Deploy) -> Result<(), ChangeError> {
        let is_begin = step.phase == Phase::Begin;
        if let Some(running) = self.running().filter(|_| is_begin && step.action == Action::Deploy)
        {
            return Err(ChangeError::Running(Box::new(running.clone())));
        }
        let why = match step.action {
            _ if !is_begin || step.force => Vec::new(),
            Action::Rollback => self.in_use(step.arm),
            Action::Deploy | Action::Stop => self.kept_from(step.arm),
        };
        if !why.is_empty() {
            return Err(ChangeError::ArmInUse(step.arm, why));
        }
        let next = after(self.state.clone(), step);
        let detail = json!({
            "arm": step.arm,
            "version": step.version,
            "previous": step.previous,
            "detail": step.detail,
            "force": step.force,
        });
        if is_begin && step.action != Action::Rollback {
            self.journal.write(step.event(), actor, detail, &next, Sync::Now)?;
        } else {
            self.journal.write_or_keep(step.event(), actor, detail, &next);
        }
        self.state = next;
        *self.under_way.get_mut(step.arm) = is_begin.then(Instant::now);
        Ok(())
    }
}

/// The state after a step. From its beginning on a deploy may have changed the servers, whatever
/// becomes of it; a rollback that fails leaves what it is to be repeated with.
fn after(mut state: State, step: &Deploy) -> State {
    let replaces = match (step.action, step.phase) {
        (Action::Deploy, Phase::Begin | Phase::Done) | (Action::Rollback, Phase::Done) => true,
        (Action::Rollback, Phase::Begin) => false,
        (Action::Stop, _) | (_, Phase::Failed) => return state,
    };
    let promoted = state.rollout.as_ref().filter(|it| it.state == RolloutState::Promoted);
    if promoted.is_some_and(|it| it.to != step.arm) {
        // What the promotion could be taken back to is another server now.
        state.rollout = None;
    }
    if !replaces {
        return state;
    }
    let known = state.deployed.get(step.arm).clone();
    let version = step.version.clone();
    let before = match (step.action, &known) {
        // To go back a second time would be to go to what was just left.
        (Action::Rollback, _) => None,
        // What never worked is nothing to go back to.
        (_, Some(known)) if !known.works => known.previous.clone(),
        (_, Some(known)) => step.previous.clone().or_else(|| known.version.clone()),
        (_, None) => step.previous.clone(),
    };
    let again = before == version && step.action != Action::Rollback;
    let before = if again { known.and_then(|it| it.previous) } else { before };
    let previous = before.filter(|before| Some(before) != version.as_ref());
    let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let works = step.phase == Phase::Done;
    *state.deployed.get_mut(step.arm) = Some(Deployed { version, previous, works, at });
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Split;
    use crate::rollout::{Plan, Rollout};

    const fn step(action: Action, phase: Phase) -> Deploy {
        let (arm, version, previous, detail) = (Arm::Secondary, None, None, None);
        Deploy { arm, action, phase, version, previous, detail, force: false }
    }

    #[test]
    fn the_version_before_is_one_that_worked() {
        use {Action::*, Phase::*};
        let mut state = State::first(Split::PRIMARY_ONLY);
        // What is done, the version, what was found before; then what is known.
        let cases = [
            (Deploy, Begin, "2.0", Some("1.9"), ("2.0", Some("1.9"), false)),
            (Deploy, Done, "2.0", Some("1.9"), ("2.0", Some("1.9"), true)),
            (Deploy, Begin, "2.1", None, ("2.1", Some("2.0"), false)),
            (Deploy, Failed, "2.1", None, ("2.1", Some("2.0"), false)),
            (Deploy, Begin, "2.2", Some("2.1"), ("2.2", Some("2.0"), false)),
            (Deploy, Done, "2.2", Some("2.1"), ("2.2", Some("2.0"), true)),
            (Deploy, Begin, "2.2", Some("2.2"), ("2.2", Some("2.0"), false)),
            (Deploy, Done, "2.2", Some("2.2"), ("2.2", Some("2.0"), true)),
            (Stop, Begin, "", None, ("2.2", Some("2.0"), true)),
            (Rollback, Begin, "2.0", Some("2.2"), ("2.2", Some("2.0"), true)),
            (Rollback, Failed, "2.0", Some("2.2"), ("2.2", Some("2.0"), true)),
            (Rollback, Done, "2.0", Some("2.2"), ("2.0", None, true)),
        ];
        for (number, (action, phase, version, before, known)) in cases.into_iter().enumerate() {
            let version = Some(version.to_owned());
            let previous = before.map(str::to_owned);
            state = after(state, &super::Deploy { version, previous, ..step(action, phase) });
            let found = state.deployed.secondary.as_ref().unwrap();
            let found = (found.version.as_deref().unwrap(), found.previous.as_deref(), found.works);
            assert_eq!(found, known, "case {number}");
        }
        assert_eq!(state.deployed.primary, None);
    }

    #[test]
    fn a_promotion_cannot_be_taken_back_to_another_server() {
        let plan = Plan::from_config(&crate::config::RolloutConfig::default());
        let mut rollout = Rollout::start("r1".into(), Arm::Primary, plan, None);
        rollout.state = RolloutState::Promoted;
        let mut state = State::first(Split::PRIMARY_ONLY);
        state.rollout = Some(rollout);
        assert!(after(state.clone(), &step(Action::Stop, Phase::Begin)).rollout.is_some());
        assert!(after(state.clone(), &step(Action::Deploy, Phase::Begin)).rollout.is_none());
        let other = Deploy { arm: Arm::Primary, ..step(Action::Deploy, Phase::Begin) };
        assert!(after(state, &other).rollout.is_some());
    }
}
