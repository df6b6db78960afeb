//! A state that was exported or backed up, put in force again.
//!
//! In doubt downwards: a rollout that was running is not resumed, for nobody has watched since; the
//! candidate gets more than now only if whoever restores says so. Does not know: files.

use serde_json::json;

use crate::names::Split;
use crate::records::exported::Exported;
use crate::records::journal::Actor;
use crate::records::state::State;
use crate::rollout::RolloutState;
use crate::route::Closed;

use super::rollouts::Order;
use super::{ChangeError, Control};

/// What putting a state back has led to.
#[derive(Debug)]
pub struct StateRestored {
    /// The state before.
    pub before: State,
    /// The rollout that was running in it, and is not resumed.
    pub not_resumed: Option<String>,
}

impl Control {
    /// Puts a state in force: all of it, or nothing.
    pub fn restore_state(
        &mut self,
        actor: &Actor,
        exported: &Exported,
        allow_raise: bool,
    ) -> Result<StateRestored, ChangeError> {
        if let Some(running) = self.running() {
            return Err(ChangeError::Running(Box::new(running.clone())));
        }
        let config = &self.table().config;
        let wanted = &exported.state;
        if wanted.addresses != config.addresses() {
            return Err(ChangeError::OtherServers(exported.at.clone()));
        }
        let next = self.restored(actor, wanted);
        // What is drained may be stopped by now, so nothing but an undrain makes it the stable arm.
        self.is_open(next.stable)?;
        let raises = next.stable != self.state.stable || next.raises(&self.state);
        if next.split.weight(next.stable.other()) > 0
            && let Some(drained) = next.drained
        {
            return Err(ChangeError::Drained(drained));
        }
        if raises && !allow_raise {
            return Err(ChangeError::RestoreRaises(Box::new((self.state.clone(), next))));
        }
        let critical = next.alerts.critical().filter(|_| config.guards.security_alert);
        if let (true, Some(alert)) = (raises, critical) {
            return Err(ChangeError::AlertOpen(format!("{}: {}", alert.source, alert.reason)));
        }
        let not_resumed = wanted.running().map(|rollout| rollout.id.clone());
        let detail = json!({
            "from": exported.at,
            "stable": next.stable,
            "not_resumed": not_resumed,
            "same_config": exported.config_digest == config.fingerprint(),
        });
        let before = self.state.clone();
        self.commit(actor, "restore-state", || detail, next, Order::of_raise(raises))?;
        Ok(StateRestored { before, not_resumed })
    }

    /// What is to be in force. What the servers run is a fact and not a state to go back to.
    fn restored(&self, actor: &Actor, wanted: &State) -> State {
        let (stable, candidate) = (wanted.stable, wanted.stable.other());
        let was_running = wanted.running();
        let split = if was_running.is_some() { Split::all(stable) } else { wanted.split };
        let configured = self.table().config.split;
        let mut next = self.state.next(split, configured, actor.clone());
        next.stable = stable;
        next.drained = wanted.drained.or(self.state.drained).filter(|arm| *arm == candidate);
        let left = was_running.map(|it| Closed { arm: it.to, sessions: it.plan.on_revert });
        let closed = left.or(wanted.closed).or(self.state.closed);
        next.closed = closed.filter(|it| it.arm == candidate && split.weight(candidate) == 0);
        // A promotion of then cannot be taken back now.
        next.rollout = was_running.cloned().map(|mut rollout| {
            rollout.state = RolloutState::Aborted;
            rollout.why =
                Some("an exported state was restored, and nobody has watched since".into());
            rollout
        });
        next.candidate = Vec::new();
        next.alerts.adopt(&wanted.alerts);
        next
    }
}
