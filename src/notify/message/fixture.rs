//! What has happened, made up.
//!
//! Does not know: what is made of it.

use serde_json::{Value, json};

use super::Message;
use crate::names::Guard;
use crate::records::journal::{Actor, Happening};

/// The seventh thing that happens.
pub(in crate::notify) fn happening(event: &str, detail: Value) -> Happening {
    let guard = Guard::SecurityAlert;
    let actor = if event == "revert" { Actor::Guard { guard } } else { Actor::Rollout };
    let at = "2026-02-06T13:08:45.828Z".to_owned();
    Happening { number: 7, at, event: event.to_owned(), actor, detail }
}

/// What is told of an event of a rollout.
pub(in crate::notify) fn message(event: &str) -> Message {
    Message::of(&happening(event, rollout())).unwrap()
}

/// As the journal has it of an event of a rollout.
pub(in crate::notify) fn rollout() -> Value {
    json!({
        "before": { "primary": 50, "secondary": 50 }, "after": { "primary": 100, "secondary": 0 },
        "rollout": "r18", "to": "secondary", "step": 1, "state": "reverted",
        "why": "a <b>critical</b>\n alert & more", "guard": "security_alert",
        "versions": { "primary": null, "secondary": "mcp 2.1.0" },
    })
}
