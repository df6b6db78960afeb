//! Tells webhooks what has happened, and records when they begin to fail and when they work again.
//!
//! Four times a second, beside everything else: whoever decides does not know of it. Does not know:
//! what is told, how it is sent.

use serde_json::json;

use crate::notify::Notices;
use crate::records::journal::{Actor, Happening};

use super::Plane;

impl Plane {
    /// The webhooks, to look at.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Takes over the configured webhooks and lets them know what has happened since the last time.
    /// Needs a `LocalSet`.
    pub fn tell(&self) {
        let table = self.table();
        let name = || self.listen.first().map(ToString::to_string).unwrap_or_default();
        let router = table.config.profile.clone().unwrap_or_else(name);
        self.notices.sync(&table.config.notify, &router);
        let news: Vec<Happening> = {
            let control = self.control.borrow();
            control.journal().happenings(self.notices.heard()).cloned().collect()
        };
        for happening in &news {
            self.notices.tell(happening);
        }
        for turn in self.notices.turns() {
            let (event, detail) = match turn.fault {
                Some((why, advice)) => (
                    "notify-failing",
                    json!({ "webhook": turn.webhook, "why": why, "advice": advice }),
                ),
                None => ("notify-ok", json!({ "webhook": turn.webhook })),
            };
            self.control.borrow_mut().note(event, &Actor::Router, detail);
        }
        self.measures.borrow().metrics.set_notices(&self.notices.standings());
    }

    /// Tells the last of it before the router ends; what does not arrive within 2 seconds is lost.
    pub async fn tell_last(&self) {
        self.tell();
        self.notices.close().await;
    }
}
