//! Endpoints whose handshakes succeed while their calls fail: they get no new work for a while.
//!
//! Pure: the time is an argument. Acts inside an arm only, and never so that the arm as a whole could
//! take less than before: between the arms the judge decides. Works with two endpoints, where shares
//! of failures say nothing and a row of them does. Does not know: what failed, who publishes tables.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::names::{Arm, EndpointId};
use crate::route::{Endpoint, RoutingTable};

use super::state::share;

/// How long an endpoint is out the first time; the second time twice that, and so on.
const OUT_FIRST: Duration = Duration::from_secs(30);
/// How long at most; and the time of good work after which the next time is the first one again.
const OUT_MAX: Duration = Duration::from_secs(300);

/// The endpoints that have been failing, and are out or coming back.
#[derive(Debug, Default)]
pub struct Outliers(HashMap<EndpointId, Ejection>);

/// Why an endpoint gets no new work.
#[derive(Clone, Copy, Debug)]
pub struct Ejection {
    /// Calls in a row that had failed.
    pub failures: u32,
    /// The how manieth time in a row it is.
    pub times: u32,
    /// When it began.
    pub since: SystemTime,
    /// How long it takes.
    pub lasts: Duration,
    end: Instant,
}

impl fmt::Display for Ejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls in a row failed by the server's fault", self.failures)
    }
}

impl Ejection {
    fn share(&self, slow_start: Option<Duration>, now: Instant) -> f64 {
        if now < self.end { 0.0 } else { share(now - self.end, slow_start) }
    }
}

impl Outliers {
    /// Takes out what has been failing since the last look, as far as the rest of its arm is fit for
    /// the work, and lessens the fitness of what is out or coming back. What `fitness` lacks is fit.
    /// Returns whom it has taken out.
    pub fn judge(
        &mut self,
        table: &RoutingTable,
        fitness: &mut HashMap<EndpointId, f64>,
        now: Instant,
    ) -> Vec<EndpointId> {
        self.0.retain(|id, ejection| {
            now < ejection.end + OUT_MAX && table.endpoint(*id).is_some_and(|it| it.id == *id)
        });
        let mut taken = Vec::new();
        for arm in Arm::ALL {
            let leaving = &table.arms.get(arm).leaving;
            // What they did before they left is no news when they come again.
            for endpoint in leaving {
                endpoint.take_failing();
            }
            let arm = &table.arms.get(arm).endpoints;
            let failing: Vec<_> = arm.iter().filter(|it| it.take_failing()).collect();
            let Some(failures) = table.config.health.eject_after else {
                self.0.retain(|id, _| arm.iter().all(|it| it.id != *id));
                continue;
            };
            let all: Vec<f64> = arm.iter().map(|it| of(fitness, it)).collect();
            let slow_start = table.config.health.slow_start;
            let left = |known: &Outliers| -> Vec<f64> {
                let share =
                    |it: &EndpointId| known.0.get(it).map_or(1.0, |it| it.share(slow_start, now));
                arm.iter().zip(&all).map(|(it, fitness)| fitness * share(&it.id)).collect()
            };
            for endpoint in failing {
                let before = self.0.get(&endpoint.id).copied();
                let out = arm.iter().filter(|it| self.is_out(it.id, now)).count();
                if before.is_some_and(|it| now < it.end) || (out + 1) * 2 > arm.len() {
                    continue;
                }
                let times = before.map_or(1, |it| it.times + 1);
                let lasts = (OUT_FIRST * times).min(OUT_MAX);
                let (since, end) = (SystemTime::now(), now + lasts);
                self.0.insert(endpoint.id, Ejection { failures, times, since, lasts, end });
                if best(&left(self)) >= best(&all) {
                    taken.push(endpoint.id);
                } else if let Some(before) = before {
                    self.0.insert(endpoint.id, before);
                } else {
                    self.0.remove(&endpoint.id);
                }
            }
            // What is out comes back where nobody else is left: it may still do some of the work.
            let left = left(self);
            if best(&left) >= best(&all) {
                fitness.extend(arm.iter().map(|it| it.id).zip(left));
            }
        }
        taken
    }

    /// Why an endpoint gets no new work now.
    pub fn why(&self, endpoint: EndpointId, now: Instant) -> Option<&Ejection> {
        self.0.get(&endpoint).filter(|it| now < it.end)
    }

    fn is_out(&self, endpoint: EndpointId, now: Instant) -> bool {
        self.why(endpoint, now).is_some()
    }
}

fn of(fitness: &HashMap<EndpointId, f64>, endpoint: &Endpoint) -> f64 {
    fitness.get(&endpoint.id).copied().unwrap_or(1.0)
}

fn best(fitness: &[f64]) -> f64 {
    fitness.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dns::Known;
    use crate::route::tests::table;
    use std::sync::Arc;

    const TWO: [&str; 2] = ["http://a:1/mcp", "http://a:2/mcp"];

    /// Fails that often in a row.
    fn fail(endpoint: &Endpoint, calls: u32) {
        (0..calls).for_each(|_| endpoint.note_failed_call(Some(10)));
    }

    struct Bench {
        table: Arc<RoutingTable>,
        outliers: Outliers,
        start: Instant,
    }

    impl Bench {
        fn new(endpoints: &[&str]) -> Bench {
            let table = table(endpoints, &["http://b:1/mcp"], 50, |_| ());
            Bench { table, outliers: Outliers::default(), start: Instant::now() }
        }

        fn endpoint(&self, index: usize) -> &Endpoint {
            &self.table.arms.primary.endpoints[index]
        }

        /// The fitness of the arm's endpoints after so many seconds, in percent.
        fn at(&mut self, seconds: u64, health: &[f64]) -> Vec<u32> {
            let arm = &self.table.arms.primary.endpoints;
            let mut fitness = arm.iter().map(|it| it.id).zip(health.iter().copied()).collect();
            let now = self.start + Duration::from_secs(seconds);
            self.outliers.judge(&self.table, &mut fitness, now);
            arm.iter().map(|it| (of(&fitness, it) * 100.0).round() as u32).collect()
        }
    }

    #[test]
    fn a_row_of_failures_takes_one_of_two_out_for_longer_each_time() {
        let mut bench = Bench::new(&TWO);
        fail(bench.endpoint(0), 9);
        bench.endpoint(0).note_call();
        fail(bench.endpoint(0), 9);
        assert_eq!(bench.at(0, &[]), [100, 100]);
        fail(bench.endpoint(0), 1);
        assert_eq!(bench.at(1, &[]), [0, 100]);
        // What is left fails too; somebody has to do the work.
        fail(bench.endpoint(1), 10);
        assert_eq!(bench.at(2, &[]), [0, 100]);
        for (seconds, share) in [(30, 0), (31, 10), (46, 55), (61, 100)] {
            assert_eq!(bench.at(seconds, &[]), [share, 100], "{seconds}");
        }
        for (begin, lasts) in [(100, 60), (200, 90), (1000, 30)] {
            fail(bench.endpoint(0), 10);
            assert_eq!(bench.at(begin, &[]), [0, 100]);
            assert_eq!(bench.at(begin + lasts - 1, &[]), [0, 100]);
            assert_eq!(bench.at(begin + lasts, &[]), [10, 100], "{begin}");
        }
    }

    #[test]
    fn the_last_fit_one_stays_and_what_is_out_comes_back_for_one_that_goes_down() {
        let mut bench = Bench::new(&TWO);
        fail(bench.endpoint(0), 10);
        assert_eq!(bench.at(0, &[1.0, 0.0]), [100, 0]);
        assert_eq!(bench.at(1, &[1.0, 1.0]), [100, 100]);
        fail(bench.endpoint(0), 10);
        assert_eq!(bench.at(2, &[1.0, 1.0]), [0, 100]);
        assert_eq!(bench.at(3, &[1.0, 0.0]), [100, 0]);
        // One that comes back itself cannot do it all.
        assert_eq!(bench.at(4, &[1.0, 0.5]), [100, 50]);
        assert_eq!(bench.at(5, &[1.0, 1.0]), [0, 100]);
        let mut alone = Bench::new(&TWO[..1]);
        fail(alone.endpoint(0), 10);
        assert_eq!(alone.at(0, &[]), [100]);
    }

    #[test]
    fn what_failed_before_it_left_is_not_out_when_it_comes_again() {
        let mut bench = Bench::new(&["dns+http://a:1/mcp"]);
        let names = |bench: &mut Bench, last: &[u8]| {
            let found = Ok(last.iter().map(|it| [10, 0, 0, *it].into()).collect());
            let mut known = Known::clone(&bench.table.known);
            known.learn([(&"a:1".to_owned(), &found)], bench.start);
            bench.table = Arc::new(bench.table.with_names(Arc::new(known)));
        };
        names(&mut bench, &[1, 2]);
        fail(bench.endpoint(0), 10);
        names(&mut bench, &[2]);
        assert_eq!(bench.at(0, &[]), [100]);
        names(&mut bench, &[1, 2]);
        assert_eq!(bench.at(600, &[]), [100, 100]);
    }

    proptest! {
        #[test]
        fn an_arm_never_loses_by_it(
            rounds in prop::collection::vec(
                (
                    // A tenth of less would be nothing in whole percents.
                    prop::collection::vec(
                        (prop_oneof![Just(0.0), 0.1..=1.0_f64], any::<bool>()),
                        5,
                    ),
                    0..400_u64,
                ),
                1..20,
            ),
            count in 1..=5_usize,
        ) {
            let urls: Vec<String> = (0..count).map(|at| format!("http://a:{}/mcp", at + 1)).collect();
            let mut bench = Bench::new(&urls.iter().map(String::as_str).collect::<Vec<_>>());
            let mut time = 0;
            for (endpoints, passes) in rounds {
                time += passes;
                let mut health = Vec::new();
                for (index, (fitness, fails)) in endpoints.into_iter().take(count).enumerate() {
                    health.push((fitness * 100.0).round() / 100.0);
                    fail(bench.endpoint(index), if fails { 10 } else { 0 });
                }
                let after = bench.at(time, &health);
                let best = (best(&health) * 100.0).round() as u32;
                prop_assert_eq!(after.iter().copied().max().unwrap(), best);
                let now = bench.start + Duration::from_secs(time);
                let out = (0..count).filter(|at| bench.outliers.is_out(bench.endpoint(*at).id, now));
                prop_assert!(out.count() * 2 <= count);
            }
        }
    }
}
