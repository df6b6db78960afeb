//! The split in force and the alerts, kept over a restart; the split has a revision that never
//! repeats.
//!
//! What an operator has set holds until the configuration asks for another split than it did then:
//! who edits the file later means it. Each line of the journal has the state after it; earlier
//! versions kept it in a file beside. Does not know: how a split routes.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::alerts::Alerts;
use crate::config::OnRevert;
use crate::names::{Arm, EndpointUrl, PerArm, Split};
use crate::rollout::{Rollout, RolloutState};
use crate::route::{Closed, Course};

use super::journal::Actor;

/// Where earlier versions kept it in the state directory.
const FILE: &str = "state.json";

/// The only version of the format so far.
const VERSION: u8 = 1;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of this format.
    version: u8,
    /// Grows with every change of the split, also over restarts: a change names the one that it
    /// replaces.
    pub revision: u64,
    /// The split in force.
    pub split: Split,
    /// What the configuration asked for when it was set.
    pub configured: Split,
    /// Who set it.
    pub set_by: Actor,
    /// When, as RFC 3339.
    pub set_at: String,
    /// The arm that reverts go to.
    #[serde(default = "primary")]
    pub stable: Arm,
    /// An arm that is shut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
    /// The rollout that is running, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Where its candidate was when it began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate: Vec<String>,
    /// An arm that somebody drains, so that its servers can be stopped: it gets no new work until
    /// somebody takes that back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<Arm>,
    /// What was last deployed to the arms through the router. Left out where there is nothing, so
    /// that an earlier version can go on where nobody deploys.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub deployed: PerArm<Option<Deployed>>,
    /// Where the arms were when this was recorded.
    #[serde(default)]
    pub addresses: PerArm<Vec<String>>,
    /// Security alerts; they have no part in the revision.
    #[serde(default)]
    pub alerts: Alerts,
}

/// A version that was put on an arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployed {
    /// Which, if anybody said so.
    pub version: Option<String>,
    /// The last one before that worked, as far as it is known.
    pub previous: Option<String>,
    /// It was found to work; `false` while it is being put there, and when that has failed.
    pub works: bool,
    /// When, as RFC 3339.
    pub at: String,
}

impl State {
    /// The state of a router that has none yet.
    pub fn first(configured: Split) -> State {
        State {
            version: VERSION,
            revision: 1,
            split: configured,
            configured,
            set_by: Actor::Configuration,
            set_at: now(),
            stable: Arm::Primary,
            closed: None,
            rollout: None,
            candidate: Vec::new(),
            drained: None,
            deployed: PerArm::default(),
            addresses: PerArm::default(),
            alerts: Alerts::default(),
        }
    }

    /// The state where later ones than `last` may have been lost: everything on the stable arm,
    /// since nobody knows how much of the candidate an operator had allowed. The revision is one
    /// that nobody can have seen.
    pub fn after_damage(last: Option<&State>, configured: Split) -> State {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.map_or(1, |since| since.as_secs());
        let last = last.cloned().unwrap_or_else(|| State::first(configured));
        let revision = last.revision.saturating_add(1).max(seconds);
        let why = "the journal is damaged, so nobody knows how far it had come";
        let state = last.aborted(Actor::Start, configured, why);
        // What was shut stays shut. What was not may be all that works, if the lost lines made it
        // the stable arm: it stands in where nobody else does.
        let closed = last.closed.filter(|closed| closed.arm != state.stable);
        State { revision, closed, ..state }
    }

    /// The state without the rollout that is running, if one is: everything on the stable arm.
    #[must_use]
    pub fn aborted(&self, by: Actor, configured: Split, why: &str) -> State {
        let mut next = self.next(Split::all(self.stable), configured, by);
        let Some(rollout) = next.rollout.as_mut().filter(|it| !it.state.is_over()) else {
            return next;
        };
        rollout.state = RolloutState::Aborted;
        rollout.why = Some(why.to_owned());
        next.closed = Some(Closed { arm: rollout.to, sessions: rollout.plan.on_revert });
        next
    }

    /// The rollout that is running.
    pub fn running(&self) -> Option<&Rollout> {
        self.rollout.as_ref().filter(|rollout| !rollout.state.is_over())
    }

    /// Where new work is to go.
    pub fn course(&self) -> Course {
        let drained = self.drained.map(|arm| Closed { arm, sessions: OnRevert::Keep });
        let closed = self.closed.or(drained);
        Course { split: self.split, stable: self.stable, closed }
    }

    /// Whether this version knows what it says.
    pub(super) fn is_known(&self) -> bool {
        self.version == VERSION
    }

    /// The state after somebody has set the split. An arm that is shut stays so until it gets some
    /// of it.
    #[must_use]
    pub fn next(&self, split: Split, configured: Split, set_by: Actor) -> State {
        let revision = self.revision + 1;
        let closed = self.closed.filter(|closed| split.weight(closed.arm) == 0);
        State { revision, split, configured, set_by, set_at: now(), closed, ..self.clone() }
    }

    /// The state under this configuration: the same, unless the file asks for another split than
    /// it did.
    #[must_use]
    pub fn under(self, configured: Split) -> State {
        if self.configured == configured {
            return self;
        }
        self.next(configured, configured, Actor::Configuration)
    }

    /// Whether the candidate gets more than before.
    pub fn raises(&self, before: &State) -> bool {
        let candidate = self.stable.other();
        self.split.weight(candidate) > before.split.weight(candidate)
    }

    /// The state where the arms are now. The stable arm is a server and not a name: if its addresses
    /// have become the other arm's, as after a promotion, the names change sides and nothing else.
    #[must_use]
    pub fn follow(mut self, addresses: &PerArm<Vec<String>>) -> State {
        let was = std::mem::replace(&mut self.addresses, addresses.clone());
        self.deployed = PerArm::from_fn(|arm| self.deployed_at(arm, &was));
        let other = self.stable.other();
        if was != *addresses && !was.primary.is_empty() && self.running().is_none() {
            // What a promotion could be taken back to may be another server by now.
            self.rollout = None;
        }
        let at_home = was.get(self.stable);
        let moved = addresses.get(self.stable) != at_home && addresses.get(other) == at_home;
        if !moved || at_home.is_empty() || self.running().is_some() {
            return self;
        }
        let configured = self.configured;
        let mut next = self.next(self.split.mirrored(), configured, Actor::Configuration);
        next.stable = other;
        next.closed = self.closed.map(|it| Closed { arm: it.arm.other(), ..it });
        next.drained = self.drained.map(Arm::other);
        next
    }

    /// What is known to be deployed to the servers that an arm has now; of new ones nothing is.
    fn deployed_at(&self, arm: Arm, was: &PerArm<Vec<String>>) -> Option<Deployed> {
        let at = self.addresses.get(arm);
        let had = |it: &Arm| was.get(*it).iter().any(|address| at.contains(address));
        let from = [arm, arm.other()].into_iter().find(had);
        // At first nobody knows where they were.
        let from = from.or(was.get(arm).is_empty().then_some(arm))?;
        self.deployed.get(from).clone()
    }

    /// What a restart makes of it, with the candidate at these addresses: a rollout goes on only if
    /// everything is as it was.
    #[must_use]
    pub fn restored(mut self, configured: Split, candidate: &[EndpointUrl]) -> State {
        let Some(rollout) = self.running().cloned().map(Rollout::restored) else {
            return self.under(configured);
        };
        let doubt = if rollout.state.is_over() {
            rollout.why.clone().unwrap_or_default()
        } else if self.configured != configured {
            "the configuration asks for another split than when it began".to_owned()
        } else if !self.is_at(candidate) {
            "the configuration has other addresses for the candidate than when it began".to_owned()
        } else if self.split.weight(rollout.to) != rollout.weight() || rollout.to == self.stable {
            "what was stored of it does not fit together".to_owned()
        } else {
            self.rollout = Some(rollout);
            return self;
        };
        self.aborted(Actor::Start, configured, &doubt)
    }

    /// The same, but where the candidate gets more than before: everything on the stable arm. For a
    /// start, at which nobody can be refused what an edited file asks for.
    #[must_use]
    pub fn without_raise(self, before: &State) -> State {
        if self.raises(before) {
            return before.next(Split::all(before.stable), self.configured, Actor::Start);
        }
        self
    }

    /// Whether the rollout began with the candidate at these addresses.
    pub fn is_at(&self, candidate: &[EndpointUrl]) -> bool {
        candidate.iter().map(ToString::to_string).eq(self.candidate.iter().cloned())
    }
}

fn is_nothing(deployed: &PerArm<Option<Deployed>>) -> bool {
    deployed.primary.is_none() && deployed.secondary.is_none()
}

/// What is stable where nothing says so: before there were rollouts it was the primary.
fn primary() -> Arm {
    Arm::Primary
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// A state file of an earlier version that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Not readable.
    #[error("cannot read {FILE}: {0}")]
    Io(#[from] io::Error),
    /// Not what we write.
    #[error("{FILE} is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("{FILE} is of version {0}, which this version does not know")]
    Unknown(u8),
}

/// Reads the state that an earlier version kept beside its journal, if it is still there.
///
/// # Errors
/// When there is one that cannot be read.
pub(super) fn read_beside(state_dir: &Path) -> Result<Option<State>, StateError> {
    match std::fs::read(state_dir.join(FILE)) {
        Ok(bytes) => match serde_json::from_slice::<State>(&bytes)? {
            state if state.is_known() => Ok(Some(state)),
            State { version, .. } => Err(StateError::Unknown(version)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes it, once the journal holds the state.
pub(super) fn remove_beside(state_dir: &Path) {
    match std::fs::remove_file(state_dir.join(FILE)) {
        Ok(()) => tracing::info!("the state is in audit.jsonl from now on; {FILE} is removed"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // The next start finds it older than the journal and tries again.
        Err(error) => tracing::warn!(%error, "cannot remove {FILE}, which nobody needs any more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(secondary: u8) -> Split {
        Split::new(100 - secondary, secondary).unwrap()
    }

    #[test]
    fn the_stable_arm_is_a_server_and_not_a_name() {
        let at = |primary: &str, secondary: &str| PerArm {
            primary: vec![primary.to_owned()],
            secondary: vec![secondary.to_owned()],
        };
        let first = State::first(split(0)).follow(&at("old", "new"));
        let mut promoted = first.next(split(100), split(0), Actor::Rollout);
        promoted.stable = Arm::Secondary;
        for (now, stable, weight) in [
            (at("old", "new"), Arm::Secondary, 100),
            (at("old", "newer"), Arm::Secondary, 100),
            (at("new", "old"), Arm::Primary, 0),
            (at("new", "next"), Arm::Primary, 0),
        ] {
            let state = promoted.clone().follow(&now).under(split(0));
            assert_eq!((state.stable, state.split), (stable, split(weight)), "{now:?}");
            assert_eq!(state.clone().follow(&now), state);
        }
        // What is deployed to a server goes where it goes, and not to one that comes in its place.
        let on = |version: &str| {
            let (version, at) = (Some(version.to_owned()), "2026".to_owned());
            Some(Deployed { version, previous: None, works: true, at })
        };
        promoted.deployed = PerArm { primary: on("1"), secondary: on("2") };
        for (now, primary, secondary) in [
            (at("old", "new"), on("1"), on("2")),
            (at("old", "newer"), on("1"), None),
            (at("new", "old"), on("2"), on("1")),
            (at("new", "next"), on("2"), None),
        ] {
            let found = promoted.clone().follow(&now).deployed;
            assert_eq!(found, PerArm { primary, secondary }, "{now:?}");
        }
        // A promotion can be taken back only as long as both servers are what they were.
        let defaults = crate::config::RolloutConfig::default();
        let plan = crate::rollout::Plan::from_config(&defaults);
        let mut rollout = Rollout::start("r1".into(), Arm::Secondary, plan, None);
        rollout.state = RolloutState::Promoted;
        promoted.rollout = Some(rollout);
        assert!(promoted.clone().follow(&at("old", "new")).rollout.is_some());
        assert!(promoted.clone().follow(&at("next", "new")).rollout.is_none());
        assert!(promoted.follow(&at("new", "old")).rollout.is_none());
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let beside = |bytes: &[u8]| {
            std::fs::write(dir.path().join(FILE), bytes).unwrap();
            read_beside(dir.path())
        };
        assert_eq!(read_beside(dir.path()).unwrap(), None);
        let state = State::first(split(0)).next(split(10), split(0), Actor::Start);
        assert_eq!(beside(&serde_json::to_vec(&state).unwrap()).unwrap(), Some(state.clone()));
        let later = State { version: 9, ..state };
        let later = beside(&serde_json::to_vec(&later).unwrap());
        assert!(matches!(later, Err(StateError::Unknown(9))));
        assert!(matches!(beside(b"{\"version\":1"), Err(StateError::Damaged(_))));
        remove_beside(dir.path());
        assert_eq!(read_beside(dir.path()).unwrap(), None);
    }

    #[test]
    fn an_earlier_version_can_read_what_uses_nothing_new() {
        let mut state = State::first(split(0));
        let plan = crate::rollout::Plan::from_config(&crate::config::RolloutConfig::default());
        state.rollout = Some(Rollout::start("r2".into(), Arm::Secondary, plan, None));
        let text = serde_json::to_string(&state).unwrap();
        for new in ["deployed", "drained", "confirm"] {
            assert!(!text.contains(new), "{text}");
        }
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }

    #[test]
    fn an_edited_configuration_wins_and_what_it_overrode_does_not_come_back() {
        let set = State::first(split(0)).next(split(50), split(0), Actor::Start);
        assert_eq!(set.clone().under(split(0)), set);
        let edited = set.under(split(10));
        assert_eq!((edited.split, edited.revision), (split(10), 3));
        assert_eq!(edited.under(split(0)).split, split(0));
    }

    #[test]
    fn what_an_edited_configuration_raises_can_be_kept_down() {
        let closed = Some(Closed { arm: Arm::Secondary, sessions: OnRevert::Keep });
        let set = State { closed, ..State::first(split(0)) };
        let kept = set.clone().under(split(50)).without_raise(&set);
        assert_eq!((kept.split, kept.configured, kept.closed), (split(0), split(50), closed));
        assert_eq!(kept.clone().under(split(50)), kept, "asked once is enough");
        // The other way round, and what is no raise.
        let set = State { stable: Arm::Secondary, closed: None, ..State::first(split(80)) };
        for (wanted, found) in [(70, 100), (80, 80), (90, 90)] {
            let kept = set.clone().under(split(wanted)).without_raise(&set);
            assert_eq!(kept.split, split(found), "{wanted}");
        }
    }

    #[test]
    fn damage_opens_nothing_that_was_shut() {
        let closed = Some(Closed { arm: Arm::Secondary, sessions: OnRevert::Keep });
        let reverted = State { closed, ..State::first(split(0)) };
        assert_eq!(State::after_damage(Some(&reverted), split(0)).closed, closed);
        let open = State { closed: None, split: split(50), ..reverted };
        assert_eq!(State::after_damage(Some(&open), split(0)).closed, None);
    }

    #[test]
    fn damage_never_raises_the_secondary() {
        let far = State { revision: u64::MAX - 1, ..State::first(split(50)) };
        for last in [None, Some(&far)] {
            let safe = State::after_damage(last, split(50));
            assert_eq!(safe.split, Split::PRIMARY_ONLY);
            assert!(safe.revision > last.map_or(0, |last| last.revision));
            assert_eq!(safe.under(split(50)).split, Split::PRIMARY_ONLY);
        }
    }
}
