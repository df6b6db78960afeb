//! Every socket that the router listens on: given by whoever was there before, or bound.
//!
//! They are kept besides those of the workers, to be given on; while any of them is open, clients
//! are not refused. Does not know: who serves them.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd};

use crate::admin::socket::{self, AdminSocket};
use crate::config::Config;
use crate::listen::accept::{BindError, Listening, bind};
use crate::listen::inherited::{Inherited, Purpose};

use super::StartError;

/// All of them.
pub(super) struct Sockets {
    /// Where clients connect.
    pub(super) clients: Vec<Clients>,
    /// Where Prometheus scrapes.
    pub(super) metrics: Option<TcpListener>,
    /// Where Alertmanager tells.
    pub(super) alerts: Option<TcpListener>,
    /// The admin socket.
    pub(super) admin: AdminSocket,
    /// The one for those who only look.
    pub(super) read_only: Option<AdminSocket>,
    /// Files of the router before us that the configuration has no more.
    abandoned: Vec<AdminSocket>,
}

/// The sockets on one address.
pub(super) struct Clients {
    /// Where, as the system says.
    pub(super) address: SocketAddr,
    /// One for each worker, or what was given.
    pub(super) sockets: Vec<TcpListener>,
    /// They are the service manager's, which keeps them.
    pub(super) shared: bool,
}

impl Sockets {
    /// Takes over or binds what a configuration asks for.
    ///
    /// # Errors
    /// When one is not to be had.
    pub(super) fn open(config: &Config, mut given: Inherited) -> Result<Sockets, StartError> {
        let mut clients = Vec::new();
        for &address in &config.listen {
            let (sockets, shared) =
                take_or_bind(&mut given, Purpose::Clients, address, config.workers)?;
            clients.push(Clients { address: sockets[0].local_addr()?, sockets, shared });
        }
        let mut one = |purpose, address| {
            take_or_bind(&mut given, purpose, address, 1).map(|(mut all, _)| all.remove(0))
        };
        let metrics = config.metrics.as_ref().map(|it| one(Purpose::Metrics, it.listen));
        let metrics = metrics.transpose()?;
        let alerts = config.alerts.as_ref().map(|it| one(Purpose::Alerts, it.listen));
        let alerts = alerts.transpose()?;
        let mut file = |purpose, path, mode| match given.unix(purpose, path) {
            Some((listener, coming)) => socket::inherit(path, listener, coming),
            None => socket::bind(path, mode),
        };
        let admin = file(Purpose::Admin, &config.admin.socket, config.admin.mode)?;
        let read_only = config.admin.read_only.as_ref();
        let read_only = read_only.map(|it| file(Purpose::ReadOnly, &it.socket, it.mode));
        let read_only = read_only.transpose()?;
        let abandoned = given.files().into_iter();
        let abandoned = abandoned.map(|(listener, path)| socket::inherit(&path, listener, true));
        let abandoned = abandoned.collect::<Result<_, _>>()?;
        let unused = given.unused();
        if !unused.is_empty() {
            tracing::warn!(
                sockets = %unused.join(", "),
                "sockets were passed to this process and are closed, since the configuration has \
                 other addresses: see `listen`"
            );
        }
        Ok(Sockets { clients, metrics, alerts, admin, read_only, abandoned })
    }

    /// All of them, for a process that takes over, by their purposes; what is the service manager's
    /// has none, and so stays its own.
    pub(super) fn named(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let name = |shared: bool| if shared { "" } else { Purpose::Clients.as_str() };
        let clients = self.clients.iter();
        let clients =
            clients.flat_map(|it| it.sockets.iter().map(move |one| (name(it.shared), one)));
        let metrics = self.metrics.iter().map(|it| (Purpose::Metrics.as_str(), it));
        let alerts = self.alerts.iter().map(|it| (Purpose::Alerts.as_str(), it));
        let tcp = clients.chain(metrics).chain(alerts);
        let admin = (Purpose::Admin, &self.admin);
        let files =
            [admin].into_iter().chain(self.read_only.iter().map(|it| (Purpose::ReadOnly, it)));
        let file = |(purpose, it): (Purpose, &AdminSocket)| {
            it.path().map(|path| purpose.file(path)).unwrap_or_default()
        };
        tcp.map(|(name, it)| (name.to_owned(), it.as_fd()))
            .chain(files.map(|it| (file(it), it.1.listener.as_fd())))
            .collect()
    }

    /// Makes the files of the router before us ours, and removes those that are no more wanted.
    pub(super) fn own_files(&mut self, config: &Config) {
        let mode = config.admin.read_only.as_ref().map_or(config.admin.mode, |it| it.mode);
        let read_only = self.read_only.iter_mut().chain(&mut self.abandoned);
        let files = [(&mut self.admin, config.admin.mode)].into_iter();
        for (socket, mode) in files.chain(read_only.map(|it| (it, mode))) {
            if let Err(error) = socket.own(mode) {
                tracing::error!(%error, "an admin socket of the router before has lost its file");
            }
        }
        self.abandoned.clear();
    }

    /// Leaves the files to a process that has taken over.
    pub(super) fn leave_files(&mut self) {
        self.admin.leave();
        self.read_only.iter_mut().for_each(AdminSocket::leave);
    }

    /// What each worker listens on. Of each address every socket is somebody's, since the system
    /// spreads connections over all of them; a worker for which none is left shares one.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn for_workers(&self, workers: usize) -> std::io::Result<Vec<Vec<Listening>>> {
        let mut all: Vec<Vec<Listening>> = (0..workers).map(|_| Vec::new()).collect();
        for &Clients { ref sockets, shared, .. } in &self.clients {
            for turn in 0..workers.max(sockets.len()) {
                let socket = sockets[turn % sockets.len()].try_clone()?;
                all[turn % workers].push(Listening { socket, shared });
            }
        }
        Ok(all)
    }
}

/// Sockets on one address: those that were given, or so many of our own; and whether somebody else
/// keeps them.
fn take_or_bind(
    given: &mut Inherited,
    purpose: Purpose,
    address: SocketAddr,
    count: usize,
) -> Result<(Vec<TcpListener>, bool), BindError> {
    let (sockets, are_ours) = given.tcp(purpose, address);
    if sockets.is_empty() {
        return bind(address, count).map(|own| (own, false));
    }
    for socket in &sockets {
        // As those that we bind are; how they were bound was for others to say.
        socket.set_nonblocking(true).map_err(|source| BindError { address, source })?;
    }
    Ok((sockets, !are_ours))
}
