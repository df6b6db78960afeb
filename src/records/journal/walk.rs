//! Follows the chain from line to line, and names what was edited, removed, added or moved.
//!
//! Each line of version 2 has a number and the hash of the line before it. A line that a crash cut
//! is a link like any other: the next one has the hash of what is left of it. Whoever can write
//! the files can also forge a whole new chain: what is kept elsewhere of the last hash tells. Does
//! not know: where lines come from, what they mean.

use serde::Serialize;

use super::files::Line;
use super::record::{GENESIS, Reading, Record, digest};

/// Something about a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The name of the file in the directory.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// One link, to compare with what was kept of it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its number; 0 for a line of version 1.
    pub seq: u64,
    /// When it happened.
    pub at: String,
    /// SHA-256 of its bytes.
    pub hash: String,
}

/// The kind of the line before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A line of version 1, which nothing covers but the next.
    Old,
    Link,
    /// A link that stands in the wrong place.
    Misplaced,
}

/// The way so far.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) lines: u64,
    pub(super) first: Option<Link>,
    pub(super) last: Option<Link>,
    pub(super) problems: Vec<Problem>,
    pub(super) remarks: Vec<Problem>,
    /// Whether the first lines are not there, as far as the first link can tell.
    pub(super) begins_late: bool,
    /// The highest number so far.
    pub(super) seq: u64,
    /// The hash of the line before, whatever it is.
    pub(super) hash: String,
    before: Before,
    /// Where the last readable line is.
    place: (String, u64),
    /// The lines since then: where, whether cut, and what is wrong with them.
    unread: Vec<(Problem, bool)>,
}

impl Walk {
    pub(super) fn new() -> Walk {
        Walk {
            lines: 0,
            first: None,
            last: None,
            problems: Vec::new(),
            remarks: Vec::new(),
            begins_late: false,
            seq: 0,
            hash: GENESIS.to_owned(),
            before: Before::Nothing,
            place: (String::new(), 0),
            unread: Vec::new(),
        }
    }

    /// Goes on to the next line; returns what it says, if it can be read.
    pub(super) fn step(&mut self, file: &str, line: &Line) -> Option<Record> {
        self.lines += 1;
        let place = (file.to_owned(), line.number);
        let hash = digest(&line.bytes);
        let record = match Reading::of(&line.bytes) {
            Reading::Link { seq, prev, record } => {
                self.link(&place, seq, &prev);
                Some((seq, record))
            }
            Reading::Old(record) => {
                self.old(&place);
                Some((0, record))
            }
            Reading::Torn => {
                self.unread.push((at(&place, "only the beginning of a line".to_owned()), true));
                None
            }
            Reading::Damaged(what) => {
                self.unread.push((at(&place, what), !line.is_ended));
                None
            }
        };
        self.hash.clone_from(&hash);
        let (seq, record) = record?;
        self.place = place;
        let link = Link { seq, at: record.at.clone(), hash };
        self.first.get_or_insert_with(|| link.clone());
        self.last = Some(link);
        Some(record)
    }

    fn link(&mut self, place: &(String, u64), seq: u64, prev: &str) {
        let fits = prev == self.hash;
        let replaced = self.settle(fits);
        let is_first = self.seq == 0;
        let next = self.seq + 1;
        let mut now = Before::Link;
        if is_first && self.before == Before::Nothing {
            self.begins_late = seq != 1 || (!fits && replaced == 0);
        } else if seq < next {
            now = Before::Misplaced;
            self.report(place, format!("seq {seq} stands behind seq {}", self.seq));
        } else if seq > next + replaced {
            let missing = match seq - 1 {
                last if last == next => format!("seq {next} is missing before it"),
                last => format!("seq {next} to {last} are missing before it"),
            };
            self.report(place, missing);
        } else if !fits && replaced == 0 && self.before != Before::Misplaced {
            let place = self.place.clone();
            let what = match self.before {
                Before::Old => "this line".to_owned(),
                _ => format!("seq {}", self.seq),
            };
            let what = format!("{what} is not as it was when seq {seq} was written behind it");
            self.report(&place, what);
        }
        self.before = now;
        self.seq = self.seq.max(seq);
    }

    fn old(&mut self, place: &(String, u64)) {
        self.settle(false);
        if self.seq > 0 {
            self.remarks.push(at(place, "written by an earlier version of the router".to_owned()));
        }
        self.before = Before::Old;
    }

    /// Judges the unreadable lines before a readable one, which covers the last of them or not.
    /// Returns how many records may have stood there.
    fn settle(&mut self, is_covered: bool) -> u64 {
        let count = self.unread.len();
        let mut replaced = 0;
        for (number, (problem, is_torn)) in std::mem::take(&mut self.unread).into_iter().enumerate()
        {
            // Several in a row: each start cut by a crash.
            if is_covered && (is_torn || number + 1 == count) {
                self.remarks.push(Problem { what: "cut by a crash".to_owned(), ..problem });
            } else {
                replaced += 1;
                self.problems.push(problem);
            }
        }
        replaced
    }

    /// Whether the last line is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.unread.last().is_some_and(|(_, is_torn)| *is_torn)
    }

    /// Judges what is behind the last readable line. Whether that line was the last one written,
    /// as far as can be seen.
    pub(super) fn finish(&mut self) -> bool {
        let is_last = self.unread.iter().all(|(_, is_torn)| *is_torn);
        for (problem, is_torn) in std::mem::take(&mut self.unread) {
            if is_torn {
                self.remarks.push(Problem { what: "cut by a crash".to_owned(), ..problem });
            } else {
                self.problems.push(problem);
            }
        }
        is_last
    }

    fn report(&mut self, place: &(String, u64), what: String) {
        self.problems.push(at(place, what));
    }
}

fn at((file, line): &(String, u64), what: String) -> Problem {
    Problem { file: file.clone(), line: *line, what }
}
