//! What the service manager is told: ready, reloading, stopping, alive (`sd_notify(3)`).
//!
//! A manager that is slow or away never holds us up: what it does not take at once waits for the
//! next message, and what cannot be sent is left. Does not know: what any of it means to the
//! router, where variables come from.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Datagrams that wait for a slow manager; of more, the oldest go.
const WAITING_MAX: usize = 16;

/// Characters of a line for people: a datagram of more than 4 KiB is not read at all.
const STATUS_MAX: usize = 500;

/// One thing that a service manager can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The start, or a reload, is over.
    Ready,
    /// A reload has begun, at this time by `CLOCK_MONOTONIC`.
    Reloading(Duration),
    /// The end has begun.
    Stopping,
    /// How things stand, in one line for people.
    Status(String),
    /// We are alive.
    Watchdog,
    /// Start or stop may take this much longer from now on.
    ExtendTimeout(Duration),
    /// Another process is the service now. It speaks for itself, so this is the last that is sent.
    MainPid(u32),
}

impl Message {
    /// That a reload begins now.
    pub fn reloading() -> Message {
        // There is no Linux without this clock; a wrong time costs a warning in the manager's log.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
        Message::Reloading(now.unwrap_or_default())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Ready => f.write_str("READY=1"),
            Message::Reloading(at) => write!(f, "RELOADING=1\nMONOTONIC_USEC={}", at.as_micros()),
            Message::Stopping => f.write_str("STOPPING=1"),
            Message::Status(text) => {
                // A line break would begin another message.
                let plain = |it: char| if it.is_control() { ' ' } else { it };
                let line: String = text.chars().map(plain).take(STATUS_MAX).collect();
                write!(f, "STATUS={line}")
            }
            Message::Watchdog => f.write_str("WATCHDOG=1"),
            Message::ExtendTimeout(more) => write!(f, "EXTEND_TIMEOUT_USEC={}", more.as_micros()),
            Message::MainPid(pid) => write!(f, "MAINPID={pid}"),
        }
    }
}

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct Supervisor {
    way: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    waiting: RefCell<VecDeque<String>>,
    has_complained: Cell<bool>,
    /// Another process speaks for the service.
    is_done: Cell<bool>,
}

impl Supervisor {
    /// Nobody.
    pub fn none() -> Supervisor {
        Supervisor::default()
    }

    /// Whoever the environment names, by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; `own`
    /// is the number of this process.
    pub fn find<'a>(variable: impl Fn(&str) -> Option<&'a str>, own: u32) -> Supervisor {
        let Some(socket) = variable("NOTIFY_SOCKET") else { return Supervisor::none() };
        match open(socket) {
            Ok(way) => {
                let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), own);
                Supervisor { way: Some(way), watchdog, ..Supervisor::default() }
            }
            Err(error) => {
                tracing::warn!(socket, %error, "NOTIFY_SOCKET: the service manager is told nothing");
                Supervisor::none()
            }
        }
    }

    /// Whether anybody listens.
    pub fn is_there(&self) -> bool {
        self.way.is_some()
    }

    /// After how much silence the manager takes us for dead; `None`: it does not watch.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells all of it at once.
    pub fn tell(&self, messages: &[Message]) {
        if self.way.is_none() || self.is_done.get() {
            // What was said before may still wait.
            return self.catch_up();
        }
        self.is_done.set(messages.iter().any(|it| matches!(it, Message::MainPid(_))));
        let lines: Vec<_> = messages.iter().map(Message::to_string).collect();
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(lines.join("\n"));
        drop(waiting);
        self.catch_up();
    }

    /// Sends what still waits; to be called now and then.
    pub fn catch_up(&self) {
        let Some((socket, manager)) = &self.way else { return };
        let mut waiting = self.waiting.borrow_mut();
        while let Some(next) = waiting.front() {
            match socket.send_to_addr(next.as_bytes(), manager) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.complain(&error),
            }
            waiting.pop_front();
        }
    }

    fn complain(&self, error: &io::Error) {
        if !self.has_complained.replace(true) {
            tracing::warn!(%error, "the service manager of NOTIFY_SOCKET cannot be told anything");
        }
    }
}

/// A way to a manager, by a path or by an abstract name that begins with `@`.
fn open(address: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if address.starts_with('/') => SocketAddr::from_pathname(address)?,
        None => return Err(io::Error::other("it is neither a path nor @NAME")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

/// What the manager allows this process of silence. A variable that was meant for another process,
/// such as the one that has started us, means nothing here.
fn watchdog(micros: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let limit = Duration::from_micros(micros?.parse().ok()?);
    (is_ours && !limit.is_zero()).then_some(limit)
}

#[cfg(test)]
mod tests;
