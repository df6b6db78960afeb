//! Sockets that were open before this process began: the service manager's (`LISTEN_FDS`, as
//! `sd_listen_fds(3)` has it), or those of the router that this one takes over from.
//!
//! They are found by what they are for, where somebody we know has named them, and by their address.
//! Does not know: what is done with connections.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Clients.
    Clients,
    /// Prometheus.
    Metrics,
    /// Alertmanager.
    Alerts,
    /// Administration.
    Admin,
    /// Those who only look.
    ReadOnly,
}

impl Purpose {
    const ALL: [Purpose; 5] =
        [Purpose::Clients, Purpose::Metrics, Purpose::Alerts, Purpose::Admin, Purpose::ReadOnly];

    /// Its name, for `FileDescriptorName=` of a socket unit too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Clients => "clients",
            Purpose::Metrics => "metrics",
            Purpose::Alerts => "alerts",
            Purpose::Admin => "admin",
            Purpose::ReadOnly => "read-only",
        }
    }

    /// The name of a socket file for a process after us. The path that such a file was bound to is
    /// not the one where it is now, so it is said; a colon would end the name.
    pub fn file(self, path: &Path) -> String {
        let path = path.to_string_lossy().replace('%', "%25").replace(':', "%3A");
        format!("{}={path}", self.as_str())
    }

    fn of(name: &str) -> (Option<Purpose>, Option<PathBuf>) {
        let (name, path) = match name.split_once('=') {
            Some((name, path)) => (name, Some(path.replace("%3A", ":").replace("%25", "%"))),
            None => (name, None),
        };
        let purpose = Purpose::ALL.into_iter().find(|it| it.as_str() == name);
        (purpose, path.map(PathBuf::from))
    }
}

/// A socket whose use is still open; without a purpose, its address tells.
#[derive(Debug)]
struct Given<S> {
    purpose: Option<Purpose>,
    /// Where its file is, if that is said.
    path: Option<PathBuf>,
    socket: S,
}

/// The sockets that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited {
    /// By a router before us, and not by the service manager.
    is_bequest: bool,
    tcp: Vec<Given<TcpListener>>,
    unix: Vec<Given<UnixListener>>,
}

impl Inherited {
    /// Takes what was passed to this process, which works once; `names` is `LISTEN_FDNAMES`. To be
    /// called before there are other threads, since it changes the environment.
    pub fn take(names: Option<&str>, is_bequest: bool) -> Inherited {
        let mut passed = ListenFd::from_env();
        let mut names = names.unwrap_or_default().split(':').map(Purpose::of);
        let mut all = Inherited { is_bequest, ..Inherited::default() };
        for index in 0..passed.len() {
            let (purpose, path) = names.next().unwrap_or_default();
            if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
                all.tcp.push(Given { purpose, path, socket });
            } else if let Ok(Some(socket)) = passed.take_unix_listener(index) {
                all.unix.push(Given { purpose, path, socket });
            }
        }
        all
    }

    /// All sockets for this purpose at this address, and whether they are ours now: a router before
    /// us names those that were its own. Port 0 stands for whatever port was free when it was bound,
    /// which only somebody who knows our names can mean.
    pub fn tcp(&mut self, purpose: Purpose, address: SocketAddr) -> (Vec<TcpListener>, bool) {
        let is_it = |given: &mut Given<TcpListener>| {
            let at = given.socket.local_addr().ok();
            let same = at == Some(address);
            let any_port = address.port() == 0 && at.is_some_and(|at| at.ip() == address.ip());
            match given.purpose {
                Some(known) => known == purpose && (same || any_port),
                None => same,
            }
        };
        let found: Vec<_> = self.tcp.extract_if(.., is_it).collect();
        let are_ours = self.is_bequest && found.iter().all(|it| it.purpose.is_some());
        (found.into_iter().map(|it| it.socket).collect(), are_ours)
    }

    /// The socket for this purpose at this path, and whether its file is ours to be: again that of a
    /// router before us.
    pub fn unix(&mut self, purpose: Purpose, path: &Path) -> Option<(UnixListener, bool)> {
        let is_it = |given: &Given<UnixListener>| {
            let at = given.socket.local_addr().ok();
            let bound = at.as_ref().and_then(|at| at.as_pathname());
            let at = given.path.as_deref().or(bound);
            given.purpose.is_none_or(|known| known == purpose) && at == Some(path)
        };
        let index = self.unix.iter().position(is_it)?;
        let given = self.unix.swap_remove(index);
        Some((given.socket, self.is_bequest && given.purpose.is_some()))
    }

    /// The socket files of a router before us that nobody has asked for, which nobody else removes.
    pub fn files(&mut self) -> Vec<(UnixListener, PathBuf)> {
        let is_file = |it: &mut Given<UnixListener>| it.purpose.is_some() && it.path.is_some();
        let files = self.is_bequest.then(|| self.unix.extract_if(.., is_file));
        let files = files.into_iter().flatten();
        files.filter_map(|it| it.path.map(|path| (it.socket, path))).collect()
    }

    /// Where those are that nobody has asked for; they are closed.
    pub fn unused(self) -> Vec<String> {
        let tcp = self.tcp.iter().filter_map(|it| it.socket.local_addr().ok());
        let path = |given: &Given<UnixListener>| {
            let bound = given.socket.local_addr().ok();
            let bound = bound.as_ref().and_then(|at| at.as_pathname()).map(Path::to_owned);
            let at = given.path.clone().or(bound);
            at.map_or_else(|| "?".to_owned(), |it| it.display().to_string())
        };
        tcp.map(|it| it.to_string()).chain(self.unix.iter().map(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(address: &str, purpose: Option<Purpose>) -> (SocketAddr, Given<TcpListener>) {
        let socket = TcpListener::bind(address).unwrap();
        (socket.local_addr().unwrap(), Given { purpose, path: None, socket })
    }

    #[test]
    fn sockets_are_found_by_name_and_address() {
        let (clients, one) = on("127.0.0.1:0", None);
        let (_, two) = on("127.0.0.1:0", Some(Purpose::Metrics));
        let (_, three) = on("127.0.0.2:0", Some(Purpose::Clients));
        let mut all = Inherited { tcp: vec![one, two, three], ..Inherited::default() };
        let any = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mut found = |purpose, at| all.tcp(purpose, at).0.len();
        assert_eq!(found(Purpose::Clients, any("127.0.0.1:0")), 0);
        assert_eq!(found(Purpose::Metrics, any("127.0.0.2:0")), 0);
        assert_eq!(found(Purpose::Clients, clients), 1);
        assert_eq!(found(Purpose::Clients, clients), 0);
        assert_eq!(found(Purpose::Metrics, any("127.0.0.1:0")), 1);
        assert_eq!(all.unused().len(), 1);
    }

    #[test]
    fn only_what_a_router_names_was_its_own() {
        for (is_bequest, purpose, ours) in [
            (true, Some(Purpose::Clients), true),
            (true, None, false),
            (false, Some(Purpose::Clients), false),
        ] {
            let (at, given) = on("127.0.0.1:0", purpose);
            let mut all = Inherited { is_bequest, tcp: vec![given], ..Inherited::default() };
            assert_eq!(all.tcp(Purpose::Clients, at).1, ours, "{is_bequest} {purpose:?}");
        }
    }

    #[test]
    fn files_are_found_by_their_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = UnixListener::bind(&path).unwrap();
        let (purpose, path_said) = Purpose::of(&Purpose::Admin.file(&path));
        let moved = dir.path().join("a:b%3A");
        assert_eq!(Purpose::of(&Purpose::Admin.file(&moved)).1, Some(moved));
        let given = Given { purpose, path: path_said, socket };
        let mut all = Inherited { is_bequest: true, unix: vec![given], ..Inherited::default() };
        assert!(all.unix(Purpose::ReadOnly, &path).is_none());
        assert!(all.unix(Purpose::Admin, dir.path()).is_none());
        let (socket, again) = all.files().remove(0);
        assert_eq!(again, path);
        let purpose = Some(Purpose::Admin);
        all.unix.push(Given { purpose, path: Some(again), socket });
        assert!(all.unix(Purpose::Admin, &path).is_some_and(|(_, is_ours)| is_ours));
        assert!(all.unused().is_empty());
    }
}
