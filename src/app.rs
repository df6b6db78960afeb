//! The composition root, and the only module that sees everyone: binds every socket first, starts
//! both planes, and stops in reverse.
//!
//! Whatever cannot start fails in [`App::bind`], before anything is served.

mod ending;

mod loops;

mod sockets;

mod successor;

mod supervised;

mod talk;

mod upgrade;

mod watchdog;

pub mod worker;

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::serve;
use crate::admin::socket::SocketError;
use crate::admin::verbs::Level;
use crate::config::{Config, Environment};
use crate::control::{ChangeError, Control};
use crate::descriptors;
use crate::dns::LOOK_MAX;
use crate::drain;
use crate::listen::accept::BindError;
use crate::listen::crowd::Crowd;
use crate::listen::inherited::Inherited;
use crate::observe::collect::{Answering, Collector};
use crate::observe::join::Awaiting;
use crate::plane::Plane;
use crate::supervisor::Supervisor;

pub use successor::{Part, Predecessor, refuse, start_again};

use ending::{finish, join};
use sockets::Sockets;
use supervised::Supervised;
use talk::Talk;
use worker::Task;

/// Why the router does not start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is not to be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin socket is not to be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// State, keys or audit log.
    #[error(transparent)]
    State(#[from] ChangeError),
    /// The router that runs has not handed over.
    #[error("the running router has not handed over: {0}")]
    NotHandedOver(String),
    /// The control plane has broken down while it ran.
    #[error("the control plane has broken down: see the log")]
    Unguarded,
    /// Threads, runtimes or signals.
    #[error("the operating system refused: {0}; see `ulimit -a` and the limits of its service")]
    System(#[from] std::io::Error),
}

/// A router with all its sockets, not yet serving.
pub struct App {
    plane: Rc<Plane>,
    sockets: Sockets,
    answering: Vec<Answering>,
    /// What an upgrade starts the new program with.
    arguments: Option<Vec<OsString>>,
    predecessor: Option<Predecessor>,
}

impl App {
    /// Takes every socket, file and key that the router needs; of the sockets, those that were
    /// given.
    ///
    /// # Errors
    /// When one of them is not to be had; nothing has been served then.
    pub fn bind(
        config: Config,
        environment: Environment,
        given: Inherited,
    ) -> Result<App, StartError> {
        let sockets = Sockets::open(&config, given)?;
        App::with(config, environment, sockets)
    }

    /// The same in place of a router that runs: shows it first that this one could serve. Needs a
    /// `LocalSet`.
    ///
    /// # Errors
    /// As above, or when the other one does not let go.
    pub async fn take_over(
        config: Config,
        environment: Environment,
        given: Inherited,
        mut predecessor: Predecessor,
    ) -> Result<App, StartError> {
        let sockets = Sockets::open(&config, given)?;
        predecessor.prove(&config).await?;
        let app = App::with(config, environment, sockets)?;
        Ok(App { predecessor: Some(predecessor), ..app })
    }

    fn with(config: Config, environment: Environment, sockets: Sockets) -> Result<App, StartError> {
        let listen = sockets.clients.iter().map(|it| it.address).collect();
        let address =
            |socket: &Option<TcpListener>| socket.as_ref().map(TcpListener::local_addr).transpose();
        let (metrics, alerts) = (address(&sockets.metrics)?, address(&sockets.alerts)?);
        let (collector, answering) = Collector::new(config.workers);
        let control = Control::start(config, environment)?;
        let plane = Rc::new(Plane::new(control, collector, listen, metrics, alerts));
        descriptors::prepare(plane.table().config.limits.connections)?;
        Ok(App { plane, sockets, answering, arguments: None, predecessor: None })
    }

    /// Lets this router be upgraded: a new program is started with these arguments.
    #[must_use]
    pub fn upgradable(self, arguments: Vec<OsString>) -> App {
        App { arguments: Some(arguments), ..self }
    }

    /// The same, with a service manager that is told how it goes.
    #[must_use]
    pub fn supervised(self, supervisor: Supervisor) -> App {
        self.plane.tell_from_now_on(supervisor);
        self
    }

    /// The control plane.
    pub fn plane(&self) -> Rc<Plane> {
        Rc::clone(&self.plane)
    }

    /// Where clients connect.
    pub fn listen(&self) -> &[SocketAddr] {
        &self.plane.listen
    }

    /// Serves until `stop`, then lets what is in flight finish, up to `timeouts.drain` or until
    /// `hurry`. Needs a current-thread runtime with a `LocalSet`.
    ///
    /// # Errors
    /// When threads or signals are not to be had.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), StartError> {
        let App { plane, mut sockets, answering, arguments, predecessor } = self;
        // Clients that come meanwhile are kept waiting by the system.
        plane.look_up(LOOK_MAX).await;
        if let Some(predecessor) = &predecessor {
            plane.know_down(&predecessor.down);
        }
        let (trigger, watcher) = drain::pair();
        let (stopped, stopping) = watch::channel(false);
        let (awaiting, heard) = watch::channel(None);
        let threads = start_workers(&plane, &sockets, answering, &watcher, &heard, &stopping)?;
        let is_proven = predecessor.is_some();
        plane.set_ready(is_proven);
        let mut asked = answer_on(&plane, &sockets)?;
        let mut collecting = tokio::task::spawn_local(loops::collect(Rc::clone(&plane)));
        let mut following = tokio::task::spawn_local(loops::follow(Rc::clone(&plane)));
        loops::follow_machine(&plane)?;
        let telling = tokio::task::spawn_local(loops::tell(Rc::clone(&plane)));
        if let Some(predecessor) = predecessor {
            plane.upgraded();
            sockets.own_files(&plane.table().config);
            predecessor.serving(watcher.clone()).await;
        }
        drop(watcher);
        let supervised = Supervised::start(&plane, is_proven);
        // The two loops never end by themselves: without them the guards would be blind, and a
        // start finds everything where the journal says it is.
        let end = tokio::select! {
            () = stop => End::Asked,
            talk = upgrade::served(&plane, &sockets, arguments.as_deref()) => End::HandedOver(talk),
            _ = &mut collecting => End::Broken,
            _ = &mut following => End::Broken,
        };
        plane.upgrades().close();
        let _stopping = supervised.stop();
        following.abort();
        let is_handed_over = matches!(end, End::HandedOver(_));
        if matches!(end, End::Broken) {
            tracing::error!("the control plane has broken down: stopping, nobody guards");
        }
        let files = let_go(&plane, sockets, &mut asked, is_handed_over).await;
        plane.board().stop();
        finish(&plane, trigger, is_handed_over, &awaiting, hurry).await;
        stopped.send_replace(true);
        join(threads).await;
        telling.abort();
        plane.tell_last().await;
        plane.end_history().await;
        asked.shutdown().await;
        drop(files); // those of the admin sockets, which go with them
        tracing::info!("stopped");
        match end {
            End::Broken => Err(StartError::Unguarded),
            End::Asked => Ok(()),
            End::HandedOver(line) => {
                drop(line);
                Ok(())
            }
        }
    }
}

/// Why a router ends.
enum End {
    /// Somebody has asked it to.
    Asked,
    /// Another process has taken over, and waits for the end of this line.
    HandedOver(Talk),
    /// It can no longer do its work.
    Broken,
}

/// Accepts no more clients; gives what else is answered until the end. Where another process has
/// taken over that is nothing: a socket that is open here and answered by nobody would be in the way
/// of the next start, should that process break down meanwhile.
async fn let_go(
    plane: &Plane,
    mut sockets: Sockets,
    asked: &mut JoinSet<std::io::Result<()>>,
    is_handed_over: bool,
) -> Option<Sockets> {
    if is_handed_over {
        sockets.leave_files();
        asked.shutdown().await;
        return None;
    }
    plane.keep_clock();
    sockets.clients.clear();
    Some(sockets)
}

/// Starts the data plane.
fn start_workers(
    plane: &Plane,
    sockets: &Sockets,
    answering: Vec<Answering>,
    ending: &drain::Watcher,
    awaiting: &watch::Receiver<Option<Awaiting>>,
    stopped: &watch::Receiver<bool>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let crowd = Arc::new(Crowd::default());
    let task = |(sockets, answering)| Task {
        live: plane.control().live(),
        overload: plane.overload(),
        sockets,
        answering,
        crowd: Arc::clone(&crowd),
        ending: ending.clone(),
        awaiting: awaiting.clone(),
        stopped: stopped.clone(),
    };
    let of_workers = sockets.for_workers(answering.len())?;
    let tasks = of_workers.into_iter().zip(answering).map(task).enumerate();
    tasks.map(|(number, task)| worker::start(number, task)).collect()
}

/// Serves the sockets of the control plane, and on each no more than it is for.
fn answer_on(
    plane: &Rc<Plane>,
    sockets: &Sockets,
) -> std::io::Result<JoinSet<std::io::Result<()>>> {
    let mut tasks = JoinSet::new();
    let files = [(Some(&sockets.admin), Level::Change), (sockets.read_only.as_ref(), Level::Read)];
    for (socket, most) in files.into_iter().filter_map(|(it, most)| Some((it?, most))) {
        let listener = socket.listener.try_clone()?;
        tasks.spawn_local(serve::admin(Rc::clone(plane), listener, most));
    }
    if let Some(listener) = &sockets.metrics {
        tasks.spawn_local(serve::metrics(Rc::clone(plane), listener.try_clone()?));
    }
    if let Some(listener) = &sockets.alerts {
        tasks.spawn_local(serve::notifications(Rc::clone(plane), listener.try_clone()?));
    }
    Ok(tasks)
}

fn announce(plane: &Plane) {
    let table = plane.table();
    let config = &table.config;
    let scheme = |secure: bool| if secure { "https" } else { "http" };
    let own = scheme(config.tls.is_some());
    let metrics = scheme(config.metrics.as_ref().is_some_and(|it| it.tls.is_some()));
    let alerts = scheme(config.alerts.as_ref().is_some_and(|it| it.tls.is_some()));
    let listen: Vec<String> =
        plane.listen.iter().map(|at| format!("{own}://{at}{}", config.path)).collect();
    tracing::info!(
        listen = %listen.join(", "),
        split = %table.split,
        admin = %table.config.admin.socket.display(),
        metrics = plane.metrics_listen.map_or_else(|| "off".to_owned(), |at| format!("{metrics}://{at}/metrics")),
        alerts = plane.alerts_listen.map_or_else(|| "off".to_owned(), |at| format!("{alerts}://{at}/v1/alertmanager")),
        "tidegate {} is ready", env!("CARGO_PKG_VERSION"),
    );
}
