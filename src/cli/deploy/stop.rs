//! `tidegate stop`: the servers of an arm that serves nobody.

use std::time::Duration;

use serde_json::json;

use crate::cli::{Common, Exit, refuse};
use crate::config::Environment;
use crate::control::deploys::{Action, Phase};

use super::Stop;
use super::desk::{Desk, Told};
use super::put::{UNTOUCHED, stands};
use super::servers::missing;
use super::steps::Failure;

pub(super) fn run(common: &Common, environment: &Environment, asked: &Stop) -> Result<Exit, Exit> {
    let (mut desk, status) =
        Desk::open(common, environment, Action::Stop, asked.arm, asked.timeout)?;
    let arm = desk.arm;
    let Some(words) = desk.lifecycle().stop.clone() else {
        return Err(refuse(common, missing(arm, "stop", desk.config.file.as_deref())));
    };
    desk.steps.facts = json!({ "arm": arm });
    let mut is_begun = false;
    let exit = match carry_out(&mut desk, asked, words, &mut is_begun) {
        Ok(()) => desk.steps.done(&format!("the servers of the {arm} are stopped"), ""),
        Err(failure) if is_begun => {
            let detail = failure.detail();
            desk.end(Phase::Failed, Told { detail: Some(&detail), ..Told::default() });
            let next = format!("look after its servers, and repeat `tidegate stop {arm}`");
            let stands = stands(&desk, UNTOUCHED);
            desk.steps.failed(&failure, &stands, &next)
        }
        Err(failure) => {
            let next = if arm == status.stable {
                format!("tidegate rollout start --to {}, and stop the {arm} after it", arm.other())
            } else {
                format!("tidegate drain {arm} --wait && tidegate stop {arm}")
            };
            desk.steps.failed(&failure, "Nothing was done.", &next)
        }
    };
    desk.close();
    Ok(exit)
}

fn carry_out(
    desk: &mut Desk<'_>,
    asked: &Stop,
    words: Vec<String>,
    is_begun: &mut bool,
) -> Result<(), Failure> {
    desk.may_touch(asked.force)?;
    let users = if asked.force { Vec::new() } else { users(desk, asked.idle)? };
    if !users.is_empty() {
        let why = format!("they are in use still: {} (or --force)", users.join("; "));
        return Err(Failure::no("users", why));
    }
    let (detail, force) = (asked.reason.as_deref(), asked.force);
    desk.begin(Told { detail, force, ..Told::default() })?;
    *is_begun = true;
    desk.carry_out(&vec![("stop", words)], None)?;
    desk.end(Phase::Done, Told::default());
    Ok(())
}

/// Why servers cannot be stopped that get no new work. That nobody drains the arm is no reason as long
/// as nobody uses it either.
fn users(desk: &Desk<'_>, idle: Duration) -> Result<Vec<String>, Failure> {
    let status = desk.draining(idle)?;
    let spare = usize::from(!status.drained);
    Ok(if status.why.len() > spare { status.why } else { Vec::new() })
}
