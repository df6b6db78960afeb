//! Versions of the candidate that are tried, and what many rollouts of one come to.
//!
//! Does not know: how a rollout is simulated, how the numbers are shown.

use serde::Serialize;

use crate::judge::interval::jeffreys;
use crate::names::Guard;
use crate::rollout::RolloutState;

use super::Course;
use super::traffic::Change;

/// A candidate that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// As good as the stable one.
    Good,
    /// Twice the errors.
    TwiceTheErrors,
    /// 25 % of its calls fail.
    QuarterFails,
    /// Every call fails.
    AllFail,
    /// Its answers take twice as long.
    TwiceAsSlow,
    /// Its answers take four times as long.
    FourTimesAsSlow,
}

impl Version {
    /// All of them; the good one is the first.
    pub const ALL: [Version; 6] = [
        Version::Good,
        Version::TwiceTheErrors,
        Version::QuarterFails,
        Version::AllFail,
        Version::TwiceAsSlow,
        Version::FourTimesAsSlow,
    ];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Good => "good",
            Version::TwiceTheErrors => "errors_2x",
            Version::QuarterFails => "errors_25_percent",
            Version::AllFail => "errors_100_percent",
            Version::TwiceAsSlow => "slower_2x",
            Version::FourTimesAsSlow => "slower_4x",
        }
    }

    /// How it differs from a stable arm with this rate of errors, 0 to 1; `None` where it would
    /// not be worse.
    pub fn change(self, error_rate: f64) -> Option<Change> {
        // Errors that come on top hit only calls that would not have failed anyway.
        let fails = |share: f64| {
            let failing = (share.min(1.0) - error_rate) / (1.0 - error_rate);
            (share > error_rate && error_rate < 1.0).then_some(Change { failing, ..Change::NONE })
        };
        match self {
            Version::Good => Some(Change::NONE),
            Version::TwiceTheErrors => fails(2.0 * error_rate),
            Version::QuarterFails => fails(0.25),
            Version::AllFail => fails(1.0),
            Version::TwiceAsSlow => Some(Change { slower: 2.0, ..Change::NONE }),
            Version::FourTimesAsSlow => Some(Change { slower: 4.0, ..Change::NONE }),
        }
    }
}

/// The middle of some numbers, and what nine tenths of them do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "said above")]
pub struct Quantiles {
    pub p50: u64,
    pub p90: u64,
}

impl Quantiles {
    /// Those of these numbers; `None` of none.
    pub fn of(mut numbers: Vec<u64>) -> Option<Quantiles> {
        numbers.sort_unstable();
        let at = |share: f64| {
            let rank = (share * numbers.len() as f64).ceil() as usize;
            numbers.get(rank.max(1) - 1).copied()
        };
        Some(Quantiles { p50: at(0.5)?, p90: at(0.9)? })
    }
}

/// How often something happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Often {
    /// In so many rollouts.
    pub count: u64,
    /// Their share, 0 to 1.
    pub share: f64,
    /// The Jeffreys interval of 95 % of that.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Often {
    /// Of so many rollouts, at least as many as `count`.
    pub fn new(count: u64, runs: u64) -> Often {
        let (low, high) = jeffreys(count, runs);
        Often { count, share: if runs > 0 { count as f64 / runs as f64 } else { 0.0 }, low, high }
    }
}

/// What many rollouts of one version came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Rollouts.
    pub runs: u64,
    /// The candidate became the stable arm.
    pub promoted: Often,
    /// A guard took everything from it.
    pub reverted: Often,
    /// The evidence that it is good never came.
    pub aborted: Often,
    /// It still waited when the longest time of the plan was over.
    pub running: Often,
    /// By which guard they were reverted; those that did it at all, most often first.
    pub guards: Vec<(Guard, Often)>,
    /// Seconds from the start to the revert.
    pub seconds_to_revert: Option<Quantiles>,
    /// Calls of the candidate until then.
    pub calls_to_revert: Option<Quantiles>,
    /// Seconds from the start to the promotion.
    pub seconds_to_promotion: Option<Quantiles>,
    /// Calls of the candidate until then.
    pub calls_to_promotion: Option<Quantiles>,
}

impl Summary {
    /// That of these.
    pub fn of(courses: &[Course]) -> Summary {
        let runs = courses.len() as u64;
        let often = |is_meant: &dyn Fn(&Course) -> bool| {
            Often::new(courses.iter().filter(|course| is_meant(course)).count() as u64, runs)
        };
        let ended = |state| often(&move |course| course.end == state);
        let of = |state, number: fn(&Course) -> u64| {
            Quantiles::of(courses.iter().filter(|it| it.end == state).map(number).collect())
        };
        let (seconds, calls) = (|it: &Course| it.lasted.as_secs(), |it: &Course| it.calls);
        let mut guards: Vec<_> = Guard::ALL
            .into_iter()
            .map(|guard| (guard, often(&move |course| course.guard == Some(guard))))
            .filter(|(_, often)| often.count > 0)
            .collect();
        guards.sort_by_key(|(_, often)| std::cmp::Reverse(often.count));
        Summary {
            runs,
            promoted: ended(RolloutState::Promoted),
            reverted: ended(RolloutState::Reverted),
            aborted: ended(RolloutState::Aborted),
            running: often(&|course| !course.end.is_over()),
            guards,
            seconds_to_revert: of(RolloutState::Reverted, seconds),
            calls_to_revert: of(RolloutState::Reverted, calls),
            seconds_to_promotion: of(RolloutState::Promoted, seconds),
            calls_to_promotion: of(RolloutState::Promoted, calls),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn versions_are_worse_by_what_their_names_say() {
        for (version, rate, fails) in [
            (Version::Good, 0.01, Some(0.01)),
            (Version::TwiceTheErrors, 0.01, Some(0.02)),
            (Version::TwiceTheErrors, 0.7, Some(1.0)),
            (Version::TwiceTheErrors, 0.0, None),
            (Version::QuarterFails, 0.01, Some(0.25)),
            (Version::QuarterFails, 0.25, None),
            (Version::AllFail, 0.5, Some(1.0)),
            (Version::AllFail, 1.0, None),
        ] {
            let told = version.change(rate).map(|it| rate + (1.0 - rate) * it.failing);
            let is_right = match (told, fails) {
                (Some(told), Some(fails)) => (told - fails).abs() < 1e-12,
                (told, fails) => told == fails,
            };
            assert!(is_right, "{version:?} {rate}: {told:?}");
        }
        let slower = Version::ALL.map(|version| version.change(0.01).map(|it| it.slower));
        assert_eq!(slower, [1.0, 1.0, 1.0, 1.0, 2.0, 4.0].map(Some));
    }

    #[test]
    fn quantiles_are_numbers_that_were_there() {
        for (numbers, p50, p90) in
            [(1..=10, 5, 9), (1..=11, 6, 10), (7..=7, 7, 7), (1..=2, 1, 2), (1..=1000, 500, 900)]
        {
            assert_eq!(Quantiles::of(numbers.rev().collect()), Some(Quantiles { p50, p90 }));
        }
        assert_eq!(Quantiles::of(Vec::new()), None);
    }

    #[test]
    fn courses_are_counted_by_their_ends() {
        let course = |end, guard, seconds, calls| Course {
            end,
            guard,
            lasted: Duration::from_secs(seconds),
            calls,
        };
        let summary = Summary::of(&[
            course(RolloutState::Promoted, None, 2400, 1000),
            course(RolloutState::Reverted, Some(Guard::Performance), 60, 10),
            course(RolloutState::Reverted, Some(Guard::ErrorRate), 120, 20),
            course(RolloutState::Reverted, Some(Guard::ErrorRate), 180, 30),
            course(RolloutState::Aborted, None, 9999, 5),
            course(RolloutState::Holding, None, 9999, 5),
        ]);
        let counts = [&summary.promoted, &summary.reverted, &summary.aborted, &summary.running];
        assert_eq!(counts.map(|often| often.count), [1, 3, 1, 1]);
        assert!((summary.reverted.share - 0.5).abs() < 1e-12);
        assert!(summary.reverted.low < 0.5 && 0.5 < summary.reverted.high);
        let guards: Vec<_> = summary.guards.iter().map(|(it, often)| (*it, often.count)).collect();
        assert_eq!(guards, [(Guard::ErrorRate, 2), (Guard::Performance, 1)]);
        assert_eq!(summary.seconds_to_revert, Some(Quantiles { p50: 120, p90: 180 }));
        assert_eq!(summary.calls_to_promotion, Some(Quantiles { p50: 1000, p90: 1000 }));
        let none = Summary::of(&[]);
        assert_eq!((none.runs, none.seconds_to_revert, none.guards.len()), (0, None, 0));
        assert!(none.promoted.low < 0.01 && none.promoted.high > 0.99, "nothing is known");
    }
}
