//! Results of validations, which the journal keeps.
//!
//! Does not know: what is in one.

use std::time::SystemTime;

use serde_json::Value;

use super::Plane;
use crate::records::journal::Actor;

impl Plane {
    /// Records how a validation ended; returns when that was, as RFC 3339, and how many lines the
    /// disk has not taken yet.
    pub fn note_validation(&self, actor: &Actor, detail: Value) -> (String, usize) {
        let mut control = self.control.borrow_mut();
        let last = control.journal().last_happening();
        control.note("validation", actor, detail);
        let noted = control.journal().happenings(last).next().map(|it| it.at.clone());
        let now = || humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        (noted.unwrap_or_else(now), control.journal().pending())
    }
}
