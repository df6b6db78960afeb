//! `tidegate deploy`, `stop` and `rollback`: versions put on an arm and taken off it, by the
//! operator's own commands.

mod steps;

mod desk;

mod servers;

mod put;

mod stop;

mod back;

use std::time::Duration;

use clap::Args;

use crate::config::Environment;
use crate::lifecycle;
use crate::names::Arm;

use super::health::span;
use super::{Common, Exit};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(super) struct Deploy {
    /// `primary` or `secondary` (default: that of `--profile`, else the candidate)
    #[arg(value_name = "ARM")]
    arm: Option<Arm>,
    /// The version; the commands find it in `TIDEGATE_VERSION`
    #[arg(long, value_name = "VERSION", value_parser = lifecycle::version)]
    version: Option<String>,
    /// Validate it before it counts as deployed
    #[arg(long)]
    validate_first: bool,
    /// Validate all there is to validate
    #[arg(long, requires = "validate_first")]
    comprehensive: bool,
    /// Start a rollout to it then
    #[arg(long)]
    rollout: bool,
    /// Why; goes into the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Go on although the arm is in use
    #[arg(long)]
    force: bool,
    /// Sessions that were idle for so long count as left
    #[arg(long, value_name = "DURATION", value_parser = span, default_value = "30m")]
    idle: Duration,
    /// For each command, and for the servers to answer (default: `lifecycle.timeout`)
    #[arg(long, value_name = "DURATION", value_parser = span)]
    timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// `primary` or `secondary` (default: that of `--profile`, else the candidate)
    #[arg(value_name = "ARM")]
    arm: Option<Arm>,
    /// Why; goes into the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Stop them although somebody uses them
    #[arg(long)]
    force: bool,
    /// Sessions that were idle for so long count as left
    #[arg(long, value_name = "DURATION", value_parser = span, default_value = "30m")]
    idle: Duration,
    /// For the command, and for the servers to be gone (default: `lifecycle.timeout`)
    #[arg(long, value_name = "DURATION", value_parser = span)]
    timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The arm that is rolled back (default: that of `--profile`, else the candidate)
    #[arg(value_name = "ARM")]
    arm: Option<Arm>,
    /// The version to put back: `previous`, or which one
    #[arg(long, value_name = "VERSION", value_parser = lifecycle::version)]
    version: Option<String>,
    /// Only give all new work to the stable arm; leave the servers as they are
    #[arg(long, conflicts_with_all = ["complete", "version"])]
    immediate: bool,
    /// Validate both arms, and everything of them, at the end
    #[arg(long)]
    complete: bool,
    /// Why; goes into the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// For each command, and for the servers to answer (default: `lifecycle.timeout`)
    #[arg(long, value_name = "DURATION", value_parser = span)]
    timeout: Option<Duration>,
}

pub(super) fn deploy(common: &Common, environment: &Environment, asked: &Deploy) -> Exit {
    put::run(common, environment, asked).unwrap_or_else(|exit| exit)
}

pub(super) fn stop(common: &Common, environment: &Environment, asked: &Stop) -> Exit {
    stop::run(common, environment, asked).unwrap_or_else(|exit| exit)
}

pub(super) fn rollback(common: &Common, environment: &Environment, asked: &Rollback) -> Exit {
    back::run(common, environment, asked).unwrap_or_else(|exit| exit)
}
