//! How simulated rollouts look in a terminal, and what they mean in words.
//!
//! Does not know: how they went.

use std::time::Duration;

use crate::judge::forecast;
use crate::names::Guard;
use crate::rollout::Plan;
use crate::simulate::Setting;
use crate::simulate::summary::{Often, Quantiles, Summary, Version};
use crate::simulate::traffic::TOOLS;

use super::super::decide::time;
use super::{Report, Tried};

/// A false revert that is worth a word.
const LIKELY: f64 = 0.02;
/// As many rollouts end in another way, or do not find a fault, before that is worth one.
const MANY: f64 = 0.1;
/// Calls without a fault that prove a candidate good, reliability.md C3.
const CLEAN: u64 = 73;

/// All of it.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let mut lines = setting(report);
    lines.push(String::new());
    lines.push(format!(
        "{:<28} {:>8} {:>8} {:>7} {:>7}   {:<17} {:<15} by guard",
        "if the candidate is",
        "promoted",
        "reverted",
        "aborted",
        "running",
        "reverted after",
        "and its calls"
    ));
    lines.extend(report.versions.iter().map(row));
    lines.push(String::new());
    lines.extend(report.versions.first().map(false_reverts).unwrap_or_default());
    lines.push(String::new());
    lines.extend(report.reading.iter().cloned());
    lines
}

fn setting(report: &Report) -> Vec<String> {
    let load = &report.traffic;
    let tools = TOOLS
        .map(|(_, share, median)| format!("{:.0} ms ({:.0} %)", median * 1000.0, share * 100.0));
    let steps = report.plan.steps.iter();
    let steps = steps.map(|step| format!("{} % for {}", step.weight, time(step.hold)));
    let clustered = if load.clustered { ", most of these in a few sessions" } else { "" };
    let runs = report.versions.iter().map(|it| it.came_to.runs.to_string());
    let mut runs =
        format!("{} rollouts, seed {}", runs.collect::<Vec<_>>().join(" + "), report.seed);
    if report.cut_short {
        runs += "; CUT SHORT: there was no time for more, see --runs";
    }
    vec![
        format!(
            "traffic    {} calls a minute over both arms, {} % of them fail{clustered}",
            load.per_minute,
            percent(load.error_rate)
        ),
        format!(
            "           {} calls a session, {} s apart; tools of {}",
            load.calls_per_session,
            load.gap,
            tools.join(", ")
        ),
        format!("plan       {}; gate {}", steps.collect::<Vec<_>>().join(", "), gate(&report.plan)),
        format!("simulated  {runs}"),
    ]
}

fn gate(plan: &Plan) -> String {
    let word = |it: serde_json::Value| it.as_str().unwrap_or_default().to_owned();
    let (gate, then) =
        (word(serde_json::json!(plan.gate)), word(serde_json::json!(plan.on_inconclusive)));
    if gate == "time" {
        return gate;
    }
    format!("{gate}, awaited for {} more in each step, then {then}", time(plan.max_hold))
}

fn row(tried: &Tried) -> String {
    let it = &tried.came_to;
    let guards = it.guards.iter().map(|(guard, often)| match it.guards.len() {
        1 => guard.to_string(),
        _ => format!("{guard} {}", share(often)),
    });
    format!(
        "{:<28} {:>8} {:>8} {:>7} {:>7}   {:<17} {:<15} {}",
        name(tried),
        share(&it.promoted),
        share(&it.reverted),
        share(&it.aborted),
        share(&it.running),
        both(it.seconds_to_revert, |it| time(Duration::from_secs(it)).replace(' ', "")),
        both(it.calls_to_revert, |it| it.to_string()),
        guards.collect::<Vec<_>>().join(", ")
    )
    .trim_end()
    .to_owned()
}

fn name(tried: &Tried) -> String {
    match tried.is {
        Version::Good => "as good as the stable arm".to_owned(),
        Version::TwiceTheErrors => {
            format!("failing twice as often ({} %)", percent(tried.error_rate))
        }
        Version::QuarterFails => "failing 25 % of its calls".to_owned(),
        Version::AllFail => "failing all of its calls".to_owned(),
        Version::TwiceAsSlow => "2 times as slow".to_owned(),
        Version::FourTimesAsSlow => "4 times as slow".to_owned(),
    }
}

/// The middle, and what nine of ten do not exceed.
fn both(quantiles: Option<Quantiles>, told: impl Fn(u64) -> String) -> String {
    quantiles.map_or("-".to_owned(), |it| format!("{} / {}", told(it.p50), told(it.p90)))
}

/// What the good version has suffered.
fn false_reverts(good: &Tried) -> Vec<String> {
    let it = &good.came_to;
    let within = |often: &Often| {
        format!("{:>8}  (95 %: {} to {} %)", share(often), percent(often.low), percent(often.high))
    };
    let mut lines =
        vec![format!("false reverts of a good version: {}", within(&it.reverted).trim())];
    if it.guards.len() > 1 {
        let each = it.guards.iter();
        lines.extend(
            each.map(|(guard, often)| format!("  {:<26}{}", guard.as_str(), within(often))),
        );
    }
    if let Some(Quantiles { p50, p90 }) = it.seconds_to_promotion {
        let (p50, p90) = (Duration::from_secs(p50), Duration::from_secs(p90));
        let calls = both(it.calls_to_promotion, |it| it.to_string());
        lines.push(format!(
            "it is promoted after {} in the middle, 9 of 10 within {}; its calls until then: {calls}",
            time(p50),
            time(p90)
        ));
    }
    lines.push("(two figures with a slash: the middle, and what 9 of 10 do not exceed)".to_owned());
    lines
}

/// What it means, in a sentence or two.
pub(super) fn reading(setting: &Setting, versions: &[Tried]) -> Vec<String> {
    let Some(good) = versions.first().map(|it| &it.came_to).filter(|it| it.runs > 0) else {
        return vec![
            "Not one rollout came to its end in time: give it more with --runs.".to_owned(),
        ];
    };
    let likely = good.guards.first().filter(|(_, often)| often.share >= LIKELY);
    let mut told = Vec::from_iter(likely.map(|(guard, often)| unfair(setting, *guard, often)));
    told.extend(no_evidence(setting, good));
    told.extend(missed(versions));
    if told.is_empty() {
        let most = percent(good.reverted.high);
        told.push(format!(
            "These rules can be relied on at this traffic: they find each of these faults, and \
             revert a good version in at most {most} % of its rollouts."
        ));
    }
    told
}

/// A guard that reverts good versions, and what to set.
fn unfair(setting: &Setting, guard: Guard, often: &Often) -> String {
    let first = setting.plan.steps.first().map_or(0.0, |step| f64::from(step.weight) / 100.0);
    let per_minute = setting.load.per_minute * first;
    let advice = match guard {
        Guard::ErrorRate => setting
            .guards
            .error_rate
            .and_then(|rule| forecast::error_rate(per_minute, setting.load.error_rate, &rule))
            .map_or("a higher guards.error_rate.min_requests would help".to_owned(), |told| {
                format!("in the first step, {told}")
            }),
        Guard::Performance => match setting.guards.performance {
            Some(rule) if !rule.noise_guard => {
                "guards.performance.noise_guard = \"on\" would help".to_owned()
            }
            _ => "a lower guards.performance.below would help".to_owned(),
        },
        Guard::Sequential => "a lower guards.sequential.alpha, or cap = 1, would help".to_owned(),
        Guard::HealthFailures | Guard::SecurityAlert => "that cannot be".to_owned(),
    };
    format!(
        "{guard} is likely to revert a good version at this traffic, in {} of the rollouts: \
         {advice}.",
        share(often)
    )
}

/// Rollouts of the good version that never came to an end of their own.
fn no_evidence(setting: &Setting, good: &Summary) -> Option<String> {
    let share = good.aborted.share + good.running.share;
    let first = setting.plan.steps.first()?;
    let per_minute = setting.load.per_minute * f64::from(first.weight) / 100.0;
    (share >= MANY).then(|| {
        format!(
            "{:.0} % of the rollouts of a good version end without evidence that it is good: each \
             step needs {CLEAN} calls of the candidate or more, and the first one brings about \
             {per_minute:.1} a minute. A larger first weight, a longer max_hold or on_inconclusive \
             = \"proceed\" would help.",
            share * 100.0
        )
    })
}

/// Faults that most rollouts do not find.
fn missed(versions: &[Tried]) -> Option<String> {
    let missed: Vec<_> = versions
        .iter()
        .filter(|it| it.is != Version::Good && it.came_to.promoted.share >= MANY)
        .map(|it| format!("{} ({})", name(it), share(&it.came_to.promoted)))
        .collect();
    (!missed.is_empty()).then(|| {
        format!(
            "This is too little traffic, or too short a plan, to find every fault; promoted all the \
             same: a candidate {}.",
            missed.join(", ")
        )
    })
}

fn share(often: &Often) -> String {
    format!("{:.1} %", often.share * 100.0)
}

/// A share in percent, without needless decimals.
fn percent(share: f64) -> String {
    let percent = (share * 1e6).round() / 1e4;
    if percent >= 10.0 {
        format!("{percent:.1}")
    } else {
        format!("{}", (percent * 100.0).round() / 100.0)
    }
}
