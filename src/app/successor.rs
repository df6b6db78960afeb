//! The side of the process that takes over: it shows that it can, gets the state, and serves.
//!
//! It is started by way of another one, which ends at once: so it is no child of the old router's
//! but of the service manager, which follows its own children best. Does not know: what the old one
//! does meanwhile.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use crate::config::Config;
use crate::dns;
use crate::drain::Watcher;
use crate::health::handshake::{self, Memory};
use crate::health::{Subject, Verdict};
use crate::names::Arm;

use super::StartError;
use super::talk::{Said, Talk, within};
use super::upgrade::real;

/// How long a handshake may take at most, whatever `health.timeout` says: the old one waits.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long the old one may think about it.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long it may take to tell the service manager.
const YOURS_MAX: Duration = Duration::from_secs(1);

/// The part that a process has in an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It starts the one that takes over, and ends.
    Start,
    /// It takes over.
    TakeOver,
}

impl Part {
    /// What tells a program its part.
    pub const fn argument(self) -> &'static str {
        match self {
            Part::Start => "--take-over=start",
            Part::TakeOver => "--take-over=now",
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Part, String> {
        let is_it = |part: &Part| part.argument().ends_with(&format!("={text}"));
        let all = [Part::Start, Part::TakeOver];
        all.into_iter().find(is_it).ok_or_else(|| "this is for `tidegate upgrade`".to_owned())
    }
}

/// Starts this program again with the same arguments and sockets, as the one that takes over.
///
/// # Errors
/// When the system refuses.
pub fn start_again(arguments: &[OsString]) -> std::io::Result<()> {
    let own = arguments.iter().filter(|it| *it != Part::Start.argument());
    let program = std::env::current_exe()?;
    // It goes on alone: whoever asks is at the other end of standard input.
    drop(Command::new(program).args(own).arg(Part::TakeOver.argument()).spawn()?);
    Ok(())
}

/// The router that this one takes over from.
pub struct Predecessor {
    talk: Talk,
    /// The endpoints that are down for it.
    pub(super) down: Vec<String>,
}

impl Predecessor {
    /// The one that has started this process: it is at the other end of standard input. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    /// When nobody is there.
    pub fn find() -> Result<Predecessor, StartError> {
        say(&Said::Started { pid: std::process::id() })?;
        Ok(Predecessor { talk: Talk::over(line()?)?, down: Vec::new() })
    }

    /// Shows that this process could serve with this configuration, and waits until the state is
    /// free.
    pub(super) async fn prove(&mut self, config: &Config) -> Result<(), StartError> {
        let unwell = examine(config).await;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let state_dir = real(&config.state_dir);
        self.talk.say(&Said::Ready { version, state_dir, unwell }).await?;
        match self.talk.hear(within(ANSWER_MAX)).await {
            Ok(Said::Take { version, pid, down }) => {
                self.down = down;
                tracing::info!(from = pid, version, "taking over");
                Ok(())
            }
            Ok(_) => Err(StartError::NotHandedOver("it answered something else".to_owned())),
            Err(silence) => Err(StartError::NotHandedOver(silence.to_string())),
        }
    }

    /// Tells that this process takes in clients, and waits until the service manager knows too:
    /// before that it listens to nobody but the old one. Needs a `LocalSet`.
    pub(super) async fn serving(mut self, ending: Watcher) {
        // One that is gone has nothing more to say, and nothing to finish.
        let _ = self.talk.say(&Said::Serving).await;
        let _ = self.talk.hear(within(YOURS_MAX)).await;
        tokio::task::spawn_local(self.finish(ending));
    }

    /// Holds up the end of this process until the old one has finished: whoever ends a service ends
    /// all of its processes with the main one.
    async fn finish(mut self, mut ending: Watcher) {
        tokio::select! {
            () = self.talk.gone() => return,
            _ = ending.ending() => {}
        }
        tracing::info!("stopping: waiting for the router before, which finishes what it has");
        self.talk.gone().await;
    }
}

/// Tells the router that has started this process why it cannot take over.
pub fn refuse(why: &str) {
    // Whoever is gone knows that nothing has come of it.
    let _ = say(&Said::Refused { why: why.to_owned() });
}

/// Says something where there is no runtime.
fn say(said: &Said) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(said)?;
    text.push(b'\n');
    line()?.write_all(&text)
}

fn line() -> std::io::Result<UnixStream> {
    std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)
}

/// A handshake with every endpoint; those that are not well, and why. With `health.interval =
/// "off"` nobody is asked, as ever.
async fn examine(config: &Config) -> Vec<(String, String)> {
    if config.health.interval.is_none() {
        return Vec::new();
    }
    let subjects = Subject::all(config, &dns::once(config.urls()).await);
    let all = Arm::ALL.into_iter().flat_map(|arm| subjects.get(arm));
    let short = all
        .map(|subject| subject.with(|it| it.health.timeout = it.health.timeout.min(HANDSHAKE_MAX)));
    let probing: Vec<_> = short
        .map(|subject| {
            tokio::task::spawn_local(async move {
                let probe = handshake::probe(&subject, &mut Memory::default()).await;
                (subject.endpoint.url.to_string(), probe.verdict)
            })
        })
        .collect();
    let mut unwell = Vec::new();
    for probe in probing {
        match probe.await {
            Ok((_, Verdict::Healthy)) | Err(_) => {}
            Ok((url, verdict)) => unwell.push((url, verdict.to_string())),
        }
    }
    unwell
}
