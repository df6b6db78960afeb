//! `tidegate monitor` through the real program: how it ends, what it says, and its screen, in a
//! terminal of tmux.

mod screen;

use std::process::{Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{call, decisions, plan, said, scene, session, start, verb};
use crate::support::router::PROGRAM;
use crate::support::{Router, within};

/// Runs it while the servers go on, and does something once it has said its first line.
async fn monitor(router: &Router, options: &str, then: impl AsyncFnOnce()) -> Output {
    let words: Vec<_> = ["monitor"].into_iter().chain(options.split_whitespace()).collect();
    let said = NamedTempFile::new().unwrap();
    let mut command = tokio::process::Command::from(router.command(&words));
    command.stdout(said.reopen().unwrap()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    let read = || std::fs::read(said.path()).unwrap();
    let during = async {
        within(10, "its first line", async || read().contains(&b'\n').then_some(())).await;
        then().await;
    };
    // One that is refused says nothing to wait for.
    let end = child.wait_with_output();
    tokio::pin!(end, during);
    let output = tokio::select! {
        output = &mut end => output,
        () = &mut during => end.await,
    };
    Output { stdout: read(), ..output.unwrap() }
}

/// How it ended, and all that it said.
async fn told(router: &Router, options: &str) -> (Option<i32>, String) {
    let output = monitor(router, options, async || ()).await;
    (output.status.code(), said(&output))
}

/// Raises a critical alert.
async fn alarm(router: &Router) {
    let alert = json!({ "severity": "critical", "source": "me", "reason": "test" });
    router.admin("POST", "/v1/alerts", alert).await.unwrap();
}

#[tokio::test]
async fn nothing_happens_until_the_end() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    start(&router).await;
    for _ in 0..4 {
        let (id, _) = session(&router).await;
        call(&router, &id).await;
    }
    let (code, said) = told(&router, "--duration=2s --interval 200ms --every 500ms").await;
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() >= 4, "{said}");
    for word in ["split 50:50 seen ", "primary ", "secondary ", "  e ", "step 1/2", "left 1s"] {
        assert!(lines[0].contains(word), "{word}: {said}");
    }
    assert!(lines.last().unwrap().starts_with("nothing would have shut the gate in 2s"), "{said}");
    // The arm can come with the profile; it is the only one that lines tell of then.
    let (code, said) = told(&router, "secondary --duration 300ms --interval 100ms").await;
    assert_eq!((code, said.contains("primary")), (Some(0), false), "{said}");
}

#[tokio::test]
async fn a_revert_ends_it_at_once() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    let id = start(&router).await;
    let watch = "--duration 1m --interval 100ms";
    let output = monitor(&router, watch, async || alarm(&router).await).await;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let why = format!(
        "tidegate: rollout {id} to the secondary was reverted by guard security_alert: a critical \
         alert is open: me: test"
    );
    assert!(said.contains(&why), "{said}");
    assert!(said.contains("  event  "), "{said}");
    assert_eq!(decisions(&router).await["rollout"]["state"], "reverted");

    // What was so before is told and not judged.
    let (code, said) = told(&router, "--duration 500ms --interval 100ms").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the secondary is shut out since before this watch"), "{said}");
    assert!(said.contains("guard security_alert had fired before: not judged"), "{said}");
}

#[tokio::test]
async fn what_happens_after_its_last_look_is_seen_at_the_end() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    start(&router).await;
    // It looks once before the end, and not again for a minute.
    let watch = "--duration 2s --interval 1m";
    assert_eq!(told(&router, watch).await.0, Some(0));
    let output = monitor(&router, watch, async || alarm(&router).await).await;
    let said = said(&output);
    assert!(output.status.code() == Some(1) && said.contains("was reverted by"), "{said}");
}

#[tokio::test]
async fn it_outlives_its_terminal_if_it_was_started_to() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    // Whoever runs the tests may have been started to outlive a terminal, too.
    for (before, code) in [("trap '' HUP; exec", 0), ("exec env --default-signal=HUP", 2)] {
        let line = format!("{before} \"$0\" monitor --duration 2s");
        let mut shell = tokio::process::Command::new("/bin/sh");
        shell.args(["-c", &line, PROGRAM]).env("TIDEGATE_SOCKET", router.socket());
        let mut child = shell.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next_line().await.unwrap().unwrap().contains("split"));
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(code), "{before}");
    }
}

#[tokio::test]
async fn programs_read_json() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    let id = start(&router).await;
    let abort = async || drop(verb(&router, "abort", json!({ "reason": "enough" })).await);
    let output = monitor(&router, "--duration 1m --interval 100ms --json", abort).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sample = &lines[0];
    assert_eq!((&sample["kind"], &sample["rollout"]["id"]), (&json!("sample"), &json!(id)));
    assert_eq!(sample["arms"]["secondary"]["weight"], 50);
    assert!(sample["guards"].as_array().unwrap().iter().any(|it| it["level"] == 0.0), "{sample}");
    let event = lines.iter().find(|line| line["kind"] == "event").unwrap();
    assert_eq!(event["event"]["event"], "abort");
    let end = lines.last().unwrap();
    assert_eq!((&end["kind"], &end["exit"]), (&json!("end"), &json!(1)));
    assert!(end["why"].as_str().unwrap().ends_with(": enough"), "{end}");
}

#[tokio::test]
async fn a_router_that_is_not_there_is_no_verdict() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    let end = async || kill(Pid::from_raw(router.pid()), Signal::SIGKILL).unwrap();
    let output = monitor(&router, "--duration 2s --interval 100ms", end).await;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("event  router does not answer: no tidegate answers on"), "{said}");
    assert!(said.contains("tidegate: the router does not answer since "), "{said}");

    let (code, said) = told(&router, "--duration 2s").await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no tidegate answers on"), "{said}");
    for (options, words) in [
        ("--duration 0s", "--duration: has to be more than 0s"),
        ("--duration 10", "has no unit: write `10s`"),
        ("--interval 50ms", "is not from 100ms to 1m"),
        ("tertiary", "is no arm"),
    ] {
        let (code, said) = told(&router, options).await;
        assert_eq!(code, Some(64), "{options}: {said}");
        assert!(said.contains(words), "{options}: {said}");
    }
}

#[tokio::test]
async fn a_router_that_is_started_again_is_watched_on() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    start(&router).await;
    let command = router.command(&["monitor", "--interval", "100ms", "--json"]);
    let mut command = tokio::process::Command::from(command);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = async |word: &str| {
        while !lines.next_line().await.unwrap().expect("it goes on").contains(word) {}
    };
    until("\"sample\"").await;
    let dir = router.into_dir();
    until("does not answer").await;
    let restarted = Router::spawn(dir).await;
    until("answers again").await;
    verb(&restarted, "abort", json!({})).await;
    until("\"exit\":1").await;
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
}
