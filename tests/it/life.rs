//! Start, stop, and what is watched from outside.

use std::sync::Arc;

use nix::sys::signal::{SIGTERM, kill};
use nix::unistd::Pid;
use tokio::sync::Notify;

use crate::support::client::Connection;
use crate::support::server::answer;
use crate::support::{INITIALIZE, Router, Server, Step, WHOAMI, eventually, get, post};

#[tokio::test]
async fn what_is_in_flight_is_finished_before_the_end() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let slow = Server::scripted(move |_| {
        vec![Step::Wait(Arc::clone(&wait)), Step::Send(answer(200, &[], "{}"))]
    })
    .await;
    let mut router = Router::start(&[slow.address], &[slow.address], "").await;
    let mut idle = Connection::open(router.address).await;
    let mut client = Connection::open(router.address).await;
    client.request("POST", "/mcp", &[], WHOAMI).await;
    eventually("the request arrives", || async { slow.seen().pop() }).await;
    kill(Pid::from_raw(router.pid()), SIGTERM).unwrap();
    assert!(idle.closed().await);
    go.notify_one();
    let reply = client.answer().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    assert_eq!(router.ended().await, 0);
    assert!(!router.socket().exists());
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let silent = Server::scripted(|_| vec![Step::Wait(Arc::new(Notify::new()))]).await;
    let mut router =
        Router::start(&[silent.address], &[silent.address], "[timeouts]\ndrain = \"200ms\"").await;
    let mut client = Connection::open(router.address).await;
    client.request("POST", "/mcp", &[], WHOAMI).await;
    eventually("the request arrives", || async { silent.seen().pop() }).await;
    kill(Pid::from_raw(router.pid()), SIGTERM).unwrap();
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn a_second_signal_means_at_once() {
    let silent = Server::scripted(|_| vec![Step::Wait(Arc::new(Notify::new()))]).await;
    let mut router = Router::start(&[silent.address], &[silent.address], "").await;
    let mut client = Connection::open(router.address).await;
    client.request("POST", "/mcp", &[], WHOAMI).await;
    eventually("the request arrives", || async { silent.seen().pop() }).await;
    kill(Pid::from_raw(router.pid()), SIGTERM).unwrap();
    eventually("the first is heard", || async { router.log().contains("stopping").then_some(()) })
        .await;
    kill(Pid::from_raw(router.pid()), SIGTERM).unwrap();
    assert_eq!(router.ended().await, 0);
    assert!(router.log().contains("stopping at once"));
}

#[tokio::test]
async fn what_happened_is_counted_exactly_once() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "workers = 1").await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    for _ in 0..5 {
        post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
    }
    post(router.address, &[], "garbage").await;
    get(router.address, "/mcp", &[("mcp-session-id", &session)]).await;
    let count =
        async |labels: &[&str]| router.metric("tidegate_exchanges_total", labels).await as u64;
    let calls = ["method=\"tools/call\"", "tool=\"_other\"", "arm=\"primary\"", "outcome=\"ok\""];
    assert_eq!(count(&calls).await, 5);
    assert_eq!(count(&["method=\"initialize\""]).await, 1);
    assert_eq!(count(&["arm=\"none\"", "outcome=\"rejected\"", "blame=\"nobody\""]).await, 1);
    assert_eq!(count(&["method=\"_stream\"", "outcome=\"client_error\""]).await, 1);
    assert_eq!(count(&[]).await, 8);
    let responses =
        async |labels: &[&str]| router.metric("tidegate_responses_total", labels).await as u64;
    assert_eq!(responses(&["arm=\"none\"", "status=\"4xx\""]).await, 1);
    assert_eq!(responses(&["arm=\"primary\"", "status=\"2xx\""]).await, 6);
    let times = "tidegate_exchange_duration_seconds_count";
    assert_eq!(router.metric(times, &["tools/call"]).await as u64, 5);
    assert_eq!(
        router.metric("tidegate_split_weight", &["arm=\"primary\"", "configured"]).await as u64,
        100
    );
    assert_eq!(router.metric("tidegate_upstream_connects_total", &["opened"]).await as u64, 1);
    for (path, status) in [("/live", 200), ("/ready", 200), ("/", 404)] {
        assert_eq!(get(router.metrics, path, &[]).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_taken_port_is_one_clear_sentence() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("c.toml"),
        format!("listen = \"{}\"\nstate_dir = \"s\"\n", router.address),
    )
    .unwrap();
    let output = std::process::Command::new(crate::support::router::PROGRAM)
        .args(["run", "--config", "c.toml", "--socket", "a.sock"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text.trim(),
        format!(
            "tidegate: cannot listen on {}: the port is taken by another program: end that, or listen on another",
            router.address
        )
    );
}

#[tokio::test]
async fn a_bad_configuration_never_starts() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("c.toml"),
        "lisen = \"x\"\n[primary]\nendpoints = [\"nonsense\"]\n",
    )
    .unwrap();
    for command in ["run", "validate-config"] {
        let output = std::process::Command::new(crate::support::router::PROGRAM)
            .args([command, "--config", "c.toml"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains("c.toml:1:1: lisen: unknown key"), "{text}");
        assert!(text.contains("did you mean `listen`"), "{text}");
        assert!(text.contains("c.toml:3:14: primary.endpoints[0]:"), "{text}");
    }
}

#[tokio::test]
async fn the_demo_shows_what_it_promises() {
    let dir = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(crate::support::router::PROGRAM)
        .args(["demo", "--once", "--seconds", "1", "--socket", "demo.sock", "--port", "0"])
        .args(["--primary-port", "0", "--secondary-port", "0", "--metrics-port", "0"])
        .current_dir(dir.path())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("sessions that changed version   0 of"), "{text}");
    assert!(text.contains("weights 0:100"), "{text}");
    assert!(text.contains("The gate has shut itself"), "{text}");
}
