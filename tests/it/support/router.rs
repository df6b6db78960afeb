//! The real program as a process of its own, on free ports, with a state directory of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::admin::client::{AskError, ask};

use super::{Scrape, eventually, get, nobody};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// Lines of a log that a failed test shows.
const LOG_SHOWN: usize = 100;

/// A running router; ended when it is dropped.
pub struct Router {
    child: Child,
    /// The process that has taken over.
    successor: Option<Pid>,
    pub dir: TempDir,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where Prometheus scrapes.
    pub metrics: SocketAddr,
}

impl Router {
    /// A router in front of these servers at 100:0; `settings` is put in front of the
    /// configuration's sections. Without `[health]` in them, servers see what clients send and
    /// nothing else.
    pub async fn start(primary: &[SocketAddr], secondary: &[SocketAddr], settings: &str) -> Router {
        let urls = |servers: &[SocketAddr]| -> Vec<String> {
            servers.iter().map(|at| format!("http://{at}/mcp")).collect()
        };
        Router::start_at(&urls(primary), &urls(secondary), settings).await
    }

    /// The same in front of these addresses.
    pub async fn start_at(primary: &[String], secondary: &[String], settings: &str) -> Router {
        Router::spawn(Router::prepare(primary, secondary, settings)).await
    }

    /// A directory with the configuration of such a router.
    pub fn prepare(primary: &[String], secondary: &[String], settings: &str) -> TempDir {
        let dir = TempDir::new().unwrap();
        let (top, sections) = settings
            .split_once("\n[")
            .map_or((settings, String::new()), |(top, rest)| (top, format!("[{rest}")));
        let health =
            if settings.contains("[health]") { "" } else { "[health]\ninterval = \"off\"\n" };
        let config = format!(
            "listen = \"127.0.0.1:0\"\nstate_dir = \"state\"\n{top}\n\
             {health}[metrics]\nlisten = \"127.0.0.1:0\"\n\
             [primary]\nendpoints = {primary:?}\n[secondary]\nendpoints = {secondary:?}\n{sections}\n"
        );
        std::fs::write(dir.path().join("tidegate.toml"), config).unwrap();
        dir
    }

    /// A router with the configuration that is in the directory.
    pub async fn spawn(dir: TempDir) -> Router {
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        Router::spawn_logging(dir, log.into()).await
    }

    /// The same, with its log elsewhere.
    pub async fn spawn_logging(dir: TempDir, log: Stdio) -> Router {
        Router::spawn_under(&[], dir, log).await
    }

    /// The same, started by another program that takes its command behind its own arguments.
    pub async fn spawn_under(before: &[&str], dir: TempDir, log: Stdio) -> Router {
        let words = [before, &[PROGRAM]].concat();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(["run", "--config", "tidegate.toml", "--socket", "admin.sock"])
            .current_dir(dir.path())
            .env_clear()
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let none = SocketAddr::from(([0; 4], 0));
        let mut router = Router { child, successor: None, dir, address: none, metrics: none };
        let status =
            eventually("the router answers", || async { router.status().await.ok() }).await;
        router.address = status["listen"][0].as_str().unwrap().parse().unwrap();
        router.metrics = status["metrics"].as_str().unwrap().parse().unwrap();
        router
    }

    /// A router without servers whose state directory is a disk of its own with this much space,
    /// and where that is seen from here; `None` if this user cannot mount one.
    pub async fn on_a_small_disk(size: &str, settings: &str) -> Option<(Router, PathBuf)> {
        let nobody = nobody().await;
        let dir = Router::start(&[nobody], &[nobody], settings).await.into_dir();
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let mount = format!("mount -t tmpfs -o size={size},mode=700 none state");
        let probe = Command::new("unshare")
            .args(["-rm", "sh", "-c", &mount])
            .current_dir(dir.path())
            .output();
        if !probe.is_ok_and(|output| output.status.success()) {
            eprintln!("not tested: this user cannot mount a small disk");
            return None;
        }
        let script = format!("{mount} && exec \"$0\" \"$@\"");
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let before = ["unshare", "-rm", "sh", "-c", &script];
        let router = Router::spawn_under(&before, dir, log.into()).await;
        let state = PathBuf::from(format!("/proc/{}/root", router.pid()))
            .join(router.dir.path().strip_prefix("/").unwrap())
            .join("state");
        Some((router, state))
    }

    /// Ends the process at once and starts it again with the same files.
    pub async fn restart(self) -> Router {
        Router::spawn(self.into_dir()).await
    }

    /// Ends the process at once; its files stay.
    pub fn into_dir(mut self) -> TempDir {
        self.kill();
        std::mem::replace(&mut self.dir, TempDir::new().unwrap())
    }

    /// Waits until more than a second has passed by the router's own clock, which nobody outside
    /// can stop.
    pub async fn ages(&self) {
        let age = async || self.status().await.unwrap()["uptime_seconds"].as_u64().unwrap();
        let before = age().await;
        eventually("time passes", async || (age().await >= before + 2).then_some(())).await;
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    pub fn pid(&self) -> i32 {
        self.successor.map_or_else(|| i32::try_from(self.child.id()).unwrap(), Pid::as_raw)
    }

    /// Has another process take over, without waiting for the end of this one; returns the answer.
    pub async fn upgrade(&mut self) -> Value {
        self.try_upgrade().await.unwrap()
    }

    /// The same, if the other process is fit for it.
    pub async fn try_upgrade(&mut self) -> Result<Value, AskError> {
        // So that it is ours to wait for when the one that started it is gone.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let answer: Value = self.admin("POST", "/v1/upgrade", json!({})).await?;
        self.successor = Some(Pid::from_raw(answer["pid"].as_i64().unwrap() as i32));
        Ok(answer)
    }

    /// Waits for the end of the process that was started first.
    pub async fn first_ended(&mut self) -> i32 {
        eventually("the first router ends", || {
            let code = self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1));
            async move { code }
        })
        .await
    }

    /// The most memory that the process has had, in KiB.
    pub fn peak_memory(&self) -> usize {
        self.figure("VmHWM:")
    }

    /// The memory that it has and did not read from files, in KiB: the system never takes it back.
    pub fn memory(&self) -> usize {
        self.figure("RssAnon:")
    }

    pub fn threads(&self) -> usize {
        self.figure("Threads:")
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// What the kernel says of the process.
    fn figure(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What the process has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Asks the process to end, and waits for that.
    pub async fn stop(&mut self) {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).unwrap();
        assert_eq!(self.ended().await, 0);
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> i32 {
        let Some(pid) = self.successor else { return self.first_ended().await };
        eventually("the router ends", || {
            let code = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => Some(code),
                Ok(WaitStatus::Signaled(..)) => Some(-1),
                // It ended while the one before was there still, and has told that one how.
                Err(Errno::ECHILD) if kill(pid, None) == Err(Errno::ESRCH) => Some(0),
                // Not ours yet, or not over.
                _ => None,
            };
            async move { code }
        })
        .await
    }

    /// Replaces a text in the configuration file.
    pub fn edit(&self, from: &str, to: &str) {
        let file = self.dir.path().join("tidegate.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(file, text.replace(from, to)).unwrap();
    }

    /// Ends all processes of it; one that has ended already cannot be ended again.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(pid) = self.successor.take() {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }

    /// A command of the command line against this router.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.dir.path());
        command.env_clear().env("TIDEGATE_SOCKET", self.socket());
        command
    }

    /// Runs one.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub async fn admin(&self, method: &str, path: &str, body: Value) -> Result<Value, AskError> {
        ask(&self.socket(), method.parse().unwrap(), path, &body).await
    }

    pub async fn status(&self) -> Result<Value, AskError> {
        self.admin("GET", "/v1/status", json!({})).await
    }

    /// Sets the split, whatever it is.
    pub async fn split(&self, primary: u8, secondary: u8) {
        let revision = self.status().await.unwrap()["revision"].clone();
        let wanted =
            json!({ "primary": primary, "secondary": secondary, "expected_revision": revision });
        self.admin("PUT", "/v1/split", wanted).await.unwrap();
    }

    /// All metrics now.
    pub async fn scrape(&self) -> Scrape {
        Scrape(get(self.metrics, "/metrics", &[]).await.text())
    }

    /// The sum of the samples of a metric whose line has all these texts.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.scrape().await.sum(name, labels)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_SHOWN)..].join("\n");
            eprintln!("--- the end of the router's log\n{last}");
        }
    }
}
