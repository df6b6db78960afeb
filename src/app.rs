//! The composition root, and the only module that sees everyone: binds every socket first, starts
//! both planes, and stops in reverse.
//!
//! Whatever cannot start fails in [`App::bind`], before anything is served.

pub mod worker;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::socket::{AdminSocket, SocketError};
use crate::admin::verbs::Level;
use crate::admin::{serve, socket};
use crate::config::{Config, Environment};
use crate::control::{ChangeError, Control};
use crate::descriptors;
use crate::dns::LOOK_MAX;
use crate::drain;
use crate::listen::accept::{BindError, bind};
use crate::listen::crowd::Crowd;
use crate::observe::collect::{Answering, Collector};
use crate::plane::Plane;
use crate::records::journal::Actor;

use worker::{Sockets, Task};

/// How often the workers' counts are brought in and judged.
const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// How often the files of certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a look-up of a name may take before it counts as failed.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);

/// How often the memory is looked at: clients can fill it at the speed of the network.
const WEIGH_EVERY: Duration = Duration::from_millis(100);

/// How often webhooks are told what has happened.
const TELL_EVERY: Duration = Duration::from_millis(250);

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
    sockets: Vec<Sockets>,
    answering: Vec<Answering>,
    metrics: Option<std::net::TcpListener>,
    alerts: Option<std::net::TcpListener>,
    admin: AdminSocket,
    read_only: Option<AdminSocket>,
}

impl App {
    /// Takes every socket, file and key that the router needs.
    ///
    /// # Errors
    /// When one of them is not to be had; nothing has been served then.
    pub fn bind(config: Config, environment: Environment) -> Result<App, StartError> {
        let mut listen = Vec::new();
        let mut sockets: Vec<Sockets> = (0..config.workers).map(|_| Vec::new()).collect();
        for &address in &config.listen {
            let bound = bind(address, config.workers)?;
            listen.push(bound[0].local_addr()?);
            for (own, socket) in sockets.iter_mut().zip(bound) {
                own.push(socket);
            }
        }
        let metrics = config.metrics.as_ref().map(|it| bind_one(it.listen)).transpose()?;
        let metrics_address =
            metrics.as_ref().map(std::net::TcpListener::local_addr).transpose()?;
        let alerts = config.alerts.as_ref().map(|it| bind_one(it.listen)).transpose()?;
        let alerts_address = alerts.as_ref().map(std::net::TcpListener::local_addr).transpose()?;
        let admin = socket::bind(&config.admin.socket, config.admin.mode)?;
        let read_only = config.admin.read_only.as_ref();
        let read_only = read_only.map(|it| socket::bind(&it.socket, it.mode)).transpose()?;
        let (collector, answering) = Collector::new(config.workers);
        let control = Control::start(config, environment)?;
        let plane = Plane::new(control, collector, listen, metrics_address, alerts_address);
        descriptors::prepare(plane.table().config.limits.connections)?;
        Ok(App { plane: Rc::new(plane), sockets, answering, metrics, alerts, admin, read_only })
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
        let App { plane, sockets, answering, metrics, alerts, admin, read_only } = self;
        // Clients that come meanwhile are kept waiting by the system.
        plane.look_up(LOOK_MAX).await;
        let (trigger, watcher) = drain::pair();
        let (stopped, stopping) = watch::channel(false);
        let crowd = Arc::new(Crowd::default());
        let task = |(sockets, answering)| Task {
            live: plane.control().live(),
            overload: plane.overload(),
            sockets,
            answering,
            crowd: Arc::clone(&crowd),
            ending: watcher.clone(),
            stopped: stopping.clone(),
        };
        let tasks = sockets.into_iter().zip(answering).map(task).enumerate();
        let threads = tasks.map(|(number, task)| worker::start(number, task));
        let threads = threads.collect::<std::io::Result<Vec<_>>>()?;
        drop(watcher);
        let asked = [Some((admin, Level::Change)), read_only.map(|it| (it, Level::Read))];
        let mut asked = answer_on(&plane, asked.into_iter().flatten());
        if let Some(listener) = metrics {
            tokio::task::spawn_local(serve::metrics(Rc::clone(&plane), listener));
        }
        if let Some(listener) = alerts {
            tokio::task::spawn_local(serve::notifications(Rc::clone(&plane), listener));
        }
        let mut collecting = tokio::task::spawn_local(collect(Rc::clone(&plane)));
        let mut following = tokio::task::spawn_local(follow(Rc::clone(&plane)));
        follow_machine(&plane)?;
        let telling = tokio::task::spawn_local(tell(Rc::clone(&plane)));
        plane.set_ready(true);
        announce(&plane);
        // Neither of the two ends by itself: without them the guards would be blind, and a start
        // finds everything where the journal says it is.
        let broken = tokio::select! {
            () = stop => false,
            _ = &mut collecting => true,
            _ = &mut following => true,
        };
        if broken {
            tracing::error!(
                "the control plane has broken down: stopping, since nobody guards any more"
            );
        }
        plane.set_ready(false);
        following.abort();
        plane.keep_clock();
        plane.board().stop();
        finish(trigger, plane.table().config.timeouts.drain, hurry).await;
        stopped.send_replace(true);
        join(threads).await;
        telling.abort();
        plane.tell_last().await;
        plane.end_history().await;
        // Dropping a task removes its socket file.
        asked.shutdown().await;
        tracing::info!("stopped");
        if broken { Err(StartError::Unguarded) } else { Ok(()) }
    }
}

/// Serves admin sockets, and no more than each is for.
fn answer_on(
    plane: &Rc<Plane>,
    sockets: impl Iterator<Item = (AdminSocket, Level)>,
) -> JoinSet<std::io::Result<()>> {
    let mut tasks = JoinSet::new();
    for (socket, most) in sockets {
        tasks.spawn_local(serve::admin(Rc::clone(plane), socket, most));
    }
    tasks
}

/// Lets what is in flight finish, within this time or until `hurry`.
async fn finish(trigger: drain::Trigger, limit: Duration, hurry: impl Future<Output = ()>) {
    tracing::info!(limit = %humantime::format_duration(limit), "stopping: no new connections, finishing what is in flight");
    tokio::select! {
        finished = trigger.end(limit) => if !finished {
            tracing::warn!("stopping: cut what was still open at the end of timeouts.drain");
        },
        () = hurry => tracing::warn!("stopping at once: cut what was still open"),
    }
}

/// A socket for the control plane.
fn bind_one(address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    Ok(bind(address, 1)?.remove(0))
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

async fn collect(plane: Rc<Plane>) {
    let mut every = tokio::time::interval(COLLECT_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = plane.uncounted() => {}
        }
        plane.collect().await;
        plane.decide();
    }
}

async fn tell(plane: Rc<Plane>) {
    let mut every = tokio::time::interval(TELL_EVERY);
    loop {
        every.tick().await;
        plane.tell();
    }
}

/// Takes over what changes on this machine: the configuration when it is told to, certificates and
/// memory by itself.
fn follow_machine(plane: &Rc<Plane>) -> std::io::Result<()> {
    tokio::task::spawn_local(reload_on_hangup(Rc::clone(plane))?);
    tokio::task::spawn_local(follow_certificates(Rc::clone(plane)));
    tokio::task::spawn_local(follow_memory(Rc::clone(plane)));
    Ok(())
}

async fn follow_memory(plane: Rc<Plane>) {
    let mut every = tokio::time::interval(WEIGH_EVERY);
    loop {
        every.tick().await;
        plane.watch_memory();
    }
}

async fn follow_certificates(plane: Rc<Plane>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        every.tick().await;
        plane.follow_certificates().await;
    }
}

/// Follows the servers: where they are, and how they stand.
async fn follow(plane: Rc<Plane>) {
    tokio::join!(follow_health(&plane), follow_names(&plane));
}

/// Takes over what handshakes find out, as soon as they do, and what time changes in it.
async fn follow_health(plane: &Plane) {
    plane.board().sync(&plane.table());
    loop {
        // An endpoint that comes back gets a little more each second.
        let _ = tokio::time::timeout(COLLECT_EVERY, plane.board().news()).await;
        plane.follow_health();
        plane.decide();
    }
}

/// Looks up names again and again.
async fn follow_names(plane: &Plane) {
    let mut last = Instant::now();
    loop {
        // A reload may have brought the next time forward.
        let next = last + plane.table().config.dns.interval;
        tokio::time::sleep_until(next.min(Instant::now() + COLLECT_EVERY)).await;
        if Instant::now() >= next {
            plane.look_up(LOOK_UP_MAX).await;
            last = Instant::now();
        }
    }
}

/// Reloads at every SIGHUP; the result is in the log and in `status`.
fn reload_on_hangup(plane: Rc<Plane>) -> std::io::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            let actor = Actor::Signal { name: "SIGHUP".to_owned() };
            if plane.reload(&actor, true).await.is_ok() {
                tracing::info!(generation = plane.table().generation, "configuration reloaded");
            }
        }
    })
}

async fn join(threads: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || {
        threads.into_iter().filter_map(|thread| thread.join().err()).count()
    });
    if let Ok(panicked @ 1..) = joined.await {
        tracing::error!(panicked, "workers ended by a panic");
    }
}
