//! How `tidegate status` looks in a terminal.

use std::cmp::Reverse;
use std::time::Duration;

use crate::admin::wire::{ArmStatus, CatalogueStatus, EndpointStatus, Latency, Minute, Status};
use crate::names::Arm;

use super::{alert, say};

/// Open alerts that are shown.
const ALERTS_SHOWN: usize = 5;

/// Shows the status; `false` when nobody reads it any more.
pub(super) fn show(status: &Status) -> bool {
    lines(status).iter().all(say)
}

fn lines(status: &Status) -> Vec<String> {
    let up = humantime::format_duration(Duration::from_secs(status.uptime_seconds));
    let config = status.config.as_deref().unwrap_or("none (defaults)");
    let profile =
        status.profile.as_ref().map(|name| format!("  profile {name}")).unwrap_or_default();
    let metrics = status.metrics.as_deref().unwrap_or("off");
    let mut lines = vec![
        format!("tidegate {}  up {up}  pid {}", status.version, status.pid),
        format!("config     {config}{profile}"),
    ];
    if let Some(it) = &status.stopping {
        lines.push(format!(
            "STOPPING   calls in flight {}, streams {}, connections {}; at most {} s more",
            it.calls, it.streams, it.connections, it.seconds_left
        ));
    }
    if let Some(why) = &status.last_reload.why {
        lines.push(format!("reload     REFUSED at {}: {why}", status.last_reload.at));
    }
    let notified =
        status.alerts_listen.as_ref().map(|at| format!("  alerts {at}")).unwrap_or_default();
    let tls = |tls: bool| if tls { " (TLS)" } else { "" };
    let listen = format!("{}{}", status.listen.join(", "), tls(status.tls));
    let metrics = format!("{metrics}{}", tls(status.metrics_tls));
    lines.push(format!("listen     {listen}  metrics {metrics}{notified}"));
    lines.extend(certificates(status));
    lines.push(format!(
        "split      {}  revision {}, set by {} at {}",
        status.split, status.revision, status.split_set_by, status.split_set_at
    ));
    lines.extend(alerts(status));
    lines.extend(memory(status));
    if status.nothing_healthy {
        lines.push(format!(
            "health     NOTHING IS HEALTHY: new work goes to the {} anyway",
            status.stable
        ));
    }
    if let Some(catalogue) = &status.catalogue {
        lines.push(format!("catalogue  {}", differences(catalogue)));
    }
    lines.extend(super::decide::short(&status.decisions));
    for arm in Arm::ALL {
        arm_lines(&mut lines, arm, status.arms.get(arm));
    }
    lines
}

/// Each with the days that are left, and what is wrong with new ones.
fn certificates(status: &Status) -> Vec<String> {
    let shown = status.certificates.iter().map(|it| {
        let soon = if it.overdue { "  RENEW IT" } else { "" };
        let (names, days) = (it.names.join(", "), it.days_left);
        format!("  {}: {names}, {days} days left, {}{soon}", it.used_by, it.file)
    });
    let fault = status.certificate_fault.iter().map(|why| format!("  NOT TAKEN OVER: {why}"));
    let mark = |(at, line): (usize, String)| match at {
        0 => format!("tls      {line}"),
        _ => format!("         {line}"),
    };
    shown.chain(fault).enumerate().map(mark).collect()
}

/// The worst first, and not so many that the rest of the status is out of sight.
fn alerts(status: &Status) -> Vec<String> {
    let mut open: Vec<_> = status.alerts.iter().map(|open| &open.alert).collect();
    open.sort_by_key(|alert| (Reverse(alert.severity), alert.id));
    let mut lines: Vec<_> =
        open.iter().take(ALERTS_SHOWN).flat_map(|it| alert::lines(it)).collect();
    if open.len() > ALERTS_SHOWN {
        lines.push(format!(
            "      and {} more (see tidegate alert list)",
            open.len() - ALERTS_SHOWN
        ));
    }
    let mark = |(at, line): (usize, String)| match at {
        0 => format!("alerts{line}"),
        _ => format!("      {line}"),
    };
    lines.into_iter().enumerate().map(mark).collect()
}

/// Nothing while there is enough.
fn memory(status: &Status) -> Option<String> {
    let memory = &status.memory;
    let shed = match memory {
        it if it.sheds_everything => "every request is refused",
        it if it.sheds_new_work => "new connections, and requests without a session, are refused",
        it if it.sheds_connections => "new connections are refused",
        _ => return None,
    };
    let mebibytes = [memory.resident, memory.limit].map(|bytes| bytes >> 20);
    Some(format!("memory     SHORT: {} of {} MiB, {shed}", mebibytes[0], mebibytes[1]))
}

fn differences(catalogue: &CatalogueStatus) -> String {
    if catalogue.changes.is_empty() {
        return "both arms offer the same".to_owned();
    }
    let counts =
        catalogue.changes.iter().rev().map(|(class, count)| format!("{count} {}", class.as_str()));
    format!("{} (see tidegate diff)", counts.collect::<Vec<_>>().join(", "))
}

fn arm_lines(lines: &mut Vec<String>, arm: Arm, its: &ArmStatus) {
    let real = if (its.effective_weight - f64::from(its.weight)).abs() < 0.005 {
        String::new()
    } else {
        format!(" (really {} %)", its.effective_weight)
    };
    let server = its
        .server
        .as_ref()
        .map(|server| format!("  {} {}", server.name, server.version))
        .unwrap_or_default();
    lines.push(format!("{:<9} {:>3} %{real}{server}", arm.as_str(), its.weight));
    lines.push(format!(
        "           sessions {} active, {} opened  streams {}",
        its.sessions_active, its.sessions_opened, its.streams_open
    ));
    lines.push(format!("           last minute  {}", minute(&its.last_minute)));
    if let Some(latency) = &its.last_minute.tool_calls {
        lines.push(format!("           tool calls   {}", times(latency)));
    }
    lines.extend(its.endpoints.iter().map(endpoint));
    lines.extend(its.leaving.iter().map(|it| format!("{}, leaving: sessions only", endpoint(it))));
}

fn minute(minute: &Minute) -> String {
    let mut text = format!("{} exchanges, {}/s", minute.exchanges, minute.per_second);
    for (outcome, count) in &minute.outcomes {
        text += &format!("  {outcome} {count}");
    }
    if minute.failed_attempts > 0 {
        text += &format!("  (failed attempts {})", minute.failed_attempts);
    }
    text
}

fn times(latency: &Latency) -> String {
    format!("p50 {} ms  p95 {} ms  p99 {} ms", latency.p50_ms, latency.p95_ms, latency.p99_ms)
}

fn endpoint(endpoint: &EndpointStatus) -> String {
    let health = match &endpoint.health {
        None => "not looked at yet".to_owned(),
        Some(health) => {
            let works = ["healthy", "unauthenticated"].contains(&health.verdict.as_str());
            let state = match (health.up, works) {
                (true, true) => "up",
                // Not often enough for a verdict.
                (true, false) => "up, last handshake",
                (false, true) => "DOWN, last handshake",
                (false, false) => "DOWN",
            };
            let eras = health.eras.join("+");
            let suspect = if health.suspect { ", suspect" } else { "" };
            let slow = if health.up && endpoint.fitness < 1.0 {
                format!(", coming back: {:.0} % of its share", endpoint.fitness * 100.0)
            } else {
                String::new()
            };
            let why = if health.verdict == "healthy" {
                format!("{eras}, {:.1} ms", health.took_ms)
            } else {
                health.why.clone()
            };
            format!("{state}: {} ({why}){suspect}{slow}", health.verdict)
        }
    };
    let health = match &endpoint.ejected {
        Some(out) => format!("OUT until {}: {}; {health}", out.until, out.why),
        None => health,
    };
    let room = endpoint.room;
    let full = if room.limit > 0 && room.taken >= room.limit {
        format!(" (FULL: limit {}, {} waiting)", room.limit, room.queued)
    } else {
        String::new()
    };
    format!("           {}  in flight {}{full}  {health}", endpoint.url, endpoint.in_flight)
}
