//! Alerts that come in, by whatever way, and those that are taken back.
//!
//! Each change is made on a copy first, so that its record can say what came of it. Does not know:
//! what they lead to.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::alerts::alertmanager::{Notification, Taken};
use crate::alerts::{Alert, Alerts, ClearError, Raised, Report};
use crate::records::journal::Actor;

use super::Plane;

/// What was changed, and whether the disk has it. What it does not have holds until a restart.
#[derive(Clone, Debug)]
pub struct Noted<T> {
    /// What came of it.
    pub outcome: T,
    /// Whether a restart knows of it.
    pub recorded: bool,
}

impl Plane {
    /// Raises an alert.
    pub fn raise_alert(&self, actor: &Actor, report: Report) -> Noted<Raised> {
        let mut alerts = self.alerts();
        let outcome = alerts.raise(SystemTime::now(), &actor.to_string(), report);
        let detail = match outcome {
            Raised::New(id) => json!({ "raised": in_short(&alerts, &[id]) }),
            Raised::Again(id) => json!({ "again": in_short(&alerts, &[id]) }),
            Raised::Refused => json!({ "refused": 1 }),
        };
        self.change_alerts(actor, "alert-raise", detail, alerts, outcome)
    }

    /// Clears an alert.
    ///
    /// # Errors
    /// When it is not open, or the reason is empty.
    pub fn clear_alert(
        &self,
        actor: &Actor,
        id: u64,
        reason: &str,
    ) -> Result<Noted<Alert>, ClearError> {
        let mut alerts = self.alerts();
        let cleared = alerts.clear(SystemTime::now(), id, &actor.to_string(), reason)?.clone();
        let why = cleared.cleared.as_ref().map(|it| &it.reason);
        let detail = json!({ "cleared": in_short(&alerts, &[id]), "why": why });
        Ok(self.change_alerts(actor, "alert-clear", detail, alerts, cleared))
    }

    /// Takes a notification of Alertmanager. One that changes nothing is not recorded.
    pub fn take_notification(&self, notification: Notification) -> Noted<Taken> {
        let mut alerts = self.alerts();
        let outcome = notification.apply(&mut alerts, SystemTime::now());
        if outcome.is_nothing() {
            return Noted { outcome, recorded: true };
        }
        let detail = json!({
            "raised": in_short(&alerts, &outcome.raised),
            "again": outcome.again,
            "cleared": in_short(&alerts, &outcome.cleared),
            "latched": outcome.latched,
            "refused": outcome.refused,
        });
        self.change_alerts(&Actor::Alertmanager, "alert-notification", detail, alerts, outcome)
    }

    pub(super) fn show_alerts(&self) {
        self.measures.borrow().metrics.set_alerts(&self.control.borrow().state().alerts);
    }

    fn alerts(&self) -> Alerts {
        self.control.borrow().state().alerts.clone()
    }

    fn change_alerts<T>(
        &self,
        actor: &Actor,
        event: &str,
        detail: Value,
        next: Alerts,
        outcome: T,
    ) -> Noted<T> {
        let recorded = self.control.borrow_mut().change_alerts(actor, event, detail, |alerts| {
            *alerts = next;
        });
        self.show_alerts();
        self.decide();
        Noted { outcome, recorded }
    }
}

fn in_short(alerts: &Alerts, ids: &[u64]) -> Vec<Value> {
    let known = ids.iter().filter_map(|id| alerts.get(*id));
    let short = |it: &Alert| json!({ "id": it.id, "severity": it.severity, "source": it.source, "reason": it.reason });
    known.map(short).collect()
}
