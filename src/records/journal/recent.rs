//! The last lines, in memory: for those who follow what happens.
//!
//! Does not know: who follows, or whether the disk has the lines yet.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{Actor, Entry};

/// How many are kept; whoever looks each second misses none.
const KEPT: usize = 256;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// Counts from 1 since the start of the router.
    pub number: u64,
    /// When: RFC 3339, UTC.
    pub at: String,
    /// What, such as `split`.
    pub event: String,
    /// Who did it.
    pub actor: Actor,
    /// As in the journal.
    pub detail: Value,
}

/// The last lines.
#[derive(Debug, Default)]
pub(super) struct Recent {
    last: u64,
    lines: VecDeque<Happening>,
}

impl Recent {
    pub(super) fn add(&mut self, entry: &Entry) {
        let Entry { at, event, actor, detail, .. } = entry.clone();
        self.last += 1;
        self.lines.push_back(Happening { number: self.last, at, event, actor, detail });
        if self.lines.len() > KEPT {
            self.lines.pop_front();
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = &Happening> {
        self.lines.iter().filter(move |line| line.number > number)
    }
}
