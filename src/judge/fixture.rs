//! Tallies that are made up. Does not know: what is tested with them.

use std::time::Duration;

use crate::mcp::{Era, Method};
use crate::names::{Arm, Blame, Outcome, PerArm};
use crate::observe::latency::Sketch;
use crate::observe::tally::{Count, Labels, Tally};
use crate::route::tools::{ToolLabel, Tools};

use super::Stratum;

/// Calls of a tool; only `quick`, `slow` and `odd` have labels.
pub(super) fn calls_of(tool: &str) -> Stratum {
    let names = ["quick", "slow", "odd"].map(str::to_owned).to_vec();
    let tools = Tools::default().with(&PerArm { primary: Some(names), secondary: None });
    Stratum { method: Method::CALL, tool: tools.label(tool) }
}

/// A method that is no tool's.
pub(super) fn method(name: &str) -> Stratum {
    Stratum { method: Method::named(name.as_bytes()), tool: ToolLabel::NONE }
}

/// Exchanges of one kind that ended alike.
pub(super) fn tally(arm: Arm, stratum: Stratum, outcome: Outcome, exchanges: u64) -> Tally {
    let blame = match outcome {
        Outcome::ToolError | Outcome::ClientError => Blame::Relative,
        Outcome::Skew => Blame::Skew,
        Outcome::RpcError | Outcome::HttpError | Outcome::Transport | Outcome::Timeout => {
            Blame::Arm
        }
        _ => Blame::Nobody,
    };
    let labels = Labels {
        arm: Some(arm),
        endpoint: None,
        era: Era::Legacy,
        method: stratum.method,
        tool: stratum.tool,
        outcome,
        blame,
        status: 2,
    };
    let mut tally = Tally::default();
    tally.exchanges.insert(labels, Count { exchanges, ..Count::default() });
    tally
}

/// Good exchanges that took so long.
pub(super) fn timed(arm: Arm, stratum: Stratum, seconds: impl IntoIterator<Item = f64>) -> Tally {
    let mut latency = Sketch::default();
    seconds.into_iter().for_each(|it| latency.add(Duration::from_secs_f64(it)));
    let mut tally = tally(arm, stratum, Outcome::Ok, latency.count());
    tally.exchanges.values_mut().for_each(|count| count.latency.merge(&latency));
    tally
}
