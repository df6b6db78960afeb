//! Deploys, stops and rollbacks of an arm's servers.
//!
//! Does not know: how servers are started and stopped.

use crate::control::ChangeError;
use crate::control::deploys::{Deploy, Phase};
use crate::records::journal::Actor;

use super::Plane;

impl Plane {
    /// Records a step of what is done to an arm's servers, or refuses the first one.
    pub fn deploy(&self, actor: &Actor, step: &Deploy) -> Result<(), ChangeError> {
        self.control.borrow_mut().deploy(actor, step)?;
        // Servers that were stopped or started anew have no sessions of before; one that is used
        // nonetheless is counted again.
        if step.phase == Phase::Done {
            self.measures.borrow_mut().join.forget(step.arm);
        }
        self.steered();
        Ok(())
    }
}
