//! Evidence that grows call by call, and may be looked at whenever one likes: whether the candidate
//! is worse than the stable arm, or worse than allowed, in the current step of a rollout.
//!
//! Three tests (reliability.md C3): more errors than the stable arm (whoever's fault, so a client
//! that makes mistakes makes them on both), more faults than 5 %, more slow calls. Each is done
//! for all calls together and stratum by stratum, so that one broken tool among many is not
//! diluted; the average is the evidence. The calls of a good version give a revert with a chance
//! of at most alpha in the step, however often one looks.
//!
//! Does not know: weights, steps, what is done about it; nor what a tool is called.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::Sequential;
use crate::mcp::Method;
use crate::names::{Arm, PerArm};
use crate::observe::seen::{Grade, Seen};
use crate::route::tools::ToolLabel;

use super::Stratum;
use super::at_risk::AtRisk;
use super::bucket::{Bucket, Count, Counts, Kind, Side};
use super::interval;
use super::mix::Mixed;
use super::process::Processes;
use super::trail::Trail;

pub use super::promotion::Promotion;

/// How long a bucket is: what comes together is compared together.
pub const BUCKET: Duration = Duration::from_secs(5);
/// Evidence from which on a rollout does not go on.
pub const HOLD: f64 = 10.0;
/// The candidate's share of the stable arm's speed below which it is slow enough for evidence of
/// slowness to count towards a revert: that of the operator's own rule on performance.
const SLOW: f64 = 0.8;

/// The share from which on slowness is no reason to wait, however sure it is: among calls that all
/// take nearly the same time, a few percent are soon beyond doubt and of no weight to anybody.
const SLOWER: f64 = 0.9;

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// More errors than the stable arm (S1).
    Relative,
    /// More faults than 5 % (S2).
    Absolute,
    /// More slow calls than the stable arm (S3).
    Latency,
}

impl Test {
    /// All of them.
    pub const ALL: [Test; 3] = [Test::Relative, Test::Absolute, Test::Latency];

    /// The word for labels and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Test::Relative => "relative",
            Test::Absolute => "absolute",
            Test::Latency => "latency",
        }
    }
}

/// What decisions are made by: the fields of [`Told`] with the same names.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "said at Told")]
pub struct Glance {
    pub tests: [(Test, f64); 3],
    pub total: f64,
    pub revert: bool,
    pub hold: bool,
    pub common_cause: bool,
}

/// What the evidence of a step comes to, with the numbers.
///
/// Counts are of calls at risk: calls of sessions opened in this step and of callers, without the
/// later calls of those that had their share of errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The e-value of each test: half of all calls together, half the mean over strata.
    pub tests: [(Test, f64); 3],
    /// The mean of these, of which `Absolute` counts as 0 when there is a common cause, and
    /// `Latency` unless `performance` is below 0.9.
    pub total: f64,
    /// `total` is 1/alpha or more; slowness counts only if `performance` is below 0.8.
    pub revert: bool,
    /// `total` is 10 or more.
    pub hold: bool,
    /// The stable arm itself fails more than 5 % of its calls, with evidence of 10 or more.
    pub common_cause: bool,
    /// The stratum with the most evidence, and how much that is.
    pub worst: Option<(Stratum, f64)>,
    /// The e-value of refusals (HTTP 401, 403) beyond the stable arm's: an alert, never a revert.
    pub denied: f64,
    /// The candidate's speed as a share of the stable arm's, stratum by stratum: exp of the
    /// difference of the mean logarithms of times. `None` before both have answered the same.
    pub performance: Option<f64>,
    /// Calls that could have been errors.
    pub calls: PerArm<u64>,
    /// Errors, whoever's fault.
    pub errors: PerArm<u64>,
    /// Faults of the arm.
    pub faults: PerArm<u64>,
    /// The candidate's odds of an error as a multiple of the stable arm's, one half added to each
    /// count (Haldane, Anscombe). `None` before both had calls.
    pub odds_ratio: Option<f64>,
    /// The candidate's rate of faults: the Jeffreys interval of 95 %. `None` before it had calls.
    pub fault_rate: Option<(f64, f64)>,
    /// Whether it has proved itself.
    pub promotion: Promotion,
}

/// The evidence of one step.
#[derive(Debug)]
pub struct Evidence {
    candidate: Arm,
    alpha: f64,
    units: AtRisk,
    /// The bucket that is being filled.
    bucket: Bucket,
    /// All buckets of the step before it.
    sums: Counts,
    /// The index of each stratum in `bucket.strata` and `trails`. Methods and tools are closed
    /// sets, so there are at most 138.
    strata: HashMap<Stratum, usize, Mixed>,
    trails: Vec<Trail>,
    /// Buckets closed, in this step and before.
    buckets: u64,
    processes: Processes,
}

impl Evidence {
    /// Nothing is known. `alpha` is the chance of a false revert that this step may take, 0 to 1;
    /// `places` the number of strata that are tested one by one: the tools known, and five.
    pub fn new(settings: Sequential, candidate: Arm, alpha: f64, places: usize) -> Evidence {
        Evidence {
            candidate,
            alpha,
            units: AtRisk::new(settings.cap),
            bucket: Bucket::default(),
            sums: Counts::default(),
            strata: HashMap::default(),
            trails: Vec::new(),
            buckets: 0,
            processes: Processes::new(places),
        }
    }

    /// Another step begins: all is forgotten but how long the stable arm takes.
    pub fn next_step(&mut self, candidate: Arm, alpha: f64, places: usize) {
        if candidate == self.candidate {
            self.trails.iter_mut().for_each(Trail::next_step);
        } else {
            self.trails.fill(Trail::default());
        }
        (self.candidate, self.alpha) = (candidate, alpha);
        self.units.clear();
        self.bucket.clear();
        self.sums = Counts::default();
        self.processes = Processes::new(places);
    }

    /// Takes over another chance of a false revert, where an operator has changed it in mid-step.
    pub fn set_alpha(&mut self, alpha: f64) {
        self.alpha = alpha;
    }

    /// Adds calls of the current bucket. Sessions are known from their opening on: give a call
    /// together with the one that opened its session, or later.
    pub fn see(&mut self, seen: &[Seen]) {
        for call in seen.iter().filter(|call| call.opens) {
            self.units.open(call.unit);
        }
        for call in seen {
            self.count(call);
        }
    }

    /// The current bucket is over, after [`BUCKET`].
    pub fn close_bucket(&mut self) {
        self.units.close(&mut self.bucket);
        self.processes.update(&self.bucket);
        self.sums.add(&self.bucket.pooled);
        self.bucket.clear();
        self.buckets += 1;
        for trail in &mut self.trails {
            trail.close(self.buckets);
        }
    }

    fn count(&mut self, call: &Seen) {
        let side = if call.arm == self.candidate { Side::Candidate } else { Side::Stable };
        let stratum = self.stratum(call);
        let is_left = call.grade == Grade::Left;
        let is_mix = Stratum { method: call.method, tool: call.tool }.is_mix();
        let has_time = matches!(call.grade, Grade::Good | Grade::Left) && !is_mix;
        let waited = call.waited.filter(|_| has_time);
        if let (Some(at), Some(waited), Side::Stable, false) = (stratum, waited, side, is_left) {
            self.trails[at].absorb(waited);
        }
        let proving = side == Side::Candidate && !is_left;
        let Some(standing) = self.units.stand(call.unit, proving) else { return };
        let (units, bucket) = (&mut self.units, &mut self.bucket);
        let mut add = |kind, is_event| {
            if units.is_at_risk(&standing, kind) {
                bucket.call(kind, side, stratum);
                if is_event {
                    units.event(&standing, (kind, side, stratum), bucket);
                }
            }
        };
        if !is_left {
            add(Kind::Bad, matches!(call.grade, Grade::Relative | Grade::Fault));
            add(Kind::Fault, call.grade == Grade::Fault);
            add(Kind::Denied, call.denied);
        }
        let (Some(at), Some(waited)) = (stratum, waited) else { return };
        let limits = self.trails[at].limits();
        for (kind, limit) in limits.into_iter().flatten() {
            if waited > limit || !is_left {
                add(kind, waited > limit);
            }
        }
        // A client that leaves has not seen the end of it, so only the slow ones say something.
        if !is_left || limits.is_some_and(|limits| waited > limits[0].1) {
            self.trails[at].compare(side, waited);
        }
    }

    /// The index of the stratum of a call. A tool call without a tool is one that the other arm had
    /// to take over: there are only failures of this kind, so it is counted with all calls and
    /// makes no stratum, whose every call would be a fault on the best of arms.
    fn stratum(&mut self, call: &Seen) -> Option<usize> {
        if call.method == Method::CALL && call.tool == ToolLabel::NONE {
            return None;
        }
        let stratum = Stratum { method: call.method, tool: call.tool };
        let next = self.trails.len();
        let index = *self.strata.entry(stratum).or_insert(next);
        if index == next {
            self.trails.push(Trail::default());
            self.bucket.strata.push((stratum, Counts::default()));
        }
        Some(index)
    }

    /// What the evidence comes to after the last closed bucket, without the numbers that only
    /// people read: cheap enough for each bucket of a simulation.
    pub fn glance(&self) -> Glance {
        let values = self.processes.tests();
        let common_cause = self.processes.stable_fails() >= HOLD;
        let [relative, absolute, latency] = values;
        let without_latency = mean([relative, absolute, 0.0], common_cause);
        let enough = 1.0 / self.alpha;
        let is_below = |limit| self.performance().is_some_and(|share| share < limit);
        let counts = latency > 1.0 && is_below(SLOWER);
        let total = if counts { mean(values, common_cause) } else { without_latency };
        Glance {
            tests: std::array::from_fn(|at| (Test::ALL[at], values[at])),
            total,
            revert: total >= enough && (without_latency >= enough || is_below(SLOW)),
            hold: total >= HOLD,
            common_cause,
        }
    }

    /// What the evidence comes to after the last closed bucket, with all numbers.
    pub fn told(&self) -> Told {
        let Glance { tests, total, revert, hold, common_cause } = self.glance();
        let (errors, faults) = (self.sums.of(Kind::Bad), self.sums.of(Kind::Fault));
        let proof = self.processes.proof();
        let Count { calls, events } = proof.count();
        Told {
            tests,
            total,
            revert,
            hold,
            common_cause,
            worst: self.worst(common_cause),
            denied: self.processes.denied(),
            performance: self.performance(),
            calls: self.by_arm(errors.stable.calls, errors.candidate.calls),
            errors: self.by_arm(errors.stable.events, errors.candidate.events),
            faults: self.by_arm(faults.stable.events, faults.candidate.events),
            odds_ratio: (errors.stable.calls > 0 && errors.candidate.calls > 0)
                .then(|| odds(errors.candidate) / odds(errors.stable)),
            fault_rate: (calls > 0).then(|| interval::jeffreys(events, calls)),
            promotion: proof.told(),
        }
    }

    fn by_arm(&self, stable: u64, candidate: u64) -> PerArm<u64> {
        PerArm::from_fn(|arm| if arm == self.candidate { candidate } else { stable })
    }

    fn worst(&self, common_cause: bool) -> Option<(Stratum, f64)> {
        let totals = self.processes.strata();
        let totals =
            totals.map(|(index, values)| (self.bucket.strata[index].0, mean(values, common_cause)));
        // Of equals the first, so that the answer is always the same.
        totals.max_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)))
    }

    fn performance(&self) -> Option<f64> {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (difference, weight) in self.trails.iter().filter_map(Trail::difference) {
            sum += difference * weight;
            weights += weight;
        }
        (weights > 0.0).then(|| (-sum / weights).exp())
    }
}

/// The mean of the tests' values, in the order of [`Test::ALL`]. Where both arms fail too often,
/// that the candidate does so says nothing about it.
fn mean([relative, absolute, latency]: [f64; 3], common_cause: bool) -> f64 {
    let absolute = if common_cause { 0.0 } else { absolute };
    (relative + absolute + latency) / Test::ALL.len() as f64
}

fn odds(count: Count) -> f64 {
    (count.events as f64 + 0.5) / ((count.calls - count.events) as f64 + 0.5)
}

#[cfg(test)]
mod tests;
