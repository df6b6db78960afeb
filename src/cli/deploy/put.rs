//! `tidegate deploy`: a version on an arm that serves nobody, and whether it works there.

use http::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::admin::wire::decide::{Decisions, StartRollout};
use crate::cli::validate::{first, reasons};
use crate::cli::{Common, Exit, refuse};
use crate::config::Environment;
use crate::control::deploys::{Action, Phase};
use crate::health::Probe;
use crate::lifecycle::is_same;
use crate::names::Arm;

use super::Deploy;
use super::desk::{Desk, Told, of_router};
use super::servers::{Plan, missing, plan};
use super::steps::{Failure, Mark};

/// Of a deploy and a stop that have failed.
pub(super) const UNTOUCHED: &str = "The traffic was not touched";

pub(super) fn run(
    common: &Common,
    environment: &Environment,
    asked: &Deploy,
) -> Result<Exit, Exit> {
    let (mut desk, status) =
        Desk::open(common, environment, Action::Deploy, asked.arm, asked.timeout)?;
    let arm = desk.arm;
    let plan = plan(desk.lifecycle(), !desk.listening().is_empty())
        .map_err(|command| refuse(common, missing(arm, command, desk.config.file.as_deref())))?;
    desk.steps.facts = json!({ "arm": arm, "version": asked.version });
    let known = status.arms.get(arm).server.as_ref().map(|server| server.version.clone());
    let mut begun = None;
    let exit = match carry_out(&mut desk, asked, &plan, known.as_deref(), &mut begun) {
        Ok(found) => done(&desk, asked, found.as_deref()),
        Err(failure) => failed(&mut desk, asked, begun, &failure),
    };
    desk.close();
    Ok(exit)
}

/// Something was done to the servers.
struct Begun {
    /// The version that was there, as far as it is known.
    previous: Option<String>,
}

/// Everything up to a version that works, and the rollout to it.
fn carry_out(
    desk: &mut Desk<'_>,
    asked: &Deploy,
    plan: &Plan,
    known: Option<&str>,
    begun: &mut Option<Begun>,
) -> Result<Option<String>, Failure> {
    desk.may_touch(asked.force)?;
    if !asked.force {
        nobody_uses(desk, asked)?;
    }
    let reason = asked.reason.as_deref();
    let what = asked.version.as_deref().unwrap_or("a version");
    desk.back_up(&format!("before {what} is deployed to the {}", desk.arm));
    let previous = desk.version_before(known)?;
    let (version, before) = (asked.version.as_deref(), previous.as_deref());
    let told = Told { version, previous: before, detail: reason, force: asked.force };
    desk.begin(told)?;
    desk.steps.facts["previous"] = json!(before);
    *begun = Some(Begun { previous: previous.clone() });
    let validation = asked.validate_first.then_some(asked.comprehensive);
    let found = put(desk, plan, version, before, validation)?;
    desk.end(Phase::Done, Told { version: found.as_deref(), previous: before, ..Told::default() });
    if asked.rollout {
        start_rollout(desk, reason)?;
    }
    Ok(found)
}

/// That no session ends with the servers that go: after a revert or an abort the candidate keeps
/// those that it has. A step of its own only where something is to be known.
fn nobody_uses(desk: &mut Desk<'_>, asked: &Deploy) -> Result<(), Failure> {
    let (began, arm) = (Instant::now(), desk.arm);
    let draining = desk.draining(asked.idle)?;
    if asked.rollout && draining.drained {
        let why = format!(
            "the {arm} is drained, so no rollout can go to it: `tidegate undrain {arm}` first, or \
             leave --rollout out"
        );
        return Err(Failure::no("router", why));
    }
    if desk.listening().is_empty() {
        return Ok(());
    }
    if draining.in_flight + draining.streams + draining.sessions > 0 {
        let why = format!(
            "they are in use still: {} (wait for that with `tidegate drain {arm} --wait`, or --force)",
            draining.why.join("; ")
        );
        return Err(Failure::no("users", why));
    }
    let spare = usize::from(!draining.drained);
    if let Some(why) = draining.why.get(spare..).and_then(<[String]>::last) {
        desk.steps.ended("users", began.elapsed(), Mark::Warning, why);
    }
    Ok(())
}

/// Starts or restarts the servers, and finds out whether they are what they should be; `validation`
/// is how much of it is validated then. Returns the version that runs.
pub(super) fn put(
    desk: &mut Desk<'_>,
    plan: &Plan,
    version: Option<&str>,
    before: Option<&str>,
    validation: Option<bool>,
) -> Result<Option<String>, Failure> {
    desk.carry_out(plan, version)?;
    let probes = desk.handshakes()?;
    let found = desk.version_now(version, before, &probes)?;
    desk.known_to_router()?;
    if let Some(is_comprehensive) = validation {
        // Where servers give the version of their SDK, theirs says nothing.
        let is_own = |it: &&String| probes.iter().all(|probe| calls_itself(probe, it));
        let version = found.as_ref().filter(is_own).map(String::as_str);
        validate(desk, desk.arm, is_comprehensive, version)?;
    }
    Ok(found)
}

fn calls_itself(probe: &Probe, version: &str) -> bool {
    probe.server.as_ref().is_some_and(|server| is_same(&server.version, version))
}

/// Validates an arm; a step of its own.
pub(super) fn validate(
    desk: &mut Desk<'_>,
    arm: Arm,
    is_comprehensive: bool,
    version: Option<&str>,
) -> Result<(), Failure> {
    let began = Instant::now();
    let (exit, report) = first(&desk.common, desk.environment, arm, is_comprehensive, version);
    let reasons = reasons(&report);
    desk.steps.facts["validation"][arm.as_str()] = report;
    let kind = if is_comprehensive { "comprehensive" } else { "basic" };
    let why = match exit {
        Exit::Yes => {
            desk.steps.ended(
                "validate",
                began.elapsed(),
                Mark::Ok,
                &format!("the {arm} is fit ({kind})"),
            );
            return Ok(());
        }
        Exit::No => format!("the {arm} is not fit: {reasons}"),
        _ => format!("it could not be told whether the {arm} is fit: {reasons}"),
    };
    Err(Failure { exit, ..Failure::no("validate", why) })
}

fn start_rollout(desk: &mut Desk<'_>, reason: Option<&str>) -> Result<(), Failure> {
    let began = Instant::now();
    let (to, reason) = (Some(desk.arm), reason.map(str::to_owned));
    let wanted = StartRollout { to, plan: None, reason, allow_breaking: false };
    let started = desk.router.ask::<Decisions>(Method::POST, "/v1/rollout/start", &wanted);
    let decisions = started.map_err(|error| of_router("rollout", &error))?;
    let id = decisions.rollout.as_ref().map(|it| it.id.clone()).unwrap_or_default();
    let mut detail = format!("{id} has begun: {} now", decisions.split);
    let mark = if decisions.warning.is_some() { Mark::Warning } else { Mark::Ok };
    detail.extend(decisions.warning.map(|warning| format!("; {warning}")));
    desk.steps.ended("rollout", began.elapsed(), mark, &detail);
    desk.steps.facts["rollout"] = json!(id);
    Ok(())
}

fn done(desk: &Desk<'_>, asked: &Deploy, found: Option<&str>) -> Exit {
    let arm = desk.arm;
    let version = found.map_or_else(String::new, |found| format!(" {found}"));
    let next = if asked.rollout {
        "tidegate rollout status --watch".to_owned()
    } else if asked.validate_first {
        format!("tidegate rollout start --to {arm}")
    } else {
        format!("tidegate validate {arm} && tidegate rollout start --to {arm}")
    };
    desk.steps.done(&format!("deployed{version} to the {arm}"), &next)
}

/// Records and tells what has failed, and how everything stands.
fn failed(desk: &mut Desk<'_>, asked: &Deploy, begun: Option<Begun>, failure: &Failure) -> Exit {
    let arm = desk.arm;
    if failure.step == "rollout" {
        let stands = format!("The version is deployed to the {arm} and works; it gets no work.");
        return desk.steps.failed(failure, &stands, &format!("tidegate rollout start --to {arm}"));
    }
    let Some(Begun { previous }) = begun else {
        let next = match failure.step {
            "users" => format!("tidegate drain {arm} --wait, and deploy again"),
            _ => "mend that, and deploy again".to_owned(),
        };
        return desk.steps.failed(failure, "Nothing was done.", &next);
    };
    let (version, before) = (asked.version.as_deref(), previous.as_deref());
    let detail = failure.detail();
    let told = Told { version, previous: before, detail: Some(&detail), force: asked.force };
    desk.end(Phase::Failed, told);
    let next = format!("mend it and deploy again, or `tidegate rollback {arm}`");
    let stands = stands(desk, UNTOUCHED);
    desk.steps.failed(failure, &stands, &next)
}

/// How everything stands after a failure; `words` are about the traffic.
pub(super) fn stands(desk: &Desk<'_>, words: &str) -> String {
    let traffic = match desk.status() {
        Ok(status) => format!("{words}: {}.", status.split),
        Err(error) => format!("How the traffic stands is not known: {error}."),
    };
    let (arm, there) = (desk.arm, desk.listening());
    let servers = if there.is_empty() {
        format!("No server of the {arm} listens.")
    } else {
        let there: Vec<String> = there.iter().map(ToString::to_string).collect();
        format!("Servers of the {arm} listen: {}.", there.join(", "))
    };
    format!("{traffic} {servers}")
}
