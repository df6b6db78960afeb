//! The operator's own commands that start, stop and restart the servers of an arm.
//!
//! Processes belong to whatever manages them already: systemd, docker, a script. A command runs
//! without a shell, in a process group of its own, for a bounded time, and a bounded part of what it
//! says is kept. What it leaves running when it ends by itself is left alone: that is how a start
//! script works. Does not know: traffic, rollouts.

mod output;

mod version;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::names::Arm;

pub use output::Output;
pub use version::{is_same, version, version_in};

/// What a group that was told to end has before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is asked whether it is gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the rest of the output is waited for: what a command left running can keep its pipes
/// open for ever.
const REST_MAX: Duration = Duration::from_millis(200);

/// A command to be run.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The program and its arguments; at least one word.
    pub words: &'a [String],
    /// For which arm: `TIDEGATE_ARM`.
    pub arm: Arm,
    /// Which version: `TIDEGATE_VERSION`, which is not set without one.
    pub version: Option<&'a str>,
    /// Under which profile: `TIDEGATE_PROFILE`, which is empty without one.
    pub profile: Option<&'a str>,
    /// How long it may take.
    pub limit: Duration,
}

/// What became of a command.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub how: How,
    /// How long it took.
    pub took: Duration,
    /// What it said.
    pub output: Output,
    /// Something that it started still holds its output, which nobody reads any more.
    pub is_held: bool,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, which was not ours.
    Signalled(i32),
    /// By us: it took longer than this.
    TimedOut(Duration),
    /// By us: somebody did not want to wait any longer.
    Interrupted,
}

/// Runs a command to its end, or until `interrupted` returns. Dropped before that, it kills the
/// command.
///
/// # Errors
/// When the program cannot be started.
pub async fn run(call: &Call<'_>, interrupted: impl Future<Output = ()>) -> io::Result<Ended> {
    let began = Instant::now();
    let mut child = spawn(call)?;
    let mut group = Group::of(&child);
    let mut output = Output::of(&mut child);
    let how = {
        let ending = async {
            let how = tokio::select! {
                status = child.wait() => How::of(status?),
                () = sleep(call.limit) => How::TimedOut(call.limit),
                () = interrupted => How::Interrupted,
            };
            if matches!(how, How::TimedOut(_) | How::Interrupted) {
                group.end(&mut child).await;
            }
            io::Result::Ok(how)
        };
        tokio::pin!(ending);
        loop {
            tokio::select! {
                how = &mut ending => break how?,
                () = output.read() => {}
            }
        }
    };
    group.0 = None;
    let took = began.elapsed();
    let is_held = timeout(REST_MAX, output.rest()).await.is_err();
    Ok(Ended { how, took, output, is_held })
}

fn spawn(call: &Call<'_>) -> io::Result<Child> {
    let mut command = Command::new(&call.words[0]);
    command
        .args(&call.words[1..])
        .env("TIDEGATE_ARM", call.arm.as_str())
        .env("TIDEGATE_PROFILE", call.profile.unwrap_or_default())
        // One that is left of something else would name a version that nobody has asked for.
        .env_remove("TIDEGATE_VERSION")
        .envs(call.version.map(|version| ("TIDEGATE_VERSION", version)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command.spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot run {}: {error}", call.words[0]))
    })
}

/// The process group of a command; none once it has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// Asks the group to end, and kills what is left of it.
    async fn end(&self, child: &mut Child) {
        self.signal(Signal::SIGTERM);
        let gone = async {
            let _ = child.wait().await;
            while self.is_there() {
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout(GRACE, gone).await.is_err() {
            self.signal(Signal::SIGKILL);
            // A process that the system does not let go is not waited for.
            let _ = timeout(GRACE, child.wait()).await;
        }
    }

    fn is_there(&self) -> bool {
        self.0.is_some_and(|group| killpg(group, None).is_ok())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // One that is gone already needs none.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

// === impl How ===

impl How {
    fn of(status: ExitStatus) -> How {
        match (status.code(), status.signal()) {
            (Some(code), _) => How::Exited(code),
            (None, signal) => How::Signalled(signal.unwrap_or_default()),
        }
    }

    /// Whether it did what it should.
    pub fn is_good(self) -> bool {
        self == How::Exited(0)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Exited(code) => write!(f, "exit code {code}"),
            How::Signalled(signal) => write!(f, "ended by signal {signal}"),
            How::TimedOut(limit) => {
                let limit = humantime::format_duration(*limit);
                write!(f, "not done within {limit}, and ended with all that it had started")
            }
            How::Interrupted => f.write_str("interrupted, and ended with all that it had started"),
        }
    }
}

#[cfg(test)]
mod tests;
