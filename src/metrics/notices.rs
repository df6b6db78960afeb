//! What became of the messages to webhooks.
//!
//! Does not know: what they say.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use crate::notify::WebhookStanding;

use super::{counter, gauge, set};

const TOTAL: &str = "Messages to webhooks that arrived (sent), were dropped because too many waited, or were given_up after a refusal or 24 hours; and attempts that failed.";

/// Messages.
#[derive(Debug)]
pub(super) struct Notifications {
    total: IntCounterVec,
    pending: IntGaugeVec,
}

impl Notifications {
    pub(super) fn new(to: &Registry) -> Notifications {
        let pending = "Messages that wait for a webhook.";
        Notifications {
            total: counter(to, "tidegate_notifications_total", &["webhook", "result"], TOTAL),
            pending: gauge(to, "tidegate_notifications_pending", &["webhook"], pending),
        }
    }

    /// How each webhook has fared since the start, and what waits for it.
    pub(super) fn set(&self, webhooks: &[WebhookStanding]) {
        // Those that are not configured any more have nothing that waits.
        self.pending.reset();
        for WebhookStanding { settings, pending, fared } in webhooks {
            let name = settings.name.as_str();
            set(&self.pending, &[name], *pending);
            for (result, count) in [
                ("sent", fared.sent),
                ("failed", fared.failed),
                ("dropped", fared.dropped),
                ("given_up", fared.given_up),
            ] {
                let counter = self.total.with_label_values(&[name, result]);
                // One that was gone for a while counts from zero again.
                if counter.get() > count {
                    counter.reset();
                }
                counter.inc_by(count - counter.get());
            }
        }
    }
}
