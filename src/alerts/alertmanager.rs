//! What Alertmanager's `webhook_config` sends (payload version "4"), and what it means for the list.
//!
//! A notification is a group: every alert of it that fires, each time again, and those that have
//! been resolved since the last time. Fields that are not needed may be anything, so that senders
//! of the same shape (Grafana) are understood too. Does not know: HTTP.

use std::collections::HashMap;
use std::time::SystemTime;

use serde::Deserialize;

use crate::mcp::shown::{plain, shown};

use super::{Alerts, REASON_MAX, Raised, Report, Resolved, Severity};

/// Bytes of a notification: some hundred alerts.
pub const BODY_MAX: usize = 256 * 1024;

/// Alerts of a notification.
pub const ALERTS_MAX: usize = 1000;

/// Who raises and clears what it tells of.
const BY: &str = "alertmanager";

/// What the sender has to change when a notification is too large.
pub const SMALLER: &str =
    "set max_alerts in Alertmanager's webhook_config, or group by more labels";

/// A notification that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadNotification {
    /// Not the shape; the text may quote what came, fit to be shown.
    #[error("not what Alertmanager's webhook_config sends: {0}")]
    Shape(String),
    /// Too many at once.
    #[error("{0} alerts in one notification are more than {ALERTS_MAX}: {SMALLER}")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct Payload {
    alerts: Vec<Told>,
    #[serde(rename = "truncatedAlerts", default)]
    truncated: u64,
}

#[derive(Deserialize)]
struct Told {
    status: Status,
    /// All of them, those of the group included.
    labels: Option<HashMap<String, String>>,
    annotations: Option<HashMap<String, String>>,
    /// A hash of the labels; missing before Alertmanager 0.19.
    fingerprint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

/// A notification.
#[derive(Clone, Debug)]
pub struct Notification {
    alerts: Vec<(Status, Report)>,
    /// Alerts of the group that the sender has left out, by its `max_alerts`.
    pub truncated: u64,
}

impl Notification {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// When it is no notification, or has too many alerts.
    pub fn read(body: &[u8]) -> Result<Notification, BadNotification> {
        let payload: Payload = serde_json::from_slice(body)
            .map_err(|error| BadNotification::Shape(shown(&error.to_string(), REASON_MAX)))?;
        if payload.alerts.len() > ALERTS_MAX {
            return Err(BadNotification::TooMany(payload.alerts.len()));
        }
        let (own, others): (Vec<_>, Vec<_>) = payload.alerts.into_iter().partition(Told::is_ours);
        if !own.is_empty() {
            tracing::warn!(
                alerts = own.len(),
                "alertmanager: left out what it says of the router itself"
            );
        }
        let alerts = others.into_iter().map(|told| (told.status, told.report()));
        Ok(Notification { alerts: alerts.collect(), truncated: payload.truncated })
    }

    /// Raises what fires and clears what is resolved, but for what is critical.
    pub fn apply(self, alerts: &mut Alerts, now: SystemTime) -> Taken {
        let mut taken = Taken::default();
        // First what makes room.
        let (over, firing): (Vec<_>, Vec<_>) =
            self.alerts.into_iter().partition(|(status, _)| *status == Status::Resolved);
        for (_, report) in over {
            match alerts.resolve(now, BY, &report) {
                Some(Resolved::Cleared(id)) => taken.cleared.push(id),
                Some(Resolved::Latched(id)) => taken.latched.push(id),
                // It was cleared by a person, or began and ended while nobody listened.
                None => {}
            }
        }
        for (_, report) in firing {
            match alerts.raise(now, BY, report) {
                Raised::New(id) => taken.raised.push(id),
                Raised::Again(id) => taken.again.push(id),
                Raised::Refused => taken.refused += 1,
            }
        }
        taken
    }
}

/// What a notification has changed, by the numbers of the alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// New.
    pub raised: Vec<u64>,
    /// Open before, and told again.
    pub again: Vec<u64>,
    /// Resolved, and so cleared.
    pub cleared: Vec<u64>,
    /// Resolved, but critical: open until a person clears it.
    pub latched: Vec<u64>,
    /// Those that found no room.
    pub refused: u64,
}

impl Taken {
    /// Whether all is as before.
    pub fn is_nothing(&self) -> bool {
        *self == Taken::default()
    }
}

impl Told {
    /// Whether it tells of the router itself: an alert on an open alert would keep that open.
    fn is_ours(&self) -> bool {
        let name = self.labels.as_ref().and_then(|labels| labels.get("alertname"));
        name.is_some_and(|name| name.starts_with("Tidegate"))
    }

    fn report(self) -> Report {
        let word = |from: &Option<HashMap<String, String>>, key| {
            let text = from.as_ref()?.get(key)?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let name = word(&self.labels, "alertname").unwrap_or_else(|| "unnamed".to_owned());
        let reason = word(&self.annotations, "summary")
            .or_else(|| word(&self.annotations, "description"))
            .unwrap_or_else(|| name.clone());
        let (severity, reason) = match word(&self.labels, "severity") {
            None => (Severity::Warning, reason),
            Some(label) => match Severity::parse(&label) {
                Some(severity) => (severity, reason),
                None => (Severity::Warning, format!("(severity {}) {reason}", plain(&label))),
            },
        };
        let fingerprint = self.fingerprint.filter(|it| !it.is_empty()).map(|it| plain(&it));
        let report = Report::new(severity, &format!("{BY}:{name}"), &reason);
        Report { fingerprint, ..report.expect("neither source nor reason is empty") }
    }
}

#[cfg(test)]
mod tests;
