//! The command line: one file per group of commands, one place for options and exit codes.
//!
//! Exit codes: 0 yes, done; 1 no, refused; 2 could not tell; 64 usage or configuration.

mod serve;

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

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::config::Environment;

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
    after_help = "Exit codes: 0 yes, done; 1 no, refused; 2 could not tell; 64 usage or configuration."
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
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the router
    #[command(
        after_help = "Example: tidegate run --config /etc/tidegate.toml --profile production"
    )]
    Run,
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
    #[command(after_help = "Example: tidegate status --watch")]
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
    #[command(subcommand)]
    Rollout(rollout::RolloutCommand),
    /// Read the configuration again: all of it is taken over, or nothing
    #[command(after_help = "Example: tidegate reload")]
    Reload,
    /// Look at the journal of all changes in the state directory
    #[command(subcommand)]
    Records(records::Records),
}

/// Runs the command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no reason to complain.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { Exit::Yes } else { Exit::Usage } as u8);
        }
    };
    let environment = Environment::from_process().with_socket(cli.common.socket.as_deref());
    let exit = match cli.command {
        Command::Run => serve::run(&cli.common, environment),
        Command::Demo(demo) => play::run(&cli.common, &demo, environment),
        Command::ValidateConfig => check::run(&cli.common, &environment),
        Command::HealthCheck(asked) => health::run(&cli.common, &environment, &asked),
        Command::SetTrafficSplit(wanted) => {
            ask::set_traffic_split(&cli.common, &environment, &wanted)
        }
        Command::Status(asked) => ask::status(&cli.common, &environment, &asked),
        Command::Diff(asked) => diff::run(&cli.common, &environment, &asked),
        Command::Explain(asked) => ask::explain(&cli.common, &environment, asked),
        Command::Alert(verb) => alert::run(&cli.common, &environment, verb),
        Command::Rollout(command) => rollout::run(&cli.common, &environment, command),
        Command::Reload => ask::reload(&cli.common, &environment),
        Command::Records(asked) => records::run(&cli.common, &environment, &asked),
    };
    ExitCode::from(exit as u8)
}

/// Prints a line of the answer. A reader that has gone away has read enough; `false` then.
fn say(line: impl std::fmt::Display) -> bool {
    writeln!(std::io::stdout(), "{line}").is_ok()
}

/// Prints an answer as JSON.
fn say_json(answer: &impl Serialize) -> bool {
    say(serde_json::to_string_pretty(answer).expect("our own types are JSON"))
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

/// Prints what went wrong.
fn complain(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "tidegate: {line}");
}

/// Whether standard error may be coloured.
fn colour(environment: &Environment) -> bool {
    std::io::stderr().is_terminal() && environment.get("NO_COLOR").is_none()
}

/// A current-thread runtime and the place for tasks that stay on it.
fn runtime() -> std::io::Result<(tokio::runtime::Runtime, tokio::task::LocalSet)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((runtime, tokio::task::LocalSet::new()))
}
