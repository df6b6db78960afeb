//! `tidegate alert`: raise, list and clear security alerts.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::admin::wire::OpenAlert;
use crate::admin::wire::alerts::{AlertChanged, AlertList, ClearAlert, RaiseAlert};
use crate::alerts::{Alert, Report, Severity};
use crate::config::Environment;

use super::ask::{Router, failed};
use super::{Common, Exit, complain, refuse, say, say_json};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say that something is dangerous; a critical alert holds until somebody clears it
    #[command(
        after_help = "The same source and reason again count up the alert that is open.\n\nExample: tidegate alert raise --severity critical --source trivy --reason \"CVE-2026-1234 in the image of 2.0.0\""
    )]
    Raise(Raise),
    /// Show the alerts that are open
    #[command(
        after_help = "Exit codes: 0 no critical alert is open; 1 one is.\n\nExample: tidegate alert list --all"
    )]
    List(List),
    /// Say that an alert is no danger any more, and why
    #[command(
        after_help = "An alert of Alertmanager that goes on firing is raised again by its next notification: silence it there first.\n\nExample: tidegate alert clear 3 --reason \"false alarm: the token was a test's\""
    )]
    Clear(Clear),
}

#[derive(Debug, Args)]
pub(super) struct Raise {
    /// info, warning, high or critical
    #[arg(long, value_parser = severity)]
    severity: Severity,
    /// Who or what found it
    #[arg(long)]
    source: String,
    /// What is wrong
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Those that were cleared, too
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Clear {
    /// Its number, from the list
    id: u64,
    /// Why it is no danger any more
    #[arg(long)]
    reason: String,
}

fn severity(word: &str) -> Result<Severity, String> {
    Severity::parse(word).ok_or_else(|| "must be info, warning, high or critical".to_owned())
}

pub(super) fn run(common: &Common, environment: &Environment, verb: Verb) -> Exit {
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    match verb {
        Verb::Raise(wanted) => raise(common, &router, wanted),
        Verb::List(asked) => list(common, &router, &asked),
        Verb::Clear(wanted) => clear(common, &router, wanted),
    }
}

fn raise(common: &Common, router: &Router, wanted: Raise) -> Exit {
    let Raise { severity, source, reason } = wanted;
    if let Err(error) = Report::new(severity, &source, &reason) {
        return refuse(common, error);
    }
    let wanted = RaiseAlert { severity, source, reason };
    match router.ask::<AlertChanged>(Method::POST, "/v1/alerts", &wanted) {
        Ok(raised) => changed(common, &raised),
        Err(error) => failed(common, &error),
    }
}

fn clear(common: &Common, router: &Router, wanted: Clear) -> Exit {
    let wanted = ClearAlert { id: wanted.id, reason: wanted.reason };
    match router.ask::<AlertChanged>(Method::POST, "/v1/alerts/clear", &wanted) {
        Ok(cleared) => changed(common, &cleared),
        Err(error) => failed(common, &error),
    }
}

fn changed(common: &Common, changed: &AlertChanged) -> Exit {
    if common.json {
        say_json(changed);
    } else {
        show(&changed.alert);
        if !changed.recorded {
            complain(
                "warning: it holds, but the disk did not record it: a restart forgets it (see the router's log)",
            );
        }
    }
    Exit::Yes
}

fn list(common: &Common, router: &Router, asked: &List) -> Exit {
    let listed = match router.ask::<AlertList>(Method::GET, "/v1/alerts", &json!({})) {
        Ok(listed) => listed,
        Err(error) => return failed(common, &error),
    };
    let AlertList { mut alerts, left_out } = listed;
    alerts.retain(|alert| asked.all || alert.is_open());
    let is_critical = |alert: &Alert| alert.is_open() && alert.severity == Severity::Critical;
    let exit = if alerts.iter().any(is_critical) { Exit::No } else { Exit::Yes };
    if common.json {
        say_json(&AlertList { alerts, left_out });
        return exit;
    }
    if alerts.is_empty() {
        say(if asked.all { "no alerts" } else { "no alert is open" });
    }
    alerts.iter().all(show);
    if left_out > 0 {
        say(format_args!("{left_out} more found no room in the list"));
    }
    exit
}

/// Shows one alert on its lines; `false` when nobody reads them.
fn show(alert: &Alert) -> bool {
    lines(alert).iter().all(say)
}

/// What an alert is, and what clears it or has.
pub(super) fn lines(alert: &Alert) -> [String; 2] {
    let again = match alert.count {
        1 => String::new(),
        count => format!(", {count} times, last at {}", alert.last_at),
    };
    let end = match &alert.cleared {
        Some(cleared) => format!("cleared at {} by {}: {}", cleared.at, cleared.by, cleared.reason),
        None => format!("open; clears it: {}", OpenAlert::from(alert.clone()).clears),
    };
    [
        format!(
            "{:>4}  {:<8}  {}: {} (since {}, by {}{again})",
            alert.id,
            alert.severity.as_str(),
            alert.source,
            alert.reason,
            alert.raised_at,
            alert.raised_by
        ),
        format!("      {end}"),
    ]
}
