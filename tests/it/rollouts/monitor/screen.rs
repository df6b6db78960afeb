//! The view in a real terminal: tmux draws it, presses keys and tells what is on the screen.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;

use super::super::{call, decisions, plan, said, scene, session, start};
use super::alarm;
use crate::support::router::PROGRAM;
use crate::support::{Router, Server, within};

/// What is not on the screen by then will not be.
const LATE: Duration = Duration::from_secs(10);

/// A terminal with a shell in it; ended when it is dropped.
struct Terminal {
    // Its socket goes with it.
    dir: TempDir,
}

impl Terminal {
    /// Where this router's commands can be typed.
    fn new(router: &Router, columns: u16, rows: u16) -> Terminal {
        let terminal = Terminal { dir: TempDir::new().unwrap() };
        let size = [columns.to_string(), rows.to_string()];
        let socket = format!("TIDEGATE_SOCKET={}", router.socket().display());
        let words = ["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1]];
        let shell = [
            "env",
            "--default-signal=HUP",
            "-u",
            "TMUX",
            &socket,
            "PS1=ready> ",
            "LC_ALL=C.UTF-8",
            "sh",
        ];
        terminal.tmux(&[&words[..], &shell].concat());
        terminal
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-u", "-S"])
            .arg(self.dir.path().join("tmux"))
            .args(words)
            .output()
            .expect("tmux is there; run tests/run");
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn types(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until all of these are on the screen, and gives it.
    async fn shows(&self, words: &[&str]) -> String {
        let all = || Some(self.screen()).filter(|it| words.iter().all(|word| it.contains(word)));
        let found = tokio::time::timeout(LATE, within(60, "unreachable", async || all())).await;
        found.unwrap_or_else(|_| panic!("not on the screen: {words:?}\n{}", self.screen()))
    }

    /// Waits until the shell has the terminal back as it was: what is typed is echoed, and what
    /// was on the screen before is there again.
    async fn is_restored(&self, exit: u8) -> String {
        // What is typed before the process has ended is its own to read.
        let ready = async || self.screen().trim_end().ends_with("ready>").then_some(());
        within(10, "the shell is back", ready).await;
        self.types("echo is $?; stty -a | grep -o ' .\\?icanon\\| .\\?echo '");
        self.shows(&["ready>", &format!("is {exit}"), " icanon", " echo"]).await
    }

    /// The process in it.
    fn monitor(&self) -> Pid {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        let child = std::fs::read_to_string(children).unwrap();
        Pid::from_raw(child.trim().parse().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended already cannot be ended again.
        let _ = Command::new("tmux")
            .arg("-S")
            .arg(self.dir.path().join("tmux"))
            .arg("kill-server")
            .output();
    }
}

/// A rollout with some traffic behind it.
async fn busy() -> (Router, [Server; 2]) {
    let (router, servers) = scene(&plan(&[50, 100], "1h"), "").await;
    start(&router).await;
    for _ in 0..20 {
        let (id, _) = session(&router).await;
        call(&router, &id).await;
    }
    (router, servers)
}

#[tokio::test]
#[ignore = "needs tmux, which tests/run installs"]
async fn a_wide_terminal_shows_every_panel_and_aborts_only_when_told_so() {
    let (router, _servers) = busy().await;
    let terminal = Terminal::new(&router, 120, 40);
    terminal.types(&format!("{PROGRAM} monitor --duration 10m"));
    let screen =
        terminal.shows(&["primary", "CANDIDATE", "weight 50 %", "initialize", "evidence"]).await;
    for panel in [
        "left",
        "up ",
        "set  50:50",
        "new sessions",
        "exchanges",
        "work of the last minute",
        "ratio",
        "rollout r",
        "step 1/2 50% progressing",
        "of 1h",
        "guards",
        "security_alert",
        "armed",
        "events",
        "rollout-start",
        "p pause  r resume  a abort  q quit  ? help",
    ] {
        assert!(screen.contains(panel), "{panel}: {screen}");
    }
    assert!(!screen.contains("ready>"), "the shell's screen is put by: {screen}");

    terminal.press("?");
    terminal.shows(&["any key closes this"]).await;
    terminal.press("?");
    terminal.press("p");
    terminal.shows(&["50% paused", "  pause  "]).await;
    terminal.press("p");
    terminal.shows(&["pause: "]).await;
    terminal.press("r");
    terminal.shows(&["50% progressing", "  resume  "]).await;

    terminal.press("a");
    terminal.shows(&["The primary gets all new work at once"]).await;
    terminal.press("n");
    terminal.press("a");
    terminal.shows(&["any other key"]).await;
    assert_eq!(decisions(&router).await["rollout"]["state"], "progressing");
    terminal.press("y");
    terminal.shows(&["aborted", "  abort  ", "SHUT"]).await;
    let told = decisions(&router).await;
    assert_eq!(
        (&told["rollout"]["state"], &told["closed"]),
        (&json!("aborted"), &json!("secondary"))
    );
    // It is looked at on, and told at the end.
    terminal.press("q");
    terminal.shows(&["was aborted by uid", ": in the monitor", "ready>"]).await;
    terminal.is_restored(1).await;
}

#[tokio::test]
#[ignore = "needs tmux, which tests/run installs"]
async fn twenty_columns_are_enough() {
    let (router, _servers) = busy().await;
    let terminal = Terminal::new(&router, 20, 10);
    terminal.types(&format!("NO_COLOR=1 {PROGRAM} monitor"));
    let screen = terminal.shows(&["primary stable", "guards"]).await;
    let lines: Vec<_> = screen.lines().collect();
    let wanted = [
        (1, "primary stable ─────"),
        (3, "secondary CANDIDATE"),
        (6, "1/2 50% progressing"),
        (7, "guards ─────────────"),
        (9, "q quit  ? help"),
    ];
    for (at, line) in wanted {
        assert_eq!(lines[at], line, "{screen}");
    }
    // It follows the size of the terminal, and no size is too small.
    for (columns, rows, word) in
        [("100", "30", "of new work"), ("1", "1", ""), ("60", "12", "CANDIDATE")]
    {
        terminal.tmux(&["resize-window", "-x", columns, "-y", rows]);
        terminal.shows(&[word]).await;
    }
    terminal.press("Escape");
    terminal.shows(&["nothing would have shut", "ready>"]).await;
    terminal.is_restored(0).await;
}

#[tokio::test]
#[ignore = "needs tmux, which tests/run installs"]
async fn the_terminal_is_given_back_however_it_ends() {
    let (router, _servers) = busy().await;
    let terminal = Terminal::new(&router, 80, 24);
    let begin = async || {
        terminal.types(&format!("clear; {PROGRAM} monitor --duration 1h"));
        terminal.shows(&["CANDIDATE", "events"]).await
    };
    begin().await;
    terminal.press("C-c");
    terminal.shows(&["nothing would have shut"]).await;
    terminal.is_restored(0).await;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        begin().await;
        kill(terminal.monitor(), signal).unwrap();
        terminal.shows(&["ended by a signal after"]).await;
        terminal.is_restored(2).await;
    }
    begin().await;
    alarm(&router).await;
    terminal.shows(&["was reverted by guard security_alert"]).await;
    terminal.is_restored(1).await;

    // A router that goes away is waited for.
    begin().await;
    let dir = router.into_dir();
    let silent = terminal.shows(&["router does not answer since "]).await;
    let router = Router::spawn(dir).await;
    assert!(silent.contains("no tidegate answers on"), "{silent}");
    let back = async || (!terminal.screen().contains("does not answer")).then_some(());
    within(10, "it answers again", back).await;
    kill(Pid::from_raw(router.pid()), Signal::SIGKILL).unwrap();
    terminal.shows(&["router does not answer since "]).await;
    terminal.press("q");
    terminal.shows(&["tidegate: the router does not answer since"]).await;
    terminal.is_restored(2).await;
}

#[tokio::test]
#[ignore = "needs tmux, which tests/run installs"]
async fn a_terminal_that_goes_away_ends_it() {
    let (router, _servers) = busy().await;
    let terminal = Terminal::new(&router, 80, 24);
    // Whoever keeps programs from the signal of a closed terminal keeps this one from it, too.
    terminal.types(&format!("trap '' HUP; {PROGRAM} monitor"));
    terminal.shows(&["CANDIDATE", "events"]).await;
    let pid = terminal.monitor();
    drop(terminal);
    within(10, "it ends", async || kill(pid, None).is_err().then_some(())).await;
}
