//! `tidegate demo`: two small MCP servers, a stream of clients, the weights moved under them, and a
//! rollout of a version that breaks.
//!
//! The plot only: what runs in which order and when it ends. The router is an address and a few
//! things that an operator can do, so that the demo shows what any client of any router could see, and cannot peep.
//! Does not know: how the router works or is started, the command line, who writes the log.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Interval, interval};

use crate::names::{Arm, PerArm, Split};
use score::{Score, Tally};
use show::{Look, Places};

pub mod server;

pub mod client;

pub mod score;

pub mod load;

pub mod show;

/// The versions that the two servers give.
pub const VERSIONS: PerArm<&str> = PerArm { primary: "1.0.0", secondary: "2.0.0" };

/// Percent to the secondary in each phase: a careful start, an even share, all of it.
const PHASES: [u8; 3] = [10, 50, 100];

/// Percent to the secondary after the phases: both versions are there to be tried.
const HOLD: u8 = 50;

/// Percent to the secondary in the first step of the rollout.
pub const ROLLOUT: u8 = 25;

/// Seconds of the rollout before the new version breaks, and after the gate is shut.
const CALM_SECONDS: u32 = 3;

/// Seconds after which the gate should have shut itself: several times what it takes.
const GATE_SECONDS: u32 = 60;

/// The line after the phases looks back this far: long enough to be steady, short enough to follow
/// a change of weights while one watches.
const RECENT_SECONDS: u64 = 5;

/// What the demo plays on.
#[derive(Debug)]
pub struct Stage {
    /// Where the router listens.
    pub router: SocketAddr,
    /// Where the two servers are to listen, bound already (see [`bind`]).
    pub servers: PerArm<TcpListener>,
    /// Where the router's metrics are, for the text.
    pub metrics: Option<SocketAddr>,
    /// How the program was called, for the text.
    pub program: String,
    /// The admin socket, for the text, if commands do not find it by themselves.
    pub admin_socket: Option<PathBuf>,
    /// How long each split is shown.
    pub seconds_per_phase: u32,
    /// Leave after the phases instead of waiting for `stop`.
    pub once: bool,
    /// How the text may look.
    pub look: Look,
}

/// What an operator can do with the router.
pub trait Router {
    /// Sets the split.
    ///
    /// # Errors
    /// Why not, in a sentence.
    fn set_split(&self, split: Split) -> Result<(), String>;

    /// Starts a rollout to the secondary, with [`ROLLOUT`] percent in its first step.
    ///
    /// # Errors
    /// Why not, in a sentence.
    fn start_rollout(&self) -> Result<(), String>;

    /// Why the rollout was reverted, once it was.
    fn reverted(&self) -> Option<String>;
}

/// What the clients saw, from the first session to the last.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Sessions that changed their version.
    pub violations: u64,
    /// Sessions that ended in an error.
    pub errors: u64,
    /// The new sessions of each split, in order.
    pub phases: Vec<score::Phase>,
    /// Why the rollout was reverted, if it came to that.
    pub reverted: Option<String>,
}

impl Summary {
    /// Whether the router did what it promises.
    pub fn is_good(&self) -> bool {
        self.violations == 0 && self.errors == 0
    }
}

/// Why the demo could not be played.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Not even one session could be opened.
    #[error("the router at {0} opens no session: {1}")]
    Silent(SocketAddr, client::CallError),
    /// The split was refused.
    #[error("the router does not take the split {0}: {1}")]
    Split(Split, String),
    /// The rollout was refused.
    #[error("the router does not start the rollout: {0}")]
    Rollout(String),
    /// A broken version went on getting new work.
    #[error("the gate is still open {GATE_SECONDS} s after the new version broke")]
    Open,
    /// The text cannot be written, or an address is unknown.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Listens on an address of the demo; `option` is the one that names another port.
///
/// Needs a tokio runtime around it. Without `SO_REUSEPORT` on purpose: with it, a port that
/// another router holds would look free.
///
/// # Errors
/// One sentence that says what to do.
pub fn bind(addr: SocketAddr, option: &str) -> Result<TcpListener, String> {
    let bound = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?; // the port of a demo that has just ended is free
        socket.bind(addr)?;
        socket.listen(1024)
    };
    let port = addr.port();
    bound().map_err(|error: io::Error| match error.kind() {
        ErrorKind::AddrInUse => format!(
            "port {port} is taken (another server?): stop it, or choose another with {option}"
        ),
        ErrorKind::PermissionDenied => {
            format!("port {port} may not be used by this user: choose another with {option}")
        }
        _ => format!("cannot listen on {addr}: {error}"),
    })
}

/// The arm whose server gives this version.
pub fn arm_of(version: &str) -> Option<Arm> {
    Arm::ALL.into_iter().find(|arm| *VERSIONS.get(*arm) == version)
}

/// Plays the demo in front of a running router, until it is over or `stop`.
pub async fn run(
    stage: Stage,
    out: &mut dyn Write,
    router: &dyn Router,
    stop: impl Future<Output = ()>,
) -> Result<Summary, DemoError> {
    let places = places(&stage)?;
    let score = Arc::new(Score::default());
    let [primary, secondary] = [stage.servers.primary, stage.servers.secondary];
    let mut plot = Plot {
        places,
        look: stage.look,
        seconds_per_phase: stage.seconds_per_phase,
        score: score.clone(),
        beat: interval(Duration::from_secs(1)),
        broken: Arc::default(),
        second: 0,
        reverted: None,
        router,
        out,
    };
    let (sound, broken) = (Arc::default(), plot.broken.clone());
    let played = {
        let mut plot = pin!(plot.play(stage.once));
        tokio::select! {
            // The end is looked for first: what breaks because all is being stopped is no error.
            biased;
            () = stop => None,
            played = &mut plot => Some(played),
            () = server::serve(primary, VERSIONS.primary, sound, pending()) => None,
            () = server::serve(secondary, VERSIONS.secondary, broken, pending()) => None,
        }
    };
    let tally = score.tally();
    match played {
        Some(played) => played?,
        None => plot.interrupted(&tally)?,
    }
    let Tally { violations, errors, phases, .. } = tally;
    Ok(Summary { violations, errors, phases, reverted: plot.reverted })
}

fn places(stage: &Stage) -> io::Result<Places> {
    let socket = stage.admin_socket.as_ref();
    Ok(Places {
        router: stage.router,
        servers: PerArm {
            primary: stage.servers.primary.local_addr()?,
            secondary: stage.servers.secondary.local_addr()?,
        },
        metrics: stage.metrics,
        program: stage.program.clone(),
        socket_option: socket.map_or_else(String::new, |at| format!(" --socket {}", at.display())),
    })
}

// === impl Plot ===

struct Plot<'a> {
    places: Places,
    look: Look,
    seconds_per_phase: u32,
    score: Arc<Score>,
    beat: Interval,
    /// Whether the secondary's `echo` fails.
    broken: Arc<AtomicBool>,
    /// Seconds since the first phase began.
    second: u64,
    reverted: Option<String>,
    router: &'a dyn Router,
    out: &'a mut dyn Write,
}

impl Plot<'_> {
    /// The whole of it: words, phases, summary, the rollout, and the time after.
    async fn play(&mut self, once: bool) -> Result<(), DemoError> {
        write!(self.out, "{}", show::intro(self.look, &self.places))?;
        let router = self.places.router;
        load::first_answer(router).await.map_err(|error| DemoError::Silent(router, error))?;
        let clients = load::run(router, self.score.clone());
        let phases = async {
            for secondary in PHASES {
                let asked = percent_to_secondary(secondary);
                self.set_split(asked)?;
                writeln!(self.out, "\n{}", show::heading(self.look, asked))?;
                self.seconds(asked, self.seconds_per_phase).await?;
            }
            write!(self.out, "\n{}", show::summary(self.look, &self.score.tally()))?;
            let work = load::work(router, self.score.clone());
            tokio::select! {
                shut = self.gate() => shut?,
                () = work => {}
            }
            if once {
                return Ok(());
            }
            self.set_split(percent_to_secondary(HOLD))?;
            self.hold().await
        };
        tokio::select! {
            played = phases => played,
            () = clients => Ok(()),
        }
    }

    fn set_split(&self, asked: Split) -> Result<(), DemoError> {
        self.router.set_split(asked).map_err(|text| DemoError::Split(asked, text))
    }

    /// So many seconds of a split, with a line for each.
    async fn seconds(&mut self, asked: Split, seconds: u32) -> Result<(), DemoError> {
        self.score.begin(asked);
        self.beat.reset();
        for _ in 0..seconds {
            self.one_second().await?;
        }
        Ok(())
    }

    async fn one_second(&mut self) -> Result<(), DemoError> {
        self.beat.tick().await;
        self.second += 1;
        let tally = self.score.tally();
        let Some(phase) = tally.phases.last() else { return Ok(()) };
        writeln!(self.out, "{}", show::live(self.look, self.second, phase, &tally))?;
        Ok(self.out.flush()?)
    }

    /// A rollout of a version that breaks, and the gate that shuts itself.
    async fn gate(&mut self) -> Result<(), DemoError> {
        self.set_split(Split::PRIMARY_ONLY)?;
        self.start().await?;
        writeln!(self.out, "\n{}", show::rollout(self.look))?;
        self.seconds(percent_to_secondary(ROLLOUT), CALM_SECONDS).await?;
        writeln!(self.out, "{}", show::breaks(self.look))?;
        self.broken.store(true, Ordering::Relaxed);
        let mut after = 0;
        while self.reverted.is_none() {
            if after == GATE_SECONDS {
                return Err(DemoError::Open);
            }
            self.one_second().await?;
            after += 1;
            self.reverted = self.router.reverted();
        }
        let why = self.reverted.clone().unwrap_or_default();
        let failed = self.score.tally().broken;
        writeln!(self.out, "{}", show::shut(self.look, after, &why, failed))?;
        self.seconds(Split::PRIMARY_ONLY, CALM_SECONDS).await?;
        self.broken.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Starts the rollout, once the router has heard from both servers.
    async fn start(&mut self) -> Result<(), DemoError> {
        let mut tried = 0;
        loop {
            match self.router.start_rollout() {
                Err(why) if tried == CALM_SECONDS * 4 => return Err(DemoError::Rollout(why)),
                Err(_) => self.beat.tick().await,
                Ok(()) => return Ok(()),
            };
            tried += 1;
        }
    }

    /// Stays at the last split; in a terminal, one line follows what is done by hand elsewhere.
    async fn hold(&mut self) -> Result<(), DemoError> {
        self.score.begin(percent_to_secondary(HOLD));
        writeln!(self.out, "\n{}", show::try_it(self.look, &self.places))?;
        writeln!(self.out, "All goes on at {HOLD}:{HOLD}. Ctrl-C ends it.")?;
        self.out.flush()?;
        let mut before = VecDeque::new();
        loop {
            self.beat.tick().await;
            let tally = self.score.tally();
            before.push_back(tally.sessions());
            if before.len() as u64 > RECENT_SECONDS + 1 {
                before.pop_front();
            }
            if self.look.terminal {
                let sessions = since(before.front(), &tally);
                let line = show::recent(self.look, RECENT_SECONDS, &sessions, &tally);
                write!(self.out, "\r\x1b[2K{line}")?;
                self.out.flush()?;
            }
        }
    }

    /// Ctrl-C: the summary is due, unless it was shown and nothing went wrong since.
    fn interrupted(&mut self, tally: &Tally) -> io::Result<()> {
        writeln!(self.out)?;
        let shown = tally.phases.len() > PHASES.len();
        if !shown || tally.violations + tally.errors > 0 {
            write!(self.out, "{}", show::summary(self.look, tally))?;
        }
        self.out.flush()
    }
}

fn percent_to_secondary(secondary: u8) -> Split {
    Split::new(100 - secondary, secondary).expect("the two add up to 100")
}

fn since(before: Option<&PerArm<u64>>, tally: &Tally) -> PerArm<u64> {
    let now = tally.sessions();
    PerArm::from_fn(|arm| now.get(arm) - before.map_or(0, |before| *before.get(arm)))
}

#[cfg(test)]
mod tests;
