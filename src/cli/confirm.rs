//! `tidegate rollout confirm`: the checklist before the candidate becomes the stable arm.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use http::Method;
use serde_json::json;

use crate::admin::wire::decide;
use crate::plane::compare::Verdict;
use crate::plane::confirm::{Checklist, Criterion, Met};

use super::ask::{Router, failed};
use super::{Common, Exit, complain, say, say_json};

#[derive(Debug, Args)]
pub(super) struct Confirm {
    /// Do not ask in a terminal
    #[arg(long)]
    yes: bool,
    /// Go on although not everything is met; the record says so
    #[arg(long)]
    force: bool,
}

pub(super) fn run(common: &Common, router: &Router, asked: &Confirm) -> Exit {
    let path = "/v1/rollout/confirmation";
    let checklist: Checklist = match router.ask(Method::GET, path, &json!({})) {
        Ok(checklist) => checklist,
        Err(error) => return failed(common, &error),
    };
    if !common.json && !lines(&checklist).iter().all(say) {
        // Nobody has read what this is about.
        return Exit::Unknown;
    }
    let stop = |exit: Exit, why: &str| {
        if common.json {
            say_json(&json!({ "confirmed": false, "why": why, "checklist": checklist }));
        } else {
            complain(why);
        }
        exit
    };
    match (checklist.verdict, asked.force) {
        (Verdict::Pass, _) | (_, true) => {}
        (Verdict::Fail, false) => {
            let why = "not confirmed: not everything is met; wait or mend it, `tidegate rollout abort` goes back, --force goes on anyway";
            return stop(Exit::No, why);
        }
        (Verdict::Inconclusive, false) => {
            let why = "not confirmed: evidence or performance cannot be told yet; wait for more calls, or --force goes on anyway";
            return stop(Exit::Unknown, why);
        }
    }
    if !asked.yes && !agreed(&checklist) {
        return stop(Exit::No, "not confirmed: nobody said yes");
    }
    let wanted =
        decide::Confirm { expected_revision: Some(checklist.revision), force: asked.force };
    match router.ask::<decide::Decisions>(Method::POST, "/v1/rollout/confirm", &wanted) {
        Ok(decisions) if common.json => {
            say_json(&json!({ "confirmed": true, "checklist": checklist, "decisions": decisions }))
        }
        Ok(decisions) => {
            let stable = decisions.stable;
            say(format_args!("confirmed: the {stable} is the stable arm from now on"))
        }
        Err(error) => return failed(common, &error),
    };
    Exit::Yes
}

/// Asks a person; a script has asked by its call.
fn agreed(checklist: &Checklist) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return true;
    }
    let candidate = checklist.candidate;
    let _ = write!(std::io::stderr(), "make the {candidate} the stable arm? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// The checklist in a terminal.
pub(super) fn lines(checklist: &Checklist) -> Vec<String> {
    let verdict = match checklist.verdict {
        Verdict::Pass => "nothing stands in the way: `tidegate rollout confirm`",
        Verdict::Fail => "not everything is met",
        Verdict::Inconclusive => "cannot be told yet",
    };
    let line = |it: &Criterion| {
        let met = match it.met {
            Met::Met => "ok",
            Met::NotMet => "NO",
            Met::Unknown => "?",
            Met::Info => "-",
        };
        format!("           {met:<2}  {}: {}", it.what, it.figures)
    };
    let mut lines = vec![format!("confirm    {verdict}")];
    lines.extend(checklist.criteria.iter().map(line));
    lines
}
