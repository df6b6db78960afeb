//! What is kept for reports: a line a minute of how the arms fare, and the figures of every kind of
//! work each quarter of an hour. A file a day (UTC) of JSON lines, for 35 days.
//!
//! No decision goes by it, so nothing waits for it and a line that the disk does not take is lost:
//! what has to be true stands in the journal. Does not know: who counts, what a report says.

mod read;

mod write;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::names::PerArm;

use super::figures::{Figures, Kind};

pub use read::read;
pub use write::Writer;

/// Days that are kept, the running one included.
pub const DAYS: u64 = 35;

/// Milliseconds of a day.
pub const DAY: u64 = 86_400_000;

/// Bytes of a day's file beyond which no figures are added to it: all days together take 560 MiB
/// at most, and some 60 MiB for a server with ten tools.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of a line. The longest that is written has figures of all 276 kinds of work.
const LINE_MAX: u64 = 2 * 1024 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// How the arms fared.
    Minute(Minute),
    /// What became of every kind of work.
    Tools(Tools),
}

impl Line {
    /// When it ended, in milliseconds since 1970.
    pub fn at(&self) -> u64 {
        match self {
            Line::Minute(minute) => minute.at,
            Line::Tools(tools) => tools.at,
        }
    }

    /// When it began, in milliseconds since 1970.
    pub fn from(&self) -> u64 {
        match self {
            Line::Minute(minute) => minute.at.saturating_sub(minute.span),
            Line::Tools(tools) => tools.at.saturating_sub(tools.span),
        }
    }
}

/// How the arms fared for a minute, or for less where the weights changed or the router stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Minute {
    /// The end of it, in milliseconds since 1970.
    pub at: u64,
    /// Its length in milliseconds.
    pub span: u64,
    /// The arms.
    pub arms: PerArm<ArmMinute>,
    /// The most client connections at once.
    pub connections: u64,
    /// How many there may be (`limits.connections`).
    pub connections_max: u64,
}

/// How an arm fared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmMinute {
    /// Its weight in percent, as set.
    pub weight: u8,
    /// What the health of its servers left of it, in percent.
    pub effective: f64,
    /// Exchanges that ended.
    pub exchanges: u64,
    /// Of these, those that failed by the arm's own fault.
    pub faults: u64,
    /// Of these, those that did not end well, whoever's fault that was.
    pub errors: u64,
    /// Calls of tools that ended well.
    pub calls: u64,
    /// The median of their times in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// The time in milliseconds that 95 % of them stayed below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// The most sessions in use at once.
    pub sessions: u64,
    /// The most event streams open at once.
    pub streams: u64,
    /// Its servers.
    pub endpoints: u32,
    /// The fewest of them that worked at once; nothing while nobody had looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<u32>,
    /// What its server said it is: name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What became of every kind of work; the weights were the same all the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tools {
    /// The end of it, in milliseconds since 1970.
    pub at: u64,
    /// Its length in milliseconds.
    pub span: u64,
    /// The rollout that was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// Its step, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The revision of the split.
    pub revision: u64,
    /// By arm and kind of work; kinds that were not done are left out.
    pub arms: PerArm<Vec<Row>>,
}

/// The figures of one kind of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The kind.
    pub kind: Kind,
    /// Its figures.
    pub figures: Figures,
}

/// A moment in milliseconds since 1970.
pub fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The day of a moment in milliseconds since 1970, as `2026-02-06`.
pub fn day(at: u64) -> String {
    // The last millisecond that RFC 3339 can write.
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at.min(253_402_300_799_999));
    let mut text = humantime::format_rfc3339_seconds(at).to_string();
    text.truncate("2026-02-06".len());
    text
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("history")
}

fn file(state_dir: &Path, at: u64) -> PathBuf {
    folder(state_dir).join(format!("{}.jsonl", day(at)))
}

#[cfg(test)]
mod tests;
