//! What is judged: the rollout and its step, the evidence, every guard.
//!
//! Does not know: the other panels.

use std::cmp::Reverse;
use std::time::Duration;

use ratatui::text::{Line, Span};

use crate::admin::wire::decide::{EvidenceStatus, GuardStatus, RolloutStatus};
use crate::judge::GuardState;
use crate::names::Guard;

use super::super::model::Model;
use super::parts::{Look, bar, time, wrapped};

/// Below so many columns a guard has fewer words.
const NARROW: u16 = 44;

/// The rollout: its step, its time, what it waits for.
pub(super) fn rollout(model: &Model, look: Look, width: u16) -> Vec<Line<'static>> {
    let decisions = &model.status.decisions;
    let mut lines = Vec::new();
    match &decisions.rollout {
        None => lines.push(look.heading(vec![Span::raw("no rollout")], width)),
        Some(rollout) => {
            let word = if width < NARROW { "" } else { "rollout " };
            let id = format!("{word}{} to ", rollout.id);
            let to = Span::styled(rollout.to.as_str(), look.arm(rollout.to));
            lines.push(look.heading(vec![Span::raw(id), to], width));
            step(&mut lines, rollout, width);
        }
    }
    let why = decisions.rollout.as_ref().and_then(|rollout| {
        let guard = rollout.guard.map(|guard| format!("guard {guard}: ")).unwrap_or_default();
        rollout.why.as_ref().map(|why| format!("{guard}{why}"))
    });
    let doubt = decisions.doubt.as_ref().filter(|doubt| Some(*doubt) != why.as_ref());
    let shut = decisions.closed.map(|arm| {
        let state = if decisions.drained == Some(arm) { "DRAINED" } else { "SHUT" };
        format!("the {arm} is {state}: no new work")
    });
    let mut told = |text: Option<String>, style| {
        let texts = text.map(|text| wrapped(&text, usize::from(width))).unwrap_or_default();
        lines.extend(texts.into_iter().map(|text| Line::styled(text, style)));
    };
    told(shut, look.bad());
    told(why, look.doubtful());
    told(doubt.map(|doubt| format!("not on: {doubt}")), look.doubtful());
    if lines.len() == 1 {
        lines.push(Line::raw(format!("can do: {}", decisions.verbs.join(", "))));
    }
    lines
}

fn step(lines: &mut Vec<Line<'static>>, rollout: &RolloutStatus, width: u16) {
    let Some(step) =
        rollout.steps.get(rollout.step.saturating_sub(1)).filter(|_| !rollout.state.is_over())
    else {
        lines.push(Line::raw(rollout.state.to_string()));
        return;
    };
    let (steps, state) = (rollout.steps.len(), rollout.state);
    let word = if width < NARROW { "" } else { "step " };
    let at = format!("{word}{}/{steps} {}% {state}", rollout.step, step.weight);
    let watched = Duration::from_millis(rollout.elapsed_ms);
    let clock = format!("{} of {}", time(watched), time(step.hold));
    let share = watched.as_secs_f64() / step.hold.as_secs_f64().max(0.001);
    let room = usize::from(width).saturating_sub(at.len() + clock.len() + 4);
    if room >= 4 {
        lines.push(Line::raw(format!("{at}  {} {clock}", bar(room.min(20), share))));
    } else {
        lines.push(Line::raw(at));
        lines.push(Line::raw(clock));
    }
    if rollout.held_ms > 0 {
        lines.push(Line::raw(format!(
            "waits since {}",
            time(Duration::from_millis(rollout.held_ms))
        )));
    }
}

/// The evidence, and every guard with its gauge: those that say something first.
pub(super) fn guards(model: &Model, look: Look, width: u16, full: bool) -> Vec<Line<'static>> {
    let decisions = &model.status.decisions;
    let mut guards: Vec<&GuardStatus> = decisions.guards.iter().collect();
    guards.sort_by_key(|status| Reverse(urgency(status.state)));
    let mut lines = vec![look.heading(vec![Span::raw("guards")], width)];
    if let Some(evidence) = &decisions.evidence {
        lines.extend(weighed(evidence, look, width));
    }
    if guards.is_empty() {
        lines.push(Line::styled("no guard has looked yet", look.faint()));
    }
    for status in guards {
        lines.push(guard(status, look, width, full));
        let forecast = status.forecast.as_ref().map(|forecast| format!("note: {forecast}"));
        for text in [Some(status.why.clone()), forecast].into_iter().flatten().filter(|_| full) {
            let texts = wrapped(&text, usize::from(width).saturating_sub(2)).into_iter();
            lines.extend(texts.map(|text| Line::styled(format!("  {text}"), look.faint())));
        }
    }
    lines
}

fn urgency(state: GuardState) -> u8 {
    match state {
        GuardState::Fired => 5,
        GuardState::CommonCause => 4,
        GuardState::Armed => 3,
        GuardState::Cannot => 2,
        GuardState::Idle => 1,
        GuardState::Off => 0,
    }
}

/// The e-value on a logarithmic scale to where the gate shuts, and what it is worst at.
fn weighed(evidence: &EvidenceStatus, look: Look, width: u16) -> Vec<Line<'static>> {
    let level = evidence.e.max(1.0).ln() / evidence.reverts_at.max(1.001).ln();
    let numbers = format!(" e {} of {:.0}", number(evidence.e), evidence.reverts_at);
    let head = if width < NARROW { "ev. " } else { "evidence         " };
    let cells = usize::from(width).saturating_sub(head.len() + numbers.len()).min(24);
    let gauge = Span::styled(bar(cells, level), look.level(level));
    let mut lines = vec![Line::from(vec![Span::raw(head), gauge, Span::raw(numbers)])];
    if let Some((work, e)) = evidence.worst.as_ref().filter(|(_, e)| *e > 1.0) {
        let speed = evidence.performance;
        let speed = speed.map(|it| format!(", speed {:.0}%", it * 100.0)).unwrap_or_default();
        lines.push(Line::raw(format!("  worst: {work} (e {}){speed}", number(*e))));
    }
    lines
}

fn guard(status: &GuardStatus, look: Look, width: u16, full: bool) -> Line<'static> {
    let (word, style) = match status.state {
        GuardState::Fired => ("FIRED", look.bad()),
        GuardState::CommonCause => ("COMMON CAUSE", look.bad()),
        GuardState::Cannot => ("cannot tell", look.doubtful()),
        GuardState::Armed => ("armed", look.good()),
        GuardState::Idle => ("idle", look.faint()),
        GuardState::Off => ("off", look.faint()),
    };
    let gauge = |cells| match status.level {
        Some(level) => Span::styled(bar(cells, level), look.level(level)),
        None => Span::styled("·".repeat(cells), look.faint()),
    };
    if width < NARROW {
        let name = match status.guard {
            Guard::HealthFailures => "health",
            Guard::ErrorRate => "errors",
            Guard::Performance => "speed",
            Guard::SecurityAlert => "alert",
            Guard::Sequential => "evidence",
        };
        let head = Span::raw(format!("{name:<8} "));
        return Line::from(vec![head, gauge(4), Span::styled(format!(" {word}"), style)]);
    }
    let mut line = Line::from(vec![
        Span::raw(format!("{:<16} ", status.guard.as_str())),
        gauge(10),
        Span::styled(format!(" {word:<6}"), style),
    ]);
    if !full {
        line.push_span(Span::styled(format!(" {}", status.why), look.faint()));
    }
    line
}

/// An e-value; the larger, the fewer digits.
pub(in crate::cli::monitor) fn number(e: f64) -> String {
    match e {
        e if e >= 1e4 => format!("{e:.0e}"),
        e if e >= 100.0 => format!("{e:.0}"),
        e => format!("{e:.1}"),
    }
}
