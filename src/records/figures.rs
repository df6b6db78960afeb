//! What became of some kind of work, in numbers that add up: for baselines, history and reports.
//!
//! Does not know: when or where it was done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::Outcome;
use crate::observe::latency::Sketch;

/// The numbers of one kind of work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// By outcome, as its word; those that never came are left out.
    pub outcomes: BTreeMap<String, u64>,
    /// Exchanges that failed by the arm's own fault.
    pub faults: u64,
    /// Of those with the outcome `ok`.
    pub latency: Sketch,
}

impl Figures {
    /// All exchanges.
    pub fn exchanges(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Exchanges that did not end well, whoever's fault that was: all but `ok` and `cancelled`.
    pub fn errors(&self) -> u64 {
        let fine = [Outcome::Ok.as_str(), Outcome::Cancelled.as_str()];
        let errors = self.outcomes.iter().filter(|(outcome, _)| !fine.contains(&outcome.as_str()));
        errors.map(|(_, count)| count).sum()
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Figures) {
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(outcome.clone()).or_default() += count;
        }
        self.faults += other.faults;
        self.latency.merge(&other.latency);
    }
}

/// What kind of work it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kind {
    /// The JSON-RPC method.
    pub method: String,
    /// The tool, for `tools/call`; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool: String,
}

impl Kind {
    /// The tool, or the method where there is none.
    pub fn name(&self) -> &str {
        if self.tool.is_empty() { &self.method } else { &self.tool }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn they_add_up_and_survive_a_file() {
        let mut one = Figures::default();
        one.outcomes.insert("ok".to_owned(), 3);
        one.latency.add(Duration::from_millis(20));
        let mut two = Figures { faults: 1, ..Figures::default() };
        two.outcomes.insert("http_error".to_owned(), 1);
        two.latency.add(Duration::from_secs(2));
        one.merge(&two);
        assert_eq!((one.exchanges(), one.errors(), one.faults, one.latency.count()), (4, 1, 1, 2));
        let text = serde_json::to_string(&one).unwrap();
        let read: Figures = serde_json::from_str(&text).unwrap();
        assert_eq!((&read.outcomes, read.latency.count()), (&one.outcomes, 2));
        assert_eq!(read.latency.quantile(1.0), one.latency.quantile(1.0));
        let bad = text.replace("\"first\":", "\"first\":9");
        assert!(serde_json::from_str::<Figures>(&bad).is_err());
    }
}
