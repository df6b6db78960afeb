//! The verbs of rollouts: start, steer, look, and look back.
//!
//! Does not know: connections, how a rollout goes.

mod level;

use std::path::Path;

use http::{Method, Request, StatusCode};
use hyper::body::Bytes;

use crate::admin::wire::decide::{
    Confirm, Decisions, EvidenceStatus, GuardStatus, Past, RolloutStatus, Shown, StartRollout,
    Steer,
};
use crate::control::ChangeError;
use crate::control::rollouts::Start;
use crate::judge::{Judgement, Opinion, Stratum};
use crate::mcp::shown::shown;
use crate::plane::Plane;
use crate::records::baselines::Baseline;
use crate::records::journal::{self, Actor, Order, Record};
use crate::rollout::{Plan, Rollout, RolloutState, Verb};
use crate::route::Tools;

use super::{Failure, body, elsewhere, failure, json, refused, states, unknown};

/// Where the verbs are.
pub(super) const PATHS: [&str; 2] = ["/v1/rollout", "/v1/history"];
/// Records of one rollout that are shown.
const RECORDS_MAX: usize = 10_000;
/// Characters of a reason that are kept.
const REASON_MAX: usize = 512;

/// Answers one request below [`PATHS`].
pub(super) async fn answer(
    plane: &Plane,
    actor: &Actor,
    request: &Request<Bytes>,
) -> Result<Bytes, Failure> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let state_dir = plane.table().config.state_dir.clone();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (&method, segments.as_slice()) {
        (&Method::GET, ["v1", "rollout"]) => {
            plane.collect().await;
            Ok(json(&decisions(plane)))
        }
        (&Method::POST, ["v1", "rollout", "start"]) => {
            let wanted = body(request)?;
            // The baseline from before is of all that was done before.
            plane.collect().await;
            // As it is before, but kept only of one that starts: those that are refused are many.
            let before = plane.exported();
            let mut started = start(plane, actor, wanted);
            if let Ok(decisions) = &mut started {
                let id = decisions.rollout.as_ref().map_or("", |rollout| &rollout.id);
                let reason = format!("rollout {id}");
                if let Err((_, why)) = states::keep(plane, actor, &reason, before).await {
                    tracing::error!(why = why.error, "there is no backup of before the rollout");
                    // The journal has the state of before, too.
                    let none = "there is NO backup of configuration and state from before";
                    decisions.warning = Some(format!("{none}: {}", why.error));
                }
            }
            started.map(|done| json(&done)).map_err(failure)
        }
        (&Method::GET, ["v1", "rollout", "confirmation"]) => {
            plane.collect().await;
            let other = without_rollout(plane).await?;
            let checklist = plane.confirmation(other.as_ref());
            let why_not = || refused(StatusCode::CONFLICT, &plane.why_not());
            checklist.map(|it| json(&it)).ok_or_else(why_not)
        }
        (&Method::POST, ["v1", "rollout", "confirm"]) => {
            let Confirm { expected_revision, force } = body(request)?;
            let other = without_rollout(plane).await?;
            let done = plane.confirm(actor, expected_revision, force, other.as_ref());
            done.map(|()| json(&decisions(plane))).map_err(failure)
        }
        (&Method::POST, ["v1", "rollout", verb]) => {
            let asked: Steer = body(request)?;
            match steer(plane, actor, verb, asked) {
                Some(done) => done.map(|done| json(&done)).map_err(failure),
                None => Err(unknown(request)),
            }
        }
        (&Method::GET, ["v1", "history"]) => {
            let past = elsewhere("the journal", move || history(&state_dir)).await?;
            Ok(json(&past))
        }
        (&Method::GET, ["v1", "history", id]) => {
            let id = (*id).to_owned();
            let id_shown = shown(&id, 32);
            let none = format!(
                "there is no rollout `{id_shown}` in the journal: see `tidegate rollout history`"
            );
            let found = elsewhere("the journal", move || show(&state_dir, &id)).await?;
            found.map(|it| json(&it)).ok_or_else(|| refused(StatusCode::NOT_FOUND, &none))
        }
        _ => Err(unknown(request)),
    }
}

/// The baseline that a split set by hand is measured against: the newest of the stable arm.
async fn without_rollout(plane: &Plane) -> Result<Option<Baseline>, Failure> {
    if plane.control().running().is_some() {
        return Ok(None);
    }
    let stable = plane.table().stable;
    super::baselines::newest(plane, Some(stable)).await
}

/// What is going on, and what can be done now.
pub(in crate::admin) fn decisions(plane: &Plane) -> Decisions {
    let table = plane.table();
    let control = plane.control();
    let rollout = control.rollout();
    let judgement = plane.judgement();
    let verbs = rollout.map_or_else(|| vec!["start"], Rollout::verbs);
    Decisions {
        rollout: rollout.map(status),
        verbs: verbs.into_iter().map(str::to_owned).collect(),
        stable: table.stable,
        closed: table.closed.map(|closed| closed.arm),
        drained: control.drained(),
        split: table.split,
        guards: judgement.as_ref().map(|it| guards(plane, it)).unwrap_or_default(),
        doubt: plane.doubt(),
        evidence: judgement
            .as_ref()
            .filter(|_| table.split.weight(table.stable.other()) > 0)
            .map(|it| evidence(it, plane.reverts_at(), &table.tools)),
        confirmation: control.running().and_then(|_| plane.confirmation(None)),
        warning: None,
    }
}

fn status(rollout: &Rollout) -> RolloutStatus {
    RolloutStatus {
        id: rollout.id.clone(),
        to: rollout.to,
        state: rollout.state,
        step: rollout.step + 1,
        steps: rollout.plan.steps.clone(),
        elapsed_ms: rollout.elapsed.as_millis() as u64,
        held_ms: rollout.held().as_millis() as u64,
        reason: rollout.reason.clone(),
        why: rollout.why.clone(),
        guard: rollout.guard,
    }
}

fn guards(plane: &Plane, judgement: &Judgement) -> Vec<GuardStatus> {
    let one = |opinion: &Opinion| GuardStatus {
        guard: opinion.guard,
        state: opinion.state,
        why: opinion.why.clone(),
        level: level::level(opinion),
        forecast: plane.forecast(opinion.guard),
    };
    judgement.guards.iter().map(one).collect()
}

fn evidence(judgement: &Judgement, reverts_at: f64, tools: &Tools) -> EvidenceStatus {
    let told = &judgement.told;
    EvidenceStatus {
        e: told.total,
        reverts_at,
        tests: told.tests.iter().map(|(test, e)| (test.as_str().to_owned(), *e)).collect(),
        worst: told.worst.map(|(stratum, e)| (name(stratum, tools), e)),
        calls: told.calls.clone(),
        errors: told.errors.clone(),
        faults: told.faults.clone(),
        performance: told.performance,
        odds_ratio: told.odds_ratio,
        fault_rate: told.fault_rate,
        enough: told.promotion.passes,
        clean_calls: told.promotion.clean_calls,
        more_calls: told.promotion.more_calls,
    }
}

fn name(stratum: Stratum, tools: &Tools) -> String {
    let tool = tools.text(stratum.tool);
    if tool.is_empty() { stratum.method.as_str().to_owned() } else { tool.to_owned() }
}

/// Starts a rollout.
fn start(plane: &Plane, actor: &Actor, wanted: StartRollout) -> Result<Decisions, ChangeError> {
    let table = plane.table();
    let defaults = &table.config.rollout;
    let plan = match &wanted.plan {
        Some(text) => Plan::parse(text, defaults).map_err(ChangeError::Plan)?,
        None => Plan::from_config(defaults),
    };
    let StartRollout { to, reason, allow_breaking, .. } = wanted;
    let to = to.unwrap_or(table.stable.other());
    let reason = reason.map(|reason| bounded(&reason));
    plane.start_rollout(actor, Start { to, plan, reason, allow_breaking })?;
    Ok(decisions(plane))
}

/// Carries out a verb; `None` if there is no such verb.
fn steer(
    plane: &Plane,
    actor: &Actor,
    verb: &str,
    asked: Steer,
) -> Option<Result<Decisions, ChangeError>> {
    let reason = asked.reason.map(|reason| bounded(&reason));
    let is_at = plane.control().rollout().map(|rollout| rollout.step + 1);
    if let (Some(expected), Some(step), "promote") = (asked.expected_step, is_at, verb)
        && expected != step
    {
        return Some(Err(ChangeError::Gates(vec![format!(
            "the rollout is in step {step} and no more in step {expected}; look again and repeat"
        )])));
    }
    let verb = match verb {
        "pause" => Verb::Pause,
        "resume" => Verb::Resume,
        "promote" if asked.full => Verb::PromoteFull,
        "promote" => Verb::Promote,
        "abort" => Verb::Abort { reason },
        "undo" => Verb::Undo { reason },
        _ => return None,
    };
    Some(plane.steer(actor, verb).map(|()| decisions(plane)))
}

/// The rollouts and reverts of the past, the newest first.
fn history(state_dir: &Path) -> std::io::Result<Vec<Past>> {
    let mut all: Vec<Past> = Vec::new();
    for record in journal::read(state_dir, Order::OldestFirst)? {
        let record = record?;
        let text = |key: &str| record.detail[key].as_str().map(str::to_owned);
        match (record.event.as_str(), text("rollout")) {
            ("rollout-start", id) => all.push(Past {
                id,
                began: record.at.clone(),
                ended: None,
                by: record.actor.to_string(),
                to: record.detail["to"].as_str().and_then(|to| to.parse().ok()),
                state: "progressing".to_owned(),
                reason: text("why"),
                why: None,
                guard: None,
            }),
            ("revert", None) => all.push(Past {
                id: by_hand(&record),
                began: record.at.clone(),
                ended: Some(record.at.clone()),
                by: record.actor.to_string(),
                to: record.detail["to"].as_str().and_then(|to| to.parse().ok()),
                state: "reverted".to_owned(),
                reason: None,
                why: text("why"),
                guard: text("guard"),
            }),
            (_, Some(id)) => {
                let same = |past: &&mut Past| past.id.as_ref() == Some(&id);
                let Some(past) = all.iter_mut().rev().find(same) else { continue };
                let Some(state) = text("state") else { continue };
                let is_over =
                    RolloutState::ALL.into_iter().any(|it| it.is_over() && it.as_str() == state);
                if is_over {
                    past.ended = Some(record.at.clone());
                    past.why = text("why").filter(|_| state != "promoted");
                    past.guard = text("guard");
                }
                past.state = state;
            }
            _ => {}
        }
    }
    all.reverse();
    Ok(all)
}

/// The name of the revert of a split that was set by hand.
fn by_hand(record: &Record) -> Option<String> {
    let is_one = record.event == "revert" && record.detail["rollout"].is_null();
    let revision = record.state.as_ref()?["revision"].as_u64()?;
    is_one.then(|| format!("s{revision}"))
}

/// Every record of a rollout, or that of a revert; `None` if there is none of that name.
fn show(state_dir: &Path, id: &str) -> std::io::Result<Option<Shown>> {
    let mut records = Vec::new();
    for record in journal::read(state_dir, Order::OldestFirst)? {
        let record = record?;
        let is_meant = record.detail["rollout"] == id || by_hand(&record).as_deref() == Some(id);
        if is_meant && record.event != "clock" && records.len() < RECORDS_MAX {
            let by = record.actor.to_string();
            let mut value = serde_json::to_value(&record).unwrap_or_default();
            value["by"] = by.into();
            records.push(value);
        }
    }
    Ok((!records.is_empty()).then(|| Shown { id: id.to_owned(), records }))
}

/// A text for the journal, not longer than anybody reads.
pub(super) fn bounded(text: &str) -> String {
    shown(text, REASON_MAX)
}
