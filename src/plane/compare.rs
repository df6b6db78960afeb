//! A baseline against what an arm has done of late: kind of work by kind of work, and in all.
//!
//! Speed is the ratio of geometric means, since times vary by factors. Enough is what is fast
//! enough as measured; too slow is only what stays so at the good end of its 95 % interval; what is
//! between is noise, and so is what few calls say. In all, each kind has the weight that it had in
//! the baseline, so that another mix of calls makes nobody slow. Intervals take calls for
//! independent; those of one session are less than that. Does not know: files, arms' histories.

use serde::{Deserialize, Serialize};

use crate::judge::interval::jeffreys;
use crate::names::{Arm, Outcome};
use crate::observe::latency::Moments;
use crate::records::baselines::{Baseline, Measured};
use crate::records::figures::{Figures, Kind};

/// Calls on either side below which nothing is said: as many as the rule on time asks for.
pub const CALLS_MIN: u64 = 50;
/// Standard errors on either side of a 95 % interval.
const ERRORS_95: f64 = 1.96;
/// Calls from which on a side's own variance is believed.
const SAMPLE_MIN: f64 = 5.0;
/// The share of the baseline's calls that has to be of kinds which the other side has, too.
const COVERED_MIN: f64 = 0.5;

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As good as is asked.
    Pass,
    /// Worse, beyond noise.
    Fail,
    /// It cannot be told.
    Inconclusive,
}

/// A verdict, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which.
    pub verdict: Verdict,
    /// In a sentence, with its numbers.
    pub why: String,
}

/// How an arm is compared with a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The baseline.
    pub baseline: String,
    /// When it was taken, as RFC 3339.
    pub at: String,
    /// Whose work it is of.
    pub of: Arm,
    /// The server that did it, if it was known.
    pub server: Option<String>,
    /// The arm that is compared with it.
    pub arm: Arm,
    /// The share of the baseline's speed that is asked for, 0 to 1.
    pub asked: f64,
    /// By kind of work, the most used of the baseline first.
    pub rows: Vec<Row>,
    /// All of it together.
    pub all: Compared,
}

/// One kind of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which.
    pub kind: Kind,
    /// What is found.
    #[serde(flatten)]
    pub compared: Compared,
}

/// Both sides of some work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// In the baseline.
    pub baseline: Side,
    /// Of late.
    pub now: Side,
    /// Speed of late as a share of the baseline's; nothing where times cannot be compared.
    pub speed: Option<Speed>,
    /// Whether it is fast enough.
    pub performance: Finding,
    /// Whether no more of it fails.
    pub errors: Finding,
    /// Both together.
    pub verdict: Verdict,
}

/// One side of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Exchanges that say something: not those that were refused, given up or not read.
    pub calls: u64,
    /// Half of the good ones are faster, in milliseconds, to two percent.
    pub p50_ms: Option<f64>,
    /// 95 of 100 of the good ones are.
    pub p95_ms: Option<f64>,
    /// Calls that failed, whoever's fault that was.
    pub errors: u64,
    /// The share of errors lies in this interval, with 95 %.
    pub error_share_95: (f64, f64),
}

/// How fast something is compared with something else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// 1 is as fast, less is slower.
    pub ratio: f64,
    /// The same lies in this interval, with 95 %.
    pub interval_95: (f64, f64),
}

/// Compares an arm's latest work with a baseline; `asked` is the share of its speed that is enough.
pub fn compare(baseline: &Baseline, arm: Arm, now: &[Measured], asked: f64) -> Comparison {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for one in baseline.kinds.iter().filter(|it| is_compared(&it.kind)) {
        let latest = now.iter().find(|it| it.kind == one.kind);
        let now = latest.map(|it| it.figures.clone()).unwrap_or_default();
        pairs.push(Pair { kind: &one.kind, baseline: one.figures.clone(), now });
    }
    for one in now.iter().filter(|it| is_compared(&it.kind)) {
        if !baseline.kinds.iter().any(|it| it.kind == one.kind) {
            let now = one.figures.clone();
            pairs.push(Pair { kind: &one.kind, baseline: Figures::default(), now });
        }
    }
    pairs.sort_by_key(|it| (std::cmp::Reverse(calls(&it.baseline)), it.kind));
    let row = |pair: &Pair<'_>| Row {
        kind: pair.kind.clone(),
        compared: compared(std::slice::from_ref(pair), asked),
    };
    Comparison {
        baseline: baseline.name.to_string(),
        at: baseline.at.clone(),
        of: baseline.arm,
        server: baseline.server.clone(),
        arm,
        asked,
        rows: pairs.iter().map(row).collect(),
        all: compared(&pairs, asked),
    }
}

/// One kind of work on both sides.
#[derive(Debug)]
struct Pair<'a> {
    kind: &'a Kind,
    baseline: Figures,
    now: Figures,
}

impl Pair<'_> {
    /// The good calls with a time on both sides, if their times may be compared: what stands for
    /// several tools is another mix each time.
    fn times(&self) -> Option<[Moments; 2]> {
        let times = [self.baseline.latency.moments(), self.now.latency.moments()];
        let is_one = !self.kind.tool.starts_with('_');
        (is_one && times.iter().all(|it| it.count > 0.0)).then_some(times)
    }
}

/// Requests with an answer; the rest says nothing about a server's work.
fn is_compared(kind: &Kind) -> bool {
    !kind.method.starts_with('_') && !kind.method.starts_with("notifications/")
}

/// Exchanges that say something about an arm: not the client's leaving, our own refusals, a closing
/// connection, what nobody read, or the change of version itself.
fn calls(figures: &Figures) -> u64 {
    let silent = [
        Outcome::Cancelled,
        Outcome::Rejected,
        Outcome::Race,
        Outcome::Unclassified,
        Outcome::Skew,
    ];
    let count = |outcome: Outcome| figures.outcomes.get(outcome.as_str()).copied().unwrap_or(0);
    figures.exchanges() - silent.into_iter().map(count).sum::<u64>()
}

/// Of these, those that failed.
fn errors(figures: &Figures) -> u64 {
    calls(figures) - figures.outcomes.get(Outcome::Ok.as_str()).copied().unwrap_or(0)
}

fn compared(pairs: &[Pair<'_>], asked: f64) -> Compared {
    let (mut baseline, mut now) = (Figures::default(), Figures::default());
    for pair in pairs {
        baseline.merge(&pair.baseline);
        now.merge(&pair.now);
    }
    let (speed, performance) = performance(pairs, asked);
    let errors = error_share(pairs);
    Compared {
        baseline: side(&baseline),
        now: side(&now),
        speed,
        verdict: both(performance.verdict, errors.verdict),
        performance,
        errors,
    }
}

fn both(one: Verdict, other: Verdict) -> Verdict {
    match (one, other) {
        (Verdict::Fail, _) | (_, Verdict::Fail) => Verdict::Fail,
        (Verdict::Inconclusive, _) | (_, Verdict::Inconclusive) => Verdict::Inconclusive,
        (Verdict::Pass, Verdict::Pass) => Verdict::Pass,
    }
}

fn side(figures: &Figures) -> Side {
    let millis = |share| Some(figures.latency.quantile(share)?.as_secs_f64() * 1e3);
    let (calls, errors) = (calls(figures), errors(figures));
    Side {
        calls,
        p50_ms: millis(0.5),
        p95_ms: millis(0.95),
        errors,
        error_share_95: jeffreys(errors, calls),
    }
}

fn performance(pairs: &[Pair<'_>], asked: f64) -> (Option<Speed>, Finding) {
    let timed: Vec<_> = pairs.iter().filter_map(Pair::times).collect();
    let count = |at: usize| timed.iter().map(|times| times[at].count).sum::<f64>() as u64;
    let (before, now) = (count(0), count(1));
    let Some(speed) = speed(&timed) else {
        let why = "no times of the same work on both sides".to_owned();
        return (None, Finding { verdict: Verdict::Inconclusive, why });
    };
    let Speed { ratio, interval_95: (low, high) } = speed;
    let told =
        format!("{} % of its speed ({} to {} %)", percent(ratio), percent(low), percent(high));
    let (verdict, why) = if let Some(why) = too_few(before, now) {
        (Verdict::Inconclusive, why)
    } else if let Some(why) = elsewhere(pairs, before) {
        (Verdict::Inconclusive, why)
    } else if ratio >= asked {
        (Verdict::Pass, told)
    } else if high < asked {
        (Verdict::Fail, told)
    } else {
        (Verdict::Inconclusive, format!("{told}: slower, but that may be noise"))
    };
    (Some(speed), Finding { verdict, why })
}

/// Why so many calls on both sides say nothing.
fn too_few(before: u64, now: u64) -> Option<String> {
    (before.min(now) < CALLS_MIN).then(|| {
        format!(
            "too few calls: {now} now and {before} in the baseline, where it takes {CALLS_MIN} each"
        )
    })
}

/// Why what was compared does not stand for the whole.
fn elsewhere(pairs: &[Pair<'_>], compared: u64) -> Option<String> {
    let all: u64 = pairs.iter().map(|pair| pair.baseline.latency.count()).sum();
    ((compared as f64) < COVERED_MIN * all as f64).then(|| {
        format!("other work: only {compared} of the baseline's {all} calls are of kinds that were done of late")
    })
}

/// The weighted mean over kinds of work, with the weights of the baseline; `None` of nothing.
fn speed(timed: &[[Moments; 2]]) -> Option<Speed> {
    let all: f64 = timed.iter().map(|[before, _]| before.count).sum();
    let (mut slower, mut variance) = (0.0, 0.0);
    for [before, now] in timed {
        let weight = before.count / all;
        slower += weight * (now.mean() - before.mean());
        variance += weight.powi(2) * (variance_of(now, before) + variance_of(before, now));
    }
    let within = ERRORS_95 * variance.sqrt();
    (all > 0.0).then(|| Speed {
        ratio: (-slower).exp(),
        interval_95: ((-slower - within).exp(), (-slower + within).exp()),
    })
}

/// The variance of a mean. Few calls may look alike by chance, so they count as at least as noisy as
/// the other side's.
fn variance_of(own: &Moments, other: &Moments) -> f64 {
    let floor = if own.count < SAMPLE_MIN { other.variance() } else { 0.0 };
    own.variance().max(floor) / own.count
}

/// Whether more of the same work fails than in the baseline.
fn error_share(pairs: &[Pair<'_>]) -> Finding {
    let counts = pairs.iter().map(|pair| [&pair.baseline, &pair.now]);
    let counts: Vec<_> = counts
        .map(|sides| sides.map(|it| (errors(it) as f64, calls(it) as f64)))
        .filter(|sides| sides.iter().all(|(_, calls)| *calls > 0.0))
        .collect();
    let sum = |of: fn(&[(f64, f64); 2]) -> f64| counts.iter().map(of).sum::<f64>();
    let (before, now) = (sum(|it| it[0].1), sum(|it| it[1].1));
    if let Some(why) = too_few(before as u64, now as u64) {
        return Finding { verdict: Verdict::Inconclusive, why };
    }
    let (mut more, mut variance) = (0.0, 0.0);
    for [(errors_before, calls_before), (errors_now, calls_now)] in &counts {
        let weight = calls_before / before;
        more += weight * (errors_now / calls_now - errors_before / calls_before);
        let of = |errors: f64, calls: f64| {
            // One half is added to each count, so that none and all have a variance, too.
            let share = (errors + 0.5) / (calls + 1.0);
            share * (1.0 - share) / calls
        };
        variance +=
            weight.powi(2) * (of(*errors_before, *calls_before) + of(*errors_now, *calls_now));
    }
    let within = ERRORS_95 * variance.sqrt();
    let why = format!(
        "{} errors in {now} calls, in the baseline {} in {before}",
        sum(|it| it[1].0),
        sum(|it| it[0].0)
    );
    if more > within {
        return Finding { verdict: Verdict::Fail, why: format!("{why}: more, beyond noise") };
    }
    Finding { verdict: Verdict::Pass, why }
}

/// A share in percent, as people read it.
fn percent(share: f64) -> String {
    format!("{:.0}", share * 100.0)
}

#[cfg(test)]
mod tests;
