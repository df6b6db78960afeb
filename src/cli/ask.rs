//! The commands that ask a running router: `set-traffic-split`, `status`, `explain`, `reload`.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::admin::client::{AskError, UPGRADE_MAX, ask, ask_within};
use crate::admin::wire::operate::{Upgrade, Upgraded};
use crate::admin::{verbs, wire};
use crate::config::{self, Environment, units};
use crate::names::Arm;

use super::{Common, Exit, complain, refuse, runtime, say, say_json};

/// How often `status --watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct SetTrafficSplit {
    /// `primary:90 secondary:10`; an arm that is left out gets the rest
    #[arg(required = true, num_args = 1..=2, value_name = "ARM:PERCENT")]
    weights: Vec<String>,
    /// Only if this revision is still in force (see `status`); default: the one in force now
    #[arg(long, value_name = "REVISION")]
    expect: Option<u64>,
    /// Abort the rollout that is running, which would move the weights again
    #[arg(long)]
    abort: bool,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Look again every second
    #[arg(long)]
    watch: bool,
    /// Say only whether new clients are welcome: exits 0 if so; 1 if not, or if nobody answers
    #[arg(long, conflicts_with = "watch")]
    ready: bool,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The session id as the client has it, or the message URI of an HTTP+SSE session
    session: String,
}

/// A router to ask.
pub(super) struct Router {
    socket: PathBuf,
    /// Where it can be asked, and not told, by those who may not use the other.
    read_only: Option<PathBuf>,
}

impl Router {
    /// The one that the options name: by its socket, or by its configuration.
    pub(super) fn find(common: &Common, environment: &Environment) -> Result<Router, Exit> {
        if common.socket.is_some() || common.config.is_none() {
            let socket = config::default_socket(environment);
            return Ok(Router { socket, read_only: None });
        }
        // The secrets in it are the router's; whoever asks it need not have them.
        config::admin_sockets(common.config.as_deref(), common.profile.as_deref(), environment)
            .map(|admin| Router {
                socket: admin.socket,
                read_only: admin.read_only.map(|it| it.socket),
            })
            .map_err(|problems| {
                let why = "the configuration that names the admin socket is refused (name the socket with --socket instead)";
                refuse(common, format_args!("{why}:\n{problems}"))
            })
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, AskError> {
        let (runtime, local) = runtime()
            .map_err(|source| AskError::NotRunning { path: self.socket.clone(), source })?;
        local.block_on(&runtime, async {
            let reads = verbs::is_read(&method, path);
            let answer = ask(&self.socket, method.clone(), path, body).await;
            match (&self.read_only, &answer) {
                (Some(socket), Err(AskError::NotAllowed(_))) if reads => {
                    ask(socket, method, path, body).await
                }
                _ => answer,
            }
        })
    }

    /// Asks for another process to take over.
    pub(super) fn upgrade(&self, asked: &Upgrade) -> Result<Upgraded, AskError> {
        let (runtime, local) = runtime()
            .map_err(|source| AskError::NotRunning { path: self.socket.clone(), source })?;
        let answer = ask_within(UPGRADE_MAX, &self.socket, Method::POST, "/v1/upgrade", asked);
        local.block_on(&runtime, answer)
    }

    fn status(&self) -> Result<wire::Status, AskError> {
        self.ask(Method::GET, "/v1/status", &json!({}))
    }
}

/// Tells why there is no answer.
pub(super) fn failed(common: &Common, error: &AskError) -> Exit {
    let exit = if matches!(error, AskError::Refused(_)) { Exit::No } else { Exit::Unknown };
    if common.json {
        match error {
            AskError::Refused(refused) => say_json(refused),
            other => say_json(&json!({ "error": other.to_string() })),
        };
    } else {
        complain(error);
    }
    exit
}

pub(super) fn set_traffic_split(
    common: &Common,
    environment: &Environment,
    wanted: &SetTrafficSplit,
) -> Exit {
    let split = match units::split(&wanted.weights) {
        Ok(split) => split,
        Err(error) => return refuse(common, error),
    };
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    let revision = match wanted.expect {
        Some(revision) => Ok(revision),
        None => router.status().map(|status| status.revision),
    };
    let changed = revision.and_then(|revision| {
        let change = wire::SetSplit {
            primary: split.weight(Arm::Primary),
            secondary: split.weight(Arm::Secondary),
            expected_revision: Some(revision),
            abort: wanted.abort,
        };
        router.ask::<wire::SplitChanged>(Method::PUT, "/v1/split", &change)
    });
    match changed {
        Ok(changed) if common.json => say_json(&changed),
        Ok(changed) => say(format_args!(
            "{} for new sessions from now on, revision {}; was {}, set by {} at {}",
            changed.after,
            changed.revision,
            changed.before,
            changed.before_set_by,
            changed.before_set_at
        )),
        Err(error) => return failed(common, &error),
    };
    Exit::Yes
}

pub(super) fn status(common: &Common, environment: &Environment, asked: &Status) -> Exit {
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    if asked.ready {
        return ready(common, &router);
    }
    loop {
        let heard = match router.status() {
            // One line each, so that a script can follow.
            Ok(status) if common.json && asked.watch => say(json!(status)),
            Ok(status) if common.json => say_json(&status),
            Ok(status) => {
                if asked.watch && std::io::stdout().is_terminal() {
                    // Home, and clear what is below.
                    let _ = write!(std::io::stdout(), "\x1b[H\x1b[2J");
                }
                super::status::show(&status)
            }
            Err(error) => return failed(common, &error),
        };
        if !asked.watch || !heard {
            return Exit::Yes;
        }
        pause();
    }
}

/// For health checks of containers, which know yes and no: Docker keeps 2 for itself.
fn ready(common: &Common, router: &Router) -> Exit {
    let answer = match router.ask::<wire::Ready>(Method::GET, "/v1/ready", &json!({})) {
        Ok(answer) => answer,
        Err(error) => {
            failed(common, &error);
            return Exit::No;
        }
    };
    if common.json {
        say_json(&answer);
    } else if answer.ready {
        say("ready");
    } else {
        say("not ready: it starts, stops or is short of memory; see tidegate status");
    }
    if answer.ready { Exit::Yes } else { Exit::No }
}

/// Waits for the next look.
pub(super) fn pause() {
    if let Ok((runtime, local)) = runtime() {
        local.block_on(&runtime, async { tokio::time::sleep(WATCH_EVERY).await });
    }
}

pub(super) fn explain(common: &Common, environment: &Environment, asked: Explain) -> Exit {
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    let asked = wire::Explain { session: asked.session };
    match router.ask::<wire::Explained>(Method::POST, "/v1/explain", &asked) {
        Ok(explained) => {
            if common.json {
                say_json(&explained);
            } else {
                let place = match (&explained.arm, &explained.endpoint) {
                    (Some(arm), Some(endpoint)) => format!("{arm}  {endpoint}\n"),
                    _ => String::new(),
                };
                say(format_args!("{place}{}", explained.why));
            }
            if explained.routed { Exit::Yes } else { Exit::No }
        }
        Err(error) => failed(common, &error),
    }
}

pub(super) fn reload(common: &Common, environment: &Environment) -> Exit {
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    match router.status() {
        Ok(status) => {
            if let Some(other) = another(common, &status) {
                return refuse(common, format_args!("not reloaded: {other}"));
            }
        }
        Err(error) => return failed(common, &error),
    }
    match router.ask::<wire::Reloaded>(Method::POST, "/v1/reload", &json!({})) {
        Ok(reloaded) => {
            if common.json {
                say_json(&reloaded);
            } else {
                let read = reloaded.config.as_deref().unwrap_or("the defaults");
                say(format_args!(
                    "reloaded {read}: generation {} is in force",
                    reloaded.generation
                ));
                if let Some(warning) = &reloaded.warning {
                    complain(format_args!("warning: {warning}"));
                }
            }
            Exit::Yes
        }
        Err(error) => failed(common, &error),
    }
}

/// Which configuration the router has, if not the one that the options name: it keeps to what it was
/// started with.
pub(super) fn another(common: &Common, status: &wire::Status) -> Option<String> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let own = status.config.as_ref().map(|own| real(Path::new(own)));
    let asked = common.config.as_deref().map(real);
    if asked.is_some() && asked != own {
        let own = own.map_or_else(|| "no file".to_owned(), |own| own.display().to_string());
        return Some(format!(
            "this router was started with {own}; name that, or leave --config out"
        ));
    }
    if common.profile.is_some() && common.profile != status.profile {
        let own = status.profile.as_deref().unwrap_or("no profile");
        return Some(format!(
            "this router was started with {own}; name that, or leave --profile out"
        ));
    }
    None
}
