//! The arms: what each is, gets and does.
//!
//! The first lines are those that matter most, for a screen that has room for no more. Does not
//! know: the other panels.

use ratatui::text::{Line, Span};

use crate::admin::wire::ArmStatus;
use crate::names::Arm;

use super::super::figures;
use super::super::model::Model;
use super::parts::{Look, condensed, cut, millis, percent, spark};

/// A column is narrow below so many cells: then it has fewer words.
const NARROW: u16 = 36;

/// With less room a server has no name.
const SERVER: usize = 6;

/// The lines of an arm. Where the arms are stacked, its second line says the most.
pub(super) fn column(
    model: &Model,
    look: Look,
    arm: Arm,
    width: u16,
    stacked: bool,
) -> Vec<Line<'static>> {
    let its = model.status.arms.get(arm);
    let minute = &its.last_minute;
    let narrow = width < NARROW;
    let rate = format!("{:.1}/s ", minute.per_second);
    let cells = usize::from(width).saturating_sub(rate.len() + 1);
    let rates = condensed(&model.rates(arm), cells);
    // Both on one scale, so that they can be compared.
    let top = Arm::ALL.iter().flat_map(|arm| model.rates(*arm)).flatten().fold(0.0, f64::max);
    let errors = figures::error_share(minute);
    let own = (minute.exchanges > 0).then(|| minute.faults as f64 / minute.exchanges as f64);
    let worry = match errors {
        Some(share) if share >= 0.05 => look.bad(),
        Some(share) if share >= 0.01 => look.doubtful(),
        _ => ratatui::style::Style::new(),
    };
    let times = minute.tool_calls.map(|it| (it.p50_ms, it.p95_ms)).unzip();
    let (p50, p95) = (millis(times.0), millis(times.1));
    let outcomes = minute.outcomes.iter().filter(|(outcome, _)| *outcome != "ok");
    let others: Vec<_> = outcomes.map(|(outcome, count)| format!("{outcome} {count}")).collect();
    let good = minute.outcomes.get("ok").unwrap_or(&0);
    let words = if narrow {
        [format!("err {} own {}", percent(errors), percent(own)), format!("p50 {p50} p95 {p95}")]
    } else {
        let errors = format!("errors {}, its own faults {}", percent(errors), percent(own));
        [errors, format!("tool calls p50 {p50}  p95 {p95}")]
    };
    let [errors, times] = words;
    let sessions = format!("sessions {}  streams {}", its.sessions_active, its.streams_open);
    let mut gets = vec![Span::raw(weight(its, narrow))];
    if stacked {
        gets.push(Span::raw(format!("{rate} ")));
    }
    gets.push(health(its, look));
    let mut lines = vec![
        heading(model, look, arm, width),
        Line::from(gets),
        Line::styled(errors, worry),
        Line::raw(times),
        Line::from(vec![Span::raw(rate), Span::styled(spark(&rates, cells, top), look.arm(arm))]),
        Line::raw(format!("ok {good}  {}", others.join("  "))),
        Line::raw(sessions),
    ];
    if !stacked {
        let rate = lines.remove(4);
        lines.insert(2, rate);
    }
    lines
}

fn heading(model: &Model, look: Look, arm: Arm, width: u16) -> Line<'static> {
    let role = if arm == model.candidate() { "CANDIDATE" } else { "stable" };
    let mut text = vec![Span::styled(arm.as_str(), look.arm(arm))];
    if let Some(server) = &model.status.arms.get(arm).server {
        let room = usize::from(width).saturating_sub(arm.as_str().len() + role.len() + 4);
        let server = cut(&format!("{} {}", server.name, server.version), room);
        text.extend((room >= SERVER).then(|| Span::raw(format!("  {server}"))));
    }
    text.push(Span::raw(format!(" {role}")));
    look.heading(text, width)
}

fn weight(its: &ArmStatus, narrow: bool) -> String {
    let really = (its.effective_weight - f64::from(its.weight)).abs() >= 0.005;
    match (really, narrow) {
        (false, true) => format!("{}%  ", its.weight),
        (false, false) => format!("weight {} %  ", its.weight),
        (true, true) => format!("{}% ({:.0}%)  ", its.weight, its.effective_weight),
        (true, false) => format!("weight {} % (really {} %)  ", its.weight, its.effective_weight),
    }
}

/// How many of its servers are up.
fn health(its: &ArmStatus, look: Look) -> Span<'static> {
    let known: Vec<_> = its.endpoints.iter().filter_map(|it| it.health.as_ref()).collect();
    let up = known.iter().filter(|health| health.up).count();
    match known.first() {
        None => Span::styled("health unknown", look.faint()),
        Some(_) if up == its.endpoints.len() => Span::styled(format!("up {up}/{up}"), look.good()),
        Some(_) => {
            let bad = known.iter().find(|health| !health.up);
            let why = bad.map(|health| format!(": {}", health.verdict)).unwrap_or_default();
            Span::styled(format!("UP {up}/{}{why}", its.endpoints.len()), look.bad())
        }
    }
}
