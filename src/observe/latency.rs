//! Latencies in logarithmic buckets: two percent of error at most, whatever the range, and two
//! sketches add up to the sketch of both.
//!
//! The buckets are those of `DDSketch` (Masson, Rim and Lee, VLDB 2019) with fixed ends. Does not
//! know: whose latencies these are.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The ratio of a bucket's upper end to its lower one: (1 + 0.02) / (1 - 0.02).
const GAMMA: f64 = 1.02 / 0.98;
/// The upper end of the first bucket, in seconds; what is faster counts as this.
const SHORTEST: f64 = 100e-6;
/// The upper end of the last bucket is an hour; what is slower counts as this.
const BUCKETS: usize = 437;

/// What a comparison of means needs of some latencies: the sums of their logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// How many.
    pub count: f64,
    /// The sum of the natural logarithms of their seconds.
    pub logs: f64,
    /// The sum of the squares of those.
    pub squares: f64,
}

impl Moments {
    /// Adds one latency.
    pub fn add(&mut self, latency: Duration) {
        let log = latency.as_secs_f64().max(SHORTEST).ln();
        self.count += 1.0;
        self.logs += log;
        self.squares += log * log;
    }

    /// Adds all of others.
    pub fn merge(&mut self, other: &Moments) {
        self.count += other.count;
        self.logs += other.logs;
        self.squares += other.squares;
    }

    /// The mean logarithm; 0 of none.
    pub fn mean(&self) -> f64 {
        if self.count > 0.0 { self.logs / self.count } else { 0.0 }
    }

    /// The variance of the logarithms, as a sample's; 0 of fewer than two.
    pub fn variance(&self) -> f64 {
        if self.count < 2.0 {
            return 0.0;
        }
        ((self.squares - self.logs * self.logs / self.count) / (self.count - 1.0)).max(0.0)
    }
}

/// The latencies of some exchanges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Sketch {
    /// The bucket that `counts` begins with.
    first: usize,
    counts: Vec<u32>,
    #[serde(skip)]
    count: u64,
    seconds: f64,
    moments: Moments,
}

/// A sketch as it was stored: whoever edits it makes no more than a sketch of it.
#[derive(Deserialize)]
struct Stored {
    first: usize,
    counts: Vec<u32>,
    seconds: f64,
    moments: Moments,
}

impl TryFrom<Stored> for Sketch {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Sketch, Self::Error> {
        let Stored { first, counts, seconds, moments } = stored;
        if first.saturating_add(counts.len()) > BUCKETS {
            return Err("latencies beyond the last bucket");
        }
        let count = counts.iter().map(|count| u64::from(*count)).sum();
        Ok(Sketch { first, counts, count, seconds, moments })
    }
}

impl Sketch {
    /// Adds one latency.
    pub fn add(&mut self, latency: Duration) {
        let seconds = latency.as_secs_f64();
        let steps = (seconds.max(SHORTEST) / SHORTEST).ln() / GAMMA.ln();
        // A hair below the end of a bucket is still in it, whatever the logarithm rounds to.
        let bucket = ((steps - 1e-9).ceil().max(0.0) as usize).min(BUCKETS - 1);
        *self.bucket(bucket) += 1;
        self.count += 1;
        self.seconds += seconds;
        self.moments.add(latency);
    }

    /// Adds all of another sketch.
    pub fn merge(&mut self, other: &Sketch) {
        for (at, count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let own = self.bucket(other.first + at);
            *own = own.saturating_add(*count);
        }
        self.count += other.count;
        self.seconds += other.seconds;
        self.moments.merge(&other.moments);
    }

    /// The sums of their logarithms, exactly.
    pub fn moments(&self) -> Moments {
        self.moments
    }

    /// How many latencies are in it.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in seconds, exactly.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The latency below which this share of all lies, 0.0 to 1.0, to two percent; `None` when
    /// there is none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share.clamp(0.0, 1.0) * (self.count.checked_sub(1)? as f64)).floor() as u64;
        let mut below = 0;
        self.filled()
            .find(|(_, count)| {
                below += u64::from(*count);
                below > rank
            })
            .map(|(middle, _)| Duration::from_secs_f64(middle))
    }

    /// The buckets with something in them: a latency in seconds that is at most two percent away
    /// from all in it, and how many those are.
    pub fn filled(&self) -> impl Iterator<Item = (f64, u32)> {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(at, count)| (middle(self.first + at), *count))
    }

    /// The count of a bucket. Only the range in use is kept.
    fn bucket(&mut self, bucket: usize) -> &mut u32 {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = self.first - bucket;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let at = bucket - self.first;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        &mut self.counts[at]
    }
}

/// The value that is as far from a bucket's lower end as from its upper one, by ratio.
fn middle(bucket: usize) -> f64 {
    let upper = SHORTEST * GAMMA.powi(i32::try_from(bucket).unwrap_or(i32::MAX));
    2.0 * upper / (GAMMA + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(latencies: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for &seconds in latencies {
            sketch.add(Duration::from_secs_f64(seconds));
        }
        sketch
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    #[test]
    fn the_ends_hold_what_is_beyond() {
        let sketch = of(&[0.0, 1e-9, 1e9]);
        assert_eq!(sketch.count(), 3);
        assert!(sketch.quantile(0.0).unwrap() <= Duration::from_micros(100));
        let longest = sketch.quantile(1.0).unwrap().as_secs_f64();
        assert!((3500.0..3800.0).contains(&longest), "{longest}");
    }

    proptest! {
        #[test]
        fn quantiles_are_within_two_percent(
            mut latencies in prop::collection::vec(1e-4..3500.0f64, 1..200),
            share in 0.0..=1.0f64,
        ) {
            let sketch = of(&latencies);
            latencies.sort_by(f64::total_cmp);
            let exact = latencies[(share * (latencies.len() - 1) as f64).floor() as usize];
            let told = sketch.quantile(share).unwrap().as_secs_f64();
            prop_assert!((told / exact - 1.0).abs() <= 0.0201, "{told} for {exact}");
        }

        #[test]
        fn merged_is_as_if_added_to_one(
            one in prop::collection::vec(1e-5..5000.0f64, 0..50),
            other in prop::collection::vec(1e-5..5000.0f64, 0..50),
        ) {
            let mut merged = of(&one);
            merged.merge(&of(&other));
            let all = of(&[one, other].concat());
            prop_assert_eq!(merged.count(), all.count());
            prop_assert_eq!(
                merged.filled().collect::<Vec<_>>(),
                all.filled().collect::<Vec<_>>()
            );
            prop_assert!((merged.seconds() - all.seconds()).abs() < 1e-6);
        }

        #[test]
        fn memory_is_bounded(latencies in prop::collection::vec(0.0..1e7f64, 0..100)) {
            prop_assert!(of(&latencies).counts.len() <= BUCKETS);
        }
    }
}
