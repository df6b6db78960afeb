//! What the records say of one rollout, or of some days, for people and for files.
//!
//! Journal and history are gathered into a [`Report`], which is the JSON format as it stands; a
//! page is made of that, and Markdown or HTML of the page. So all three say the same. Nothing here
//! reads a file or a clock. Does not know: sockets, where the records are.

pub mod search;

pub mod case;

pub mod period;

pub mod page;

mod pages;

mod markdown;

mod html;

mod svg;

mod thin;

mod words;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::{Arm, PerArm, Split};
use crate::records::figures::Figures;

/// The version of the JSON format.
pub const VERSION: u8 = 1;

/// Days that a report may look back.
pub const DAYS_MAX: u64 = crate::records::history::DAYS;

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "report")]
pub enum Report {
    /// Of a rollout, or of a split that was set by hand and reverted.
    Rollout(Box<Case>),
    /// Of some days.
    Period(Box<Period>),
}

impl Report {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        markdown::render(&self.page())
    }

    /// As one HTML file that needs no other.
    pub fn html(&self) -> String {
        html::render(&self.page())
    }

    fn page(&self) -> page::Page {
        match self {
            Report::Rollout(case) => pages::case::page(case),
            Report::Period(period) => pages::period::page(period),
        }
    }
}

/// A rollout, or a split set by hand until it was reverted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The version of this format.
    pub version: u8,
    /// When the report was made: RFC 3339.
    pub made: String,
    /// Such as `r18`, or `s18` for a split that was set by hand.
    pub id: String,
    /// The candidate.
    pub to: Option<Arm>,
    /// Who began it.
    pub by: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Where it stands, as in the journal: `promoted`, `reverted`, …
    pub state: String,
    /// Whether it is over, runs, or has left no end.
    pub ending: Ending,
    /// Why it ended, or waits.
    pub why: Option<String>,
    /// The guard that reverted it.
    pub guard: Option<String>,
    /// When it began and ended, or was last heard of, in milliseconds since 1970.
    pub began: u64,
    /// See `began`.
    pub ended: u64,
    /// What the servers said they are.
    pub versions: PerArm<Option<String>>,
    /// A digest of the configuration at its beginning.
    pub config: Option<String>,
    /// Its steps: weight in percent and time in milliseconds.
    pub plan: Vec<(u8, u64)>,
    /// The weights, each from its moment on.
    pub weights: Vec<Weights>,
    /// How the arms fared over time, 1500 points at most.
    pub points: Vec<Point>,
    /// How much of the time the history covers, from 0 to 1.
    pub covered: f64,
    /// Lines of the history that could not be read.
    pub unreadable: u64,
    /// By kind of work, the most used first.
    pub tools: Vec<ToolRow>,
    /// What was decided, in order.
    pub decisions: Vec<Decision>,
    /// Decisions in the middle that are left out of a very long list.
    pub decisions_left_out: u64,
    /// What the arms offer.
    pub catalogue: Catalogue,
    /// Validations of the candidate, from a day before.
    pub validations: Vec<Deed>,
    /// Configurations taken over or refused.
    pub reloads: Vec<Deed>,
    /// Security alerts.
    pub alerts: Vec<Deed>,
    /// Deployments, from a day before.
    pub deploys: Vec<Deed>,
    /// All that is on record, in short.
    pub deeds: Vec<Deed>,
    /// Records that are left out of `deeds`.
    pub deeds_left_out: u64,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It is over.
    Over,
    /// It runs.
    Running,
    /// The journal has no end of it, and it does not run: its last lines are lost.
    Lost,
}

/// The weights from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// In milliseconds since 1970.
    pub at: u64,
    /// The weights.
    pub split: Split,
}

/// How the arms fared for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The end of it, in milliseconds since 1970.
    pub at: u64,
    /// What is known of each arm.
    pub arms: PerArm<ArmPoint>,
}

/// How an arm fared for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmPoint {
    /// Exchanges a second.
    pub rate: f64,
    /// Exchanges.
    pub exchanges: u64,
    /// The share that did not end well, from 0 to 1; nothing without exchanges.
    pub errors: Option<f64>,
    /// The median time of a tool call in milliseconds; of several minutes their mean.
    pub p50: Option<f64>,
    /// The time in milliseconds that 95 % stay below; likewise.
    pub p95: Option<f64>,
}

/// What became of one kind of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolRow {
    /// The tool, or the method where there is none.
    pub name: String,
    /// Whether it is a tool.
    pub is_tool: bool,
    /// By arm.
    pub arms: PerArm<Numbers>,
}

/// Figures in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Exchanges.
    pub calls: u64,
    /// Those that did not end well.
    pub errors: u64,
    /// Those that failed by the arm's own fault.
    pub faults: u64,
    /// The median time of the good ones in milliseconds.
    pub p50: Option<f64>,
    /// The time in milliseconds that 95 % of them stay below.
    pub p95: Option<f64>,
}

impl Numbers {
    /// Figures in short.
    fn of(figures: &Figures) -> Numbers {
        let quantile = |share| {
            let time = figures.latency.quantile(share)?;
            Some((time.as_secs_f64() * 1e6).round() / 1e3)
        };
        Numbers {
            calls: figures.exchanges(),
            errors: figures.errors(),
            faults: figures.faults,
            p50: quantile(0.5),
            p95: quantile(0.95),
        }
    }

    /// The share of errors, from 0 to 1.
    fn share(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.errors as f64 / self.calls as f64)
    }
}

/// Something that was decided of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// In milliseconds since 1970.
    pub at: u64,
    /// Such as `step`.
    pub event: String,
    /// Who.
    pub by: String,
    /// The weights before.
    pub before: Option<Split>,
    /// The weights after.
    pub after: Option<Split>,
    /// The step that it is in then, from 1.
    pub step: Option<u64>,
    /// Where it stands then.
    pub state: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// What the guards said.
    pub verdicts: Vec<Verdict>,
    /// What else the record says, by name.
    pub facts: Vec<(String, String)>,
}

/// What a guard said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which.
    pub guard: String,
    /// How it stood: `armed`, `fired`, …
    pub state: String,
    /// In a sentence.
    pub why: String,
    /// Its numbers.
    pub evidence: Value,
}

/// What the arms offered when the rollout began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    /// A digest of what each arm listed.
    pub digests: PerArm<Option<String>>,
    /// Arms that listed something else later on.
    pub changed: Vec<Arm>,
    /// The gravest difference: `breaking`, …
    pub worst: Option<String>,
    /// Differences, the gravest first: class, where, and what.
    pub changes: Vec<(String, String, String)>,
    /// Differences that the record has left out.
    pub left_out: u64,
    /// Whoever started it accepted what breaks clients.
    pub allowed: bool,
}

/// A line of the journal in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// In milliseconds since 1970.
    pub at: u64,
    /// Such as `reload`.
    pub event: String,
    /// Who.
    pub by: String,
    /// What it says, by name.
    pub facts: Vec<(String, String)>,
}

/// Some days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// The version of this format.
    pub version: u8,
    /// When the report was made: RFC 3339.
    pub made: String,
    /// Its ends in milliseconds since 1970.
    pub from: u64,
    /// See `from`.
    pub to: u64,
    /// How much of the time the history covers, from 0 to 1.
    pub covered: f64,
    /// Lines of the history that could not be read.
    pub unreadable: u64,
    /// How the arms fared over time, 1500 points at most.
    pub points: Vec<Point>,
    /// The servers' health.
    pub health: PerArm<Health>,
    /// The ten most used tools.
    pub trends: Vec<Trend>,
    /// Reverts, aborts, common causes, critical alerts, damage.
    pub incidents: Vec<Deed>,
    /// Rollouts, the newest first.
    pub rollouts: Vec<Past>,
    /// What was asked of the router, day by day.
    pub days: Vec<DayPeaks>,
    /// Configurations taken over or refused.
    pub reloads: Vec<Deed>,
    /// Incidents and configurations that are left out of very long lists.
    pub left_out: u64,
}

/// How an arm's servers have been.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Milliseconds for which it is known.
    pub known: u64,
    /// Of these, milliseconds with all servers up.
    pub up: u64,
    /// Times without one of them or more, in order.
    pub outages: Vec<Outage>,
    /// Outages before those, which are left out.
    pub left_out: u64,
}

/// A time with too few servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// When, in milliseconds since 1970.
    pub began: u64,
    /// Its end; to a minute.
    pub ended: u64,
    /// The fewest that worked.
    pub up: u32,
    /// Of how many.
    pub endpoints: u32,
}

/// How a tool has fared, day by day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// The tool.
    pub name: String,
    /// Its calls on both arms.
    pub calls: u64,
    /// Each day with calls: `2026-02-06`.
    pub days: Vec<(String, PerArm<Numbers>)>,
}

/// A rollout of the past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Such as `r18`.
    pub id: String,
    /// When it began, in milliseconds since 1970; nothing if that was before.
    pub began: Option<u64>,
    /// When it ended, if it did.
    pub ended: Option<u64>,
    /// The candidate.
    pub to: Option<Arm>,
    /// Who began it.
    pub by: Option<String>,
    /// Where it stands.
    pub state: String,
    /// Why.
    pub why: Option<String>,
}

/// What was asked of the router on a day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DayPeaks {
    /// `2026-02-06`.
    pub day: String,
    /// All exchanges.
    pub exchanges: u64,
    /// The most in a minute.
    pub a_minute: u64,
    /// The most sessions in use at once.
    pub sessions: u64,
    /// The most event streams open at once.
    pub streams: u64,
    /// The most client connections at once.
    pub connections: u64,
    /// How many there may be.
    pub connections_max: u64,
}

#[cfg(test)]
mod tests;
