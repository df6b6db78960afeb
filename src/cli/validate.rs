//! `tidegate validate`: every check of a version before it gets traffic.
//!
//! From the configuration alone, so that it works without a running router; where one runs, it
//! says which arm is the stable one, is checked too, and keeps the result in its journal.

mod router;

mod show;

use std::path::Path;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::admin::client::AskError;
use crate::admin::wire::validations::{Counts, Validation, Version};
use crate::admin::wire::{self, ServerName};
use crate::config::{self, Config, Environment};
use crate::dns;
use crate::health::Subject;
use crate::names::{Arm, PerArm};
use crate::validate::check::Outcome;
use crate::validate::{self, Asked, Check, Kind, Mark, Stable};

use super::ask::Router;
use super::health::FAREWELLS_MAX;
use super::signals::Signals;
use super::{Common, Exit, complain, runtime, say, say_json};
use show::Shower;

#[derive(Debug, Args)]
pub(super) struct Validate {
    /// `primary` or `secondary` (default: that of `--profile`, else both)
    #[arg(value_name = "ARM")]
    arm: Option<Arm>,
    /// Hold a session, call tools, refuse what has to be refused: everything
    #[arg(long)]
    comprehensive: bool,
    /// Fail unless the server says that it is of this version
    #[arg(long, value_name = "VERSION")]
    expect_version: Option<String>,
}

/// What is to be validated.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) arms: Vec<Arm>,
    pub(super) comprehensive: bool,
    /// What the servers have to say they are.
    pub(super) version: Option<&'a str>,
    /// They may break clients of the stable version.
    pub(super) allow_breaking: bool,
}

pub(super) fn run(common: &Common, environment: &Environment, asked: &Validate) -> Exit {
    let arms = match common.arm(asked.arm) {
        Ok(arm) => arm.map_or(Arm::ALL.to_vec(), |arm| vec![arm]),
        Err(exit) => return exit,
    };
    let version = asked.expect_version.as_deref();
    let comprehensive = asked.comprehensive;
    let wanted = Wanted { arms, comprehensive, version, allow_breaking: false };
    let (exit, result) = carry_out(common, environment, &wanted);
    if common.json {
        say_json(&result);
    }
    exit
}

/// Validates an arm for a command that goes on only if it is fit. Prints a line a check unless the
/// answer is to be JSON, and gives the whole result, with `fit`, `passed`, `failed` and `checks`
/// (or `error`), for the command's own answer. `version` is what its server has to say it is.
pub(super) fn first(
    common: &Common,
    environment: &Environment,
    arm: Arm,
    comprehensive: bool,
    version: Option<&str>,
) -> (Exit, Value) {
    let wanted = Wanted { arms: vec![arm], comprehensive, version, allow_breaking: false };
    carry_out(common, environment, &wanted)
}

/// The names of the checks that keep a version from being fit, from a result.
pub(super) fn reasons(result: &Value) -> String {
    if let Some(error) = result["error"].as_str() {
        return error.to_owned();
    }
    let checks = result["checks"].as_array().into_iter().flatten();
    let bad = checks.filter(|check| {
        [Mark::Failed, Mark::Unknown].iter().any(|mark| check["result"] == json!(mark))
    });
    let words = bad.filter_map(|check| {
        Some(format!("{}: {}", check["title"].as_str()?, check["detail"].as_str()?))
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Validates, shows and records.
pub(super) fn carry_out(
    common: &Common,
    environment: &Environment,
    wanted: &Wanted<'_>,
) -> (Exit, Value) {
    let start = Instant::now();
    let stopped = |exit: Exit, why: &str| {
        if !common.json {
            complain(why);
        }
        (exit, json!({ "fit": false, "error": why }))
    };
    let (config, status) = match load(common, environment) {
        Ok(loaded) => loaded,
        Err(why) => return stopped(Exit::Usage, &why),
    };
    let status = status.as_ref();
    let mut shower = Shower::new(common.json);
    let configuration = Check::new(Kind::Configuration, start.elapsed(), hints(&config));
    let found = match measure(&config, wanted, status, &configuration, &mut shower) {
        Ok(found) => found,
        Err(why) => return stopped(Exit::Unknown, &why),
    };
    let mut checks = vec![configuration.clone()];
    let mut records = Vec::new();
    for (arm, took_ms, versions, of_arm) in found {
        let all: Vec<Check> = std::iter::once(&configuration).chain(&of_arm).cloned().collect();
        records.push(Validation::of(arm, wanted.comprehensive, took_ms, versions, all));
        checks.extend(of_arm);
    }
    let asking = Instant::now();
    let recorded = router::record(common, environment, status, &records);
    let own = router::checks(common, environment, status, &recorded, asking.elapsed());
    shower.section("router");
    for check in &own {
        shower.done(check);
    }
    checks.extend(own);
    let counts = Counts::of(&checks);
    shower.summary(counts, &checks, start.elapsed(), &recorded);
    let (at, why) = (recorded.as_ref().ok(), recorded.as_ref().err());
    let result = json!({
        "fit": counts.is_fit(),
        "arms": wanted.arms,
        "comprehensive": wanted.comprehensive,
        "passed": counts.passed,
        "failed": counts.failed,
        "skipped": counts.skipped,
        "unknown": counts.unknown,
        "took_ms": millis(start.elapsed()),
        "versions": records.iter().flat_map(|it| &it.versions).collect::<Vec<_>>(),
        "checks": checks,
        "recorded_at": at.map(|recorded| &recorded.at),
        "not_recorded": why.map(ToString::to_string),
    });
    let exit = match counts {
        counts if counts.is_fit() => Exit::Yes,
        Counts { failed: 0, .. } => Exit::Unknown,
        _ => Exit::No,
    };
    (exit, result)
}

fn millis(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}

/// The configuration that the options name, else the one that the router was started with; and
/// what is in force, if a router answers.
fn load(
    common: &Common,
    environment: &Environment,
) -> Result<(Config, Option<wire::Status>), String> {
    let read = |file: Option<&Path>, profile: Option<&str>| {
        config::load(file, common.profile.as_deref().or(profile), environment)
    };
    if let Some(file) = &common.config {
        let config = read(Some(file), None)
            .map_err(|problems| format!("the configuration is refused:\n{problems}"))?;
        return Ok((config, router::status(common, environment)));
    }
    let status = router::status(common, environment);
    let of_router = status.as_ref().and_then(|status| status.config.as_deref());
    let profile = status.as_ref().and_then(|status| status.profile.as_deref());
    // Its path may be meant from where the router runs, its secrets be the router's.
    let config = read(of_router.map(Path::new), profile).map_err(|problems| {
        let hint =
            if of_router.is_some() { " of the router (name another with --config)" } else { "" };
        format!("the configuration{hint} is refused:\n{problems}")
    })?;
    Ok((config, status))
}

/// That it loads, and what it leaves unchecked.
fn hints(config: &Config) -> Outcome {
    let file =
        config.file.as_ref().map_or("the defaults".to_owned(), |it| it.display().to_string());
    let profile = config.profile.as_ref().map_or(String::new(), |it| format!(", profile {it}"));
    let health = &config.health;
    let rules = &config.validation;
    let unset = [
        (health.expected_tools.is_empty(), "health.expected_tools"),
        (health.calls.is_empty(), "health.calls"),
        (rules.bad_arguments.is_empty(), "validation.bad_arguments"),
        (rules.denied.is_empty(), "validation.denied"),
    ];
    let unset: Vec<&str> = unset.iter().filter(|it| it.0).map(|it| it.1).collect();
    let hint = match unset.join(", ") {
        none if none.is_empty() => none,
        unset => format!("; more is checked with {unset}"),
    };
    Outcome::ok(format!("{file}{profile}{hint}"))
}

/// What was found out about an arm: milliseconds, versions, checks.
type OfArm = (Arm, f64, Vec<Version>, Vec<Check>);

/// Makes the checks, and lets the sessions that were opened for them be ended.
fn measure(
    config: &Config,
    wanted: &Wanted<'_>,
    status: Option<&wire::Status>,
    configuration: &Check,
    shower: &mut Shower,
) -> Result<Vec<OfArm>, String> {
    let (runtime, local) = runtime().map_err(|error| error.to_string())?;
    let found = local.block_on(&runtime, async {
        let signals = Signals::new().map_err(|error| error.to_string())?;
        shower.done(configuration);
        tokio::select! {
            found = arms(config, wanted, status, shower) => Ok(found),
            () = signals.next() => Err("interrupted: nothing is recorded".to_owned()),
        }
    });
    let _ = runtime.block_on(async { tokio::time::timeout(FAREWELLS_MAX, local).await });
    // A name that is still being looked up is waited for by nobody.
    runtime.shutdown_background();
    found
}

async fn arms(
    config: &Config,
    wanted: &Wanted<'_>,
    status: Option<&wire::Status>,
    shower: &mut Shower,
) -> Vec<OfArm> {
    let subjects: PerArm<Vec<Subject>> = Subject::all(config, &dns::once(config.urls()).await);
    let stable = status.map_or(Arm::Primary, |status| status.stable);
    let count: usize = wanted.arms.iter().map(|arm| subjects.get(*arm).len()).sum();
    let mut found = Vec::new();
    for &arm in &wanted.arms {
        let start = Instant::now();
        let compared = match arm {
            arm if arm == stable => Stable::Itself,
            _ => Stable::ask(stable, subjects.get(stable)).await,
        };
        let (mut versions, mut checks) = (Vec::new(), Vec::new());
        for subject in subjects.get(arm) {
            let asked = Asked {
                subject,
                rules: &config.validation,
                comprehensive: wanted.comprehensive,
                version: wanted.version,
                allow_breaking: wanted.allow_breaking,
                stable: &compared,
            };
            shower.plan(count * asked.kinds().count());
            let url = subject.endpoint.url.to_string();
            shower.section(&format!("{arm} {url}"));
            let of_one = validate::validate(&asked, &mut |told| shower.told(&told)).await;
            versions.push(version(url, &of_one.probe));
            checks.extend(of_one.checks);
        }
        found.push((arm, millis(start.elapsed()), versions, checks));
    }
    found
}

fn version(endpoint: String, probe: &crate::health::Probe) -> Version {
    let server = probe.server.as_ref();
    Version {
        endpoint,
        server: server.map(|it| ServerName { name: it.name.clone(), version: it.version.clone() }),
        protocol_version: probe.protocol_version.clone(),
        eras: probe.eras.names().into_iter().map(str::to_owned).collect(),
    }
}
