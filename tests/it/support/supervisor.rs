//! A service manager that hears one router, and one thread of it that is made to stand still.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::UnixDatagram;

use super::Router;

/// What a router may take for the next message.
const MESSAGE_MAX: std::time::Duration = std::time::Duration::from_secs(20);

/// A service manager.
pub struct Supervisor {
    dir: TempDir,
    socket: UnixDatagram,
}

impl Supervisor {
    pub fn new() -> Supervisor {
        let dir = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        Supervisor { dir, socket }
    }

    /// Starts a router as [`Router::start`] does; `watchdog` is put before its command, as in
    /// `WATCHDOG_USEC=400000 WATCHDOG_PID=$$`.
    pub async fn start(&self, servers: [SocketAddr; 2], settings: &str, watchdog: &str) -> Router {
        let [one, two] = servers.map(|at| vec![format!("http://{at}/mcp")]);
        let socket = self.dir.path().join("notify");
        let socket = format!("NOTIFY_SOCKET={} {watchdog}", socket.display());
        start(Router::prepare(&one, &two, settings), &socket).await
    }

    /// The next datagram.
    pub async fn next(&self) -> String {
        let mut bytes = [0; 8192];
        let read = tokio::time::timeout(MESSAGE_MAX, self.socket.recv(&mut bytes));
        let read = read.await.expect("a message").unwrap();
        String::from_utf8(bytes[..read].to_vec()).unwrap()
    }

    /// Waits for the next one in which this is said, and leaves out those before.
    pub async fn hears(&self, text: &str) -> String {
        loop {
            let next = self.next().await;
            if next.contains(text) {
                return next;
            }
        }
    }

    /// What has come by now.
    pub fn heard(&self) -> Vec<String> {
        let mut bytes = [0; 8192];
        let next = || {
            let read = self.socket.try_recv(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes[..read]).into_owned())
        };
        std::iter::from_fn(next).collect()
    }
}

/// Starts a router with these variables, as a shell writes them.
pub async fn start(dir: TempDir, variables: &str) -> Router {
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let script = format!("{variables} exec \"$0\" \"$@\"");
    Router::spawn_under(&["/bin/sh", "-c", &script], dir, log.into()).await
}

/// A thread that stands still until this is dropped.
pub struct Stopped {
    go: Option<mpsc::Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Stopped {
    /// Stops the thread of this name, and no other one; `None` if this user may not trace.
    pub fn thread(router: &Router, name: &str) -> Option<Stopped> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", router.pid())).unwrap();
        let mut threads = threads.map(|it| it.unwrap().path());
        let is_it = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let thread = threads.find(is_it).expect("a thread of this name");
        let id = Pid::from_raw(thread.file_name().unwrap().to_str().unwrap().parse().unwrap());
        let ((go, wait), (stopped, stops)) = (mpsc::channel::<()>(), mpsc::channel());
        // Only the thread that traces another one may let it go.
        let tracer = std::thread::spawn(move || {
            if let Err(error) = ptrace::seize(id, ptrace::Options::empty()) {
                eprintln!("not tested: this user cannot stop one thread: {error}");
                return;
            }
            ptrace::interrupt(id).unwrap();
            waitpid(id, Some(WaitPidFlag::__WALL)).unwrap();
            stopped.send(()).unwrap();
            // Ends when the sender is dropped.
            let _ = wait.recv();
            ptrace::detach(id, None).unwrap();
        });
        stops.recv().ok().map(|()| Stopped { go: Some(go), tracer: Some(tracer) })
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.go.take());
        let _ = self.tracer.take().map(JoinHandle::join);
    }
}
