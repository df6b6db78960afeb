//! How much less a sample of times is worth for coming from sessions and callers: calls of one are
//! more alike than calls of many, so a mean over them is noisier than their number says.
//!
//! The design effect of survey sampling (Kish 1965): the variance of a mean with its clusters over
//! the one without. Bounded: beyond ten thousand clusters in a minute the mean is steady enough.
//! Does not know: what the times are compared for.

use std::collections::HashMap;

use crate::names::{Arm, PerArm};
use crate::observe::latency::Moments;
use crate::observe::seen::{Grade, Seen, Unit};

use super::Stratum;
use super::minutes::Minute;

/// Sums of one minute that are kept.
const SUMS_MAX: usize = 10_000;

/// The times of the running minute, by who made the calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Clusters {
    sums: HashMap<(Arm, Unit, Stratum), Moments>,
}

/// How the times of a whole minute lie about their means.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spread {
    /// The sum of the deviations of each session or caller.
    units: HashMap<(Arm, Unit), f64>,
    /// The sum of the squared deviations of all calls.
    within: PerArm<f64>,
    /// The same of the calls that nobody else's belong to.
    alone: PerArm<f64>,
}

impl Clusters {
    /// Adds calls.
    pub(super) fn add(&mut self, seen: &[Seen]) {
        for call in seen.iter().filter(|call| call.grade == Grade::Good) {
            let Some(waited) = call.waited else { continue };
            let stratum = Stratum { method: call.method, tool: call.tool };
            let key = (call.arm, call.unit, stratum);
            if self.sums.len() < SUMS_MAX || self.sums.contains_key(&key) {
                self.sums.entry(key).or_default().add(waited);
            }
        }
    }

    /// What a minute with these times leaves, and begins anew.
    pub(super) fn close(&mut self, times: &HashMap<Stratum, PerArm<Moments>>) -> Spread {
        let mut spread = Spread::default();
        for ((arm, unit, stratum), sum) in self.sums.drain() {
            let Some(mean) = times.get(&stratum).map(|both| both.get(arm).mean()) else { continue };
            let squares = sum.squares - 2.0 * mean * sum.logs + sum.count * mean * mean;
            *spread.within.get_mut(arm) += squares.max(0.0);
            if unit == Unit::Alone {
                *spread.alone.get_mut(arm) += squares.max(0.0);
            } else {
                *spread.units.entry((arm, unit)).or_default() += sum.logs - sum.count * mean;
            }
        }
        spread
    }
}

/// By how much the variance of an arm's mean is larger than if all calls were independent; at
/// least 1.
pub(super) fn design_effect(minutes: &[&Minute], arm: Arm) -> f64 {
    let (mut units, mut between, mut within) = (HashMap::<Unit, f64>::new(), 0.0, 0.0);
    for Spread { units: own, within: all, alone } in minutes.iter().map(|minute| &minute.spread) {
        for ((_, unit), sum) in own.iter().filter(|((of, _), _)| *of == arm) {
            *units.entry(*unit).or_default() += sum;
        }
        between += alone.get(arm);
        within += all.get(arm);
    }
    between += units.values().map(|sum| sum * sum).sum::<f64>();
    if within > 0.0 { (between / within).max(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::calls_of;
    use super::*;
    use crate::observe::session::SessionKey;

    /// So many sessions of so many calls; each session is by `apart` slower than the one before, and
    /// its calls lie about that.
    fn minute(sessions: u32, calls: u32, apart: f64) -> Minute {
        of_units(sessions, calls, apart, &[|session| Unit::Session(SessionKey::of(&session))])
    }

    /// The same with each call made once by each of these.
    fn of_units(sessions: u32, calls: u32, apart: f64, units: &[fn([u8; 4]) -> Unit]) -> Minute {
        let (stratum, mut clusters, mut minute) =
            (calls_of("quick"), Clusters::default(), Minute::default());
        for session in 0..sessions {
            for call in 0..calls {
                let log = f64::from(session) * apart + f64::from(call * 7 % calls) * 0.001;
                let waited = Duration::from_secs_f64(log.exp());
                for unit in units {
                    minute.times.entry(stratum).or_default().primary.add(waited);
                    clusters.add(&[Seen {
                        unit: unit(session.to_be_bytes()),
                        opens: false,
                        arm: Arm::Primary,
                        method: stratum.method,
                        tool: stratum.tool,
                        grade: Grade::Good,
                        denied: false,
                        waited: Some(waited),
                    }]);
                }
            }
        }
        minute.spread = clusters.close(&minute.times);
        minute
    }

    #[test]
    fn calls_of_one_session_say_less() {
        let effect = |minutes: &[&Minute]| design_effect(minutes, Arm::Primary);
        // All sessions alike: their calls are as good as independent.
        assert!((effect(&[&minute(10, 10, 0.0)]) - 1.0).abs() < 1e-9);
        // Each session is one time: ten calls say as much as one.
        let apart = effect(&[&minute(10, 10, 0.5)]);
        assert!((9.5..=10.0).contains(&apart), "{apart}");
        // The same sessions in another minute.
        let (one, other) = (minute(10, 10, 0.5), minute(10, 10, 0.5));
        let longer = effect(&[&one, &other]);
        assert!((19.0..=20.0).contains(&longer), "{longer}");
        // Half of the calls are nobody's else: they are as good as independent.
        let half = of_units(
            10,
            10,
            0.5,
            &[|session| Unit::Session(SessionKey::of(&session)), |_| Unit::Alone],
        );
        assert!((5.25..=5.5).contains(&effect(&[&half])), "{}", effect(&[&half]));
        assert!((effect(&[]) - 1.0).abs() < 1e-9);
        assert!((design_effect(&[&one], Arm::Secondary) - 1.0).abs() < 1e-9);
    }
}
