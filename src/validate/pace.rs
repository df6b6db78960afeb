//! Whether answers come within the time that `[validation]` allows.
//!
//! Twenty rounds, of which one may be slow: 95 of 100. Does not know: what is asked for.

use std::time::Duration;

use tokio::time::Instant;

use super::Asked;
use super::check::Outcome;
use super::endpoint::called;
use crate::health::trial::Trial;

/// How often each thing is asked for.
const ROUNDS: usize = 20;
/// Of these, how many may take longer than the limit.
const SLOW_MAX: usize = 1;

/// The times of one thing that is asked for.
#[derive(Debug, Default)]
struct Times {
    name: String,
    all: Vec<Duration>,
    /// It is answered wrongly, of which another check tells.
    is_wrong: bool,
}

impl Times {
    /// 95 of 100 are not slower.
    fn p95(&self) -> Duration {
        let mut times = self.all.clone();
        times.sort_unstable();
        let place = (times.len() * 95).div_ceil(100).saturating_sub(1);
        times.get(place).copied().unwrap_or_default()
    }

    fn slow(&self, limit: Duration) -> usize {
        self.all.iter().filter(|time| **time > limit).count()
    }
}

/// Asks again and again for the list and the probe calls.
pub(super) async fn check(asked: &Asked<'_>) -> Outcome {
    let Some(limit) = asked.rules.sla else { return Outcome::skipped("validation.sla is off") };
    let calls = &asked.subject.settings.health.calls;
    let mut trial = match Trial::open(asked.subject, &called(calls)).await {
        Ok(trial) => trial,
        Err(verdict) => return Outcome::failed(verdict.to_string()),
    };
    let list = if trial.offers_tools() { "tools/list" } else { "a sign of life" };
    let names = [list.to_owned()].into_iter().chain(calls.iter().map(|call| call.tool.clone()));
    let mut all: Vec<Times> = names.map(|name| Times { name, ..Times::default() }).collect();
    for round in 0..ROUNDS {
        for (place, times) in all.iter_mut().enumerate().filter(|(_, times)| !times.is_wrong) {
            let start = Instant::now();
            let done = match place.checked_sub(1) {
                None => trial.list().await,
                Some(place) => trial.probe(&calls[place]).await,
            };
            let took = start.elapsed();
            times.all.push(took);
            // It is lost already; a server that hangs would keep us for minutes.
            if times.slow(limit) > SLOW_MAX {
                return Outcome::failed(late(times, limit));
            }
            match done {
                Err(_) if round == 0 && place > 0 => times.is_wrong = true,
                Err(why) if took <= limit => {
                    return Outcome::failed(format!("{}: {why}", times.name));
                }
                _ => {}
            }
        }
    }
    let slowest = all.iter().max_by_key(|times| times.p95()).expect("a list is asked for");
    let (p95, limit) = (millis(slowest.p95()), humantime::format_duration(limit));
    Outcome::ok(format!("p95 {p95} of {ROUNDS} answers to {} (limit {limit})", slowest.name))
}

fn late(times: &Times, limit: Duration) -> String {
    let (slow, all) = (times.slow(limit), times.all.len());
    let slowest = times.all.iter().max().copied().unwrap_or_default();
    let (limit, slowest) = (humantime::format_duration(limit), millis(slowest));
    format!("{slow} of {all} answers to {} took longer than {limit}, up to {slowest}", times.name)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_micros() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_twenty_may_be_slow() {
        for (slow, p95) in [(0, 1), (1, 1), (2, 9), (20, 9)] {
            let time = |at| Duration::from_secs(if at < slow { 9 } else { 1 });
            let times = Times { all: (0..ROUNDS).map(time).collect(), ..Times::default() };
            assert_eq!(times.p95().as_secs(), p95, "{slow}");
            assert_eq!(times.slow(Duration::from_secs(2)) <= SLOW_MAX, p95 == 1);
        }
    }
}
