//! How long the stable arm takes, remembered for when it is idle.
//!
//! Per stratum the sums of about its last [`REMEMBERED`] calls: older ones fade, so that a server
//! that has become faster or slower over weeks is compared with what it is now. Names come from
//! closed sets, so does the memory: 140 strata. Does not know: files; names of tools.

use std::collections::BTreeMap;

use crate::names::Arm;
use crate::observe::latency::Moments;

use super::Stratum;
use super::minutes::Minute;

/// Calls of a stratum that count; what is before them fades.
pub const REMEMBERED: f64 = 2000.0;
/// 36 methods, one of which has 102 tool labels, and a little more.
const STRATA_MAX: usize = 140;

/// The stable arm's times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    strata: BTreeMap<Stratum, Moments>,
}

impl Baseline {
    /// Takes in what the stable arm did in a whole minute.
    pub fn absorb(&mut self, minute: &Minute, stable: Arm) {
        for (stratum, times) in &minute.times {
            self.merge(*stratum, times.get(stable));
        }
    }

    /// The times of a stratum.
    pub fn get(&self, stratum: Stratum) -> Option<&Moments> {
        self.strata.get(&stratum)
    }

    /// All of it, to be kept on disk.
    pub fn entries(&self) -> impl Iterator<Item = (Stratum, Moments)> {
        self.strata.iter().map(|(stratum, times)| (*stratum, *times))
    }

    /// What [`Baseline::entries`] gave; entries that cannot be are left out, and two of the same
    /// stratum, as of tools that have lost their labels, become one.
    pub fn from_entries(entries: impl IntoIterator<Item = (Stratum, Moments)>) -> Baseline {
        let mut baseline = Baseline::default();
        for (stratum, times) in entries {
            baseline.merge(stratum, &times);
        }
        baseline
    }

    fn merge(&mut self, stratum: Stratum, times: &Moments) {
        let has_room = self.strata.len() < STRATA_MAX || self.strata.contains_key(&stratum);
        if !can_be(times) || !has_room {
            return;
        }
        let own = self.strata.entry(stratum).or_default();
        own.merge(times);
        if own.count > REMEMBERED {
            let share = REMEMBERED / own.count;
            *own =
                Moments { count: REMEMBERED, logs: own.logs * share, squares: own.squares * share };
        }
    }
}

/// Whether these are the sums of some finite numbers.
fn can_be(times: &Moments) -> bool {
    let are_finite = times.logs.is_finite() && times.squares.is_finite();
    times.count >= 1.0 && times.count.is_finite() && are_finite && times.squares >= 0.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::calls_of;
    use super::*;
    use crate::names::PerArm;

    fn times(count: usize, millis: u64) -> Moments {
        let mut times = Moments::default();
        (0..count).for_each(|_| times.add(Duration::from_millis(millis)));
        times
    }

    fn minute(count: usize, millis: u64) -> Minute {
        let mut minute = Minute::default();
        let both = PerArm { primary: times(count, millis), secondary: times(count, 77) };
        minute.times.insert(calls_of("quick"), both);
        minute
    }

    #[test]
    fn the_past_fades() {
        let mut baseline = Baseline::default();
        (0..100).for_each(|_| baseline.absorb(&minute(100, 10), Arm::Primary));
        assert!((baseline.get(calls_of("quick")).unwrap().count - REMEMBERED).abs() < 1e-9);
        assert!(baseline.get(calls_of("quick")).unwrap().variance() < 1e-9, "all took the same");
        (0..100).for_each(|_| baseline.absorb(&minute(100, 20), Arm::Primary));
        let speed = baseline.get(calls_of("quick")).unwrap().mean().exp();
        assert!((0.0195..0.0201).contains(&speed), "{speed}");
        assert_eq!(baseline.get(calls_of("slow")), None);
    }

    #[test]
    fn what_was_kept_comes_back() {
        let mut baseline = Baseline::default();
        baseline.absorb(&minute(5, 10), Arm::Secondary);
        assert_eq!(Baseline::from_entries(baseline.entries()), baseline);
    }

    #[test]
    fn what_cannot_be_does_not() {
        let good = times(5, 10);
        let bad = [
            Moments { count: f64::NAN, ..good },
            Moments { count: -1.0, ..good },
            Moments { count: 0.0, ..good },
            Moments { count: f64::INFINITY, ..good },
            Moments { logs: f64::NAN, ..good },
            Moments { squares: f64::INFINITY, ..good },
            Moments { squares: -1.0, ..good },
        ];
        let entries = bad.into_iter().map(|times| (calls_of("quick"), times));
        assert_eq!(Baseline::from_entries(entries), Baseline::default());
    }
}
