//! From a place to the endpoints to try, in order.
//!
//! Pure: the draw is an argument. A session has one place to go; new work has its arm's eligible
//! endpoints, the least loaded first, and then the other arm's for the case that nobody there
//! answers. Does not know: why an attempt failed, who found an endpoint unfit.

use std::sync::Arc;

use crate::config::Balance;

use super::affinity::Place;
use super::endpoint::Endpoint;
use super::table::{ArmTable, RoutingTable};

/// The endpoints to try, best first; never empty. Sessions go where they live, whatever its
/// health; all else only to endpoints that may get new work, unless there is none: then the stable
/// arm is tried anyway.
pub fn candidates(
    table: &RoutingTable,
    place: &Place,
    mut draw: impl FnMut() -> f64,
) -> Vec<Arc<Endpoint>> {
    let arm = match place {
        Place::Session(session) => return vec![Arc::clone(&session.endpoint)],
        Place::New => table.effective.arm_at(draw()),
        Place::Caller(point) => table.effective.arm_at(*point),
        Place::Stable => table.stable,
    };
    let desperate = table.effective.nothing_healthy;
    let own = Choice { arm: table.arms.get(arm), desperate };
    let first = match place {
        Place::Caller(point) => own.for_caller(*point),
        _ => own.next(&mut draw),
    };
    let count = own.arm.endpoints.len();
    let own = (0..count).map(|step| (first + step) % count).filter(|&it| own.fitness(it) > 0.0);
    let own = own.map(|index| &table.arms.get(arm).endpoints[index]);
    // The other arm's come behind, in the order of the configuration: they are rarely reached, and
    // a choice there would use up a turn.
    let other = table.arms.get(arm.other());
    let is_open = !table.is_closed(arm.other());
    let other = other.endpoints.iter().zip(&other.fitness);
    let other = other.filter(|(_, fitness)| is_open && **fitness > 0.0);
    own.chain(other.map(|(endpoint, _)| endpoint)).map(Arc::clone).collect()
}

/// The choice among an arm's endpoints.
struct Choice<'a> {
    arm: &'a ArmTable,
    /// Nothing is eligible, so everything is.
    desperate: bool,
}

impl Choice<'_> {
    fn fitness(&self, index: usize) -> f64 {
        if self.desperate { 1.0 } else { self.arm.fitness[index] }
    }

    /// The indices of the endpoints that may be chosen.
    fn eligible(&self) -> impl Iterator<Item = usize> + Clone {
        (0..self.arm.endpoints.len()).filter(|&index| self.fitness(index) > 0.0)
    }

    /// The endpoint of a caller, which keeps it as long as the arm has it and it stays fit: each
    /// endpoint draws a waiting time from the caller's point and its own id, shorter the fitter it
    /// is, and the shortest wins. So shares follow fitness, and an endpoint that goes or comes back
    /// moves only its own callers.
    fn for_caller(&self, point: f64) -> usize {
        let wait =
            |index: usize| -unit(point, &self.arm.endpoints[index]).ln() / self.fitness(index);
        self.eligible().min_by(|&one, &two| wait(one).total_cmp(&wait(two))).unwrap_or(0)
    }

    /// The endpoint that gets the arm's next piece of new work.
    fn next(&self, draw: &mut impl FnMut() -> f64) -> usize {
        let count = self.eligible().count();
        if count <= 1 {
            return self.eligible().next().unwrap_or(0);
        }
        let from = |start: usize| self.eligible().cycle().skip(start % count).take(count);
        let chosen = match self.arm.balance {
            Balance::RoundRobin => {
                let turn = self.arm.next_turn();
                // One that comes back lets some of its turns pass.
                let fits =
                    |index: &usize| self.fitness(*index) >= 1.0 || draw() < self.fitness(*index);
                from(turn).find(fits).or_else(|| from(turn).next())
            }
            Balance::Random => {
                let all: f64 = self.eligible().map(|index| self.fitness(index)).sum();
                let mut left = draw() * all;
                self.eligible().find(|&index| {
                    left -= self.fitness(index);
                    left < 0.0
                })
            }
            // Among equals the start moves on, so that an idle arm is used evenly.
            Balance::LeastRequests => from(self.arm.next_turn()).min_by(|&one, &two| {
                let load =
                    |it: usize| (self.arm.endpoints[it].in_flight() + 1) as f64 / self.fitness(it);
                load(one).total_cmp(&load(two))
            }),
        };
        chosen.or_else(|| self.eligible().last()).unwrap_or(0)
    }
}

/// A number in `(0, 1)` that a caller and an endpoint always have together.
fn unit(point: f64, endpoint: &Endpoint) -> f64 {
    let id = endpoint.id.0.iter().fold(0_u64, |id, byte| id << 8 | u64::from(*byte));
    // The finaliser of SplitMix64: every bit of the one depends on every bit of the other.
    let mut mixed = point.to_bits() ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ mixed >> 30).wrapping_mul(factor);
    }
    ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
