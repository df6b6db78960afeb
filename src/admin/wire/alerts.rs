//! What is said about alerts.
//!
//! Does not know: sockets.

use serde::{Deserialize, Serialize};

use crate::alerts::{Alert, Severity};

/// `POST /v1/alerts`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaiseAlert {
    /// How dangerous it is.
    pub severity: Severity,
    /// Who or what found it.
    pub source: String,
    /// What is wrong.
    pub reason: String,
}

/// `POST /v1/alerts/clear`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearAlert {
    /// The alert's number.
    pub id: u64,
    /// Why it is no danger any more.
    pub reason: String,
}

/// An alert after a change of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlertChanged {
    /// How it stands now.
    pub alert: Alert,
    /// Whether the disk has the change; otherwise a restart forgets it.
    pub recorded: bool,
}

/// `GET /v1/alerts`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlertList {
    /// Those that are kept, open and cleared, the oldest first.
    pub alerts: Vec<Alert>,
    /// How many found no room, or lost it to a critical one, since the list began.
    pub left_out: u64,
}

/// An open alert in the status.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenAlert {
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// What clears it, in a sentence.
    pub clears: String,
}

impl From<Alert> for OpenAlert {
    fn from(alert: Alert) -> OpenAlert {
        let person = format!("tidegate alert clear {} --reason …", alert.id);
        let clears = match &alert.resolved_at {
            _ if alert.severity < Severity::Critical && alert.fingerprint.is_some() => {
                format!("Alertmanager, once it is resolved; or {person}")
            }
            Some(at) => format!(
                "its source calls it resolved since {at}, but it is critical: only {person}"
            ),
            None if alert.severity == Severity::Critical => format!("only {person}"),
            None => person,
        };
        OpenAlert { alert, clears }
    }
}

/// The answer to a notification of Alertmanager.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NotificationTaken {
    /// New alerts.
    pub raised: usize,
    /// Alerts that were open already.
    pub again: usize,
    /// Alerts that are over.
    pub cleared: usize,
    /// Alerts that are resolved and critical: they stay open until a person clears them.
    pub latched: usize,
    /// Alerts that found no room.
    pub refused: u64,
}
