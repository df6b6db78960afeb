//! The command line: one file per group of commands, one place for options and exit codes.
//!
//! Exit codes: 0 yes, done; 1 no, refused; 2 could not tell; 64 usage or configuration.

mod serve;

mod signals;

mod check;

mod health;

mod ask;

mod alert;

mod status;

mod diff;

mod play;

mod records;

mod rollout;

mod decide;

mod simulate;

mod validate;

mod deploy;

mod drain;

mod state;

mod baseline;

mod confirm;

mod monitor;

mod report;

mod notify;

mod init;

mod upgrade;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::config::{self, Environment};
use crate::names::Arm;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Yes; done.
    Yes = 0,
    /// No; refused.
    No = 1,
    /// It could not be told.
    Unknown = 2,
    /// Usage or configuration.
    Usage = 64,
}

/// A traffic-splitting reverse proxy for MCP servers.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 yes, done; 1 no, refused; 2 could not tell; 64 usage or configuration.\n\nExample: tidegate init && tidegate run --config tidegate.toml"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Common {
    /// Configuration file (default: none, everything at its default)
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_CONFIG",
        value_name = "FILE",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// Profile to lay over the configuration
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_PROFILE",
        value_name = "NAME",
        hide_env_values = true
    )]
    profile: Option<String>,
    /// Admin socket of the router
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_SOCKET",
        value_name = "PATH",
        hide_env_values = true
    )]
    socket: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    /// The arm that the name of the profile ends with, as in `production-secondary`.
    #[arg(skip)]
    arm: Option<Arm>,
}

impl Common {
    /// Takes the arm out of `--profile NAME-ARM`, unless there is a profile of that very name.
    fn split_profile(&mut self) {
        let Some(given) = self.profile.as_deref() else { return };
        if let Some((profile, arm)) = config::profile_and_arm(self.config.as_deref(), given) {
            (self.profile, self.arm) = (Some(profile), Some(arm));
        }
    }

    /// The arm that is meant: the one named as such, or that of the profile.
    fn arm(&self, named: Option<Arm>) -> Result<Option<Arm>, Exit> {
        match (named, self.arm) {
            (Some(named), Some(of_profile)) if named != of_profile => Err(refuse(
                self,
                format_args!(
                    "which one: the {named}, or the {of_profile} of --profile? name one only"
                ),
            )),
            (named, of_profile) => Ok(named.or(of_profile)),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the router
    #[command(
        after_help = "Example: tidegate run --config /etc/tidegate.toml --profile production"
    )]
    Run(serve::Run),
    /// Show it at work: two small MCP servers, clients, moving weights, a rollout that is reverted
    #[command(
        after_help = "It has a configuration of its own and takes none.\n\nExample: tidegate demo --once"
    )]
    Demo(play::Demo),
    /// Check a configuration and list every problem in it
    #[command(after_help = "Example: tidegate validate-config --config /etc/tidegate.toml")]
    ValidateConfig,
    /// Find out whether the servers work: a whole MCP handshake with each, step by step
    #[command(
        after_help = "Works without a running router. Exit codes: 0 healthy; 1 unhealthy; 2 could not tell (it wants a token).\n\nExample: tidegate health-check secondary --stability 60s"
    )]
    HealthCheck(health::HealthCheck),
    /// Set the share of new sessions that each arm gets, from the very next one on
    #[command(after_help = "Example: tidegate set-traffic-split primary:90 secondary:10")]
    SetTrafficSplit(ask::SetTrafficSplit),
    /// Show what is in force and what it does
    #[command(
        after_help = "With --ready it is a health check for a container or a load balancer.\n\nExample: tidegate status --watch"
    )]
    Status(ask::Status),
    /// Show how what the secondary offers differs from what the primary offers
    #[command(
        after_help = "Exit codes: 0 the same, or nothing that breaks a client; 1 breaking or suspicious; 2 could not tell.\n\nExample: tidegate diff"
    )]
    Diff(diff::Differ),
    /// Say where a session lives and why
    #[command(after_help = "Example: tidegate explain \"$SESSION\"")]
    Explain(ask::Explain),
    /// Security alerts: a critical one shuts the gate for the candidate
    #[command(subcommand, after_help = "Example: tidegate alert list")]
    Alert(alert::Verb),
    /// Move new work to the candidate step by step, and shut the gate when it is worse
    #[command(subcommand, after_help = "Example: tidegate rollout start --reason \"search 2.4\"")]
    Rollout(rollout::RolloutCommand),
    /// Check everything about a version before it gets traffic
    #[command(
        after_help = "Exit codes: 0 fit; 1 not fit; 2 could not tell.\n\nExample: tidegate validate secondary --comprehensive"
    )]
    Validate(validate::Validate),
    /// Put a version on an arm, with the operator's own commands, and find out whether it works
    #[command(
        after_help = "Example: tidegate deploy secondary --version 2.1.0 --validate-first --rollout"
    )]
    Deploy(deploy::Deploy),
    /// Stop the servers of an arm that serves nobody
    #[command(after_help = "Example: tidegate drain secondary --wait && tidegate stop secondary")]
    Stop(deploy::Stop),
    /// Give all new work to the stable arm, then put the version before back on the other one
    #[command(after_help = "Example: tidegate rollback --version previous")]
    Rollback(deploy::Rollback),
    /// Give an arm no new work, and say when its servers can be stopped
    #[command(
        after_help = "Exit codes: 0 safe to stop; 1 refused; 2 not safe yet.\n\nExample: tidegate drain secondary --wait --timeout 1h"
    )]
    Drain(drain::Drain),
    /// Let an arm that is drained get work again
    #[command(after_help = "Example: tidegate undrain secondary")]
    Undrain(drain::Undrain),
    /// Write weights, rollout, stable arm, alerts and versions to a file
    #[command(after_help = "Example: tidegate export-state --output state.json")]
    ExportState(state::ExportState),
    /// Put a state that was exported or backed up in force: all of it, or nothing
    #[command(after_help = "Example: tidegate restore-state state.json")]
    RestoreState(state::RestoreState),
    /// List the backups of configuration and state that precede every deploy and rollout
    #[command(after_help = "Example: tidegate backups")]
    Backups(state::Backups),
    /// The usual figures of the stable arm: keep them, list them, compare with them
    #[command(subcommand, after_help = "Example: tidegate baseline compare")]
    Baseline(baseline::Baseline),
    /// Watch both arms side by side, live, for some time
    #[command(
        after_help = "Exit codes: 0 nothing would shut the gate for all the time; 1 something would, or did; 2 could not tell.\n\nExample: tidegate monitor secondary --duration 10m"
    )]
    Monitor(monitor::Monitor),
    /// Write the record of a rollout, or of some days, as one file
    #[command(
        after_help = "Without --output it goes to standard output. Exit codes: 0 written; 1 there is no such rollout; 2 could not tell; 64 usage.\n\nExample: tidegate report r18 --output r18.html\nExample: tidegate report --period 30d --format html --output november.html"
    )]
    Report(report::Report),
    /// Those who are told what happens
    #[command(subcommand, after_help = "Example: tidegate notify test")]
    Notify(notify::Notify),
    /// Write a configuration with every key, its default and what it means
    #[command(after_help = "Example: tidegate init --output tidegate.toml")]
    Init(init::Init),
    /// Print completions for a shell
    #[command(after_help = "Example: tidegate completions bash > /etc/bash_completion.d/tidegate")]
    Completions(init::Completions),
    /// Write man pages
    #[command(after_help = "Example: tidegate man --output /usr/local/share/man/man1")]
    Man(init::Man),
    /// Read the configuration again: all of it is taken over, or nothing
    #[command(after_help = "Example: tidegate reload")]
    Reload,
    /// Have another process take over from the running one, so that no client notices
    #[command(
        after_help = "Exit codes: 0 done; 1 refused, and the running one carries on; 2 could not tell.\n\nExample: tidegate upgrade\nExample: tidegate upgrade /opt/tidegate-2/tidegate"
    )]
    Upgrade(upgrade::Upgrade),
    /// Look at the journal of all changes in the state directory
    #[command(subcommand, after_help = "Example: tidegate records verify")]
    Records(records::Records),
}

/// Runs the command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no reason to complain.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { Exit::Yes } else { Exit::Usage } as u8);
        }
    };
    cli.common.split_profile();
    let environment = Environment::from_process().with_socket(cli.common.socket.as_deref());
    ExitCode::from(carry_out(cli.command, &cli.common, environment) as u8)
}

fn carry_out(command: Command, common: &Common, environment: Environment) -> Exit {
    match command {
        Command::Run(asked) => serve::run(common, &asked, environment),
        Command::Demo(demo) => play::run(common, &demo, environment),
        Command::ValidateConfig => check::run(common, &environment),
        Command::HealthCheck(asked) => health::run(common, &environment, &asked),
        Command::SetTrafficSplit(wanted) => ask::set_traffic_split(common, &environment, &wanted),
        Command::Status(asked) => ask::status(common, &environment, &asked),
        Command::Diff(asked) => diff::run(common, &environment, &asked),
        Command::Explain(asked) => ask::explain(common, &environment, asked),
        Command::Alert(verb) => alert::run(common, &environment, verb),
        Command::Rollout(command) => rollout::run(common, &environment, command),
        Command::Reload => ask::reload(common, &environment),
        Command::Upgrade(asked) => upgrade::run(common, &environment, asked),
        Command::Records(asked) => records::run(common, &environment, &asked),
        Command::Validate(asked) => validate::run(common, &environment, &asked),
        Command::Deploy(asked) => deploy::deploy(common, &environment, &asked),
        Command::Stop(asked) => deploy::stop(common, &environment, &asked),
        Command::Rollback(asked) => deploy::rollback(common, &environment, &asked),
        Command::Drain(asked) => drain::drain(common, &environment, &asked),
        Command::Undrain(asked) => drain::undrain(common, &environment, &asked),
        Command::ExportState(asked) => state::export(common, &environment, &asked),
        Command::RestoreState(asked) => state::restore(common, &environment, &asked),
        Command::Backups(asked) => state::backups(common, &environment, &asked),
        Command::Baseline(asked) => baseline::run(common, &environment, asked),
        Command::Monitor(asked) => monitor::run(common, &environment, &asked),
        Command::Report(asked) => report::run(common, &environment, &asked),
        Command::Notify(asked) => notify::run(common, &environment, &asked),
        Command::Init(asked) => init::init(common, &environment, &asked),
        Command::Completions(asked) => init::completions(common, &environment, &asked),
        Command::Man(asked) => init::man(common, &environment, &asked),
    }
}

/// Prints a line of the answer. A reader that has gone away has read enough; `false` then.
fn say(line: impl std::fmt::Display) -> bool {
    writeln!(std::io::stdout(), "{line}").is_ok()
}

/// Prints an answer as JSON.
fn say_json(answer: &impl Serialize) -> bool {
    say(serde_json::to_string_pretty(answer).expect("our own types are JSON"))
}

/// Prints a whole file. A reader that has gone away has read enough; a full disk has not.
fn print(bytes: &[u8]) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            complain(format_args!("only a part is written: {error}; make room and try again"));
            Exit::Unknown
        }
        _ => Exit::Yes,
    }
}

/// Prints what was wrong with the question.
fn refuse(common: &Common, why: impl std::fmt::Display) -> Exit {
    if common.json {
        say_json(&serde_json::json!({ "error": why.to_string() }));
    } else {
        complain(why);
    }
    Exit::Usage
}

/// Tells that the operating system gives no runtime.
fn no_runtime(common: &Common, error: &std::io::Error) -> Exit {
    let why = "the operating system gives no room to work";
    refuse(common, format_args!("{why}: {error}; see `ulimit -a`, and try again"));
    Exit::Unknown
}

/// Prints what went wrong.
fn complain(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "tidegate: {line}");
}

/// Whether standard error may be coloured.
fn colour(environment: &Environment) -> bool {
    std::io::stderr().is_terminal() && wants_colour(environment)
}

/// Whether nobody has asked for no colour; by the rule of no-color.org an empty word asks nothing.
fn wants_colour(environment: &Environment) -> bool {
    environment.get("NO_COLOR").is_none_or(str::is_empty)
}

/// A current-thread runtime and the place for tasks that stay on it.
fn runtime() -> std::io::Result<(tokio::runtime::Runtime, tokio::task::LocalSet)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((runtime, tokio::task::LocalSet::new()))
}

#[cfg(test)]
mod tests;
