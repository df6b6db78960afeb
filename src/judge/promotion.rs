//! Evidence that the candidate is good: that less than 5 % of its calls fail.
//!
//! The absence of evidence against it is no reason to send it more; so this is a process of its
//! own, against "5 % or more", over the whole step: a product, because a change in mid-step is
//! nothing to hope for. Passes at 20 (alpha 5 %): 73 calls without a fault, 125 at 1 %, 207 at 2 %
//! (medians, reliability.md C3). Does not know: what is done with it.

use super::bucket::Count;
use super::process::absolute;

/// Rates of faults of a good candidate.
const RATES: [f64; 5] = [0.001, 0.005, 0.01, 0.02, 0.03];
/// What passes.
const ENOUGH: f64 = 20.0;
/// ln e beyond this is as good as any.
const LOG_MAX: f64 = 230.0;
/// More calls than this is never.
const CALLS_MAX: u64 = 1 << 40;

/// How well a candidate has proved itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promotion {
    /// The e-value against "5 % of its calls fail, or more".
    pub e: f64,
    /// It is 20 or more.
    pub passes: bool,
    /// How many further calls it takes if none of them fails; 0 when it passes.
    pub clean_calls: u64,
    /// The same if faults go on at the rate of this step; `None`: that is too many for ever.
    pub more_calls: Option<u64>,
}

/// The process.
#[derive(Clone, Debug, Default)]
pub(super) struct Proof {
    logs: [f64; RATES.len()],
    count: Count,
}

impl Proof {
    /// Adds calls of the candidate.
    pub(super) fn add(&mut self, count: Count) {
        for (own, log) in self.logs.iter_mut().zip(absolute(RATES, count.calls, count.events)) {
            *own += log;
        }
        self.count.add(count);
    }

    /// All calls of the step, and the faults among them.
    pub(super) fn count(&self) -> Count {
        self.count
    }

    /// What it comes to.
    pub(super) fn told(&self) -> Promotion {
        let e = self.after(0, [0.0; RATES.len()]);
        let clean = absolute(RATES, 1, 0);
        let faults = absolute(RATES, 1, 1);
        let rate = match self.count {
            Count { calls: 0, .. } => 0.0,
            Count { calls, events } => events as f64 / calls as f64,
        };
        let usual = std::array::from_fn(|at| (1.0 - rate) * clean[at] + rate * faults[at]);
        Promotion {
            e,
            passes: e >= ENOUGH,
            clean_calls: self.needed(clean).unwrap_or(CALLS_MAX),
            more_calls: self.needed(usual),
        }
    }

    /// The e-value after so many further calls, each of which adds this to the logarithms.
    fn after(&self, calls: u64, each: [f64; RATES.len()]) -> f64 {
        let logs = self.logs.iter().zip(each).map(|(log, each)| log + calls as f64 * each);
        logs.map(|log| log.min(LOG_MAX).exp()).sum::<f64>() / RATES.len() as f64
    }

    /// How many such calls are enough.
    fn needed(&self, each: [f64; RATES.len()]) -> Option<u64> {
        // A sum of exponentials is convex: from below it crosses the line once.
        let is_enough = |calls| self.after(calls, each) >= ENOUGH;
        let (mut low, mut high) = (0, 1);
        if is_enough(low) {
            return Some(0);
        }
        while !is_enough(high) {
            (low, high) = (high, high * 2);
            if high > CALLS_MAX {
                return None;
            }
        }
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            if is_enough(middle) { high = middle } else { low = middle }
        }
        Some(high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(calls: u64, events: u64) -> Promotion {
        let mut proof = Proof::default();
        proof.add(Count { calls, events });
        proof.told()
    }

    #[test]
    fn seventy_three_calls_without_a_fault_pass() {
        assert!(!told(72, 0).passes);
        assert!(told(73, 0).passes);
    }

    #[test]
    fn says_how_many_more_calls_it_takes() {
        // Calls, faults; further calls without a fault, at the same rate.
        for (calls, faults, clean, usual) in [
            (0, 0, 73, Some(73)),
            (72, 0, 1, Some(1)),
            (73, 0, 0, Some(0)),
            (1_000_000_000, 0, 0, Some(0)),
            (100, 50, 1_397, None),
            (100, 5, 178, None),
            (100, 1, 25, Some(45)),
            (50, 1, 75, Some(281)),
        ] {
            let told = told(calls, faults);
            assert_eq!((told.clean_calls, told.more_calls), (clean, usual), "{faults}/{calls}");
        }
        for (calls, faults) in [(20, 0), (50, 1), (100, 1), (100, 2), (300, 10), (100, 4)] {
            let before = told(calls, faults);
            let clean = before.clean_calls;
            assert!(told(calls + clean, faults).passes);
            assert!(!told(calls + clean - 1, faults).passes, "{faults}/{calls}");
            // Rates are not whole: what is promised for a multiple of the calls holds there.
            if let Some(more) = before.more_calls {
                let times = more.div_ceil(calls) + 1;
                assert!(told(calls * times, faults * times).passes, "{faults}/{calls}");
                assert!(more >= clean);
            }
        }
    }

    #[test]
    fn fails_under_the_null_on_average() {
        // All outcomes of a few calls at the rate that is not allowed.
        for calls in 1..=30_u64 {
            let mut chance = 0.95_f64.powi(calls as i32);
            let mut expected = 0.0;
            for faults in 0..=calls {
                expected += chance * told(calls, faults).e;
                chance *= (calls - faults) as f64 / (faults + 1) as f64 * 0.05 / 0.95;
            }
            assert!((expected - 1.0).abs() < 1e-9, "{calls}: {expected}");
        }
    }
}
