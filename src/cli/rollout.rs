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
use super::validate::{self, Wanted};
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
    #[command(after_help = "Example: tidegate rollout pause")]
    Pause,
    /// Go on after a pause
    #[command(after_help = "Example: tidegate rollout resume")]
    Resume,
    /// Go to the next step now; in the last one, make the candidate the stable arm
    #[command(after_help = "Example: tidegate rollout promote --full")]
    Promote(Promote),
    /// Make the candidate the stable arm, if everything that has to be true is
    #[command(
        after_help = "In the last step of a rollout, or where the candidate was given all new work by hand. Exit codes: 0 confirmed; 1 something is not met, refused; 2 evidence or performance cannot be told yet.\n\nExample: tidegate rollout confirm --yes"
    )]
    Confirm(super::confirm::Confirm),
    /// Give all new work back to the stable arm
    #[command(after_help = "Example: tidegate rollout abort --reason \"the numbers look odd\"")]
    Abort(Why),
    /// Take back a rollout that was promoted: the arm that was stable before gets everything
    #[command(after_help = "Example: tidegate rollout undo --reason \"search is wrong\"")]
    Undo(Why),
    /// List the rollouts and reverts of the past, the newest first
    #[command(after_help = "Example: tidegate rollout history")]
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
    /// Validate the candidate, and start only if it is fit
    #[arg(long)]
    validate_first: bool,
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
        RolloutCommand::Start(asked) => start(common, environment, &router, asked),
        RolloutCommand::Status(asked) => status(common, &router, &asked),
        RolloutCommand::Pause => steer("pause", false, None),
        RolloutCommand::Resume => steer("resume", false, None),
        RolloutCommand::Promote(Promote { full }) => steer("promote", full, None),
        RolloutCommand::Confirm(asked) => super::confirm::run(common, &router, &asked),
        RolloutCommand::Abort(Why { reason }) => steer("abort", false, reason),
        RolloutCommand::Undo(Why { reason }) => steer("undo", false, reason),
        RolloutCommand::History => history(common, &router),
        RolloutCommand::Show(Show { id }) => show(common, &router, &id),
        RolloutCommand::Simulate(_) => unreachable!("it asks no router"),
    }
}

fn start(common: &Common, environment: &Environment, router: &Router, asked: Start) -> Exit {
    let plan = match asked.plan.as_deref().map(read).transpose() {
        Ok(plan) => plan,
        Err(why) => return refuse(common, why),
    };
    if asked.validate_first
        && let Err(exit) = validate_first(common, environment, router, &asked)
    {
        return exit;
    }
    let Start { to, reason, allow_breaking, .. } = asked;
    let wanted = StartRollout { to, plan, reason, allow_breaking };
    told(common, router.ask(Method::POST, "/v1/rollout/start", &wanted))
}

/// Validates the candidate; an error where it is not fit.
fn validate_first(
    common: &Common,
    environment: &Environment,
    router: &Router,
    asked: &Start,
) -> Result<(), Exit> {
    let arm = match asked.to {
        Some(arm) => arm,
        None => match router.ask::<Decisions>(Method::GET, "/v1/rollout", &json!({})) {
            Ok(decisions) => decisions.stable.other(),
            Err(error) => return Err(failed(common, &error)),
        },
    };
    let allow_breaking = asked.allow_breaking;
    let wanted = Wanted { arms: vec![arm], comprehensive: false, version: None, allow_breaking };
    let (exit, result) = validate::carry_out(common, environment, &wanted);
    if exit == Exit::Yes {
        return Ok(());
    }
    let why = format!("not started: the {arm} is not fit ({})", validate::reasons(&result));
    if common.json {
        say_json(&json!({ "error": why, "validation": result }));
    } else {
        complain(why);
    }
    Err(if exit == Exit::Usage { exit } else { Exit::No })
}

/// The text of a plan.
pub(super) fn read(path: &std::path::Path) -> Result<String, String> {
    let fail = |error| {
        let advice = "name another with --plan, or leave it out for the configured one";
        format!("cannot read the plan {}: {error}; {advice}", path.display())
    };
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(PLAN_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path).map_err(fail)?;
        file.take(PLAN_BYTES_MAX + 1).read_to_string(&mut text)
    };
    read.map_err(fail)?;
    if text.len() as u64 > PLAN_BYTES_MAX {
        return Err(format!(
            "the plan {} is larger than 64 KiB: it holds the keys of [rollout] only",
            path.display()
        ));
    }
    Ok(text)
}

/// Tells what a verb has led to.
fn told(common: &Common, answer: Result<Decisions, AskError>) -> Exit {
    match answer {
        Ok(decisions) if common.json => say_json(&decisions),
        Ok(decisions) => {
            if let Some(warning) = &decisions.warning {
                complain(format_args!("warning: {warning}"));
            }
            decide::lines(&decisions).iter().all(say)
        }
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
            complain(
                "the rollout is still running: look again with `tidegate rollout status --watch`",
            );
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
        let why = "is no name of a rollout, such as r18: see `tidegate rollout history`";
        return refuse(common, format_args!("`{id}` {why}"));
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
