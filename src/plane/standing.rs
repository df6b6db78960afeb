//! How the arms' servers stand, as far as it can be told by now.
//!
//! What stops the servers of both arms, such as a database or a network, stops one arm's first, and
//! one arm's come back first. So while the candidate's are down, the stable arm's count as working
//! only when they have answered since, and have not just come back. Does not know: handshakes, what
//! follows.

use tokio::time::Instant;

use crate::health::board::View;
use crate::health::state;
use crate::judge::Standing;
use crate::names::{Arm, PerArm};

use super::Plane;

impl Plane {
    /// How the servers of both arms stand; the stable arm's are not known where that is in doubt.
    pub(super) fn standings(&self, candidate: Arm) -> PerArm<Standing> {
        let mut standings = PerArm::from_fn(|arm| self.standing(arm));
        let stable = candidate.other();
        let is_apart =
            *standings.get(candidate) == Standing::Down && *standings.get(stable) == Standing::Up;
        if is_apart && !self.is_sure(stable, candidate) {
            *standings.get_mut(stable) = Standing::Unknown;
        }
        standings
    }

    /// Whether an arm's servers work while the other one's do not; asks for a handshake if none has
    /// told since these went down.
    fn is_sure(&self, arm: Arm, other: Arm) -> bool {
        let table = self.table();
        let health = &table.config.health;
        let Some(interval) = health.interval else { return false };
        // As long as the other arm's servers may take to come back with these.
        let grace = interval * (health.healthy_after + 2);
        let views = |arm| {
            table.arms.get(arm).endpoints.iter().filter_map(|endpoint| self.board.view(endpoint.id))
        };
        let fell = views(other).filter_map(|view| view.turned).max();
        let has_told = |view: &View| {
            let is_good = view.last.as_ref().is_some_and(|probe| probe.verdict.is_up());
            is_good && view.state.standing() == state::Standing::Up && view.told > fell
        };
        if !views(arm).any(|view| has_told(&view)) {
            table.arms.get(arm).endpoints.iter().for_each(|endpoint| endpoint.doubt());
            return false;
        }
        let now = Instant::now();
        let is_back = |at: Instant| now.saturating_duration_since(at) < grace;
        views(arm).any(|view| has_told(&view) && !view.state.recovered().is_some_and(is_back))
    }

    /// How an arm's servers stand.
    pub(super) fn standing(&self, arm: Arm) -> Standing {
        let table = self.table();
        let endpoints = table.arms.get(arm).endpoints.iter();
        let standings =
            endpoints.map(|it| self.board.view(it.id).map(|view| view.state.standing()));
        let mut found = Standing::Down;
        for standing in standings {
            match standing {
                Some(state::Standing::Up) => return Standing::Up,
                Some(state::Standing::Down) => {}
                Some(state::Standing::Unknown) | None => found = Standing::Unknown,
            }
        }
        found
    }
}
