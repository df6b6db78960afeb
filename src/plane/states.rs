//! What is in force as a file, and back.
//!
//! Does not know: who keeps the file.

use std::time::SystemTime;

use crate::control::ChangeError;
use crate::control::states::StateRestored;
use crate::names::{Arm, PerArm};
use crate::records::exported::Exported;
use crate::records::journal::Actor;

use super::Plane;

impl Plane {
    /// What is in force, with what is around it.
    pub fn exported(&self) -> Exported {
        let (table, control) = (self.table(), self.control.borrow());
        let config = &table.config;
        let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let file = config.file.as_ref().map(|file| file.display().to_string());
        let about = (file, config.profile.clone(), config.fingerprint());
        Exported::new(at, about, PerArm::from_fn(|arm| self.server(arm)), control.state().clone())
    }

    /// What an arm's server calls itself: name and version.
    pub fn server(&self, arm: Arm) -> Option<(String, String)> {
        let table = self.table();
        let mut endpoints = table.arms.get(arm).endpoints.iter();
        let server = endpoints.find_map(|endpoint| self.board.view(endpoint.id)?.server)?;
        Some((server.name, server.version))
    }

    /// Puts a state in force: all of it, or nothing.
    pub fn restore_state(
        &self,
        actor: &Actor,
        exported: &Exported,
        allow_raise: bool,
    ) -> Result<StateRestored, ChangeError> {
        let stable = exported.state.stable;
        let is_new = stable != self.table().stable;
        if let Some(doubt) = self.is_down(stable).filter(|_| is_new) {
            return Err(ChangeError::Gates(vec![doubt]));
        }
        let done = self.control.borrow_mut().restore_state(actor, exported, allow_raise)?;
        self.show_alerts();
        self.steered();
        Ok(done)
    }
}
