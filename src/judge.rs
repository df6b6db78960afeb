//! What the counts mean over time: whether the candidate is worse, and whether that is known.
//!
//! [`Judge`] takes in what the workers counted, and says at each look what every guard has to say,
//! what speaks against going on, and what speaks for it. Pure: `now` is an argument. Does not know:
//! workers, rollouts, who acts on it.

pub mod window;

pub mod minutes;

mod clusters;

pub mod baseline;

pub mod guards;

pub mod forecast;

mod mix;

mod bucket;

mod at_risk;

mod process;

mod promotion;

mod trail;

pub mod interval;

pub mod sequential;

mod opinion;

#[cfg(test)]
mod fixture;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{Guards, Sequential};
use crate::mcp::Method;
use crate::names::{Arm, Guard, PerArm};
use crate::observe::latency::Moments;
use crate::observe::tally::{Draws, Tally};
use crate::route::tools::ToolLabel;

use baseline::Baseline;
use guards::{Finding, Found};
use minutes::Minutes;
use sequential::{BUCKET, Evidence, Told};

pub use opinion::{GuardState, Judgement, Opinion, Standing, Surroundings};

/// Kinds of work besides the tools that may come, as evidence has a place for each.
pub const METHODS: usize = 5;
/// Buckets that are made up for when the router could not look for a while; more are left out.
const LATE_BUCKETS_MAX: u32 = 24;
/// Minutes that show what is usual.
const USUAL: usize = 5;
/// New sessions before their share is looked at.
const DRAWS_MIN: u64 = 100;
/// Square of the standard deviations by which the share of new sessions may be off: five, so that
/// looking every second finds nothing in a router that is right.
const DRAWS_OFF: f64 = 25.0;
/// An e-value from which on refusals of callers are raised as an alert: by chance in one step of a
/// hundred.
const DENIED: f64 = 100.0;

/// What is compared: a method, and for `tools/call` the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stratum {
    /// The JSON-RPC method.
    pub method: Method,
    /// The tool, for `tools/call`.
    pub tool: ToolLabel,
}

impl Stratum {
    /// Whether it stands for several tools or methods, whose times are never compared.
    fn is_mix(self) -> bool {
        self.tool == ToolLabel::OTHER || self.method == Method::OTHER
    }
}

/// Judges the candidate.
#[derive(Debug)]
pub struct Judge {
    rules: Guards,
    /// Whom it judges, at which weight, and in which rollout.
    subject: (Arm, u8, Option<String>),
    minutes: Minutes,
    baseline: Baseline,
    evidence: Evidence,
    told: Told,
    bucket_ends: Instant,
    draws: Draws,
    error_rate: Option<Found>,
    performance: Option<Found>,
}

impl Judge {
    /// A judge of this arm that has seen nothing.
    pub fn new(now: Instant, rules: Guards, candidate: Arm) -> Judge {
        let settings = sequential(&rules);
        let evidence = Evidence::new(settings, candidate, settings.alpha, 0);
        Judge {
            rules,
            subject: (candidate, 0, None),
            minutes: Minutes::new(now),
            baseline: Baseline::default(),
            told: evidence.told(),
            evidence,
            bucket_ends: now + BUCKET,
            draws: Draws::default(),
            error_rate: None,
            performance: None,
        }
    }

    /// Takes over other rules. What has been seen stays, unless it is counted otherwise now.
    pub fn set_rules(&mut self, rules: Guards) {
        let settings = sequential(&rules);
        if settings.cap != sequential(&self.rules).cap {
            // With a weight that nobody has, the next look begins the step anew.
            self.evidence = Evidence::new(settings, self.subject.0, settings.alpha, 0);
            self.subject.1 = u8::MAX;
        }
        self.rules = rules;
    }

    /// Takes in what was counted up to now, by all workers.
    pub fn absorb(&mut self, now: Instant, tallies: &[&Tally]) {
        let mut seen = Vec::with_capacity(tallies.iter().map(|it| it.seen.len()).sum());
        for tally in tallies {
            self.minutes.add(now, tally);
            self.draws.merge(&tally.draws);
            seen.extend_from_slice(&tally.seen);
        }
        self.evidence.see(&seen);
    }

    /// The stable arm's usual times.
    pub fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// Takes times of the stable arm that were recorded before, where none are known.
    pub fn recall(&mut self, stratum: Stratum, times: Moments) {
        if self.baseline.get(stratum).is_none() {
            let known = self.baseline.entries().chain([(stratum, times)]);
            self.baseline = Baseline::from_entries(known);
        }
    }

    /// Calls of the candidate in a usual minute of late, and the stable arm's share of faults, which
    /// a good candidate would have too; `None` before the first whole minute.
    pub fn usual(&self, candidate: Arm) -> Option<(f64, f64)> {
        let whole: Vec<_> = (0..USUAL).map_while(|back| self.minutes.whole(back)).collect();
        let sum = |of: fn(&minutes::Minute) -> &PerArm<u64>, arm| {
            whole.iter().map(|minute| *of(minute).get(arm)).sum::<u64>() as f64
        };
        let stable = candidate.other();
        let (requests, faults) = (sum(|it| &it.requests, stable), sum(|it| &it.faults, stable));
        let calls = sum(|it| &it.requests, candidate) / whole.len() as f64;
        (!whole.is_empty()).then(|| (calls, if requests > 0.0 { faults / requests } else { 0.0 }))
    }

    /// Looks at everything.
    pub fn look(&mut self, now: Instant, around: &Surroundings) -> Judgement {
        self.follow(now, around);
        self.close_buckets(now);
        self.turn_minute(now, around);
        let is_armed = around.weight > 0;
        let guards = Guard::ALL.map(|guard| {
            let opinion = self.opinion(guard, around);
            match (is_armed, guard) {
                // A latch is shown, and keeps shut, whatever the weights.
                (true, _) | (false, Guard::SecurityAlert) => opinion,
                (false, _) if opinion.state == GuardState::Off => opinion,
                (false, _) => Opinion {
                    state: GuardState::Idle,
                    why: format!("the {} has no weight", around.candidate),
                    ..opinion
                },
            }
        });
        let guards = guards.map(|opinion| safe(opinion, around));
        Judgement {
            hold: self.hold(around).or_else(|| common_cause(&guards)),
            guards: guards.into(),
            denied: is_armed && self.told.denied >= DENIED,
            told: self.told.clone(),
            draws: self.draws,
        }
    }

    /// Begins anew when another arm is judged, or at another weight: what came before was drawn
    /// otherwise. Also in another rollout: it has an alpha of its own, and what ended the last one
    /// must not end it.
    fn follow(&mut self, now: Instant, around: &Surroundings) {
        let subject = (around.candidate, around.weight, around.rollout.clone());
        if self.subject == subject {
            self.evidence.set_alpha(around.alpha);
            return;
        }
        let (candidate, weight, rollout) = std::mem::replace(&mut self.subject, subject);
        let is_other = candidate != around.candidate || rollout != around.rollout;
        if is_other || weight == 0 || around.weight == 0 {
            self.minutes.armed_at(now);
        }
        if candidate != around.candidate {
            self.baseline = Baseline::default();
        }
        self.evidence.next_step(around.candidate, around.alpha, around.places);
        self.told = self.evidence.told();
        self.bucket_ends = now + BUCKET;
        self.draws = Draws::default();
        self.error_rate = None;
        self.performance = None;
    }

    fn close_buckets(&mut self, now: Instant) {
        let mut closed = 0;
        while now >= self.bucket_ends && closed < LATE_BUCKETS_MAX {
            self.evidence.close_bucket();
            self.bucket_ends += BUCKET;
            closed += 1;
        }
        if closed > 0 {
            self.bucket_ends = self.bucket_ends.max(now);
            self.told = self.evidence.told();
        }
    }

    fn turn_minute(&mut self, now: Instant, around: &Surroundings) {
        if !self.minutes.turn(now) {
            return;
        }
        if let Some(minute) = self.minutes.whole(0) {
            self.baseline.absorb(minute, around.candidate.other());
        }
        let (rules, candidate) = (&self.rules, around.candidate);
        self.error_rate =
            rules.error_rate.map(|rule| guards::error_rate(&rule, &self.minutes, candidate));
        self.performance = rules
            .performance
            .map(|rule| guards::performance(&rule, &self.minutes, &self.baseline, candidate));
    }

    fn opinion(&self, guard: Guard, around: &Surroundings) -> Opinion {
        let off = (GuardState::Off, "switched off".to_owned(), Value::Null);
        let waiting = "waiting for the first whole minute";
        let by_minute = |is_on: bool, found: &Option<Found>| match found {
            _ if !is_on => off.clone(),
            None => (GuardState::Armed, waiting.to_owned(), Value::Null),
            Some(found) => (state(found.finding), found.why.clone(), found.evidence.clone()),
        };
        let (state, why, evidence) = match guard {
            Guard::ErrorRate => by_minute(self.rules.error_rate.is_some(), &self.error_rate),
            Guard::Performance => by_minute(self.rules.performance.is_some(), &self.performance),
            Guard::HealthFailures if self.rules.health_failures => health(around),
            Guard::SecurityAlert if self.rules.security_alert => match &around.critical {
                Some(what) => {
                    let evidence = json!({ "alert": what });
                    (GuardState::Fired, format!("a critical alert is open: {what}"), evidence)
                }
                None => (GuardState::Armed, "no critical alert is open".to_owned(), Value::Null),
            },
            Guard::Sequential if self.rules.sequential.is_some() => self.sequential(around),
            Guard::HealthFailures | Guard::SecurityAlert | Guard::Sequential => off,
        };
        Opinion { guard, state, why, evidence }
    }

    fn sequential(&self, around: &Surroundings) -> (GuardState, String, Value) {
        let told = &self.told;
        let state = match (told.revert, told.common_cause) {
            (true, _) => GuardState::Fired,
            (false, true) => GuardState::CommonCause,
            (false, false) => GuardState::Armed,
        };
        let line = 1.0 / around.alpha;
        let of = |arm| format!("{} errors in {} calls", told.errors.get(arm), told.calls.get(arm));
        let (candidate, stable) = (around.candidate, around.candidate.other());
        let speed = told
            .performance
            .map_or_else(String::new, |speed| format!(", at {:.0} % of its speed", speed * 100.0));
        let why = format!(
            "e-value {}, reverts at {line:.0}: {}, the {stable} {}{speed}",
            short(told.total),
            of(candidate),
            of(stable)
        );
        (state, why, self.numbers(around))
    }

    /// The evidence of this step, for the record.
    fn numbers(&self, around: &Surroundings) -> Value {
        let told = &self.told;
        let tests: serde_json::Map<_, _> =
            told.tests.iter().map(|(test, e)| (test.as_str().to_owned(), json!(e))).collect();
        json!({
            "e": told.total, "reverts_at": 1.0 / around.alpha, "tests": tests,
            "calls": told.calls, "errors": told.errors, "faults": told.faults,
            "performance": told.performance, "odds_ratio": told.odds_ratio,
            "fault_rate_95": told.fault_rate,
            "promotion": {
                "e": told.promotion.e,
                "clean_calls": told.promotion.clean_calls,
                "more_calls": told.promotion.more_calls,
            },
        })
    }

    /// Why the candidate should get no more for now.
    fn hold(&self, around: &Surroundings) -> Option<String> {
        if self.rules.sequential.is_some() && self.told.hold {
            let (e, line) = (self.told.total, 1.0 / around.alpha);
            return Some(format!(
                "evidence against it: e-value {} (reverts at {line:.0})",
                short(e)
            ));
        }
        let Draws { all, secondary, expected, variance } = self.draws;
        let off = (secondary as f64 - expected).powi(2);
        if all >= DRAWS_MIN && off > DRAWS_OFF * variance.max(f64::EPSILON) {
            return Some(format!(
                "the share of new sessions is not the weight: {secondary} of {all} went to the \
                 secondary, where {expected:.0} were to be expected"
            ));
        }
        None
    }
}

/// An e-value, as people read it.
pub(crate) fn short(e: f64) -> String {
    if e < 1e4 { format!("{e:.2}") } else { format!("{e:.1e}") }
}

fn sequential(rules: &Guards) -> Sequential {
    // Without the guard the evidence still says when a step is shown to be good.
    rules.sequential.unwrap_or(Sequential { alpha: 0.01, cap: 1 })
}

fn state(finding: Finding) -> GuardState {
    match finding {
        Finding::Quiet => GuardState::Armed,
        Finding::Fires => GuardState::Fired,
        Finding::CommonCause => GuardState::CommonCause,
        Finding::Cannot => GuardState::Cannot,
    }
}

fn health(around: &Surroundings) -> (GuardState, String, Value) {
    let candidate = around.candidate;
    let standing = |arm| *around.standing.get(arm);
    let (state, why) = match (standing(candidate), standing(candidate.other())) {
        _ if !around.probed => {
            (GuardState::Cannot, "handshakes are switched off: health.interval".to_owned())
        }
        (Standing::Down, Standing::Down) => {
            (GuardState::CommonCause, "the servers of both arms fail their handshakes".to_owned())
        }
        (Standing::Down, Standing::Unknown) => {
            let why = format!(
                "every server of the {candidate} fails its handshakes; waiting for what the other arm's say"
            );
            (GuardState::Cannot, why)
        }
        (Standing::Down, Standing::Up) => {
            (GuardState::Fired, format!("every server of the {candidate} fails its handshakes"))
        }
        (Standing::Unknown, _) => (GuardState::Cannot, "no handshake has ended yet".to_owned()),
        (Standing::Up, _) => {
            (GuardState::Armed, format!("a server of the {candidate} answers its handshakes"))
        }
    };
    (state, why, Value::Null)
}

/// Nothing is gained by going from one broken arm to another; only danger outweighs that.
fn safe(opinion: Opinion, around: &Surroundings) -> Opinion {
    let stable = around.candidate.other();
    let is_down = *around.standing.get(stable) == Standing::Down;
    if opinion.state == GuardState::Fired && is_down && opinion.guard != Guard::SecurityAlert {
        let why = format!("{}; but no server of the {stable} works", opinion.why);
        return Opinion { state: GuardState::CommonCause, why, ..opinion };
    }
    opinion
}

/// Where both arms have a fault, nothing can be told of the candidate, nor anything good.
fn common_cause(guards: &[Opinion]) -> Option<String> {
    let common = guards.iter().find(|opinion| opinion.state == GuardState::CommonCause)?;
    Some(format!("both arms have the same fault ({}): {}", common.guard, common.why))
}

#[cfg(test)]
mod tests;
