//! `tidegate rollback`: first the traffic, then the servers, then whether they work.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::admin::client::AskError;
use crate::admin::wire::decide::{Decisions, RolloutStatus, Steer};
use crate::admin::wire::deploys::Deploys;
use crate::admin::wire::{SetSplit, SplitChanged, Status};
use crate::cli::ask::{Router, failed};
use crate::cli::{Common, Exit};
use crate::config::Environment;
use crate::control::deploys::{Action, Phase};
use crate::names::{Arm, Split};
use crate::rollout::RolloutState;

use super::Rollback;
use super::desk::{Desk, Told, ask_status, config_of, of_router};
use super::put::{put, stands, validate};
use super::servers::{missing, plan};
use super::steps::{Failure, Mark, Steps};

/// How often it is tried anew when somebody else changes the traffic at the same time.
const TRIES: usize = 3;

/// Of a rollback whose second half has failed.
const SAFE: &str = "All new work is on the stable arm";

/// What was done to the traffic.
struct Moved {
    /// The arm that has all new work now.
    stable: Arm,
    /// A promotion was taken back: what runs on the stable arm is the version before.
    is_undone: bool,
    /// In words.
    what: String,
}

pub(super) fn run(
    common: &Common,
    environment: &Environment,
    asked: &Rollback,
) -> Result<Exit, Exit> {
    let began = Instant::now();
    let named = common.arm(asked.arm)?;
    let router = Router::find(common, environment)?;
    let mut steps = Steps::new(common.json);
    let moved = match traffic(&router, named, asked.reason.as_deref()) {
        Ok(moved) => moved,
        Err(Refusal::Router(error)) => return Err(failed(common, &error)),
        Err(Refusal::Arm(arm)) => {
            let why = format!(
                "the {arm} is the stable arm, and there is nothing to take back: a rollback gives work to it"
            );
            let next = format!("tidegate rollback {}", arm.other());
            return Ok(steps.failed(&Failure::no("traffic", why), "Nothing was done.", &next));
        }
    };
    let took = began.elapsed();
    steps.ended("traffic", took, Mark::Ok, &moved.what);
    steps.facts =
        json!({ "stable": moved.stable, "undone": moved.is_undone, "traffic_ms": millis(took) });
    if asked.immediate {
        let next =
            format!("tidegate rollback {} puts the version before back", moved.stable.other());
        return Ok(steps.done(&moved.what, if moved.is_undone { "" } else { &next }));
    }
    servers(common, environment, asked, router, &moved, steps)
}

/// Why the traffic is as it was.
enum Refusal {
    Router(AskError),
    /// This arm is the stable one.
    Arm(Arm),
}

impl From<AskError> for Refusal {
    fn from(error: AskError) -> Refusal {
        Refusal::Router(error)
    }
}

/// Gives all new work to the stable arm, by whatever does that now.
fn traffic(router: &Router, named: Option<Arm>, reason: Option<&str>) -> Result<Moved, Refusal> {
    let mut tries = 1..=TRIES;
    loop {
        let status = ask_status(router)?;
        let is_last = tries.next().is_none_or(|number| number == TRIES);
        match once(router, named, reason, &status) {
            // Somebody else was faster.
            Err(Refusal::Router(AskError::Refused(_))) if !is_last => {}
            done => return done,
        }
    }
}

fn once(
    router: &Router,
    named: Option<Arm>,
    reason: Option<&str>,
    status: &Status,
) -> Result<Moved, Refusal> {
    let (stable, decisions) = (status.stable, &status.decisions);
    let candidate = stable.other();
    let steer = |verb: &str| {
        let reason = Some(reason.unwrap_or("tidegate rollback").to_owned());
        let asked = Steer { reason, ..Steer::default() };
        router.ask::<Decisions>(Method::POST, &format!("/v1/rollout/{verb}"), &asked)
    };
    let moved = |stable: Arm, how: String| {
        let what = format!("all new work goes to the {stable}: {how}");
        Moved { stable, is_undone: false, what }
    };
    let rollout = decisions.rollout.as_ref();
    if let Some(running) = rollout.filter(|rollout| !rollout.state.is_over()) {
        if named == Some(stable) {
            return Err(Refusal::Arm(stable));
        }
        steer("abort")?;
        return Ok(moved(stable, format!("rollout {} is aborted", running.id)));
    }
    let can_undo = |it: &&RolloutStatus| {
        it.state == RolloutState::Promoted
            && it.to == stable
            && named.is_none_or(|arm| arm == it.to)
    };
    let weight = status.split.weight(candidate);
    if let Some(promoted) = rollout.filter(can_undo).filter(|_| weight == 0) {
        steer("undo")?;
        let how = format!("the promotion of rollout {} is taken back", promoted.id);
        return Ok(Moved { is_undone: true, ..moved(candidate, how) });
    }
    if named == Some(stable) {
        return Err(Refusal::Arm(stable));
    }
    if weight == 0 {
        return Ok(moved(stable, "it did already".to_owned()));
    }
    let all = Split::all(stable);
    let change = SetSplit {
        primary: all.weight(Arm::Primary),
        secondary: all.weight(Arm::Secondary),
        expected_revision: Some(status.revision),
        abort: true,
    };
    let changed: SplitChanged = router.ask(Method::PUT, "/v1/split", &change)?;
    Ok(moved(stable, format!("the split was {}", changed.before)))
}

/// Puts the version before back on the other arm, where tidegate knows of one.
fn servers(
    common: &Common,
    environment: &Environment,
    asked: &Rollback,
    router: Router,
    moved: &Moved,
    mut steps: Steps,
) -> Result<Exit, Exit> {
    let found = ask_status(&router)
        .map_err(|error| of_router("router", &error))
        .and_then(|status| config_of(common, environment, &status));
    let config = match found {
        Ok(config) => config,
        Err(failure) => {
            let stands = format!("{SAFE}: the {}.", moved.stable);
            return Ok(steps.failed(
                &failure,
                &stands,
                "mend that, and repeat `tidegate rollback`",
            ));
        }
    };
    let arm = moved.stable.other();
    let limit = asked.timeout.unwrap_or(config.arms.get(arm).lifecycle.timeout);
    let mut desk =
        Desk::with(common, environment, router, config, (arm, Action::Rollback, limit), steps)?;
    desk.steps.facts["arm"] = json!(arm);
    let exit = match carry_out(&mut desk, asked, moved) {
        Ok(line) => desk.steps.done(&line, ""),
        Err(failure) => {
            let stands = stands(&desk, SAFE);
            let next = match failure.step {
                "validate" => "tidegate validate".to_owned(),
                _ => {
                    format!("see to the servers of the {arm}, and repeat `tidegate rollback {arm}`")
                }
            };
            desk.steps.failed(&failure, &stands, &next)
        }
    };
    desk.close();
    Ok(exit)
}

fn carry_out(desk: &mut Desk<'_>, asked: &Rollback, moved: &Moved) -> Result<String, Failure> {
    let (arm, stable) = (desk.arm, moved.stable);
    let target = if moved.is_undone { None } else { target(desk, asked)? };
    if let Some((version, current)) = &target {
        replace(desk, asked, version, current.as_deref())?;
    }
    let checked: &[Arm] = match (&target, asked.complete) {
        (_, true) => &Arm::ALL,
        (Some(_), false) => &[arm],
        (None, false) => &[stable],
    };
    let mut found = Ok(());
    for arm in checked {
        found = found.and(validate(desk, *arm, asked.complete, None));
    }
    found?;
    Ok(match target {
        Some((version, _)) => {
            format!("rolled back: all new work on the {stable}, {version} on the {arm}")
        }
        None => format!("rolled back: all new work on the {stable}; the servers are as they were"),
    })
}

/// The version to put back, and the one that is there; `None` if nothing was deployed that could be
/// taken off.
fn target(
    desk: &mut Desk<'_>,
    asked: &Rollback,
) -> Result<Option<(String, Option<String>)>, Failure> {
    let began = Instant::now();
    let deploys: Deploys = desk
        .router
        .ask(Method::GET, "/v1/deploys", &json!({}))
        .map_err(|error| of_router("version", &error))?;
    let (arm, deployed) = (desk.arm, deploys.deployed.get(desk.arm).clone());
    let named = asked.version.clone().filter(|version| version != "previous");
    let current = deployed.as_ref().and_then(|it| it.version.clone());
    if let Some(version) = named {
        return Ok(Some((version, current)));
    }
    if deployed.is_none() && asked.version.is_none() {
        let detail = format!(
            "nothing was deployed to the {arm} by `tidegate deploy`: its servers stay as they are"
        );
        desk.steps.ended("before", began.elapsed(), Mark::Ok, &detail);
        return Ok(None);
    }
    match deployed.and_then(|it| it.previous) {
        Some(previous) => Ok(Some((previous, current))),
        None => Err(Failure::unknown(
            "before",
            format!("nobody knows which version the {arm} had before: name it with --version"),
        )),
    }
}

fn replace(
    desk: &mut Desk<'_>,
    asked: &Rollback,
    version: &str,
    current: Option<&str>,
) -> Result<(), Failure> {
    let plan = plan(desk.lifecycle(), !desk.listening().is_empty()).map_err(|command| {
        let why = missing(desk.arm, command, desk.config.file.as_deref());
        Failure { exit: Exit::Usage, ..Failure::no("servers", why) }
    })?;
    let told = Told { version: Some(version), previous: current, ..Told::default() };
    desk.begin(Told { detail: asked.reason.as_deref(), ..told })?;
    desk.steps.facts["version"] = json!(version);
    match put(desk, &plan, Some(version), current, None) {
        Ok(_) => {
            desk.end(Phase::Done, told);
            Ok(())
        }
        Err(failure) => {
            let detail = failure.detail();
            desk.end(Phase::Failed, Told { detail: Some(&detail), ..told });
            Err(failure)
        }
    }
}

fn millis(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}
