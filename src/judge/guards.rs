//! The operator's rules on errors and on time, as they are written in the deployment guide.
//!
//! They are the floor: simple enough to be checked by hand from the counts in the record, whatever
//! finer evidence says. `reliability.md` C2 has their false alarms and detection times. Does not
//! know: who reverts; names of tools.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::{ErrorRate, Performance};
use crate::names::{Arm, PerArm};
use crate::observe::latency::Moments;

use super::Stratum;
use super::baseline::Baseline;
use super::clusters::design_effect;
use super::minutes::{Minute, Minutes};

/// Minutes over which times are compared: the short ones find what is bad soon, the long ones find
/// it where there is little traffic.
pub const SPANS: [usize; 3] = [1, 5, 15];
/// Calls of the candidate that the noise guard asks for.
pub const CALLS_MIN: f64 = 50.0;
/// Standard errors that it asks for: five are chance once in three million looks.
const STANDARD_ERRORS_MIN: f64 = 5.0;
/// Calls of an arm from which the noise guard takes a mean or a variance of its own.
const SAMPLE_MIN: f64 = 5.0;

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing against the candidate.
    Quiet,
    /// The candidate is to lose its traffic.
    Fires,
    /// It would fire, were the stable arm not just as bad: a fault that both arms share.
    CommonCause,
    /// It cannot say anything: too few minutes or too little traffic.
    Cannot,
}

/// What a rule says, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it says.
    pub finding: Finding,
    /// One sentence with the numbers, without a full stop.
    pub why: String,
    /// The counts, for the record.
    pub evidence: Value,
    /// What slows the candidate down most, if it is slower; only of the rule on time.
    pub worst: Option<Stratum>,
}

/// Whether more than this share of the requests were faults. Shares are whole millionths, so that
/// 5 of 100 are not more than 5 % in whatever way 0.05 is rounded.
pub(super) fn is_above(above: f64, requests: u64, faults: u64) -> bool {
    let millionths = (above * 1e6).round() as u128;
    u128::from(faults) * 1_000_000 > millionths * u128::from(requests)
}

/// What the rule on errors makes of one minute of one arm; `None`: too few requests.
fn is_bad(rule: &ErrorRate, minute: &Minute, arm: Arm) -> Option<bool> {
    let (requests, faults) = (*minute.requests.get(arm), *minute.faults.get(arm));
    (requests >= rule.min_requests.max(1)).then(|| is_above(rule.above, requests, faults))
}

/// The rule on errors: fires when in each of the last minutes more than the allowed share of the
/// candidate's requests were its own fault. A minute without enough requests is not such a one.
pub fn error_rate(rule: &ErrorRate, minutes: &Minutes, candidate: Arm) -> Found {
    let stable = candidate.other();
    let judged = minutes.judged(rule.minutes);
    let last = judged.as_deref().unwrap_or_default();
    let are_bad =
        |arm| !last.is_empty() && last.iter().all(|it| is_bad(rule, it, arm) == Some(true));
    let finding = match (are_bad(candidate), are_bad(stable)) {
        (true, false) => Finding::Fires,
        (true, true) => Finding::CommonCause,
        (false, _) if last.iter().any(|it| is_bad(rule, it, candidate) == Some(false)) => {
            Finding::Quiet
        }
        (false, _) => Finding::Cannot,
    };
    let counts: Vec<_> = last
        .iter()
        .map(|minute| json!({ "requests": minute.requests, "faults": minute.faults }))
        .collect();
    Found {
        finding,
        why: errors_told(finding, rule, minutes.judgeable(), last, candidate),
        evidence: json!({
            "candidate": candidate,
            "above": rule.above,
            "min_requests": rule.min_requests,
            "minutes": counts,
        }),
        worst: None,
    }
}

fn errors_told(
    finding: Finding,
    rule: &ErrorRate,
    judgeable: usize,
    last: &[&Minute],
    candidate: Arm,
) -> String {
    let faults = |arm| {
        let one = |it: &&Minute| format!("{} of {}", it.faults.get(arm), it.requests.get(arm));
        last.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let (own, stable) = (faults(candidate), candidate.other());
    let above = format!("more than {:.1} % of the {candidate}'s exchanges", rule.above * 100.0);
    let span = match rule.minutes {
        1 => "the last minute".to_owned(),
        minutes => format!("each of the last {minutes} minutes"),
    };
    match finding {
        Finding::Fires => format!("in {span} {above} were its own faults: {own}"),
        Finding::CommonCause => format!(
            "in {span} {above} were its own faults: {own}; the {stable} is above that too: {}",
            faults(stable)
        ),
        Finding::Quiet => format!("not in {span} were {above} its own faults: {own}"),
        Finding::Cannot if last.is_empty() => {
            format!("{judgeable} whole minutes of {} that the rule looks at are over", rule.minutes)
        }
        Finding::Cannot => {
            let asked = match rule.min_requests {
                0 | 1 => "an exchange at all".to_owned(),
                least => format!("the {least} exchanges that min_requests asks for"),
            };
            format!("not in {span} had the {candidate} {asked}; its own faults: {own}")
        }
    }
}

/// One stratum of both arms.
#[derive(Clone, Copy, Debug)]
struct Pair {
    stratum: Stratum,
    candidate: Moments,
    stable: Moments,
    /// The stable arm's times are remembered ones.
    is_recorded: bool,
    /// By how much each arm's mean is noisier for coming from sessions and callers.
    effect: Effect,
}

/// The design effect of each arm, 1 or more.
#[derive(Clone, Copy, Debug)]
struct Effect {
    candidate: f64,
    stable: f64,
}

impl Pair {
    /// What it weighs: least variance where all calls vary alike.
    fn weight(&self) -> f64 {
        let (candidate, stable) = (self.candidate.count, self.stable.count);
        candidate * stable / (candidate + stable)
    }

    /// The difference of the mean logarithms: how much slower the candidate is.
    fn slower(&self) -> f64 {
        self.candidate.mean() - self.stable.mean()
    }

    /// The variance of [`Pair::slower`]. Few calls may look alike by chance: with few, an arm
    /// counts as at least as noisy as the other one.
    fn variance(&self) -> f64 {
        let of = |own: &Moments, other: &Moments| {
            let floor = if own.count < SAMPLE_MIN { other.variance() } else { 0.0 };
            own.variance().max(floor) / own.count
        };
        // What is remembered came from the same kind of sessions.
        let Effect { candidate, stable } = self.effect;
        of(&self.candidate, &self.stable) * candidate + of(&self.stable, &self.candidate) * stable
    }
}

/// The times of both arms over some minutes.
#[derive(Clone, Debug)]
struct Comparison {
    minutes: usize,
    /// The candidate's calls with a time, compared or not.
    calls: f64,
    pairs: Vec<Pair>,
    /// The difference of the mean logarithms over all pairs, and its standard error; `None`
    /// without pairs.
    difference: Option<(f64, f64)>,
}

impl Comparison {
    fn new(
        minutes: &[&Minute],
        baseline: &Baseline,
        candidate: Arm,
        stable_min: f64,
    ) -> Comparison {
        // In order, so that the same counts give the same sum to the last bit.
        let mut times: BTreeMap<Stratum, PerArm<Moments>> = BTreeMap::new();
        for (stratum, both) in minutes.iter().flat_map(|minute| &minute.times) {
            let sum = times.entry(*stratum).or_default();
            sum.primary.merge(&both.primary);
            sum.secondary.merge(&both.secondary);
        }
        let calls = times.values().map(|both| both.get(candidate).count).sum();
        let effect = Effect {
            candidate: design_effect(minutes, candidate),
            stable: design_effect(minutes, candidate.other()),
        };
        let pairs: Vec<_> = times
            .into_iter()
            .filter(|(stratum, both)| !stratum.is_mix() && both.get(candidate).count > 0.0)
            .filter_map(|(stratum, both)| {
                let live = *both.get(candidate.other());
                let is_recorded = live.count < stable_min;
                let stable = if is_recorded { *baseline.get(stratum)? } else { live };
                let candidate = *both.get(candidate);
                (stable.count >= stable_min).then_some(Pair {
                    stratum,
                    candidate,
                    stable,
                    is_recorded,
                    effect,
                })
            })
            .collect();
        let difference = difference(&pairs);
        Comparison { minutes: minutes.len(), calls, pairs, difference }
    }

    /// The candidate's calls that are compared.
    fn compared(&self) -> f64 {
        self.pairs.iter().map(|pair| pair.candidate.count).sum()
    }

    /// The candidate's speed as a share of the baseline's, if it can be told.
    fn performance(&self, rule: &Performance) -> Option<f64> {
        let is_enough = !rule.noise_guard || self.compared() >= CALLS_MIN;
        self.difference.filter(|_| is_enough).map(|(slower, _)| (-slower).exp())
    }

    fn finding(&self, rule: &Performance) -> Finding {
        let (Some(performance), Some((slower, error))) = (self.performance(rule), self.difference)
        else {
            return Finding::Cannot;
        };
        let stands_out = !rule.noise_guard || slower >= STANDARD_ERRORS_MIN * error;
        if performance < rule.below && stands_out { Finding::Fires } else { Finding::Quiet }
    }

    /// The pair that adds most to the difference, if the candidate is slower there.
    fn worst(&self) -> Option<&Pair> {
        let adds = |pair: &Pair| pair.weight() * pair.slower();
        let most = self.pairs.iter().max_by(|one, other| adds(one).total_cmp(&adds(other)));
        most.filter(|pair| pair.slower() > 0.0)
    }

    fn why(&self, rule: &Performance, candidate: Arm) -> String {
        let (minutes, compared) = (self.minutes, self.compared());
        let span = if minutes == 1 { "1 minute".into() } else { format!("{minutes} minutes") };
        match (self.performance(rule), self.difference) {
            (Some(performance), Some((slower, error))) => {
                let errors = slower / error;
                let noise = match rule.noise_guard && slower > 0.0 {
                    true if errors > 99.0 => ", more than 99 standard errors".to_owned(),
                    true => format!(
                        ", {errors:.1} standard errors, of which it takes {STANDARD_ERRORS_MIN}"
                    ),
                    false => String::new(),
                };
                format!(
                    "over {span} and {compared} calls the {candidate} has {performance:.3} of the \
                     baseline's speed{noise}; less than {} is too slow",
                    rule.below
                )
            }
            (None, Some(_)) => format!(
                "{compared} calls of the {candidate} within {span} can be compared, and {CALLS_MIN} \
                 are needed"
            ),
            (_, None) => format!(
                "none of the {candidate}'s {} calls within {span} has a baseline of its tool",
                self.calls
            ),
        }
    }

    fn evidence(&self, rule: &Performance, candidate: Arm) -> Value {
        let worst = self.worst().map(|pair| {
            json!({
                "method": pair.stratum.method.as_str(),
                "performance": (-pair.slower()).exp(),
                "calls": calls(candidate, pair.candidate.count, pair.stable.count),
                "recorded": pair.is_recorded,
            })
        });
        let stable = self.pairs.iter().map(|pair| pair.stable.count).sum();
        json!({
            "candidate": candidate,
            "below": rule.below,
            "noise_guard": rule.noise_guard,
            "minutes": self.minutes,
            "calls": calls(candidate, self.compared(), stable),
            "performance": self.difference.map(|(slower, _)| (-slower).exp()),
            "log_difference": self.difference.map(|(slower, _)| slower),
            "standard_error": self.difference.map(|(_, error)| error),
            "strata": self.pairs.len(),
            "strata_recorded": self.pairs.iter().filter(|pair| pair.is_recorded).count(),
            "worst": worst,
        })
    }
}

/// The weighted mean of the differences and its standard error.
fn difference(pairs: &[Pair]) -> Option<(f64, f64)> {
    let weight: f64 = pairs.iter().map(Pair::weight).sum();
    let slower: f64 = pairs.iter().map(|pair| pair.weight() * pair.slower()).sum();
    let variance: f64 = pairs.iter().map(|pair| pair.weight().powi(2) * pair.variance()).sum();
    (weight > 0.0).then(|| (slower / weight, variance.sqrt() / weight))
}

fn calls(candidate: Arm, own: f64, stable: f64) -> PerArm<u64> {
    PerArm::from_fn(|arm| if arm == candidate { own } else { stable }.round() as u64)
}

/// The rule on time: fires when over the last 1, 5 or 15 minutes the candidate has less than the
/// allowed share of the baseline's speed, tool by tool: `exp(-d)`, where `d` is the mean over the
/// tools of the difference of the mean logarithms of the times. Baseline is the stable arm in the
/// same minutes, or, tool by tool, what is remembered of it. Calls of tools without a label are a
/// mix, and a mix is never compared.
pub fn performance(
    rule: &Performance,
    minutes: &Minutes,
    baseline: &Baseline,
    candidate: Arm,
) -> Found {
    let stable_min = if rule.noise_guard { SAMPLE_MIN } else { 1.0 };
    let comparisons: Vec<_> = SPANS
        .into_iter()
        .filter_map(|span| minutes.judged(span))
        .map(|judged| Comparison::new(&judged, baseline, candidate, stable_min))
        .collect();
    // The soonest that fires; else the one that has most to say.
    let is = |finding| move |it: &&Comparison| it.finding(rule) == finding;
    let told = (comparisons.iter().find(is(Finding::Fires)))
        .or_else(|| comparisons.iter().rfind(is(Finding::Quiet)))
        .or(comparisons.last());
    let Some(told) = told else {
        return Found {
            finding: Finding::Cannot,
            why: format!("no whole minute with traffic for the {candidate} is over"),
            evidence: json!({ "candidate": candidate, "minutes": 0 }),
            worst: None,
        };
    };
    Found {
        finding: told.finding(rule),
        why: told.why(rule, candidate),
        evidence: told.evidence(rule, candidate),
        worst: told.worst().map(|pair| pair.stratum),
    }
}

#[cfg(test)]
mod tests;
