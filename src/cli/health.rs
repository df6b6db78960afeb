//! `tidegate health-check`: one handshake with each endpoint, shown step by step, and a session
//! held for a while; from the configuration alone, so that it works without a running router.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::config::{self, Config, Environment, units};
use crate::dns;
use crate::health::handshake::{self, Memory};
use crate::health::hold::{Held, hold};
use crate::health::{Probe, Subject, Verdict};
use crate::names::{Arm, BadName};

use super::signals::Signals;
use super::{Common, Exit, complain, no_runtime, refuse, runtime, say, say_json};

/// What the ends of our sessions may take after everything else.
pub(super) const FAREWELLS_MAX: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct HealthCheck {
    /// `primary` or `secondary` (default: that of `--profile`, else both)
    #[arg(value_name = "ARM")]
    arm: Option<Arm>,
    /// For each whole handshake (default: `health.timeout`)
    #[arg(long, value_name = "DURATION", value_parser = span)]
    timeout: Option<Duration>,
    /// Hold a session for so long, with periodic calls and an open stream
    #[arg(long, value_name = "DURATION", value_parser = span)]
    stability: Option<Duration>,
}

pub(super) fn span(text: &str) -> Result<Duration, BadName> {
    let span = units::duration(text)?;
    if span.is_zero() { Err(BadName("must be more than 0s".into())) } else { Ok(span) }
}

/// What was found out about one endpoint.
struct Found {
    subject: Subject,
    probe: Probe,
    held: Option<Result<Held, Verdict>>,
}

pub(super) fn run(common: &Common, environment: &Environment, asked: &HealthCheck) -> Exit {
    let loaded = config::load(common.config.as_deref(), common.profile.as_deref(), environment);
    let mut config = match loaded {
        Ok(config) => config,
        Err(problems) => {
            return refuse(common, format_args!("the configuration is refused:\n{problems}"));
        }
    };
    config.health.timeout = asked.timeout.unwrap_or(config.health.timeout);
    let only = match common.arm(asked.arm) {
        Ok(only) => only,
        Err(exit) => return exit,
    };
    let (runtime, local) = match runtime() {
        Ok(made) => made,
        Err(error) => return no_runtime(common, &error),
    };
    let exit = local.block_on(&runtime, async {
        let Ok(signals) = Signals::new() else { return Exit::Unknown };
        tokio::select! {
            exit = check(common, &config, only, asked.stability) => exit,
            () = signals.next() => {
                complain("interrupted: nothing is known of what was not shown; run it again");
                Exit::Unknown
            }
        }
    });
    // Sessions that were opened are being ended still.
    let _ = runtime.block_on(async { tokio::time::timeout(FAREWELLS_MAX, local).await });
    // A name that is still being looked up is waited for by nobody.
    runtime.shutdown_background();
    exit
}

/// A handshake on its way; dropped, it is given up.
struct Probing(JoinHandle<Found>);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn check(
    common: &Common,
    config: &Config,
    only: Option<Arm>,
    stability: Option<Duration>,
) -> Exit {
    let subjects = Subject::all(config, &dns::once(config.urls()).await);
    let arms = Arm::ALL.into_iter().filter(|arm| only.is_none_or(|only| only == *arm));
    let mut all: Vec<Found> = Vec::new();
    let probing: Vec<_> = arms
        .flat_map(|arm| subjects.get(arm).clone())
        .map(|subject| {
            Probing(tokio::task::spawn_local(async move {
                let probe = handshake::probe(&subject, &mut Memory::default()).await;
                Found { subject, probe, held: None }
            }))
        })
        .collect();
    for mut probing in probing {
        let Ok(mut found) = (&mut probing.0).await else { return Exit::Unknown };
        if !common.json {
            show_steps(&found);
        }
        if let (Some(period), Verdict::Healthy) = (stability, &found.probe.verdict) {
            found.held = Some(hold_one(common, &found.subject, period).await);
        }
        if !common.json {
            show_summary(&found);
        }
        all.push(found);
    }
    let exits: Vec<Exit> = all.iter().map(Found::exit).collect();
    let exit = [Exit::No, Exit::Unknown].into_iter().find(|it| exits.contains(it));
    let exit = exit.unwrap_or(Exit::Yes);
    if common.json {
        let endpoints: Vec<Value> = all.iter().map(Found::to_json).collect();
        say_json(&json!({ "healthy": exit == Exit::Yes, "endpoints": endpoints }));
    }
    exit
}

async fn hold_one(common: &Common, subject: &Subject, period: Duration) -> Result<Held, Verdict> {
    let is_watched = !common.json && std::io::stderr().is_terminal();
    let whole = humantime::format_duration(period);
    let start = tokio::time::Instant::now();
    let held = hold(subject, period, |held| {
        if is_watched {
            let gone = start.elapsed().as_secs();
            let line = format!("  holding a session: {gone}s of {whole}, {}", counts(held));
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    })
    .await;
    if is_watched {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    held
}

impl Found {
    fn exit(&self) -> Exit {
        let is_stable = match &self.held {
            None => true,
            Some(held) => held.as_ref().is_ok_and(Held::is_stable),
        };
        match &self.probe.verdict {
            Verdict::Healthy if is_stable => Exit::Yes,
            Verdict::Unauthenticated { .. } => Exit::Unknown,
            _ => Exit::No,
        }
    }

    fn to_json(&self) -> Value {
        let mut found = self.probe.to_json();
        found["arm"] = json!(self.subject.endpoint.arm);
        found["endpoint"] = json!(self.subject.endpoint.url.to_string());
        found["healthy"] = json!(self.exit() == Exit::Yes);
        found["stability"] = match &self.held {
            None => Value::Null,
            Some(Err(verdict)) => json!({ "error": verdict.to_string() }),
            Some(Ok(held)) => {
                let quantile = |part| held.quantile(part).map(millis);
                json!({
                    "calls": held.beats,
                    "failed": held.failed,
                    "drops": held.drops,
                    "stream": held.stream,
                    "p50_ms": quantile(0.5),
                    "p99_ms": quantile(0.99),
                    "last_fault": held.last_fault,
                })
            }
        };
        found
    }
}

fn show_steps(found: &Found) {
    say(format_args!("{} {}", found.subject.endpoint.arm, found.subject.endpoint.url));
    for step in &found.probe.steps {
        let (mark, detail) = match &step.result {
            Ok(detail) => ("ok", detail),
            Err(why) if step.decides => ("FAILED", why),
            // It works without that.
            Err(why) => ("no", why),
        };
        let took = format!("{:.1} ms", millis(step.took));
        let line = format!("  {took:>10}  {mark:<6}  {:<28}  {detail}", step.name);
        say(line.trim_end());
    }
}

fn show_summary(found: &Found) {
    let probe = &found.probe;
    match &found.held {
        None => {}
        Some(Ok(held)) => {
            let mut line = format!("  held a session: {}", counts(held));
            if let (Some(p50), Some(p99)) = (held.quantile(0.5), held.quantile(0.99)) {
                let _ = write!(line, ", p50 {:.1} ms, p99 {:.1} ms", millis(p50), millis(p99));
            }
            let stream = if held.stream { "with a stream" } else { "without a stream" };
            say(format_args!("{line}, {stream}"));
            if let Some(why) = &held.last_fault {
                say(format_args!("  last fault: {why}"));
            }
        }
        Some(Err(verdict)) => _ = say(format_args!("  cannot hold a session: {verdict}")),
    }
    let is_stable = found.held.as_ref().is_none_or(|held| held.as_ref().is_ok_and(Held::is_stable));
    let label = if is_stable { probe.verdict.label() } else { "unstable" };
    let eras = match probe.eras.names().join(", ") {
        eras if eras.is_empty() => String::new(),
        eras => format!(" (speaks {eras})"),
    };
    let took = millis(probe.took);
    say(format_args!("  {label} in {took:.1} ms{eras}: {}\n", probe.verdict));
}

fn counts(held: &Held) -> String {
    format!("{} calls, {} failed, {} drops", held.beats, held.failed, held.drops)
}

fn millis(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}
