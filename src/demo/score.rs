//! What the demo's clients saw, added up: sessions per version and phase, and what went wrong.
//!
//! A session belongs to the phase in which it was opened, so that a share is compared with the
//! weights under which it was drawn. One lock, because all counts of a line must be of one moment;
//! only the demo's own clients wait for it.
//! Does not know: HTTP, how it is shown.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::names::{Arm, PerArm, Split};

/// The counts so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// One for each split that was asked for, in order.
    pub phases: Vec<Phase>,
    /// Requests answered in sessions.
    pub calls: u64,
    /// Sessions that another version answered than the one that opened them. Must stay 0.
    pub violations: u64,
    /// Sessions that were used again after the weights had moved.
    pub outlived: u64,
    /// Calls of the tool that breaks, which it failed.
    pub broken: u64,
    /// Sessions that ended in an error.
    pub errors: u64,
    /// What the last of them said.
    pub last_error: Option<String>,
}

/// The new sessions of one split.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The weights asked for.
    pub asked: Split,
    /// Sessions opened, by the version that answered.
    pub sessions: PerArm<u64>,
}

/// A [`Tally`] that many clients write to.
#[derive(Debug, Default)]
pub struct Score(Mutex<Tally>);

impl Tally {
    /// New sessions over all phases.
    pub fn sessions(&self) -> PerArm<u64> {
        PerArm::from_fn(|arm| self.phases.iter().map(|phase| phase.sessions.get(arm)).sum())
    }
}

impl Score {
    /// From here on, new sessions count for this split.
    pub fn begin(&self, asked: Split) {
        self.lock().phases.push(Phase { asked, sessions: PerArm::default() });
    }

    /// The number of the present phase: its place in [`Tally::phases`].
    pub fn phase(&self) -> usize {
        self.lock().phases.len().saturating_sub(1)
    }

    /// A session of this phase was opened, and this arm's version answered.
    pub fn opened(&self, phase: usize, arm: Arm) {
        if let Some(phase) = self.lock().phases.get_mut(phase) {
            *phase.sessions.get_mut(arm) += 1;
        }
    }

    /// A request was answered.
    pub fn called(&self) {
        self.lock().calls += 1;
    }

    /// A session was answered by another version, for the first time.
    pub fn changed(&self) {
        self.lock().violations += 1;
    }

    /// A session was used under other weights than it was opened under, for the first time.
    pub fn outlived(&self) {
        self.lock().outlived += 1;
    }

    /// The tool that breaks has failed a call.
    pub fn broke(&self) {
        self.lock().broken += 1;
    }

    /// A session ended in an error.
    pub fn failed(&self, error: String) {
        let mut tally = self.lock();
        tally.errors += 1;
        tally.last_error = Some(error);
    }

    /// The counts at this moment.
    pub fn tally(&self) -> Tally {
        self.lock().clone()
    }

    /// Counts stay usable whatever happened to one writer: each is complete by itself.
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_counts_where_it_was_opened() {
        let score = Score::default();
        score.opened(0, Arm::Primary); // before the first phase: nobody's
        score.begin(Split::PRIMARY_ONLY);
        let born = score.phase();
        score.begin(Split::new(0, 100).unwrap());
        score.opened(born, Arm::Primary);
        score.opened(score.phase(), Arm::Secondary);
        let tally = score.tally();
        assert_eq!(tally.phases[0].sessions, PerArm { primary: 1, secondary: 0 });
        assert_eq!(tally.phases[1].sessions, PerArm { primary: 0, secondary: 1 });
        assert_eq!(tally.sessions(), PerArm { primary: 1, secondary: 1 });
    }
}
