//! Made-up clients: sessions that come, call tools for a while and go.
//!
//! New sessions come as a Poisson process; each goes to an arm by the weight of that moment and
//! stays there. The number of its calls is geometric and the time between two of them exponential,
//! so that nothing need be remembered of a session but that it lives. How errors cluster is that
//! of reliability.md C4. Counted as a worker counts, except that a call is counted when it begins.
//! Does not know: what is decided by it.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::mcp::{Era, Method};
use crate::names::{Arm, Blame, Outcome, PerArm};
use crate::observe::seen::{Grade, Seen, Unit};
use crate::observe::session::SessionKey;
use crate::observe::tally::{Labels, Tally};
use crate::route::tools::{ToolLabel, Tools};

use super::CANDIDATE;

/// The tools: name, share of the calls, median seconds.
pub const TOOLS: [(&str, f64, f64); 3] =
    [("quick", 0.6, 0.02), ("usual", 0.3, 0.2), ("slow", 0.1, 2.0)];
/// Median seconds of the call that opens a session.
const OPENING: f64 = 0.02;
/// The share of its calls that a bad session fails.
const BAD: f64 = 0.6;
/// The share of its calls that any other session fails, as a part of the mean.
const REST: f64 = 1.0 / 7.0;

/// The traffic on both arms together.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Load {
    /// Calls a minute, more than 0.
    #[serde(rename = "rpm")]
    pub per_minute: f64,
    /// The share of the calls that fail on a good version, 0 to 1: faults of the server.
    pub error_rate: f64,
    /// Mean calls of a session, the one that opens it included; 1 or more.
    pub calls_per_session: f64,
    /// Mean seconds between two calls of a session, more than 0.
    #[serde(rename = "seconds_between_calls")]
    pub gap: f64,
    /// Most errors come from a few sessions.
    pub clustered: bool,
}

/// How the candidate differs from the stable arm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The share of its calls that fail besides those that fail anyway, 0 to 1.
    pub failing: f64,
    /// How many times as long its answers take.
    pub slower: f64,
}

impl Change {
    /// It is as good.
    pub const NONE: Change = Change { failing: 0.0, slower: 1.0 };
}

/// A session that goes on.
#[derive(Clone, Copy, Debug)]
struct Session {
    unit: Unit,
    arm: Arm,
    /// The share of its calls that fail on a good version.
    fails: f64,
}

/// The clients.
#[derive(Debug)]
pub struct Traffic {
    rng: SmallRng,
    /// New sessions a second.
    arrivals: f64,
    /// The chance that a call is not the last one of its session.
    goes_on: f64,
    gap: f64,
    error_rate: f64,
    clustered: bool,
    tools: [ToolLabel; TOOLS.len()],
    live: Vec<Session>,
    /// Sessions so far.
    opened: u64,
}

impl Traffic {
    /// Traffic that has been there for long, all of it on the stable arm.
    pub fn new(load: &Load, seed: u64) -> Traffic {
        let names = TOOLS.map(|(name, ..)| name.to_owned());
        let tools =
            Tools::default().with(&PerArm { primary: Some(names.to_vec()), secondary: None });
        let arrivals = load.per_minute / 60.0 / load.calls_per_session;
        let mut traffic = Traffic {
            rng: SmallRng::seed_from_u64(seed),
            arrivals,
            goes_on: 1.0 - 1.0 / load.calls_per_session,
            gap: load.gap,
            error_rate: load.error_rate,
            clustered: load.clustered,
            tools: TOOLS.map(|(name, ..)| tools.label(name)),
            live: Vec::new(),
            opened: 0,
        };
        // Their number is Poisson, with the mean of arrivals times the time that one lives: as many
        // come in that time. That they are as old as they are says nothing of how long they go on.
        let lives = (load.calls_per_session - 1.0) * load.gap;
        let mut passed = traffic.wait(arrivals);
        while passed < lives {
            let session = traffic.session(0);
            traffic.live.push(session);
            passed += traffic.wait(arrivals);
        }
        traffic
    }

    /// What a worker counts in this time, with the candidate's weight in percent.
    pub fn pass(&mut self, time: Duration, weight: u8, change: Change) -> Tally {
        let mut tally = Tally::default();
        let mut left = time.as_secs_f64();
        loop {
            let calls = self.live.len() as f64 / self.gap;
            left -= self.wait(self.arrivals + calls);
            if left < 0.0 {
                return tally;
            }
            if self.rng.random::<f64>() * (self.arrivals + calls) < self.arrivals {
                let session = self.session(weight);
                // The candidate is the secondary.
                tally.draws.add(session.arm, f64::from(weight) / 100.0);
                *tally.sessions.get_mut(session.arm) += 1;
                self.call(session, true, change, &mut tally);
                if self.rng.random_bool(self.goes_on) {
                    self.live.push(session);
                }
            } else {
                let at = self.rng.random_range(0..self.live.len());
                self.call(self.live[at], false, change, &mut tally);
                if !self.rng.random_bool(self.goes_on) {
                    self.live.swap_remove(at);
                }
            }
        }
    }

    /// A new one.
    fn session(&mut self, weight: u8) -> Session {
        self.opened += 1;
        let unit = Unit::Session(SessionKey::of(&self.opened.to_le_bytes()));
        let is_candidates = self.rng.random_bool(f64::from(weight) / 100.0);
        let arm = if is_candidates { CANDIDATE } else { CANDIDATE.other() };
        Session { unit, arm, fails: self.fails() }
    }

    /// The share of its calls that a new session fails; the mean is the rate of errors.
    fn fails(&mut self) -> f64 {
        if !self.clustered {
            return self.error_rate;
        }
        let (bad, rest) = (self.error_rate.max(BAD), self.error_rate * REST);
        if self.rng.random_bool((self.error_rate - rest) / (bad - rest)) { bad } else { rest }
    }

    fn call(&mut self, session: Session, opens: bool, change: Change, tally: &mut Tally) {
        let is_candidates = session.arm == CANDIDATE;
        let (failing, slower) =
            if is_candidates { (change.failing, change.slower) } else { (0.0, 1.0) };
        let (method, tool, median) = if opens {
            (Method::INITIALIZE, ToolLabel::NONE, OPENING)
        } else {
            let at = self.tool();
            (Method::CALL, self.tools[at], TOOLS[at].2)
        };
        let chance = session.fails + (1.0 - session.fails) * failing;
        let fails = self.rng.random_bool(chance.min(1.0));
        let waited = (!fails).then(|| Duration::from_secs_f64(median * slower * self.spread()));
        let (outcome, blame, grade) = if fails {
            (Outcome::HttpError, Blame::Arm, Grade::Fault)
        } else {
            (Outcome::Ok, Blame::Nobody, Grade::Good)
        };
        let labels = Labels {
            arm: Some(session.arm),
            endpoint: None,
            era: Era::Legacy,
            method,
            tool,
            outcome,
            blame,
            status: if fails { 5 } else { 2 },
        };
        tally.exchange(labels, 0, waited);
        let Session { unit, arm, .. } = session;
        tally.see(Seen { unit, opens, arm, method, tool, grade, denied: false, waited });
    }

    fn tool(&mut self) -> usize {
        let mut left = self.rng.random::<f64>();
        let found = TOOLS.iter().position(|(_, share, _)| {
            left -= share;
            left < 0.0
        });
        found.unwrap_or(TOOLS.len() - 1)
    }

    /// Seconds until the next of what comes so many times a second.
    fn wait(&mut self, per_second: f64) -> f64 {
        -(-self.rng.random::<f64>()).ln_1p() / per_second
    }

    /// What a time is multiplied by: log-normal, the standard deviation of its logarithm is 1.
    fn spread(&mut self) -> f64 {
        // Box and Muller.
        let (radius, angle) = (self.wait(1.0), self.rng.random::<f64>());
        ((2.0 * radius).sqrt() * (std::f64::consts::TAU * angle).cos()).exp()
    }
}

#[cfg(test)]
mod tests;
