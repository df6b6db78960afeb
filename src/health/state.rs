//! What a row of handshakes means: up or down, and how fit for new work.
//!
//! Pure: the time is an argument. One bad answer takes nobody down and one good one brings nobody
//! back, but the very first good one is believed at once. Does not know: how a result came about.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Health;

/// The share with which an endpoint that is up again begins.
const FIRST_SHARE: f64 = 0.1;

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No verdict yet: it gets new work until there is one.
    Unknown,
    /// It works.
    Up,
    /// It does not.
    Down,
}

impl Standing {
    /// The word for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Unknown => "unknown",
            Standing::Up => "up",
            Standing::Down => "down",
        }
    }
}

/// What the results so far say of one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct State {
    standing: Standing,
    /// Results in a row that speak against the standing.
    against: u32,
    /// When it came up again.
    recovered: Option<Instant>,
    /// When it joined others that had the work until then.
    came: Option<Instant>,
    suspect: bool,
}

impl Default for State {
    fn default() -> State {
        State::new(None)
    }
}

impl State {
    /// Of an endpoint that nobody has asked; one that joined others at this time begins slowly.
    pub fn new(came: Option<Instant>) -> State {
        let standing = Standing::Unknown;
        State { standing, against: 0, recovered: None, came, suspect: false }
    }

    /// Of an endpoint that others have found down.
    pub fn down() -> State {
        State { standing: Standing::Down, ..State::default() }
    }

    /// Takes in a result; `true` if the standing has changed.
    pub fn record(&mut self, is_up: bool, rules: &Health, now: Instant) -> bool {
        let before = self.standing;
        let needed = match (before, is_up) {
            (Standing::Unknown, true) => 1,
            (Standing::Unknown | Standing::Up, false) => rules.unhealthy_after,
            (Standing::Down, true) => rules.healthy_after,
            (Standing::Up, true) | (Standing::Down, false) => {
                self.against = 0;
                self.suspect = false;
                return false;
            }
        };
        self.against += 1;
        if self.against < needed {
            return false;
        }
        self.against = 0;
        self.suspect = false;
        self.standing = if is_up { Standing::Up } else { Standing::Down };
        self.recovered = (before == Standing::Down).then_some(now);
        true
    }

    /// Real traffic met faults in a row: until there is a verdict, the next handshakes come soon.
    pub fn suspect(&mut self) {
        self.suspect = self.standing != Standing::Down;
    }

    /// Whether the next handshake is to come soon.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// When it came up again, if it was down before.
    pub fn recovered(&self) -> Option<Instant> {
        self.recovered
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// How much of its share of new work it may get, from 0 to 1.
    pub fn fitness(&self, slow_start: Option<Duration>, now: Instant) -> f64 {
        let since = match (self.standing, self.recovered.or(self.came)) {
            (Standing::Down, _) => return 0.0,
            (_, None) => return 1.0,
            (_, Some(began)) => now.saturating_duration_since(began),
        };
        share(since, slow_start)
    }
}

/// The share of an endpoint that has been back for so long.
pub(super) fn share(since: Duration, slow_start: Option<Duration>) -> f64 {
    let all = slow_start.unwrap_or_default();
    if since >= all {
        return 1.0;
    }
    FIRST_SHARE + (1.0 - FIRST_SHARE) * since.as_secs_f64() / all.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{self, Environment};

    fn rules() -> Health {
        config::load(None, None, &Environment::default()).unwrap().health
    }

    /// The standing after each result: `+` is good, `-` is bad.
    fn row(results: &str) -> String {
        let (mut state, rules) = (State::default(), rules());
        let letter = |result| {
            state.record(result == '+', &rules, Instant::now());
            match state.standing() {
                Standing::Unknown => '?',
                Standing::Up => 'u',
                Standing::Down => 'd',
            }
        };
        results.chars().map(letter).collect()
    }

    #[test]
    fn up_and_down() {
        for (results, standings) in [
            ("+", "u"),
            ("---", "??d"),
            ("--+", "??u"),
            ("+--+--+---", "uuuuuuuuud"),
            ("---+-++", "??ddddu"),
            ("---++---", "??dduuud"),
        ] {
            assert_eq!(row(results), standings, "{results}");
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "both ends are exact")]
    fn a_share_comes_back_slowly_after_a_recovery_only() {
        let (mut state, rules, start) = (State::default(), rules(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let fitness = |state: &State, seconds| state.fitness(rules.slow_start, after(seconds));
        assert_eq!(fitness(&state, 0), 1.0);
        state.record(true, &rules, start);
        assert_eq!(fitness(&state, 0), 1.0);
        (0..3).for_each(|_| _ = state.record(false, &rules, start));
        assert_eq!((fitness(&state, 0), fitness(&state, 1000)), (0.0, 0.0));
        assert!(!state.record(true, &rules, start) && state.record(true, &rules, start));
        for (seconds, share) in [(0, 0.1), (10, 0.4), (15, 0.55), (30, 1.0), (99, 1.0)] {
            assert!((fitness(&state, seconds) - share).abs() < 1e-9, "{seconds}");
        }
        assert_eq!(state.fitness(None, start), 1.0);
        let mut came = State::new(Some(start));
        assert!((fitness(&came, 0) - 0.1).abs() < 1e-9);
        came.record(true, &rules, after(5));
        assert!((fitness(&came, 10) - 0.4).abs() < 1e-9);
        assert_eq!(fitness(&came, 30), 1.0);
    }

    #[test]
    fn a_suspicion_lasts_until_a_verdict() {
        let (mut state, rules, now) = (State::default(), rules(), Instant::now());
        state.record(true, &rules, now);
        for results in ["+", "---"] {
            state.suspect();
            for result in results.chars() {
                assert!(state.is_suspect());
                state.record(result == '+', &rules, now);
            }
            assert!(!state.is_suspect(), "{results}");
        }
        state.suspect();
        assert!(!state.is_suspect(), "it is down already");
    }

    proptest! {
        #[test]
        fn only_a_row_changes_the_standing(results in prop::collection::vec(any::<bool>(), 0..60)) {
            let (mut state, rules, now) = (State::default(), rules(), Instant::now());
            for at in 0..results.len() {
                let (before, changed) = (state.standing(), state.record(results[at], &rules, now));
                prop_assert_eq!(changed, before != state.standing());
                let same = results[..=at].iter().rev().take_while(|it| **it == results[at]).count();
                let needed = match (before, results[at]) {
                    (Standing::Unknown, true) => 1,
                    (_, true) => 2,
                    (_, false) => 3,
                };
                prop_assert!(!changed || same >= needed);
                let fitness = state.fitness(rules.slow_start, now);
                prop_assert_eq!(fitness > 0.0, state.standing() != Standing::Down);
            }
        }
    }
}
