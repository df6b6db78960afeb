//! Names that a router under test looks up: a hosts file of its own, by Debian's libnss-wrapper.

use std::cell::Cell;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{Router, Server};

/// The name of the servers.
pub const NAME: &str = "mcp.test";

/// The addresses of [`NAME`].
pub struct Hosts {
    dir: TempDir,
    edits: Cell<u64>,
}

impl Hosts {
    /// The last numbers of its addresses, in 127.0.0.0/24.
    pub fn new(addresses: &[u8]) -> Hosts {
        let hosts = Hosts { dir: TempDir::new().unwrap(), edits: Cell::new(0) };
        hosts.set(addresses);
        hosts
    }

    /// Gives it other addresses.
    pub fn set(&self, addresses: &[u8]) {
        let lines: Vec<_> = addresses.iter().map(|it| format!("127.0.0.{it} {NAME}\n")).collect();
        let next = self.dir.path().join("next");
        std::fs::write(&next, format!("127.0.0.1 else.test\n{}", lines.concat())).unwrap();
        // The wrapper reads it again when its whole second is another one.
        self.edits.set(self.edits.get() + 1);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.edits.get());
        File::options().write(true).open(&next).unwrap().set_modified(time).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("hosts")
    }

    fn environment(&self) -> [(&str, String); 2] {
        let file = self.file().display().to_string();
        [("LD_PRELOAD", "libnss_wrapper.so".to_owned()), ("NSS_WRAPPER_HOSTS", file)]
    }

    /// A router whose primary is at these URLs and that looks names up ten times a second.
    pub async fn router(&self, endpoints: &[&str], settings: &str) -> Router {
        self.router_every("100ms", endpoints, settings).await
    }

    /// One that looks them up so often.
    pub async fn router_every(&self, every: &str, endpoints: &[&str], settings: &str) -> Router {
        let dir = TempDir::new().unwrap();
        let config = format!(
            "listen = \"127.0.0.1:0\"\nstate_dir = \"state\"\nhost = \"upstream\"\n\
             [metrics]\nlisten = \"127.0.0.1:0\"\n[dns]\ninterval = {every:?}\n\
             [primary]\nendpoints = {endpoints:?}\n\
             [secondary]\nendpoints = [\"http://127.0.0.1:1/mcp\"]\n{settings}\n"
        );
        std::fs::write(dir.path().join("tidegate.toml"), config).unwrap();
        self.spawn(dir).await
    }

    /// A router with the configuration that is in the directory.
    pub async fn spawn(&self, dir: TempDir) -> Router {
        let log = File::create(dir.path().join("log")).unwrap();
        let own = self.environment().map(|(name, value)| format!("{name}={value}"));
        Router::spawn_under(&["env", &own[0], &own[1]], dir, log.into()).await
    }

    /// `health-check` of the primary, which looks up the same names without the router.
    pub fn check(&self, router: &Router) -> Output {
        let mut check = router.command(&["health-check", "primary", "--config", "tidegate.toml"]);
        check.envs(self.environment()).output().unwrap()
    }
}

/// A small server at 127.0.0.`number`.
pub async fn server(name: &'static str, number: u8, port: u16) -> Server {
    let at = SocketAddr::from(([127, 0, 0, number], port));
    Server::mcp_on(name, TcpListener::bind(at).await.unwrap())
}
