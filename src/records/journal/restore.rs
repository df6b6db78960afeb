//! What the journal says at a start: the state of its last line, and whether it can be trusted.
//!
//! Only the newest file is looked through (older ones where it holds no state), so that a start is
//! quick; the whole chain is for `records verify`. Does not know: what is done in doubt.

use std::io;
use std::path::Path;

use super::files::{self, Opened};
use super::walk::Walk;
use crate::records::state::{self, State};

/// What was found at the start.
#[derive(Debug)]
pub struct Restored {
    /// The last state that can be read; `None` on the first start of all, or if there is none.
    pub state: Option<State>,
    /// Whether no other state can have been in force since. If not, the secondary may have been
    /// shut meanwhile, and `damaged` says what is wrong.
    pub holds: bool,
    /// Whether a crash cut the last line: it was never answered, and never in force.
    pub torn: bool,
    /// What is wrong with the journal, for people.
    pub damaged: Option<String>,
    /// Whether that is news: no start before has recorded it.
    pub is_news: bool,
}

/// Where the next line goes.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// The number of the last line; 0 before the first.
    pub(super) seq: u64,
    /// The hash of the last line, whatever it is.
    pub(super) hash: String,
    /// Whether there is a line break behind it, or no line.
    pub(super) is_ended: bool,
}

/// The last line that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newest {
    /// There is none.
    None,
    /// It holds a state.
    State,
    /// It is of version 1, whose state is in a file beside the journal.
    Old,
    /// It holds a state that this version cannot read.
    Foreign,
}

struct Found {
    walk: Walk,
    /// Problems that a later start has recorded.
    told: usize,
    is_ended: bool,
    state: Option<State>,
    newest: Newest,
}

/// Looks through the newest file, and as many before it as it takes to find a state.
pub(super) fn restore(dir: &Path) -> io::Result<(Restored, Tail)> {
    let mut from = files::open_all(dir)?.len();
    let mut found = loop {
        from = from.saturating_sub(1);
        let found = look_through(files::open_all(dir)?.split_off(from))?;
        if found.state.is_some() || from == 0 {
            break found;
        }
    };
    let torn = found.walk.is_cut();
    let is_last = found.walk.finish();
    let (state, doubt) = found.state(dir, is_last);
    let problems = &found.walk.problems;
    let damaged = problems.first().map(|first| match problems.len() - 1 {
        0 => first.to_string(),
        more => format!("{first} (and {more} more; `tidegate records verify` names them)"),
    });
    let holds = doubt.is_none();
    let damaged = damaged.or(doubt);
    let is_news = problems.len() > found.told;
    let tail = Tail { seq: found.walk.seq, hash: found.walk.hash, is_ended: found.is_ended };
    Ok((Restored { state, holds, torn, damaged, is_news }, tail))
}

fn look_through(files: Vec<Opened>) -> io::Result<Found> {
    let (walk, newest) = (Walk::new(), Newest::None);
    let mut found = Found { walk, told: 0, is_ended: true, state: None, newest };
    for Opened { name, file } in files {
        // Each file begins at the beginning of a line.
        found.is_ended = true;
        for line in files::lines(file) {
            let line = line?;
            found.is_ended = line.is_ended;
            let Some(record) = found.walk.step(&name, &line) else { continue };
            if record.event == "start" && record.detail["damaged"].is_string() {
                found.told = found.walk.problems.len();
            }
            found.newest = match (record.version, record.state()) {
                (1, _) => Newest::Old,
                (_, None) => Newest::Foreign,
                (_, state) => {
                    found.state = state;
                    Newest::State
                }
            };
        }
    }
    Ok(found)
}

impl Found {
    /// The state to go on from, and why it may not be the last one.
    fn state(&mut self, dir: &Path, is_last: bool) -> (Option<State>, Option<String>) {
        let state = self.state.take();
        match self.newest {
            Newest::State if is_last => (state, None),
            Newest::State => (state, Some("the last line cannot be read".to_owned())),
            Newest::Foreign => (state, Some("this version cannot read the last state".to_owned())),
            // The file beside goes once a line has its state; so it is the newer one.
            Newest::None | Newest::Old => match state::read_beside(dir) {
                Ok(Some(beside)) => (Some(beside), None),
                // Not a single line, or half of the first one.
                Ok(None) if self.newest == Newest::None && is_last => (None, None),
                Ok(None) => (state, Some("no line holds a state".to_owned())),
                Err(error) => (state, Some(error.to_string())),
            },
        }
    }
}
