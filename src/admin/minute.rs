//! The last minute of an arm, as `status` shows it.
//!
//! Does not know: who asks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::judge::window::{Cell, Counts, Work};
use crate::names::{Arm, Blame, Outcome};
use crate::route::Tools;

use super::wire::{Latency, Minute, WorkStatus};

/// What `status` tells of.
pub(super) const SPAN: Duration = Duration::from_secs(60);

/// What an arm did in a minute, of which so much was covered.
pub(super) fn of(counts: &Counts, arm: Arm, covered: Duration, tools: &Tools) -> Minute {
    let all = counts.of(arm, |_| true);
    let calls = counts.of(arm, |work| work.method.as_str() == "tools/call");
    let mut work: Vec<_> = counts.cells.iter().filter(|(work, _)| work.arm == arm).collect();
    work.sort_by_key(|(work, cell)| (std::cmp::Reverse(cell.exchanges()), **work));
    Minute {
        seconds: covered.as_secs(),
        exchanges: all.exchanges(),
        per_second: per_second(all.exchanges(), covered),
        outcomes: outcomes(&all),
        faults: all.blame(Blame::Arm),
        failed_attempts: *counts.failed_attempts.get(arm),
        sessions_opened: *counts.sessions.get(arm),
        tool_calls: latency(&calls),
        work: work.into_iter().map(|(work, cell)| one(work, cell, tools)).collect(),
    }
}

fn one(work: &Work, cell: &Cell, tools: &Tools) -> WorkStatus {
    WorkStatus {
        method: work.method.as_str().to_owned(),
        tool: Some(tools.text(work.tool).to_owned()).filter(|tool| !tool.is_empty()),
        exchanges: cell.exchanges(),
        outcomes: outcomes(cell),
        latency: latency(cell),
    }
}

fn per_second(exchanges: u64, covered: Duration) -> f64 {
    let rate = exchanges as f64 / covered.as_secs_f64().max(1.0);
    (rate * 100.0).round() / 100.0
}

fn outcomes(cell: &Cell) -> BTreeMap<String, u64> {
    Outcome::ALL
        .into_iter()
        .map(|outcome| (outcome.as_str().to_owned(), cell.outcome(outcome)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn latency(cell: &Cell) -> Option<Latency> {
    let millis = |share| {
        let latency = cell.latency.quantile(share)?.as_secs_f64() * 1e3;
        // Two percent of error: three digits are what there is.
        let digits = 10_f64.powf(2.0 - latency.log10().floor());
        Some((latency * digits).round() / digits)
    };
    Some(Latency { p50_ms: millis(0.5)?, p95_ms: millis(0.95)?, p99_ms: millis(0.99)? })
}
