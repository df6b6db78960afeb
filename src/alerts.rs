//! Security alerts: what people and Alertmanager say is dangerous, and which of it still holds.
//!
//! A critical alert is a latch: only a person opens it again, with a reason, whatever its source
//! says later. The list is bounded, and what is open never gives way to what is over. Does not
//! know: what an alert stops, or where the list is kept.

pub mod alertmanager;

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::mcp::shown::{plain, shown};

/// Alerts that are kept, open and cleared together.
pub const KEPT_MAX: usize = 32;

/// Characters of a reason that are kept; the same as of a source are 128.
pub const REASON_MAX: usize = 512;

/// How dangerous it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at.
    Warning,
    /// To be looked at now.
    High,
    /// The candidate must not be used.
    Critical,
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Severity; 4] =
        [Severity::Info, Severity::Warning, Severity::High, Severity::Critical];

    /// The word for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// What the words mean that rules and scanners use, in any case; `None` for others.
    pub fn parse(word: &str) -> Option<Severity> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            // `none` is what the watchdog of kube-prometheus has.
            "info" | "informational" | "none" | "low" => Severity::Info,
            "warning" | "warn" | "medium" | "moderate" => Severity::Warning,
            "high" | "error" | "major" => Severity::High,
            "critical" | "crit" | "page" | "emergency" | "fatal" => Severity::Critical,
            _ => return None,
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What somebody says. Texts are on one line, bounded, with nothing in them that cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    severity: Severity,
    source: String,
    reason: String,
    fingerprint: Option<String>,
}

/// A report without what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an alert needs {0}")]
pub struct BadReport(&'static str);

impl Report {
    /// A report without a fingerprint: the same source and reason are the same alert.
    ///
    /// # Errors
    /// When the source or the reason is empty.
    pub fn new(severity: Severity, source: &str, reason: &str) -> Result<Report, BadReport> {
        let (source, reason) = (plain(&one_line(source)), shown(&one_line(reason), REASON_MAX));
        if source.is_empty() {
            return Err(BadReport("a source: who or what found it"));
        }
        if reason.is_empty() {
            return Err(BadReport("a reason: what is wrong"));
        }
        Ok(Report { severity, source, reason, fingerprint: None })
    }
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number, from 1; never used again.
    pub id: u64,
    /// The gravest that it was told with.
    pub severity: Severity,
    /// Who or what found it, such as `scanner` or `alertmanager:TokenLeak`.
    pub source: String,
    /// What is wrong, as last told.
    pub reason: String,
    /// When it was first told, as RFC 3339.
    pub raised_at: String,
    /// Who told it first.
    pub raised_by: String,
    /// What its source knows it by.
    pub fingerprint: Option<String>,
    /// How often it was told.
    pub count: u64,
    /// When it was last told, as RFC 3339.
    pub last_at: String,
    /// When its source said that it is over, as RFC 3339. A critical one stays open nonetheless.
    pub resolved_at: Option<String>,
    /// How it ended; nothing while it is open.
    pub cleared: Option<Cleared>,
}

/// How an alert ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// When, as RFC 3339.
    pub at: String,
    /// Who cleared it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Alert {
    /// Whether nobody has cleared it.
    pub fn is_open(&self) -> bool {
        self.cleared.is_none()
    }

    fn is(&self, report: &Report) -> bool {
        match (&self.fingerprint, &report.fingerprint) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.source == report.source && self.reason == report.reason,
            _ => false,
        }
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It is a new alert with this number.
    New(u64),
    /// It is this open one, told again.
    Again(u64),
    /// There was no room.
    Refused,
}

/// Why an alert was not cleared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClearError {
    /// No such number.
    #[error("there is no alert {0} (see tidegate alert list --all)")]
    Unknown(u64),
    /// Somebody was quicker.
    #[error("alert {id} was cleared at {} by {}: {}", .cleared.at, .cleared.by, .cleared.reason)]
    Already {
        /// The alert.
        id: u64,
        /// How it ended.
        cleared: Cleared,
    },
    /// Without a reason.
    #[error("an alert is cleared with a reason only: why is it no danger any more?")]
    NoReason,
}

/// What became of an alert whose source says that it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolved {
    Cleared(u64),
    /// It is critical, and waits for a person.
    Latched(u64),
}

/// All that are kept, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerts {
    last_id: u64,
    left_out: u64,
    kept: Vec<Alert>,
}

impl Alerts {
    /// Takes a report. An alert that is open already counts up, with the graver severity and the
    /// newer reason.
    pub fn raise(&mut self, now: SystemTime, by: &str, report: Report) -> Raised {
        let at = stamp(now);
        if let Some(open) = self.kept.iter_mut().find(|it| it.is_open() && it.is(&report)) {
            open.count += 1;
            open.last_at = at;
            open.severity = open.severity.max(report.severity);
            open.reason = report.reason;
            open.resolved_at = None;
            return Raised::Again(open.id);
        }
        if !self.make_room(report.severity) {
            self.left_out += 1;
            return Raised::Refused;
        }
        self.last_id += 1;
        let Report { severity, source, reason, fingerprint } = report;
        self.kept.push(Alert {
            id: self.last_id,
            severity,
            source,
            reason,
            raised_at: at.clone(),
            raised_by: plain(by),
            fingerprint,
            count: 1,
            last_at: at,
            resolved_at: None,
            cleared: None,
        });
        Raised::New(self.last_id)
    }

    /// What is over gives way to anything, and what is not critical to what is: the oldest first.
    fn make_room(&mut self, severity: Severity) -> bool {
        if self.kept.len() < KEPT_MAX {
            return true;
        }
        let first = |wanted: &dyn Fn(&Alert) -> bool| self.kept.iter().position(wanted);
        let over = first(&|alert| !alert.is_open());
        let milder = || first(&|alert| alert.severity < Severity::Critical);
        let is_critical = severity == Severity::Critical;
        let Some(at) = over.or_else(|| is_critical.then(milder).flatten()) else { return false };
        if self.kept.remove(at).is_open() {
            self.left_out += 1;
        }
        true
    }

    /// Ends an alert.
    ///
    /// # Errors
    /// When it is not open, or the reason is empty.
    pub fn clear(
        &mut self,
        now: SystemTime,
        id: u64,
        by: &str,
        reason: &str,
    ) -> Result<&Alert, ClearError> {
        let reason = shown(&one_line(reason), REASON_MAX);
        if reason.is_empty() {
            return Err(ClearError::NoReason);
        }
        let alert = self.kept.iter_mut().find(|it| it.id == id).ok_or(ClearError::Unknown(id))?;
        if let Some(cleared) = &alert.cleared {
            return Err(ClearError::Already { id, cleared: cleared.clone() });
        }
        alert.cleared = Some(Cleared { at: stamp(now), by: plain(by), reason });
        Ok(alert)
    }

    /// Notes that its source says that it is over; `None` when there is no such open alert.
    fn resolve(&mut self, now: SystemTime, by: &str, report: &Report) -> Option<Resolved> {
        let alert = self.kept.iter_mut().find(|it| it.is_open() && it.is(report))?;
        let at = stamp(now);
        if alert.severity == Severity::Critical {
            alert.resolved_at.get_or_insert(at);
            return Some(Resolved::Latched(alert.id));
        }
        alert.resolved_at = Some(at.clone());
        alert.cleared = Some(Cleared { at, by: by.to_owned(), reason: "resolved".to_owned() });
        Some(Resolved::Cleared(alert.id))
    }

    /// Takes over what is open in others and not here, as new alerts: nothing that was shut for a
    /// reason opens because somebody puts an old state back.
    pub fn adopt(&mut self, others: &Alerts) {
        for other in others.open() {
            let is_same = |it: &Alert| {
                it.is_open()
                    && match (&it.fingerprint, &other.fingerprint) {
                        (Some(one), Some(two)) => one == two,
                        (None, None) => it.source == other.source && it.reason == other.reason,
                        _ => false,
                    }
            };
            if self.kept.iter().any(is_same) || !self.make_room(other.severity) {
                continue;
            }
            self.last_id += 1;
            self.kept.push(Alert { id: self.last_id, ..other.clone() });
        }
    }

    /// The latch: the first critical alert that is open.
    pub fn critical(&self) -> Option<&Alert> {
        self.open().find(|alert| alert.severity == Severity::Critical)
    }

    /// Those that are open, the oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.kept.iter().filter(|alert| alert.is_open())
    }

    /// All that are kept, the oldest first.
    pub fn all(&self) -> &[Alert] {
        &self.kept
    }

    /// One of them.
    pub fn get(&self, id: u64) -> Option<&Alert> {
        self.kept.iter().find(|alert| alert.id == id)
    }

    /// How many reports found no room, or lost it to a critical one.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// Every run of white space is one space.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn stamp(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests;
