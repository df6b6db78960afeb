//! A program of the fixtures as a process of its own: what it says is kept, and it is ended when
//! it is dropped.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::NamedTempFile;
use tokio::net::TcpStream;

use super::within;

/// Seconds until a server listens; an interpreter that starts cold on a busy machine is slow.
const START: u32 = 60;

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    // Files and not pipes: nobody has to read them for the program to go on.
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

/// What a program has left.
pub struct Ended {
    /// It ended with 0.
    pub good: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts a program in the repository, where paths of fixtures begin.
    pub fn start(words: &[String], environment: &[(String, String)]) -> Process {
        let (stdout, stderr) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(stdout.reopen().unwrap())
            .stderr(stderr.reopen().unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run tests/run", words[0]));
        Process { name: words.join(" "), child, stdout, stderr }
    }

    /// Waits for the line `listening PORT`.
    pub async fn listens(&mut self) -> SocketAddr {
        let what = format!("{} says its port", self.name);
        let port: u16 = within(START, &what, || {
            self.must_run();
            let said = text(&self.stdout);
            let line = said.lines().find_map(|line| line.strip_prefix("listening "));
            // A line without its end may be half a number.
            let port = line.filter(|_| said.ends_with('\n')).map(|port| port.parse().unwrap());
            async move { port }
        })
        .await;
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Waits until it accepts connections here.
    pub async fn accepts(&mut self, at: SocketAddr) {
        let what = format!("{} listens", self.name);
        within(START, &what, || {
            self.must_run();
            async move { TcpStream::connect(at).await.ok() }
        })
        .await;
    }

    /// Waits for its end.
    pub async fn ended(mut self, seconds: u32) -> Ended {
        let what = format!("{} ends", self.name);
        let status = within(seconds, &what, || {
            let status = self.child.try_wait().unwrap();
            async move { status }
        })
        .await;
        Ended { good: status.success(), stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{}: {status}: {}", self.name, text(&self.stderr));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be ended again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(file: &NamedTempFile) -> String {
    String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned()
}
