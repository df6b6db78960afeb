//! Counts as figures: what outlives the router's own labels.
//!
//! Does not know: what becomes of the figures.

use crate::judge::window::{Cell, Work};
use crate::names::{Blame, Outcome};
use crate::records::figures::{Figures, Kind};
use crate::route::Tools;

/// The figures of what was counted.
pub fn figures(cell: &Cell) -> Figures {
    let counted = |outcome: Outcome| (outcome.as_str().to_owned(), cell.outcome(outcome));
    Figures {
        outcomes: Outcome::ALL.into_iter().map(counted).filter(|(_, count)| *count > 0).collect(),
        faults: cell.blame(Blame::Arm),
        latency: cell.latency.clone(),
    }
}

/// The kind of work, with names in place of labels.
pub fn kind(work: &Work, tools: &Tools) -> Kind {
    Kind { method: work.method.as_str().to_owned(), tool: tools.text(work.tool).to_owned() }
}
