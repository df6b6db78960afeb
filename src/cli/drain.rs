//! `tidegate drain` and `undrain`: no new work for an arm, and when its servers can be stopped.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use http::Method;
use tokio::time::Instant;

use crate::admin::wire::Status;
use crate::admin::wire::operate::{Drain as Asked, DrainStatus, Drains};
use crate::config::Environment;
use crate::names::Arm;

use super::ask::{Router, failed, pause};
use super::health::span;
use super::{Common, Exit, complain, say, say_json};

#[derive(Debug, Args)]
pub(super) struct Drain {
    /// `primary` or `secondary` (default: that of --profile, else the one that is not stable)
    #[arg(value_name = "ARM")]
    arm: Option<Arm>,
    /// Wait until its servers can be stopped
    #[arg(long)]
    wait: bool,
    /// How long to wait at most
    #[arg(long, requires = "wait", value_name = "DURATION", value_parser = span)]
    timeout: Option<Duration>,
    /// Sessions that were idle for so long count as left
    #[arg(long, value_name = "DURATION", value_parser = span, default_value = "30m")]
    idle: Duration,
    /// Why; goes into the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Undrain {
    /// `primary` or `secondary` (default: that of --profile, else the one that is not stable)
    #[arg(value_name = "ARM")]
    arm: Option<Arm>,
}

/// The arm that is meant: the one named, or the one that can be drained at all.
pub(super) fn arm(common: &Common, router: &Router, named: Option<Arm>) -> Result<Arm, Exit> {
    if let Some(arm) = common.arm(named)? {
        return Ok(arm);
    }
    let status: Status = router
        .ask(Method::GET, "/v1/status", &serde_json::json!({}))
        .map_err(|error| failed(common, &error))?;
    Ok(status.stable.other())
}

pub(super) fn drain(common: &Common, environment: &Environment, asked: &Drain) -> Exit {
    let found = Router::find(common, environment)
        .and_then(|router| arm(common, &router, asked.arm).map(|arm| (router, arm)));
    let (router, arm) = match found {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    let idle_ms = u64::try_from(asked.idle.as_millis()).unwrap_or(u64::MAX);
    let wanted = Asked { arm, reason: asked.reason.clone(), idle_ms: Some(idle_ms) };
    let began = Instant::now();
    let mut answer = router.ask::<Drains>(Method::POST, "/v1/drain", &wanted);
    let is_watched = asked.wait && !common.json && std::io::stderr().is_terminal();
    loop {
        let drains = match answer {
            Ok(drains) => drains,
            Err(error) => return failed(common, &error),
        };
        let status = drains.get(arm);
        let is_late = asked.timeout.is_some_and(|limit| began.elapsed() >= limit);
        if status.safe || !asked.wait || is_late {
            if is_watched {
                let _ = write!(std::io::stderr(), "\r\x1b[K");
            }
            return show(common, arm, asked.idle, status);
        }
        if is_watched {
            let line = format!("draining the {arm}: {}", status.why.join(", "));
            let line: String = line.chars().take(100).collect();
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
        pause();
        let path = format!("/v1/drain?idle_ms={idle_ms}");
        answer = router.ask(Method::GET, &path, &serde_json::json!({}));
    }
}

fn show(common: &Common, arm: Arm, idle: Duration, status: &DrainStatus) -> Exit {
    if common.json {
        say_json(status);
    } else {
        let activity = status.last_activity.as_deref().unwrap_or("none since the router started");
        say(format_args!(
            "the {arm} is drained: {} sessions in use ({} idle), {} streams open, {} in flight, last activity {activity}",
            status.sessions, status.sessions_idle, status.streams, status.in_flight,
        ));
    }
    if status.safe {
        if !common.json {
            let idle = match humantime::format_duration(idle).to_string() {
                half_an_hour if half_an_hour == "30m" => String::new(),
                other => format!(" --idle {}", other.replace(' ', "")),
            };
            say(format_args!("its servers can be stopped: tidegate stop {arm}{idle}"));
        }
        return Exit::Yes;
    }
    if !common.json {
        complain(format_args!(
            "not safe to stop yet: {} (tidegate drain {arm} --wait waits for that)",
            status.why.join("; ")
        ));
    }
    Exit::Unknown
}

pub(super) fn undrain(common: &Common, environment: &Environment, asked: &Undrain) -> Exit {
    let found = Router::find(common, environment)
        .and_then(|router| arm(common, &router, asked.arm).map(|arm| (router, arm)));
    let (router, arm) = match found {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    let wanted = Asked { arm, reason: None, idle_ms: None };
    match router.ask::<Drains>(Method::POST, "/v1/drain/undo", &wanted) {
        Ok(drains) if common.json => say_json(drains.get(arm)),
        Ok(_) => say(format_args!(
            "the {arm} may get work again; its weight is 0 until it is given one: tidegate rollout start, or set-traffic-split"
        )),
        Err(error) => return failed(common, &error),
    };
    Exit::Yes
}
