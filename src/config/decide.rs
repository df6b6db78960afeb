//! The `[guards]`, `[rollout]` and `[alerts]` sections: what shuts the gate, how it is opened, and
//! who may ring the bell.
//!
//! Does not know: how a rule is applied.

use std::net::SocketAddr;
use std::time::Duration;

use super::check::distinct;
use super::file::{Field, Section};
use super::{
    AlertsConfig, Confirmation, ErrorRate, Gate, Guards, OnInconclusive, OnRevert, Performance,
    RolloutConfig, Sequential, Step, secret, units,
};
use crate::names::BadName;

/// More steps than this are no plan.
const STEPS_MAX: usize = 20;
/// A token that nobody guesses.
const TOKEN_BYTES_MIN: usize = 16;
/// As long as a step or a wait for evidence may last.
const HOLD_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn guards(mut section: Section<'_>) -> Guards {
    Guards {
        health_failures: on(&mut section, "health_failures"),
        error_rate: rule(&mut section, "error_rate", |rule| ErrorRate {
            above: share(rule, "above", 0.05),
            minutes: rule.number("minutes", 1..=15, 2),
            min_requests: rule.number("min_requests", 1..=1_000_000, 1) as u64,
        }),
        performance: rule(&mut section, "performance", |rule| Performance {
            below: share(rule, "below", 0.8),
            noise_guard: on(rule, "noise_guard"),
        }),
        security_alert: on(&mut section, "security_alert"),
        sequential: rule(&mut section, "sequential", |rule| Sequential {
            alpha: share(rule, "alpha", 0.01),
            cap: rule.number("cap", 1..=100, 1) as u32,
        }),
    }
}

/// A table of settings, or `off` for the whole rule.
fn rule<T>(
    section: &mut Section<'_>,
    key: &'static str,
    read: impl Fn(&mut Section<'_>) -> T,
) -> Option<T> {
    match section.take(key) {
        // Asking for the missing table names its keys, for whoever misspells one.
        None => Some(read(&mut section.section(key))),
        Some(field) if !field.is_table() => {
            field.parse_text(off);
            None
        }
        Some(field) => field.section().map(|mut rule| read(&mut rule)),
    }
}

fn off(text: &str) -> Result<(), BadName> {
    if text == "off" {
        return Ok(());
    }
    Err(BadName(format!("`{text}` is neither `off` nor a table of settings")))
}

fn on(section: &mut Section<'_>, key: &'static str) -> bool {
    section.parse(key, true, |text| match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(BadName(format!("`{text}` is neither `on` nor `off`"))),
    })
}

/// A percentage that is neither nothing nor all.
pub(super) fn share(section: &mut Section<'_>, key: &'static str, default: f64) -> f64 {
    section.parse(key, default, |text| {
        let percent = units::percent(text)?;
        if (1..=99).contains(&percent) {
            return Ok(f64::from(percent) / 100.0);
        }
        Err(BadName("must be from 1% to 99%".into()))
    })
}

/// The defaults of the example file.
impl Default for RolloutConfig {
    fn default() -> Self {
        let minutes =
            |weight, minutes: u64| Step { weight, hold: Duration::from_secs(minutes * 60) };
        RolloutConfig {
            steps: vec![minutes(10, 10), minutes(50, 20), minutes(100, 10)],
            gate: Gate::default(),
            max_hold: Duration::from_secs(4 * 3600),
            on_inconclusive: OnInconclusive::default(),
            on_revert: OnRevert::default(),
            confirm: Confirmation::default(),
        }
    }
}

/// The section of a file, or a plan, over what holds without it.
pub(super) fn rollout(mut section: Section<'_>, defaults: &RolloutConfig) -> RolloutConfig {
    let gates = [("evidence", Gate::Evidence), ("time", Gate::Time)];
    let ends = [("abort", OnInconclusive::Abort), ("proceed", OnInconclusive::Proceed)];
    let confirms = [("auto", Confirmation::Auto), ("manual", Confirmation::Manual)];
    let sessions = [("keep", OnRevert::Keep), ("end", OnRevert::End)];
    let steps = section.take("steps");
    RolloutConfig {
        steps: steps.map_or_else(|| defaults.steps.clone(), |field| self::steps(&field)),
        gate: section.choice_or("gate", &gates, defaults.gate),
        max_hold: section.parse("max_hold", defaults.max_hold, hold),
        on_inconclusive: section.choice_or("on_inconclusive", &ends, defaults.on_inconclusive),
        on_revert: section.choice_or("on_revert", &sessions, defaults.on_revert),
        confirm: section.choice_or("confirm", &confirms, defaults.confirm),
    }
}

fn steps(field: &Field<'_>) -> Vec<Step> {
    let steps = distinct(field, STEPS_MAX, |item, taken: &[Step]| {
        let step = step(item)?;
        if let Some(last) = taken.last().filter(|last| last.weight >= step.weight) {
            let text = format!("weights have to rise: this one is not above {}", last.weight);
            item.problem(&text);
        }
        Some(step)
    });
    // Where a step could not be read, nobody knows which one is the last.
    let all = steps.len() == field.items().len();
    if all && steps.last().is_some_and(|last| last.weight != 100) {
        field.problem("the last step has to have weight 100: its hold is the bake");
    }
    steps
}

fn step(field: &Field<'_>) -> Option<Step> {
    let mut section = field.section()?;
    let mut needed = |key: &'static str| {
        let value = section.take(key);
        if value.is_none() {
            field.problem(&format!("has no `{key}`: a step is {{ weight = 10, hold = \"10m\" }}"));
        }
        value
    };
    let (weight, time) = (needed("weight"), needed("hold"));
    let weight = weight.and_then(|weight| {
        weight.parse(|text| match units::percent(text)? {
            0 => Err(BadName("must be from 1 to 100".into())),
            percent => Ok(percent),
        })
    });
    let time = time.and_then(|time| time.parse(hold));
    Some(Step { weight: weight?, hold: time? })
}

fn hold(text: &str) -> Result<Duration, BadName> {
    let duration = units::duration(text)?;
    if !duration.is_zero() && duration <= HOLD_MAX {
        return Ok(duration);
    }
    Err(BadName("must be more than 0s and at most 720h".into()))
}

pub(super) fn alerts(mut section: Section<'_>) -> Option<AlertsConfig> {
    let (listen, token) = (section.take("listen"), section.take("token"));
    let tls = super::tls::server(section.section("tls"), super::tls::SCRAPERS);
    match (listen, token) {
        (None, None) => None,
        (Some(listen), Some(token)) => {
            let listen: Option<SocketAddr> = listen.parse(super::check::address);
            // Whoever can guess it can stop every rollout.
            let token = secret::read_long(&token, TOKEN_BYTES_MIN);
            Some(AlertsConfig { listen: listen?, token: token?, tls })
        }
        (Some(field), None) => {
            field.problem("`alerts.listen` needs `alerts.token`, which its callers have to show");
            None
        }
        (None, Some(field)) => {
            field.problem("`alerts.token` is of no use without `alerts.listen`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, load};
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.toml");
        std::fs::write(&file, text).unwrap();
        load(Some(&file), None, &Environment::default()).map_err(|problems| problems.to_string())
    }

    #[test]
    fn rules_can_be_set_and_switched_off() {
        let config = read(
            "[guards]\nperformance = 'off'\nhealth_failures = 'off'\n\
             error_rate = { above = '3%', min_requests = 50 }\nsequential = { cap = 2 }\n\
             [rollout]\nsteps = [{ weight = 5, hold = '90s' }, { weight = 100, hold = '1h' }]\n\
             gate = 'time'\non_revert = 'end'\nmax_hold = '48h'\n\
             [alerts]\nlisten = '127.0.0.1:0'\ntoken = '0123456789abcdef'",
        )
        .unwrap();
        let guards = config.guards;
        assert!(!guards.health_failures && guards.security_alert && guards.performance.is_none());
        let error_rate = ErrorRate { above: 0.03, minutes: 2, min_requests: 50 };
        assert_eq!(guards.error_rate, Some(error_rate));
        assert_eq!(guards.sequential, Some(Sequential { alpha: 0.01, cap: 2 }));
        let steps: Vec<_> =
            config.rollout.steps.iter().map(|it| (it.weight, it.hold.as_secs())).collect();
        assert_eq!(steps, [(5, 90), (100, 3600)]);
        assert_eq!((config.rollout.gate, config.rollout.on_revert), (Gate::Time, OnRevert::End));
        assert_eq!(config.rollout.max_hold, Duration::from_secs(48 * 3600));
        assert!(config.alerts.is_some());
    }

    #[test]
    fn what_is_refused() {
        for (text, words) in [
            ("[guards]\nerror_rate = 'on'", "neither `off` nor a table"),
            ("[guards]\nerror_rate = 5", "must be a string"),
            ("[guards]\nerror_rate = { above = '0%' }", "from 1% to 99%"),
            ("[guards]\nerror_rate = { abvoe = '3%' }", "did you mean `above`"),
            ("[guards]\nhealth_failures = true", "must be a string"),
            ("[guards]\nsecurity_alert = 'no'", "neither `on` nor `off`"),
            ("[rollout]\nsteps = []", "at least one"),
            ("[rollout]\nsteps = [{ weight = 10 }]", "has no `hold`"),
            ("[rollout]\nsteps = [{ weight = 0, hold = '1m' }]", "from 1 to 100"),
            ("[rollout]\nsteps = [{ weight = 101, hold = '1m' }]", "more than 100 %"),
            ("[rollout]\nsteps = [{ weight = 100, hold = '0s' }]", "more than 0s"),
            ("[rollout]\nsteps = [{ weight = 50, hold = '1m' }]", "has to have weight 100"),
            (
                "[rollout]\nsteps = [{ weight = 50, hold = '1m' }, { weight = 50, hold = '1m' }]",
                "have to rise",
            ),
            ("[rollout]\nmax_hold = '721h'", "at most 720h"),
            ("[rollout]\non_inconclusive = 'hold'", "none of `abort`, `proceed`"),
            ("[alerts]\nlisten = '127.0.0.1:1'", "needs `alerts.token`"),
            ("[alerts]\ntoken = '0123456789abcdef'", "without `alerts.listen`"),
            ("[alerts]\nlisten = '127.0.0.1:1'\ntoken = 'short'", "shorter than 16 bytes"),
        ] {
            let found = read(text).map(|_| ()).unwrap_err();
            assert!(found.contains(words), "{text}: {found}");
        }
    }
}
