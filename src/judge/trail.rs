//! How long the stable arm takes of late, and how much longer the candidate takes in this step;
//! one stratum of it.
//!
//! What is slow is fixed before a bucket begins, from the stable arm's calls of the last ten to
//! twenty minutes; a limit that depended on the bucket's own calls would be no evidence. A call
//! whose client gave up after the limit is known to be slow; one given up before says nothing.
//! Does not know: who made the calls.

use std::time::Duration;

use crate::observe::latency::{Moments, Sketch};

use super::bucket::{Kind, Side};

/// Buckets of a generation: ten minutes.
const GENERATION: u64 = 120;
/// Buckets after which limits are taken anew: a minute.
const RENEW: u64 = 12;
/// Calls that it takes for a limit.
const CALLS_MIN: u64 = 50;
/// A sketch knows a quantile to two percent. Where all calls take the same time, none of them is
/// slow for that.
const MARGIN: f64 = 1.021;

/// The times of one stratum.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail {
    /// The stable arm's, of this generation and the one before.
    generations: [Sketch; 2],
    /// The median and the ninth decile of these.
    limits: Option<[Duration; 2]>,
    /// What both sides took in this step.
    stable: Moments,
    candidate: Moments,
}

impl Trail {
    /// Adds the time of a good call of the stable arm, whoever made it.
    pub(super) fn absorb(&mut self, waited: Duration) {
        self.generations[0].add(waited);
    }

    /// What is slow in this bucket; `None` before the stable arm has answered enough.
    pub(super) fn limits(&self) -> Option<[(Kind, Duration); 2]> {
        let [median, tail] = self.limits?;
        Some([(Kind::Median, median), (Kind::Tail, tail)])
    }

    /// Adds the time of a call to what the sides are compared by.
    pub(super) fn compare(&mut self, side: Side, waited: Duration) {
        match side {
            Side::Stable => self.stable.add(waited),
            Side::Candidate => self.candidate.add(waited),
        }
    }

    /// How much longer the candidate's mean logarithm is, and the weight of that: as many pairs
    /// of calls as it is worth.
    pub(super) fn difference(&self) -> Option<(f64, f64)> {
        let (stable, candidate) = (&self.stable, &self.candidate);
        let weight = stable.count * candidate.count / (stable.count + candidate.count);
        (weight > 0.0).then(|| (candidate.mean() - stable.mean(), weight))
    }

    /// The bucket of this number is over.
    pub(super) fn close(&mut self, bucket: u64) {
        if bucket.is_multiple_of(GENERATION) {
            self.generations[1] = std::mem::take(&mut self.generations[0]);
        }
        let [new, old] = &self.generations;
        if new.count() + old.count() < CALLS_MIN {
            self.limits = None;
        } else if self.limits.is_none() || bucket.is_multiple_of(RENEW) {
            let mut both = old.clone();
            both.merge(new);
            let limit = |share| Some(both.quantile(share)?.mul_f64(MARGIN));
            self.limits = limit(0.5).zip(limit(0.9)).map(Into::into);
        }
    }

    /// A step begins: the sides are compared anew, the stable arm is as fast as it was.
    pub(super) fn next_step(&mut self) {
        (self.stable, self.candidate) = (Moments::default(), Moments::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_the_last_ten_to_twenty_minutes() {
        let mut trail = Trail::default();
        let median = |trail: &Trail| trail.limits.map(|limits| limits[0].as_secs_f64());
        for bucket in 1..=480 {
            // Half an hour of one second, then ten.
            let waited = Duration::from_secs(if bucket <= 360 { 1 } else { 10 });
            for _ in 0..6 {
                trail.absorb(waited);
            }
            trail.close(bucket);
            let told = median(&trail).unwrap_or_default();
            let expected = match bucket {
                ..9 => 0.0,
                9..=420 => 1.0,
                // The generations are one of each; the later one outweighs what is left.
                421..480 => continue,
                _ => 10.0,
            };
            assert!((told / MARGIN - expected).abs() <= 0.021 * expected, "{bucket}: {told}");
        }
        for bucket in 481..=720 {
            trail.close(bucket);
        }
        assert_eq!(trail.limits, None, "silence is no speed");
    }

    #[test]
    fn fifty_calls_make_a_limit() {
        for (calls, is_enough) in [(49, false), (50, true)] {
            let mut trail = Trail::default();
            (0..calls).for_each(|_| trail.absorb(Duration::from_secs(1)));
            trail.close(1);
            assert_eq!(trail.limits().is_some(), is_enough, "{calls}");
        }
    }

    #[test]
    fn sides_are_compared_within_a_step() {
        let mut trail = Trail::default();
        assert_eq!(trail.difference(), None);
        for _ in 0..10 {
            trail.compare(Side::Stable, Duration::from_millis(100));
            trail.compare(Side::Candidate, Duration::from_millis(200));
        }
        let (difference, weight) = trail.difference().unwrap();
        assert!((difference - 2.0_f64.ln()).abs() < 1e-9);
        assert!((weight - 5.0).abs() < 1e-9);
        trail.next_step();
        assert_eq!(trail.difference(), None);
    }
}
