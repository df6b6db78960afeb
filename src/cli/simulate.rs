//! `tidegate rollout simulate`: what a plan and the rules are worth at some traffic, before anybody
//! relies on them.
//!
//! Bounded: by time where nobody says how many rollouts, and then it says what is missing. Does not
//! know: how a rollout goes.

mod table;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use crate::config::{self, Environment};
use crate::rollout::Plan;
use crate::simulate::Setting;
use crate::simulate::crowd::{self, Time};
use crate::simulate::summary::{Summary, Version};
use crate::simulate::traffic::Load;

use super::{Common, Exit, refuse, rollout, say, say_json};

/// Rollouts of the good version, whose few reverts are what matters, and of each other one.
const RUNS: (u64, u64) = (400, 100);
/// The time that these may take.
const TIME: Duration = Duration::from_secs(8);
/// The time that a number of one's own may take.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// What a rollout gets on top of that once it has begun: else only short ones would be counted.
const GRACE: Duration = Duration::from_secs(5);
/// Ten times what one router carries.
const PER_MINUTE_MAX: f64 = 100_000.0;
/// Seconds between two calls of a session, as in reliability.md C4: a model thinks in between.
const GAP: f64 = 10.0;
/// Characters of the bar.
const BAR: u64 = 30;

#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Calls a minute, of both arms together
    #[arg(long, value_name = "CALLS", value_parser = per_minute)]
    rpm: f64,
    /// The share of calls that fail on a good version
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = share)]
    error_rate: f64,
    /// A file with the keys of [rollout]; `-` reads standard input (default: the configured plan)
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Calls of a session, on average
    #[arg(long, value_name = "CALLS", default_value = "20", value_parser = calls_per_session)]
    calls_per_session: f64,
    /// Most errors come from a few sessions, which fail 60 % of their calls
    #[arg(long)]
    clustered: bool,
    /// Rollouts of each version (default: up to 400 of a good one and 100 of each other one,
    /// within 8 s)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    runs: Option<u64>,
    /// The same number gives the same rollouts
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

/// What came out, in JSON.
#[derive(Debug, Serialize)]
struct Report {
    traffic: Load,
    plan: Plan,
    seed: u64,
    /// Fewer rollouts than asked for: there was no more time.
    cut_short: bool,
    versions: Vec<Tried>,
    /// What it means, in sentences.
    reading: Vec<String>,
}

/// One version.
#[derive(Debug, Serialize)]
struct Tried {
    version: &'static str,
    #[serde(skip)]
    is: Version,
    /// The share of its calls that fail.
    error_rate: f64,
    /// How many times as long as the stable arm's its answers take.
    slower: f64,
    #[serde(flatten)]
    came_to: Summary,
}

pub(super) fn run(common: &Common, environment: &Environment, asked: &Simulate) -> Exit {
    let loaded = config::load(common.config.as_deref(), common.profile.as_deref(), environment);
    let config = match loaded {
        Ok(config) => config,
        Err(problems) => {
            return refuse(common, format_args!("the configuration is refused:\n{problems}"));
        }
    };
    let text = match asked.plan.as_deref().map(rollout::read).transpose() {
        Ok(text) => text,
        Err(why) => return refuse(common, why),
    };
    let plan = match text.map(|text| Plan::parse(&text, &config.rollout)).transpose() {
        Ok(plan) => plan.unwrap_or_else(|| Plan::from_config(&config.rollout)),
        Err(problems) => {
            return refuse(common, format_args!("the plan was refused:\n{problems}"));
        }
    };
    let load = Load {
        per_minute: asked.rpm,
        error_rate: asked.error_rate,
        calls_per_session: asked.calls_per_session,
        gap: GAP,
        clustered: asked.clustered,
    };
    let setting = Setting { load, guards: config.guards, plan };
    let (versions, cut_short) = try_all(common, &setting, asked);
    let reading = table::reading(&setting, &versions);
    let Setting { load: traffic, plan, .. } = setting;
    let report = Report { traffic, plan, seed: asked.seed, cut_short, versions, reading };
    if common.json {
        say_json(&report);
    } else {
        table::lines(&report).iter().all(say);
    }
    Exit::Yes
}

/// Every version that is worse, and the good one; and whether there was too little time.
fn try_all(common: &Common, setting: &Setting, asked: &Simulate) -> (Vec<Tried>, bool) {
    let error_rate = setting.load.error_rate;
    let versions: Vec<_> = Version::ALL
        .into_iter()
        .filter_map(|version| {
            let (good, other) = RUNS;
            let usual = if version == Version::Good { good } else { other };
            Some((version, version.change(error_rate)?, asked.runs.unwrap_or(usual)))
        })
        .collect();
    let began = Instant::now();
    let time = if asked.runs.is_some() { TIME_MAX } else { TIME };
    let mut progress = Progress::new(common, versions.iter().map(|it| it.2).sum());
    let mut cut_short = false;
    let count = versions.len();
    // The good one is the most work, and last: it has what those leave that are soon reverted.
    let tried = versions.into_iter().rev().enumerate().map(|(at, (version, change, runs))| {
        let left = time.saturating_sub(began.elapsed());
        let until = Instant::now() + left / (count - at) as u32;
        let time = Time {
            to_begin: || Instant::now() < until,
            to_go_on: || Instant::now() < until + GRACE,
        };
        let courses =
            crowd::rollouts(setting, change, asked.seed, runs, &time, || progress.advance(1));
        let missing = runs - courses.len() as u64;
        progress.advance(missing);
        cut_short |= missing > 0;
        Tried {
            version: version.as_str(),
            is: version,
            error_rate: error_rate + (1.0 - error_rate) * change.failing,
            slower: change.slower,
            came_to: Summary::of(&courses),
        }
    });
    let mut tried: Vec<_> = tried.collect();
    tried.reverse();
    progress.clear();
    (tried, cut_short)
}

/// How far it is, on a terminal.
struct Progress {
    is_shown: bool,
    done: u64,
    all: u64,
    percent: u64,
}

impl Progress {
    fn new(common: &Common, all: u64) -> Progress {
        let is_shown = std::io::stderr().is_terminal() && !common.json;
        Progress { is_shown, done: 0, all, percent: u64::MAX }
    }

    fn advance(&mut self, runs: u64) {
        self.done += runs;
        let percent = self.done * 100 / self.all;
        if self.is_shown && std::mem::replace(&mut self.percent, percent) != percent {
            let full = percent * BAR / 100;
            let bar: String = (0..BAR).map(|at| if at < full { '#' } else { '.' }).collect();
            // A terminal that is gone needs no bar.
            let _ = write!(std::io::stderr(), "\r{bar} {percent:3} %");
        }
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn per_minute(text: &str) -> Result<f64, String> {
    number(text, |it| it > 0.0 && it <= PER_MINUTE_MAX)
        .ok_or_else(|| format!("must be more than 0 and at most {PER_MINUTE_MAX}"))
}

fn calls_per_session(text: &str) -> Result<f64, String> {
    number(text, |it| (1.0..=100_000.0).contains(&it))
        .ok_or_else(|| "must be from 1 to 100000".to_owned())
}

/// A percentage, whole or not: `1%`, `0.5%`.
fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).trim_end();
    number(percent, |it| (0.0..=100.0).contains(&it))
        .map(|it| it / 100.0)
        .ok_or_else(|| "must be from 0% to 100%, such as `1%` or `0.5%`".to_owned())
}

fn number(text: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
    text.parse().ok().filter(|number| fits(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        for (text, read) in [
            ("1%", Some(0.01)),
            ("0.5 %", Some(0.005)),
            ("0", Some(0.0)),
            ("100%", Some(1.0)),
            ("101%", None),
            ("-1%", None),
            ("NaN", None),
            ("%", None),
            ("1%%", None),
            ("one", None),
        ] {
            assert_eq!(share(text).ok(), read, "{text}");
        }
        for (text, read) in [("60", Some(60.0)), ("0.5", Some(0.5)), ("0", None), ("inf", None)] {
            assert_eq!(per_minute(text).ok(), read, "{text}");
        }
        for (text, read) in [("1", Some(1.0)), ("0.9", None), ("1e9", None)] {
            assert_eq!(calls_per_session(text).ok(), read, "{text}");
        }
    }
}
