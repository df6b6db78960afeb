//! Another process takes over: no client notices, and if it cannot, the old one carries on.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::support::client::Connection;
use crate::support::hosts::{self, Hosts, NAME};
use crate::support::server::answer;
use crate::support::{
    INITIALIZE, MODERN, Router, Server, Step, WHOAMI, eventually, nobody, post, said,
};

#[tokio::test]
async fn another_process_takes_over() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let mut router = Router::start(&[one.address], &[two.address], "").await;
    router.split(60, 40).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let first = router.pid();
    let answer = router.upgrade().await;
    assert_eq!(answer["from_pid"], json!(first));
    assert_eq!(router.first_ended().await, 0);
    let status = router.status().await.unwrap();
    assert_eq!(status["split"], json!({ "primary": 60, "secondary": 40 }));
    assert!(router.socket().exists());
    let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(router.metric("tidegate_upgrades_total", &["done"]).await as u64, 1);
    // And again, from the one that has taken over.
    let second = router.pid();
    assert_ne!(router.upgrade().await["pid"], json!(second));
    assert!(router.cli(&["records", "verify", "--config", "tidegate.toml"]).status.success());
    router.stop().await;
    assert!(!router.socket().exists());
}

/// A router whose upgrade is refused, with these words.
fn refused(router: &Router, arguments: &[&str], why: &str) {
    let output = router.cli(&[&["upgrade"], arguments].concat());
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the running router carries on") && said.contains(why), "{said}");
}

#[tokio::test]
async fn one_that_cannot_is_refused_and_the_old_one_carries_on() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    refused(&router, &["/bin/false"], "it has ended");
    refused(&router, &["/bin/cat"], "it has ended");
    router.edit("listen =", "lisen =");
    refused(&router, &[], "did you mean `listen`");
    router.edit("lisen =", "listen =");
    router.split(70, 30).await;
    assert_eq!(post(router.address, &[], INITIALIZE).await.status, 200);
    assert_eq!(router.metric("tidegate_upgrades_total", &["refused"]).await as u64, 3);
    let events: Value = router.admin("GET", "/v1/events", json!({})).await.unwrap();
    let last = events["events"].as_array().unwrap().iter().rfind(|it| it["event"] == "upgrade");
    assert_eq!(last.unwrap()["detail"]["accepted"], json!(false));
}

/// A program that shows that it could serve, and then waits for a file `go` to end.
fn puppet(router: &Router) -> String {
    let dir = router.dir.path().canonicalize().unwrap();
    let ready =
        json!({ "say": "ready", "version": "9", "state_dir": dir.join("state"), "unwell": [] });
    let script = format!(
        "#!/bin/sh\nprintf '{{\"say\":\"started\",\"pid\":%d}}\\n' $$ >&0\n\
         echo '{ready}' >&0\nread take <&0\nuntil [ -e go ]; do sleep 0.1; done\n"
    );
    let file = dir.join("puppet");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn what_could_be_lost_is_refused_while_another_one_has_the_state() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    router.split(60, 40).await;
    let upgrade = router.command(&["upgrade", &puppet(&router)]).spawn().unwrap();
    let away = async || router.log().contains("hand-over").then_some(());
    eventually("the state is handed over", away).await;
    for verb in [
        &["alert", "raise", "--severity", "critical", "--source", "x", "--reason", "fire"][..],
        &["reload"],
    ] {
        let output = router.cli(verb);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("repeat it in a few seconds"), "{}", said(&output));
    }
    assert!(router.cli(&["status"]).status.success());
    std::fs::write(router.dir.path().join("go"), "").unwrap();
    assert_eq!(upgrade.wait_with_output().unwrap().status.code(), Some(1));
    router.split(70, 30).await;
    let verified = router.cli(&["records", "verify", "--config", "tidegate.toml"]);
    assert!(verified.status.success(), "{}", said(&verified));
}

#[tokio::test]
async fn a_refused_one_leaves_the_admin_sockets_as_they_were() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let read_only = "[admin.read_only]\nsocket = \"ro.sock\"";
    let mut router = Router::start(&[one.address], &[two.address], read_only).await;
    let file = |name: &str| router.dir.path().join(name);
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (own, other) = (file("admin.sock"), file("ro.sock"));
    router.edit("\"ro.sock\"", "\"tidegate.toml\"\n[admin]\nmode = \"0660\"");
    refused(&router, &[], "is no socket");
    assert_eq!((mode(&own), mode(&other)), (0o600, 0o600));
    // Of files that the new one does not want, none is left.
    router.edit("[admin.read_only]\nsocket = \"tidegate.toml\"", "");
    router.upgrade().await;
    assert!(mode(&own) == 0o660 && !other.exists());
}

#[tokio::test]
async fn one_that_would_not_know_the_sessions_is_refused() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    router.edit("state_dir = \"state\"", "state_dir = \"other\"");
    refused(&router, &[], "that takes a restart");
}

#[tokio::test]
#[ignore = "needs tests/run: libnss-wrapper"]
async fn one_that_does_not_find_the_servers_is_refused() {
    let (hosts, _one) = (Hosts::new(&[11]), hosts::server("one", 11, 3017).await);
    let url = format!("dns+http://{NAME}:3017/mcp");
    let health = "[health]\ninterval = \"100ms\"";
    let router = hosts.router_every("1h", &[&url], health).await;
    let is_up = async || {
        let status = router.status().await.unwrap();
        (status["arms"]["primary"]["endpoints"][0]["health"]["standing"] == "up").then_some(())
    };
    eventually("the server is up", is_up).await;
    hosts.set(&[]);
    refused(&router, &[], "these servers are down, which are up");
}

#[tokio::test]
async fn on_a_full_disk_nobody_takes_over() {
    let Some((router, state)) = Router::on_a_small_disk("256k", "").await else { return };
    router.split(60, 40).await;
    std::fs::write(state.join("filler"), vec![1; 1024 * 1024]).unwrap_err();
    let full = |share: &u32| {
        let share = format!("secondary:{share}");
        router.cli(&["set-traffic-split", &share]);
        !state.join("audit.reserve").exists()
    };
    assert!((1..100).any(|share| full(&share)), "the disk is not full");
    refused(&router, &[], "no storage space");
    assert_ne!(router.status().await.unwrap()["split"]["secondary"], json!(0));
}

#[tokio::test]
async fn what_is_down_gets_no_work_from_the_new_one() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = "[health]\ninterval = \"100ms\"\ntimeout = \"100ms\"";
    let at = [one.address, frozen.local_addr().unwrap()];
    let mut router = Router::start(&at, &[two.address], settings).await;
    let standing = async |router: &Router| {
        let status = router.status().await.unwrap();
        status["arms"]["primary"]["endpoints"][1]["health"]["standing"].clone()
    };
    let is_down = async || (standing(&router).await == "down").then_some(());
    eventually("the frozen server is down", is_down).await;
    router.edit(
        "interval = \"100ms\"\ntimeout = \"100ms\"",
        "interval = \"1h\"\ntimeout = \"100ms\"",
    );
    router.upgrade().await;
    for _ in 0..8 {
        let reply = post(router.address, &[], INITIALIZE).await;
        assert!(reply.text().contains("\"name\":\"one\""), "{}", reply.text());
    }
}

/// A router with a call that takes until it is told to go on.
async fn with_a_call() -> (Router, Server, Connection, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let server = Server::scripted(move |_| {
        vec![Step::Wait(Arc::clone(&wait)), Step::Send(answer(200, &[], "{}"))]
    });
    let server = server.await;
    let router = Router::start(&[server.address], &[nobody().await], "").await;
    let mut client = Connection::open(router.address).await;
    client.request("POST", "/mcp", &MODERN, WHOAMI).await;
    eventually("the call arrives", || async { (server.count(WHOAMI) > 0).then_some(()) }).await;
    (router, server, client, go)
}

#[tokio::test]
async fn the_new_one_ends_after_the_old_one() {
    let (mut router, _server, mut client, go) = with_a_call().await;
    router.upgrade().await;
    kill(Pid::from_raw(router.pid()), SIGTERM).unwrap();
    let early = tokio::time::timeout(Duration::from_secs(1), router.ended()).await;
    assert!(early.is_err(), "the old one would be killed with its call");
    go.notify_one();
    assert_eq!(client.answer().await.status, 200);
    assert_eq!((router.first_ended().await, router.ended().await), (0, 0));
}

#[tokio::test]
async fn a_new_one_that_breaks_down_can_be_started_again_at_once() {
    let (mut router, _server, mut client, go) = with_a_call().await;
    router.upgrade().await;
    kill(Pid::from_raw(router.pid()), SIGKILL).unwrap();
    assert_eq!(router.ended().await, -1);
    let dir = std::mem::replace(&mut router.dir, TempDir::new().unwrap());
    let next = Router::spawn(dir).await;
    go.notify_one();
    assert_eq!(client.answer().await.status, 200, "the old one finishes what it has");
    assert_eq!(router.first_ended().await, 0);
    assert!(next.status().await.is_ok());
}
