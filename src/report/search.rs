//! Finds a rollout among the records.
//!
//! They come newest first, so that whatever is older than the rollout need not be read. Does not
//! know: what a report says of it.

use std::collections::VecDeque;

use serde_json::json;

use crate::records::history::DAY;
use crate::records::journal::Record;
use crate::rollout::RolloutState;

use super::words;

/// Records of a rollout that are looked at.
const RECORDS_MAX: usize = 10_000;
/// What sets weights where no rollout is running.
const SETS_WEIGHTS: [&str; 4] = ["split", "start", "reload", "state"];

/// A rollout that is looked for.
#[derive(Debug)]
pub struct Search {
    /// `None`: the newest.
    id: Option<String>,
    place: Place,
    /// When something was last recorded of it, in milliseconds since 1970.
    last_heard: u64,
    began: u64,
    /// The newest last.
    records: VecDeque<Record>,
    left_out: u64,
}

/// Where among the records the search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Behind the rollout.
    After,
    /// In a rollout.
    Inside,
    /// In a split that was set by hand, of this revision.
    ByHand(u64),
    /// On the day before.
    Before,
    /// Older records do not matter.
    Done,
}

impl Search {
    /// Looks for a rollout such as `r18` or `s18`, or for the newest one if it is called `last`.
    pub fn new(id: &str) -> Search {
        Search {
            id: (id != "last").then(|| id.to_owned()),
            place: Place::After,
            last_heard: 0,
            began: 0,
            records: VecDeque::new(),
            left_out: 0,
        }
    }

    /// Takes the next older record; `false` once older ones do not matter.
    pub fn add(&mut self, record: Record) -> bool {
        let at = words::at(&record);
        let own = id_of(&record);
        if self.place == Place::After {
            let is_it = own.is_some() && (self.id.is_none() || own == self.id);
            if !is_it {
                return true;
            }
            self.last_heard = at.unwrap_or_default();
            self.place = by_hand(&record).map_or(Place::Inside, Place::ByHand);
            self.id.clone_from(&own);
        }
        match self.place {
            Place::Inside => {
                let is_start = record.event == "rollout-start" && own == self.id;
                self.began = at.unwrap_or(self.began);
                self.keep(record);
                if is_start {
                    self.place = Place::Before;
                }
            }
            Place::ByHand(revision) => {
                let earlier = revision_of(&record).is_some_and(|it| it + 1 < revision);
                if earlier {
                    self.place = Place::Before;
                    return self.look_before(record, at);
                }
                self.began = at.unwrap_or(self.began);
                self.keep(record);
            }
            Place::Before => return self.look_before(record, at),
            Place::After | Place::Done => {}
        }
        true
    }

    /// Keeps what was done to the servers on the day before.
    fn look_before(&mut self, record: Record, at: Option<u64>) -> bool {
        if at.is_some_and(|at| at + DAY < self.began) {
            self.place = Place::Done;
            return false;
        }
        if record.event == "validation" || is_deploy(&record.event) {
            self.keep(record);
        }
        true
    }

    fn keep(&mut self, mut record: Record) {
        if record.event == "clock" {
            return;
        }
        if self.records.len() >= RECORDS_MAX && record.event != "rollout-start" {
            self.left_out += 1;
            return;
        }
        if record.event != "rollout-start" {
            // Of the state only this is asked for; the rest is long.
            record.state = revision_of(&record).map(|revision| json!({ "revision": revision }));
        }
        self.records.push_front(record);
    }

    /// What was found; `None` if there is no such rollout.
    pub fn found(self) -> Option<Found> {
        let id = self.id.filter(|_| self.place != Place::After)?;
        let revision = match self.records.back().and_then(|_| id.strip_prefix('s')) {
            Some(digits) => digits.parse::<u64>().ok().and_then(|it| it.checked_sub(1)),
            None => None,
        };
        let (records, left_out) = (self.records.into(), self.left_out);
        let (began, last_heard) = (self.began, self.last_heard.max(self.began));
        Some(Found { id, revision, began, last_heard, records, left_out })
    }
}

/// What the journal has of a rollout.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub id: String,
    /// Of a split that was set by hand.
    pub(super) revision: Option<u64>,
    pub(super) began: u64,
    pub(super) last_heard: u64,
    pub(super) records: Vec<Record>,
    pub(super) left_out: u64,
}

impl Found {
    /// The records of the rollout itself.
    pub(super) fn own(&self) -> impl Iterator<Item = &Record> {
        let by_hand = self.revision.is_some();
        let begins = self.records.iter().position(|it| SETS_WEIGHTS.contains(&it.event.as_str()));
        let own = move |at: usize, record: &Record| {
            let is_split = by_hand && (record.event == "split" || Some(at) == begins);
            id_of(record).as_ref() == Some(&self.id) || is_split
        };
        let records = self.records.iter().enumerate();
        records.filter(move |(at, record)| own(*at, record)).map(|(_, record)| record)
    }
}

/// Whether an event is about what runs on an arm.
pub(super) fn is_deploy(event: &str) -> bool {
    event.starts_with("deploy") || event.starts_with("rollback")
}

/// The rollout that a record is of.
pub(super) fn id_of(record: &Record) -> Option<String> {
    let named = record.detail["rollout"].as_str().map(words::line);
    named.or_else(|| by_hand(record).map(|revision| format!("s{revision}")))
}

/// The revision of a revert where no rollout was running.
fn by_hand(record: &Record) -> Option<u64> {
    let is_one = record.event == "revert" && record.detail["rollout"].is_null();
    revision_of(record).filter(|_| is_one)
}

fn revision_of(record: &Record) -> Option<u64> {
    record.state.as_ref()?["revision"].as_u64()
}

/// Whether a rollout is over with this record.
pub(super) fn is_over(record: &Record) -> bool {
    match record.detail["state"].as_str() {
        Some(state) => RolloutState::ALL.into_iter().any(|it| it.is_over() && it.as_str() == state),
        None => record.event == "revert",
    }
}
