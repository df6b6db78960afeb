//! How rollouts, guards and evidence look in a terminal.
//!
//! Does not know: how they are asked for.

use std::time::Duration;

use serde_json::Value;

use crate::admin::wire::decide::{Decisions, EvidenceStatus, GuardStatus, Past, RolloutStatus};
use crate::judge::GuardState;
use crate::names::Arm;
use crate::rollout::RolloutState;

use super::confirm;

/// The rollout, the evidence and the guards.
pub(super) fn lines(decisions: &Decisions) -> Vec<String> {
    let mut lines = Vec::new();
    match &decisions.rollout {
        None => lines.push("rollout    none".to_owned()),
        Some(rollout) => rollout_lines(&mut lines, rollout),
    }
    lines.push(format!("split      {}  stable {}", decisions.split, decisions.stable));
    lines.extend(shut(decisions).map(|why| format!("           {why}")));
    if let Some(doubt) = &decisions.doubt {
        lines.push(format!("not on     {doubt}"));
    }
    if let Some(evidence) = &decisions.evidence {
        evidence_lines(&mut lines, evidence, decisions.stable.other());
    }
    for (at, guard) in decisions.guards.iter().enumerate() {
        lines.push(guard_line(if at == 0 { "guards" } else { "" }, guard));
        if let Some(forecast) = &guard.forecast {
            lines.push(format!("{:<28}  note: {forecast}", ""));
        }
    }
    if let Some(checklist) = &decisions.confirmation {
        lines.extend(confirm::lines(checklist));
    }
    lines.push(format!("can do     {}", decisions.verbs.join(", ")));
    lines
}

/// That an arm is shut, and what opens it.
fn shut(decisions: &Decisions) -> Option<String> {
    let arm = decisions.closed?;
    Some(if decisions.drained == Some(arm) {
        format!("the {arm} is DRAINED: it gets no new work at all, until tidegate undrain {arm}")
    } else {
        format!("the {arm} is SHUT: it gets no new work at all")
    })
}

/// The same for `status`: the rollout, and every guard that has something to say.
pub(super) fn short(decisions: &Decisions) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(rollout) = &decisions.rollout {
        rollout_lines(&mut lines, rollout);
    }
    lines.extend(shut(decisions).map(|why| format!("gate       {why}")));
    if let Some(doubt) = &decisions.doubt {
        lines.push(format!("not on     {doubt}"));
    }
    for status in &decisions.guards {
        let speaks =
            !matches!(status.state, GuardState::Armed | GuardState::Idle | GuardState::Off);
        if speaks || status.forecast.is_some() {
            lines.push(guard_line("guard", status));
            lines.extend(status.forecast.iter().map(|it| format!("{:<28}  note: {it}", "")));
        }
    }
    lines
}

fn rollout_lines(lines: &mut Vec<String>, rollout: &RolloutStatus) {
    let RolloutStatus { id, to, state, .. } = rollout;
    let mut line = format!("rollout    {id} to the {to}: {}", state.as_str());
    if let Some(step) = rollout.steps.get(rollout.step - 1).filter(|_| !state.is_over()) {
        line += &format!(
            ", step {} of {} ({} %), {} of {}",
            rollout.step,
            rollout.steps.len(),
            step.weight,
            time(Duration::from_millis(rollout.elapsed_ms)),
            time(step.hold)
        );
    }
    lines.push(line);
    if let Some(reason) = &rollout.reason {
        lines.push(format!("           started for: {reason}"));
    }
    if let Some(why) = &rollout.why {
        let what = match (state, rollout.guard) {
            (RolloutState::Holding, _) => {
                format!("waits since {}", time(Duration::from_millis(rollout.held_ms)))
            }
            (_, Some(guard)) => format!("guard {guard}"),
            _ => "because".to_owned(),
        };
        lines.push(format!("           {what}: {why}"));
    }
}

fn evidence_lines(lines: &mut Vec<String>, evidence: &EvidenceStatus, candidate: Arm) {
    let tests = evidence.tests.iter().map(|(test, e)| format!("{test} {}", number(*e)));
    lines.push(format!(
        "evidence   e {} (reverts at {:.0}): {}",
        number(evidence.e),
        evidence.reverts_at,
        tests.collect::<Vec<_>>().join(", ")
    ));
    let of = |arm: Arm| {
        let (calls, errors) = (evidence.calls.get(arm), evidence.errors.get(arm));
        format!(
            "{arm} {errors} errors in {calls} calls ({} its own fault)",
            evidence.faults.get(arm)
        )
    };
    lines.push(format!("           {}; {}", of(candidate), of(candidate.other())));
    if let Some((work, e)) = evidence.worst.as_ref().filter(|(_, e)| *e > 1.0) {
        lines.push(format!("           worst: {work} (e {})", number(*e)));
    }
    if let Some(speed) = evidence.performance {
        lines.push(format!(
            "           speed {:.0} % of the {}'s",
            speed * 100.0,
            candidate.other()
        ));
    }
    let EvidenceStatus { enough, clean_calls, more_calls, .. } = evidence;
    let enough = match (enough, more_calls) {
        (true, _) => "shown: less than 5 % of its calls fail".to_owned(),
        (false, Some(more)) if more == clean_calls => {
            format!("inconclusive: {more} more calls without a fault show that less than 5 % fail")
        }
        (false, Some(more)) => format!(
            "inconclusive: {more} more calls like these, or {clean_calls} without a fault, show that \
             less than 5 % fail"
        ),
        (false, None) => "inconclusive: at this rate of faults it will stay so".to_owned(),
    };
    lines.push(format!("           {enough}"));
}

fn guard_line(head: &str, status: &GuardStatus) -> String {
    let state = match status.state {
        GuardState::Fired => "FIRED",
        GuardState::CommonCause => "COMMON CAUSE",
        other => other.as_str(),
    };
    format!("{head:<10} {:<16}  {state}: {}", status.guard.as_str(), status.why)
}

/// One line of the past.
pub(super) fn past(past: &Past) -> String {
    let id = past.id.as_deref().unwrap_or("-");
    let to = past.to.map_or("-", Arm::as_str);
    let guard = past.guard.as_ref().map(|guard| format!(" by {guard}")).unwrap_or_default();
    let why = past.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let reason = past.reason.as_ref().map(|reason| format!("  ({reason})")).unwrap_or_default();
    format!("{:<6} {}  to {to:<9}  {}{guard}{why}{reason}", id, past.began, past.state)
}

/// The lines of one record.
pub(super) fn record(record: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let detail = &record["detail"];
    let weights = |split: &Value| {
        Some(format!("{}:{}", split["primary"].as_u64()?, split["secondary"].as_u64()?))
    };
    let mut line = format!(
        "{}  {:<14}",
        text(&record["at"]).unwrap_or_default(),
        text(&record["event"]).unwrap_or_default()
    );
    if let (Some(before), Some(after)) = (weights(&detail["before"]), weights(&detail["after"])) {
        let change = if before == after { after } else { format!("{before} -> {after}") };
        line += &format!("  {change}");
    }
    if let Some(by) = text(&record["by"]) {
        line += &format!("  {by}");
    }
    if let Some(why) = text(&detail["why"]) {
        line += &format!("  {why}");
    }
    let verdicts = detail["verdicts"].as_array().into_iter().flatten();
    let told = verdicts.filter(|it| it["state"] == "fired" || it["state"] == "common_cause");
    let mut lines = vec![line];
    lines.extend(told.map(|it| {
        format!("    {} {}: {}", it["guard"], it["state"], it["evidence"]).replace('"', "")
    }));
    lines
}

pub(super) fn time(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

fn number(e: f64) -> String {
    match e {
        e if e >= 1e4 => format!("{e:.1e}"),
        e if e >= 100.0 => format!("{e:.0}"),
        e => format!("{e:.2}"),
    }
}
