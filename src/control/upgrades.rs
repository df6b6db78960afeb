//! The state goes to the process that takes over, and comes back if that one fails.
//!
//! Does not know: processes, sockets.

use serde_json::{Value, json};

use crate::records::journal::Actor;

use super::{ChangeError, Control};

impl Control {
    /// Records that another process takes over, with the hold clock as it is, and lets it have the
    /// state. From here on nothing is changed in this process but what takes work from the
    /// candidate.
    ///
    /// # Errors
    /// When the record is not to be had.
    pub fn hand_over(&mut self, actor: &Actor, detail: Value) -> Result<(), ChangeError> {
        self.journal.write("hand-over", actor, detail, &self.state, super::Sync::Now)?;
        Ok(self.journal.hand_over()?)
    }

    /// Whether another process has the state.
    pub fn is_handed_over(&self) -> bool {
        self.journal.is_away()
    }

    /// Goes on with the state as it was: what the other process has made of it was never in force
    /// here.
    ///
    /// # Errors
    /// When the journal cannot be had back.
    pub fn take_back(&mut self) -> Result<(), ChangeError> {
        Ok(self.journal.take_back()?)
    }

    /// Records that no other process has taken over.
    pub fn not_handed_over(&mut self, actor: &Actor, why: &str) {
        let detail = json!({ "accepted": false, "why": why });
        self.journal.write_or_keep("upgrade", actor, detail, &self.state);
    }
}
