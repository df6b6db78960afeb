//! The e-processes of one step: numbers that stay small while the candidate is no worse, and grow
//! when it is.
//!
//! An e-process has an expectation of at most one under its null hypothesis, whenever one looks;
//! so the chance that it ever reaches 1/alpha is at most alpha (Ville). Averages of e-processes are
//! e-processes: no correction for many tests, tools or alternatives is needed. The formulas and
//! grids are those of reliability.md C3:
//!
//! - relative: given the calls of both sides and the number of events, those of the candidate are
//!   hypergeometric if it is no worse, and E\[r^K\] <= (1 + theta (r - 1))^m (Hoeffding), theta
//!   being the candidate's share of the calls;
//! - absolute: the likelihood ratio of a rate of faults p against 5 %;
//! - unknown time of change: R(t) = (R(t-1) + pi(t)) e(t), one e-process begun in each bucket.
//!
//! Does not know: who was counted, what follows from the numbers.

use super::bucket::{Bucket, Counts, Kind, Pair, Side};
use super::promotion::Proof;

/// How many times more likely events are on a candidate that is worse.
const RATIOS: [f64; 6] = [1.5, 2.0, 4.0, 8.0, 16.0, 64.0];
/// Rates of faults of a candidate that is worse than allowed.
const RATES: [f64; 5] = [0.08, 0.15, 0.3, 0.6, 0.95];
/// The rate of faults that is allowed.
pub(super) const ALLOWED: f64 = 0.05;
/// What is put on a change right at the beginning of the step.
const AT_ONCE: f64 = 0.5;
/// What is put on a later change in bucket t is LATER / ((t + 1) ln^2 (t + 1)). The sum of
/// 1 / (n ln^2 n) from n = 2 on is 2.10974, so all of it stays below one half.
const LATER: f64 = 0.5 * 0.4739;
/// Where a process stops growing, far beyond any threshold: it stays finite after days of
/// failures, and stopping early only makes it smaller.
const CEILING: f64 = 1e100;

/// A process for each alternative of a grid.
#[derive(Clone, Copy, Debug)]
struct Grid<const N: usize>([f64; N]);

impl<const N: usize> Grid<N> {
    /// After so much was put on changes so far, and nothing was seen.
    fn new(started: f64) -> Self {
        Grid([started; N])
    }

    /// One bucket later; `logs` are the logarithms of what each alternative makes of it.
    fn step(&mut self, start: f64, logs: Option<[f64; N]>) {
        match logs {
            None => self.0.iter_mut().for_each(|value| *value += start),
            Some(logs) => {
                for (value, log) in self.0.iter_mut().zip(logs) {
                    *value = ((*value + start) * log.min(700.0).exp()).min(CEILING);
                }
            }
        }
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / N as f64
    }
}

/// ln e of a bucket for each of `RATIOS`; `None` when it says nothing.
pub(super) fn relative(pair: &Pair) -> Option<[f64; RATIOS.len()]> {
    if pair.events() == 0 {
        return None;
    }
    let share = pair.candidate.calls as f64 / pair.calls() as f64;
    let (events, own) = (pair.events() as f64, pair.candidate.events as f64);
    Some(RATIOS.map(|ratio| own * ratio.ln() - events * (share * (ratio - 1.0)).ln_1p()))
}

/// ln e of one side's bucket for each of some rates, against the rate that is allowed.
pub(super) fn absolute<const N: usize>(rates: [f64; N], calls: u64, faults: u64) -> [f64; N] {
    let (good, bad) = ((calls - faults) as f64, faults as f64);
    rates.map(|rate| bad * (rate / ALLOWED).ln() + good * ((1.0 - rate) / (1.0 - ALLOWED)).ln())
}

/// The processes of one stratum, or of all together.
#[derive(Clone, Debug)]
struct Row {
    relative: Grid<{ RATIOS.len() }>,
    candidate: Grid<{ RATES.len() }>,
    stable: Grid<{ RATES.len() }>,
    median: Grid<{ RATIOS.len() }>,
    tail: Grid<{ RATIOS.len() }>,
}

impl Row {
    fn new(started: f64) -> Row {
        Row {
            relative: Grid::new(started),
            candidate: Grid::new(started),
            stable: Grid::new(started),
            median: Grid::new(started),
            tail: Grid::new(started),
        }
    }

    fn step(&mut self, start: f64, counts: &Counts) {
        let rates = |side: Side| {
            let count = counts.of(Kind::Fault).side(side);
            (count.calls > 0).then(|| absolute(RATES, count.calls, count.events))
        };
        self.relative.step(start, relative(counts.of(Kind::Bad)));
        self.candidate.step(start, rates(Side::Candidate));
        self.stable.step(start, rates(Side::Stable));
        self.median.step(start, relative(counts.of(Kind::Median)));
        self.tail.step(start, relative(counts.of(Kind::Tail)));
    }

    /// In the order of `Test::ALL`.
    fn tests(&self) -> [f64; 3] {
        let latency = f64::midpoint(self.median.mean(), self.tail.mean());
        [self.relative.mean(), self.candidate.mean(), latency]
    }
}

/// All processes of a step.
#[derive(Clone, Debug)]
pub(super) struct Processes {
    /// Buckets so far.
    buckets: u64,
    /// What was put on changes in them: what a process without data is worth.
    started: f64,
    pooled: Row,
    denied: Grid<{ RATIOS.len() }>,
    /// By the index of the stratum; `None`: it has no place.
    strata: Vec<Option<Row>>,
    places: usize,
    taken: usize,
    proof: Proof,
}

impl Processes {
    /// Those of a step that begins, in which so many strata have a place.
    ///
    /// The number is fixed beforehand because a mean over whatever happens to appear is no
    /// e-process: each stratum gets the weight 1/places when it appears, and a place without one
    /// counts as a process without data. What appears when all are taken is in the pooled ones.
    pub(super) fn new(places: usize) -> Processes {
        Processes {
            buckets: 0,
            started: 0.0,
            pooled: Row::new(0.0),
            denied: Grid::new(0.0),
            strata: Vec::new(),
            places: places.max(1),
            taken: 0,
            proof: Proof::default(),
        }
    }

    /// Adds one bucket.
    pub(super) fn update(&mut self, bucket: &Bucket) {
        self.give_places(bucket);
        let start = match self.buckets {
            0 => AT_ONCE,
            bucket => {
                let number = (bucket + 1) as f64;
                LATER / (number * number.ln().powi(2))
            }
        };
        self.pooled.step(start, &bucket.pooled);
        self.denied.step(start, relative(bucket.pooled.of(Kind::Denied)));
        for (row, (_, counts)) in self.strata.iter_mut().zip(&bucket.strata) {
            if let Some(row) = row {
                row.step(start, counts);
            }
        }
        self.proof.add(bucket.proof);
        self.started += start;
        self.buckets += 1;
    }

    fn give_places(&mut self, bucket: &Bucket) {
        self.strata.resize(self.strata.len().max(bucket.strata.len()), None);
        let is_new =
            |index: &usize| self.strata[*index].is_none() && !bucket.strata[*index].1.is_empty();
        let mut new: Vec<usize> = (0..bucket.strata.len()).filter(is_new).collect();
        new.sort_unstable_by_key(|index| bucket.strata[*index].0);
        for index in new.into_iter().take(self.places - self.taken) {
            self.strata[index] = Some(Row::new(self.started));
            self.taken += 1;
        }
    }

    /// The evidence of each test, in the order of `Test::ALL`: half pooled, half the mean over
    /// the places.
    pub(super) fn tests(&self) -> [f64; 3] {
        self.combined(Row::tests)
    }

    /// The evidence that the stable arm itself fails too often.
    pub(super) fn stable_fails(&self) -> f64 {
        let [value] = self.combined(|row| [row.stable.mean()]);
        value
    }

    /// The evidence that the candidate refuses more callers. Pooled: it is not the tool that refuses.
    pub(super) fn denied(&self) -> f64 {
        self.denied.mean()
    }

    /// The evidence of each test in each stratum that has a place, by its index.
    pub(super) fn strata(&self) -> impl Iterator<Item = (usize, [f64; 3])> {
        let rows = self.strata.iter().enumerate();
        rows.filter_map(|(index, row)| Some((index, row.as_ref()?.tests())))
    }

    /// What speaks for the candidate.
    pub(super) fn proof(&self) -> &Proof {
        &self.proof
    }

    fn combined<const N: usize>(&self, values: impl Fn(&Row) -> [f64; N]) -> [f64; N] {
        let pooled = values(&self.pooled);
        let mut sums = [(self.places - self.taken) as f64 * self.started; N];
        for row in self.strata.iter().flatten() {
            for (sum, value) in sums.iter_mut().zip(values(row)) {
                *sum += value;
            }
        }
        std::array::from_fn(|at| f64::midpoint(pooled[at], sums[at] / self.places as f64))
    }
}

#[cfg(test)]
mod tests;
