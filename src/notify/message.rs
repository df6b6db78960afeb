//! What is told of something that has happened, and when that is over again; pure.
//!
//! Only what somebody should know is a message; progress of the journal itself, reloads and splits
//! set by hand are none. Does not know: who is told, and in which words of which program.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::alerts::Severity;
use crate::config::Notice;
use crate::mcp::shown::{plain, shown};
use crate::names::{Arm, Guard, Split};
use crate::records::journal::Happening;

/// Characters of a reason.
const WHY_MAX: usize = 1000;
/// Security alerts that are told one by one: as many as the router keeps.
const ALERTS_MAX: usize = 32;
/// How long news hold that nothing takes back.
const NEWS: Duration = Duration::from_secs(5 * 60);
/// How long holds what somebody has to see to, unless it is over before.
const TROUBLE: Duration = Duration::from_secs(24 * 60 * 60);

/// What ends a wait, or what a revert has left: a change of course.
const COURSE: [&str; 14] = [
    "rollout-start",
    "step",
    "hold",
    "go-on",
    "pause",
    "resume",
    "promote",
    "promote --full",
    "promoted",
    "revert",
    "shut",
    "abort",
    "undo",
    "split",
];

/// What somebody is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What kind it is; `None`: a test.
    pub notice: Option<Notice>,
    /// What has happened, in a few words without a full stop.
    pub title: String,
    /// Why, on one line, if anybody has said.
    pub why: Option<String>,
    /// How much it matters.
    pub severity: Severity,
    /// When it happened.
    pub at: SystemTime,
    /// As in the journal.
    pub event: String,
    /// Counts what has happened since the start of the router; 0: nothing has.
    pub number: u64,
    /// Who did it.
    pub by: String,
    /// Whom it is about.
    pub arm: Option<Arm>,
    /// The name and version that its servers give themselves.
    pub version: Option<String>,
    /// In which rollout.
    pub rollout: Option<String>,
    /// By which rule.
    pub guard: Option<Guard>,
    /// How new work is split since.
    pub weights: Option<Split>,
    /// The security alerts that it is about.
    pub alerts: Vec<AlertTold>,
    /// Alertmanager itself has said so.
    pub by_alertmanager: bool,
    /// When what it says is over.
    pub ends: SystemTime,
    /// It has been told already and is only over now.
    pub is_over: bool,
}

/// A security alert in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertTold {
    /// Its number.
    pub id: u64,
    /// How dangerous it is.
    pub severity: Severity,
    /// Who found it.
    pub source: String,
    /// What is wrong.
    pub reason: String,
    /// Nobody has cleared it.
    pub is_open: bool,
}

impl Message {
    /// A test, which says so.
    pub fn test(now: SystemTime) -> Message {
        Message {
            notice: None,
            title: "this is a test".to_owned(),
            why: Some(
                "somebody wants to know whether messages arrive; nothing has happened".into(),
            ),
            severity: Severity::Info,
            at: now,
            event: "test".to_owned(),
            number: 0,
            by: "`tidegate notify test`".to_owned(),
            arm: None,
            version: None,
            rollout: None,
            guard: None,
            weights: None,
            alerts: Vec::new(),
            by_alertmanager: false,
            ends: now + NEWS,
            is_over: false,
        }
    }

    /// What has happened, if anybody should be told.
    pub fn of(happening: &Happening) -> Option<Message> {
        let detail = &happening.detail;
        let (notice, severity, title) = said(happening)?;
        let at = humantime::parse_rfc3339(&happening.at).unwrap_or_else(|_| SystemTime::now());
        let arm = field(detail, "to").or_else(|| field(detail, "arm"));
        let lasts = match notice {
            Notice::Held | Notice::Reverted | Notice::Alert => TROUBLE,
            _ => NEWS,
        };
        Some(Message {
            notice: Some(notice),
            title,
            why: text(detail, "why"),
            severity,
            at,
            event: happening.event.clone(),
            number: happening.number,
            by: happening.actor.to_string(),
            arm,
            version: arm.and_then(|arm: Arm| text(&detail["versions"], arm.as_str())),
            rollout: text(detail, "rollout"),
            guard: field(detail, "guard"),
            weights: field(detail, "after"),
            alerts: alerts(detail),
            by_alertmanager: happening.event == "alert-notification",
            ends: at + lasts,
            is_over: false,
        })
    }

    /// The word for what it is: that of its notice, or `test`.
    pub fn word(&self) -> &'static str {
        self.notice.map_or("test", Notice::as_str)
    }

    /// All of it in a line for people.
    pub fn text(&self) -> String {
        let mut text = self.title.clone();
        if let Some(why) = &self.why {
            text += &format!(": {why}");
        }
        for alert in &self.alerts {
            let AlertTold { id, severity, source, reason, is_open } = alert;
            let over = if *is_open { "" } else { " (cleared)" };
            text += &format!("; {id} {severity} {source}: {reason}{over}");
        }
        if let Some(version) = &self.version {
            text += &format!("; it is {version}");
        }
        if let Some(weights) = self.weights {
            text += &format!("; new work: {weights}");
        }
        text + &format!("; by {}", self.by)
    }
}

/// What is still so of what was told.
#[derive(Debug, Default)]
pub struct Standing(Option<Message>);

impl Standing {
    /// What is to be told when this has happened: what it ends, then itself.
    pub fn follow(&mut self, happening: &Happening) -> impl Iterator<Item = Message> + use<> {
        let message = Message::of(happening);
        let mut over = None;
        if COURSE.contains(&happening.event.as_str()) {
            let stands = |it: &&Message| matches!(it.notice, Some(Notice::Held | Notice::Reverted));
            over = std::mem::replace(&mut self.0, message.as_ref().filter(stands).cloned());
            let at = humantime::parse_rfc3339(&happening.at).unwrap_or_else(|_| SystemTime::now());
            if let Some(over) = &mut over {
                (over.is_over, over.ends) = (true, at.max(over.at));
            }
        }
        over.into_iter().chain(message)
    }
}

/// What kind of message it is, how much it matters, and its title.
fn said(happening: &Happening) -> Option<(Notice, Severity, String)> {
    let detail = &happening.detail;
    let rollout = text(detail, "rollout");
    let the_rollout = rollout.map_or_else(|| "the split".to_owned(), |id| format!("rollout {id}"));
    let arm = text(detail, "to").or_else(|| text(detail, "arm"));
    let arm = arm.unwrap_or_else(|| "candidate".to_owned());
    let step = detail["step"].as_u64().map_or(1, |step| step + 1);
    let is_promoted = detail["state"] == "promoted";
    Some(match happening.event.as_str() {
        "rollout-start" => {
            (Notice::Started, Severity::Info, format!("{the_rollout} to the {arm} has started"))
        }
        "promoted" | "promote" if is_promoted => {
            let title = format!("{the_rollout} is complete: the {arm} is the stable arm now");
            (Notice::Completed, Severity::Info, title)
        }
        "step" | "promote" | "promote --full" => {
            let title = format!("{the_rollout} to the {arm} is at step {step}");
            (Notice::Step, Severity::Info, title)
        }
        "hold" => {
            let title = format!("{the_rollout} to the {arm} waits at step {step}");
            (Notice::Held, Severity::Warning, title)
        }
        "revert" => {
            let title = format!("{the_rollout} to the {arm} was reverted");
            // No more than that: the router has done what had to be done.
            (Notice::Reverted, Severity::Warning, title)
        }
        "shut" => {
            let title = format!("the {arm}, which had no weight, is shut");
            (Notice::Reverted, Severity::Warning, title)
        }
        "abort" => {
            let title = format!("{the_rollout} to the {arm} was aborted");
            (Notice::Aborted, Severity::Warning, title)
        }
        // What runs on at a start is no news.
        "start" if detail["state"] == "aborted" => {
            let title = format!("{the_rollout} was aborted by the start of the router");
            (Notice::Aborted, Severity::Warning, title)
        }
        "undo" => {
            let title = format!("{the_rollout}, which was complete, was taken back");
            (Notice::Aborted, Severity::Warning, title)
        }
        "common-cause" => {
            let guard = text(detail, "guard").unwrap_or_default();
            let title = format!("guard {guard} finds the same fault on both arms: not reverted");
            (Notice::Alert, Severity::Critical, title)
        }
        "drained" => {
            let title = format!("the {arm} is drained: its servers can be stopped");
            (Notice::Drained, Severity::Info, title)
        }
        "alert-raise" | "alert-clear" | "alert-notification" => return alerted(detail),
        _ => return None,
    })
}

/// The same for what has become of security alerts; one that is told again is no news.
fn alerted(detail: &Value) -> Option<(Notice, Severity, String)> {
    let alerts = alerts(detail);
    let refused = detail["refused"].as_u64().unwrap_or(0);
    let open = alerts.iter().filter(|alert| alert.is_open).count();
    let cleared = alerts.len() - open;
    let count = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("a security alert was {what}")),
        _ => Some(format!("{count} security alerts were {what}")),
    };
    let full = format!("not kept, since {ALERTS_MAX} are open: clear some");
    let parts = [
        count(open, "raised"),
        count(cleared, "cleared"),
        count(usize::try_from(refused).unwrap_or(usize::MAX), &full),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return None;
    }
    let worst = alerts.iter().filter(|alert| alert.is_open).map(|alert| alert.severity).max();
    let worst = worst.unwrap_or(if refused > 0 { Severity::Warning } else { Severity::Info });
    Some((Notice::Alert, worst, parts.join(", ")))
}

/// The alerts that were raised or cleared.
fn alerts(detail: &Value) -> Vec<AlertTold> {
    let of = |key: &str, is_open| {
        let listed = detail[key].as_array().into_iter().flatten();
        listed.filter_map(move |it| {
            Some(AlertTold {
                id: it["id"].as_u64()?,
                severity: field(it, "severity")?,
                source: plain(it["source"].as_str()?),
                reason: text(it, "reason")?,
                is_open,
            })
        })
    };
    let told: Vec<_> = of("raised", true).chain(of("cleared", false)).collect();
    told.into_iter().take(2 * ALERTS_MAX).collect()
}

fn field<T: DeserializeOwned>(detail: &Value, key: &str) -> Option<T> {
    T::deserialize(detail.get(key)?).ok()
}

/// A text, on one line and bounded.
fn text(detail: &Value, key: &str) -> Option<String> {
    let text = detail.get(key)?.as_str()?;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(shown(&line, WHY_MAX)).filter(|it| !it.is_empty())
}

#[cfg(test)]
pub(super) mod fixture;

#[cfg(test)]
mod tests;
