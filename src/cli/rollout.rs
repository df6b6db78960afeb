//! The commands of a rollout: start it, watch it, steer it, look back.
//!
//! Does not know: how a rollout goes.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::admin::client::AskError;
use crate::admin::wire::decide::{Decisions, Past, Shown, StartRollout, Steer};
use crate::config::{Environment, units};
use crate::names::Arm;
use crate::rollout::RolloutState;

use super::ask::{Router, failed, pause};
use super::{Common, Exit, complain, decide, refuse, say, say_json};

/// A plan is a page of text.
const PLAN_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum RolloutCommand {
    /// Begin to move new work to the candidate, step by step, with every guard armed
    #[command(
        after_help = "Refused while another rollout runs, a critical alert is open, the candidate does not work, or its catalogue breaks clients.\n\nExample: tidegate rollout start --reason \"search 2.4\""
    )]
    Start(Start),
    /// Show the rollout: its step, its evidence, what every guard says, what can be done now
    #[command(
        after_help = "Exit codes: 0 running, promoted, or none; 1 reverted, aborted or undone; 2 could not tell, or --timeout is over.\n\nExample: tidegate rollout status --watch --timeout 2h"
    )]
    Status(Look),
    /// Keep the weight as it is; the guards stay armed
    Pause,
    /// Go on after a pause
    Resume,
    /// Go to the next step now; in the last one, make the candidate the stable arm
    Promote(Promote),
    /// Give all new work back to the stable arm
    Abort(Why),
    /// Take back a rollout that was promoted: the arm that was stable before gets everything
    Undo(Why),
    /// List the rollouts and reverts of the past, the newest first
    History,
    /// Show every record of one rollout
    #[command(after_help = "Example: tidegate rollout show r18 --json")]
    Show(Show),
    /// Try a plan on simulated traffic: chances of false reverts, times to detect faults
    #[command(
        after_help = "Works without a running router, with its rules and its plan.\n\nExample: tidegate rollout simulate --rpm 60 --error-rate 1%"
    )]
    Simulate(super::simulate::Simulate),
}

#[derive(Debug, Args)]
pub(super) struct Start {
    /// The candidate: the arm that is not the stable one
    #[arg(long, value_name = "ARM")]
    to: Option<Arm>,
    /// A file with the keys of [rollout]; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Why; goes into the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Start although the candidate's catalogue breaks clients of the stable version
    #[arg(long)]
    allow_breaking: bool,
}

#[derive(Debug, Args)]
pub(super) struct Look {
    /// Look again every second, until the rollout is over
    #[arg(long)]
    watch: bool,
    /// How long to watch at most, such as 2h
    #[arg(long, requires = "watch", value_name = "TIME")]
    timeout: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Promote {
    /// To the whole weight at once; its hold is the bake
    #[arg(long)]
    full: bool,
}

#[derive(Debug, Args)]
pub(super) struct Why {
    /// Why; goes into the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Its name, such as r18
    id: String,
}

pub(super) fn run(common: &Common, environment: &Environment, command: RolloutCommand) -> Exit {
    if let RolloutCommand::Simulate(asked) = &command {
        return super::simulate::run(common, environment, asked);
    }
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    let steer = |verb: &str, full: bool, reason: Option<String>| {
        let path = format!("/v1/rollout/{verb}");
        let expected_step = match router.ask::<Decisions>(Method::GET, "/v1/rollout", &json!({})) {
            Ok(decisions) => decisions.rollout.map(|rollout| rollout.step),
            Err(error) => return failed(common, &error),
        };
        let asked = Steer { full, expected_step, reason };
        told(common, router.ask(Method::POST, &path, &asked))
    };
    match command {
        RolloutCommand::Start(asked) => start(common, &router, asked),
        RolloutCommand::Status(asked) => status(common, &router, &asked),
        RolloutCommand::Pause => steer("pause", false, None),
        RolloutCommand::Resume => steer("resume", false, None),
        RolloutCommand::Promote(Promote { full }) => steer("promote", full, None),
        RolloutCommand::Abort(Why { reason }) => steer("abort", false, reason),
        RolloutCommand::Undo(Why { reason }) => steer("undo", false, reason),
        RolloutCommand::History => history(common, &router),
        RolloutCommand::Show(Show { id }) => show(common, &router, &id),
        RolloutCommand::Simulate(_) => unreachable!("it asks no router"),
    }
}

fn start(common: &Common, router: &Router, asked: Start) -> Exit {
    let plan = match asked.plan.as_deref().map(read).transpose() {
        Ok(plan) => plan,
        Err(why) => return refuse(common, why),
    };
    let Start { to, reason, allow_breaking, .. } = asked;
    let wanted = StartRollout { to, plan, reason, allow_breaking };
    told(common, router.ask(Method::POST, "/v1/rollout/start", &wanted))
}

/// The text of a plan.
pub(super) fn read(path: &std::path::Path) -> Result<String, String> {
    let fail = |error| format!("cannot read the plan {}: {error}", path.display());
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(PLAN_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path).map_err(fail)?;
        file.take(PLAN_BYTES_MAX + 1).read_to_string(&mut text)
    };
    read.map_err(fail)?;
    if text.len() as u64 > PLAN_BYTES_MAX {
        return Err(format!("the plan {} is larger than 64 KiB", path.display()));
    }
    Ok(text)
}

/// Tells what a verb has led to.
fn told(common: &Common, answer: Result<Decisions, AskError>) -> Exit {
    match answer {
        Ok(decisions) if common.json => say_json(&decisions),
        Ok(decisions) => decide::lines(&decisions).iter().all(say),
        Err(error) => return failed(common, &error),
    };
    Exit::Yes
}

fn status(common: &Common, router: &Router, asked: &Look) -> Exit {
    let limit = match asked.timeout.as_deref().map(units::duration).transpose() {
        Ok(limit) => limit,
        Err(error) => return refuse(common, error),
    };
    let began = Instant::now();
    loop {
        let decisions: Decisions = match router.ask(Method::GET, "/v1/rollout", &json!({})) {
            Ok(decisions) => decisions,
            Err(error) => return failed(common, &error),
        };
        let heard = if common.json && asked.watch {
            say(json!(decisions))
        } else if common.json {
            say_json(&decisions)
        } else {
            if asked.watch && std::io::stdout().is_terminal() {
                // Home, and clear what is below.
                let _ = write!(std::io::stdout(), "\x1b[H\x1b[2J");
            }
            decide::lines(&decisions).iter().all(say)
        };
        let state = decisions.rollout.as_ref().map(|rollout| rollout.state);
        if !asked.watch || !heard || state.is_none_or(RolloutState::is_over) {
            return exit(state);
        }
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            complain("the rollout is still running");
            return Exit::Unknown;
        }
        pause();
    }
}

fn exit(state: Option<RolloutState>) -> Exit {
    match state {
        Some(RolloutState::Reverted | RolloutState::Aborted | RolloutState::Undone) => Exit::No,
        _ => Exit::Yes,
    }
}

fn history(common: &Common, router: &Router) -> Exit {
    let past: Vec<Past> = match router.ask(Method::GET, "/v1/history", &json!({})) {
        Ok(past) => past,
        Err(error) => return failed(common, &error),
    };
    if common.json {
        say_json(&past);
    } else if past.is_empty() {
        say("no rollout has been started yet");
    } else {
        past.iter().map(decide::past).all(say);
    }
    Exit::Yes
}

fn show(common: &Common, router: &Router, id: &str) -> Exit {
    let fits = id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !fits {
        return refuse(common, format_args!("`{id}` is no name of a rollout, such as r18"));
    }
    let path = format!("/v1/history/{id}");
    let shown: Shown = match router.ask(Method::GET, &path, &json!({})) {
        Ok(shown) => shown,
        Err(error) => return failed(common, &error),
    };
    if common.json {
        say_json(&shown);
    } else {
        shown.records.iter().flat_map(decide::record).all(say);
    }
    Exit::Yes
}
