//! From a place to the endpoints to try, in order.
//!
//! Pure: the draw is an argument. A session has one place to go; new work has its arm's endpoints,
//! the least loaded first, and then the other arm's for the case that nobody there answers. Does
//! not know: why an attempt failed.

use std::sync::Arc;

use crate::config::Balance;
use crate::names::Arm;

use super::affinity::Place;
use super::table::{Endpoint, RoutingTable};

/// The endpoints to try, best first; never empty.
pub fn candidates(
    table: &RoutingTable,
    place: &Place,
    mut draw: impl FnMut() -> f64,
) -> Vec<Arc<Endpoint>> {
    let (arm, first) = match place {
        Place::Session(session) => return vec![Arc::clone(&session.endpoint)],
        Place::New => {
            let arm = table.split.arm_at(draw());
            (arm, first_of(table, arm, &mut draw))
        }
        Place::Caller(point) => {
            // A caller keeps its endpoint too, as long as the arm has the same ones.
            let arm = table.split.arm_at(*point);
            let own = table.arms.get(arm).endpoints.len() as f64;
            (arm, ((point * 1e6).fract() * own) as usize)
        }
        Place::Stable => (table.stable, first_of(table, table.stable, &mut draw)),
    };
    // The other arm's come behind, in the order of the configuration: they are rarely reached, and
    // a choice there would use up a turn.
    let own = &table.arms.get(arm).endpoints;
    let other = &table.arms.get(arm.other()).endpoints;
    own.iter().cycle().skip(first).take(own.len()).chain(other).map(Arc::clone).collect()
}

/// The index of the endpoint that gets an arm's next piece of new work.
fn first_of(table: &RoutingTable, arm: Arm, draw: &mut impl FnMut() -> f64) -> usize {
    let arm = table.arms.get(arm);
    let count = arm.endpoints.len();
    if count == 1 {
        return 0;
    }
    match arm.balance {
        Balance::RoundRobin => arm.next_turn() % count,
        Balance::Random => (draw() * count as f64) as usize % count,
        // Among equals the start moves on, so that an idle arm is used evenly.
        Balance::LeastRequests => {
            let start = arm.next_turn();
            (0..count)
                .map(|step| (start + step) % count)
                .min_by_key(|&index| arm.endpoints[index].in_flight())
                .unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests;
