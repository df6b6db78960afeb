//! Drains: an arm gets no new work, at any price, so that its servers can be stopped.
//!
//! Does not know: what the arm still has to do.

use serde_json::json;

use crate::names::{Arm, Split};
use crate::records::journal::Actor;

use super::rollouts::Order;
use super::{ChangeError, Control};

impl Control {
    /// The arm that is drained.
    pub fn drained(&self) -> Option<Arm> {
        self.state.drained
    }

    /// Gives an arm no new work until that is taken back. Draining twice is no change.
    pub fn drain(
        &mut self,
        actor: &Actor,
        arm: Arm,
        reason: Option<&str>,
    ) -> Result<(), ChangeError> {
        if arm == self.state.stable {
            return Err(ChangeError::DrainsStable(arm));
        }
        if let Some(running) = self.running() {
            return Err(ChangeError::Running(Box::new(running.clone())));
        }
        if self.state.drained == Some(arm) {
            return Ok(());
        }
        let configured = self.table().config.split;
        let mut next = self.state.next(Split::all(arm.other()), configured, actor.clone());
        next.drained = Some(arm);
        let detail = json!({ "arm": arm, "reason": reason });
        self.commit(actor, "drain", || detail, next, Order::ActFirst)
    }

    /// Lets an arm that is drained get work again; its weight stays 0 until somebody sets one.
    pub fn undrain(&mut self, actor: &Actor, arm: Arm) -> Result<(), ChangeError> {
        if self.state.drained != Some(arm) {
            return Err(ChangeError::Gates(vec![format!("the {arm} is not drained")]));
        }
        let configured = self.table().config.split;
        let mut next = self.state.next(self.state.split, configured, actor.clone());
        next.drained = None;
        let detail = json!({ "arm": arm });
        self.commit(actor, "undrain", || detail, next, Order::RecordFirst)
    }

    /// That an arm may get work.
    pub(super) fn is_open(&self, arm: Arm) -> Result<(), ChangeError> {
        match self.state.drained {
            Some(drained) if drained == arm => Err(ChangeError::Drained(arm)),
            _ => Ok(()),
        }
    }
}
