//! The side of the process that hands over: starts the new program, gives it the sockets and, once it
//! has shown that it could serve, the state; takes it all back if nothing comes of it.
//!
//! Until the new one says that it takes in clients, this one does; from then on no other does. Does
//! not know: how what is in flight here is finished.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::health::state::Standing;
use crate::listen::bequest::Bequest;
use crate::names::EndpointUrl;
use crate::plane::Plane;
use crate::plane::upgrades::{Request, Upgraded};
use crate::supervisor::Message;

use super::sockets::Sockets;
use super::successor::Part;
use super::talk::{Said, Silence, Talk, within};

/// How long the new program may take to show that it could serve: it has to read its configuration
/// and make a handshake with every server. All in all it is less than whoever asks waits
/// (`admin::client::UPGRADE_MAX`).
const PROOF_MAX: Duration = Duration::from_secs(15);

/// And then, to take in clients. Meanwhile nobody may change anything.
const START_MAX: Duration = Duration::from_secs(5);

/// How long a program that is of no use may take to end, once it has been told to.
const END_MAX: Duration = Duration::from_secs(5);

/// How long it gets to end by itself, after the last word.
const LEAVE_MAX: Duration = Duration::from_millis(200);

/// How often the state is asked back that cannot be had: without it nobody guards.
const BACK_EVERY: Duration = Duration::from_secs(1);

/// Why a router cannot be upgraded at all.
const FIRST: &str = "this router is process 1 of its container, which would end with it: replace the container instead";
const NOT_RUN: &str = "only a router that was started by `tidegate run` can be upgraded";

/// Attends to requests for an upgrade; returns when one has succeeded, with a line that is to stay
/// open until this process has finished.
pub(super) async fn served(
    plane: &Plane,
    sockets: &Sockets,
    arguments: Option<&[OsString]>,
) -> Talk {
    loop {
        let request = plane.upgrades().next().await;
        let began = Instant::now();
        match attempt(plane, sockets, arguments, &request).await {
            Ok((done, mut talk)) => {
                let took = humantime::format_duration(Duration::from_millis(
                    began.elapsed().as_millis() as u64,
                ));
                tracing::info!(pid = done.pid, version = done.version, %took, "handed over: the new process takes in clients, and this one finishes what it has");
                plane.supervisor().tell(&[Message::MainPid(done.pid)]);
                // One that is gone by now needs nothing more.
                let _ = talk.say(&Said::Yours).await;
                request.answer(Ok(done));
                return talk;
            }
            Err(why) => {
                tracing::error!(%why, "not handed over: this process carries on");
                let back = plane.take_back().err();
                plane.not_upgraded(&request.actor, &why);
                let and = back.as_ref().map(|it| format!("; and {it}")).unwrap_or_default();
                request.answer(Err(format!("{why}{and}")));
                if let Some(error) = back {
                    ask_back(plane, error).await;
                }
            }
        }
    }
}

/// Asks until the state is there again.
async fn ask_back(plane: &Plane, error: String) {
    let mut error = error;
    loop {
        tracing::error!(error, "the state cannot be had back: NOBODY GUARDS until it can");
        tokio::time::sleep(BACK_EVERY).await;
        match plane.take_back() {
            Ok(()) => return tracing::info!("the state is back: the guards see again"),
            Err(again) => error = again,
        }
    }
}

async fn attempt(
    plane: &Plane,
    sockets: &Sockets,
    arguments: Option<&[OsString]>,
    request: &Request,
) -> Result<(Upgraded, Talk), String> {
    let arguments = arguments.ok_or(NOT_RUN)?;
    if std::process::id() == 1 {
        return Err(FIRST.to_owned());
    }
    let binary = match &request.binary {
        Some(binary) => binary.clone(),
        None => own_binary()?,
    };
    let (mut successor, mut talk) = Successor::start(&binary, arguments, sockets)?;
    match successor.succeed(&mut talk, plane, request, &binary).await {
        Ok(done) => Ok((done, talk)),
        Err(why) => {
            let left = successor.end(&mut talk).await;
            let status = left.map(|it| format!(" ({it})")).unwrap_or_default();
            Err(format!("{}: {why}{status}", binary.display()))
        }
    }
}

/// The program that this process is, as it is on the disk now: usually another than it was.
fn own_binary() -> Result<PathBuf, String> {
    let own = std::env::current_exe()
        .map_err(|error| format!("the own program cannot be found: {error}; name one"))?;
    // What Linux says of a file that was replaced.
    let text = own.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or(own.clone(), PathBuf::from))
}

/// A program on its way to take over; ended if this is dropped before it has.
struct Successor {
    /// The one that starts it.
    starter: Child,
    /// Its process, once it has said so, until it has taken over.
    pid: Option<Pid>,
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            // It may have ended by itself.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

impl Successor {
    fn start(
        binary: &Path,
        arguments: &[OsString],
        sockets: &Sockets,
    ) -> Result<(Successor, Talk), String> {
        let fail =
            |error: std::io::Error| format!("{} cannot be started: {error}", binary.display());
        let bequest = Bequest::of(&sockets.named()).map_err(fail)?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(fail)?;
        let talk = Talk::over(ours).map_err(fail)?;
        let starter = Command::new(binary)
            .args(arguments.iter().filter(|it| *it != Part::TakeOver.argument()))
            .arg(Part::Start.argument())
            .envs(bequest.variables())
            // They are of this process, and would tell the new one that it is not meant.
            .env_remove("LISTEN_PID")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .spawn()
            .map_err(fail)?;
        Ok((Successor { starter, pid: None }, talk))
    }

    /// Goes through all of it.
    async fn succeed(
        &mut self,
        talk: &mut Talk,
        plane: &Plane,
        request: &Request,
        binary: &Path,
    ) -> Result<Upgraded, String> {
        let until = within(PROOF_MAX);
        let pid = match talk.hear(until).await {
            Ok(Said::Started { pid }) => pid,
            said => return Err(not_wanted(said)),
        };
        self.pid = i32::try_from(pid).ok().map(Pid::from_raw);
        let version = match talk.hear(until).await {
            Ok(Said::Ready { version, state_dir, unwell }) => {
                same_state(plane, &state_dir)?;
                agree(plane, &unwell)?;
                version
            }
            said => return Err(not_wanted(said)),
        };
        plane.hand_over(&request.actor, binary, &version, pid)?;
        let (own, me) = (env!("CARGO_PKG_VERSION").to_owned(), std::process::id());
        let down = down(plane);
        let told = talk.say(&Said::Take { version: own.clone(), pid: me, down }).await;
        told.map_err(|error| error.to_string())?;
        match talk.hear(within(START_MAX)).await {
            Ok(Said::Serving) => {
                self.pid = None;
                Ok(Upgraded { pid, version, from_pid: me, from_version: own })
            }
            said => Err(not_wanted(said)),
        }
    }

    /// Ends it; how its start ended, where it came no further.
    async fn end(mut self, talk: &mut Talk) -> Option<ExitStatus> {
        let Some(pid) = self.pid.take() else {
            let ended = timeout(LEAVE_MAX, self.starter.wait()).await;
            if let Ok(Ok(status)) = ended {
                return (!status.success()).then_some(status);
            }
            // It hangs, or goes on without having said a word.
            let _ = self.starter.start_kill();
            return None;
        };
        // One that has said why it cannot is about to end by itself.
        let _ = timeout(LEAVE_MAX, talk.gone()).await;
        let _ = kill(pid, Signal::SIGKILL);
        // Until it is gone it may have the state.
        if timeout(END_MAX, talk.gone()).await.is_err() {
            tracing::error!(%pid, "the new process does not end");
        }
        None
    }
}

/// What was heard in place of what should have been.
fn not_wanted(said: Result<Said, Silence>) -> String {
    match said {
        Ok(Said::Refused { why }) => why,
        Ok(_) => Silence::Odd.to_string(),
        Err(silence) => silence.to_string(),
    }
}

/// The endpoints that are down.
fn down(plane: &Plane) -> Vec<String> {
    let is_down = |id| {
        let view = plane.board().view(id);
        view.is_some_and(|it| it.state.standing() == Standing::Down)
    };
    let table = plane.table();
    table.endpoints().filter(|it| is_down(it.id)).map(|it| it.url.to_string()).collect()
}

/// Whether the new process would go on with what this one leaves.
fn same_state(plane: &Plane, theirs: &Path) -> Result<(), String> {
    let ours = real(&plane.table().config.state_dir);
    if theirs == ours {
        return Ok(());
    }
    Err(format!(
        "it has another state_dir ({} in place of {}), where sessions and rollout are not known: \
         that takes a restart",
        theirs.display(),
        ours.display()
    ))
}

/// A folder under the name that all agree on, if it is there.
pub(super) fn real(folder: &Path) -> PathBuf {
    std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
}

/// Whether the new process sees the servers as this one does: what is well here and not there is
/// the new one's own fault.
fn agree(plane: &Plane, unwell: &[(String, String)]) -> Result<(), String> {
    let table = plane.table();
    let is_up = |url: &str| {
        table.endpoints().any(|endpoint| {
            let view = plane.board().view(endpoint.id);
            is_of(&endpoint.url, url) && view.is_some_and(|it| it.state.standing() == Standing::Up)
        })
    };
    let lost: Vec<_> = unwell.iter().filter(|(url, _)| is_up(url)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let each: Vec<_> = lost.iter().map(|(url, why)| format!("{url} ({why})")).collect();
    Err(format!("for it these servers are down, which are up: {}", each.join(", ")))
}

/// Whether this is the endpoint of that text: also of a name for which the new process has found no
/// address.
fn is_of(endpoint: &EndpointUrl, text: &str) -> bool {
    let is_name_of = |it: EndpointUrl| it.is_name() && it.authority() == endpoint.authority();
    endpoint.to_string() == text || text.parse().is_ok_and(is_name_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::client::UPGRADE_MAX;
    use crate::admin::serve::CONNECTION_MAX;

    #[test]
    fn whoever_asks_waits_for_the_answer() {
        let all = PROOF_MAX + START_MAX + LEAVE_MAX + END_MAX;
        assert!(all < UPGRADE_MAX && UPGRADE_MAX < CONNECTION_MAX, "{all:?}");
    }

    #[test]
    fn a_server_is_known_by_its_name_too() {
        let url = |text: &str| text.parse::<EndpointUrl>().unwrap();
        let at = url("dns+http://mcp.test:3000/mcp").at("127.0.0.2".parse().unwrap());
        for (endpoint, text, is_it) in [
            (&at, "http://mcp.test:3000/mcp (127.0.0.2)", true),
            (&at, "http://mcp.test:3000/mcp (127.0.0.3)", false),
            (&at, "dns+http://mcp.test:3000/mcp", true),
            (&at, "dns+http://else.test:3000/mcp", false),
            (&url("http://127.0.0.1:1/mcp"), "http://127.0.0.1:1/mcp", true),
            (&url("http://127.0.0.1:1/mcp"), "http://127.0.0.1:2/mcp", false),
        ] {
            assert_eq!(is_of(endpoint, text), is_it, "{endpoint} {text}");
        }
    }
}
