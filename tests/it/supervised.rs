//! What a service manager is told, and when a router is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::support::certificates::Authority;
use crate::support::client::Connection;
use crate::support::server::mcp;
use crate::support::supervisor::{Stopped, start};
use crate::support::{
    INITIALIZE, Router, Server, Step, Supervisor, WHOAMI, eventually, get, nobody, post, said,
};

/// The router asks its servers how they are.
const HEALTH: &str = "[health]\ninterval = \"1s\"\n";

/// A server that answers its first request when the test says so.
async fn late(name: &'static str) -> (Server, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let (wait, is_first, answers) = (Arc::clone(&go), AtomicBool::new(true), mcp(name));
    let server = Server::scripted(move |seen| {
        let mut steps = answers(seen);
        if is_first.swap(false, Ordering::Relaxed) {
            steps.insert(0, Step::Wait(Arc::clone(&wait)));
        }
        steps
    });
    (server.await, go)
}

fn signal(router: &Router, signal: Signal) {
    kill(Pid::from_raw(router.pid()), signal).unwrap();
}

async fn is_ready(router: &Router) -> bool {
    get(router.metrics, "/ready", &[]).await.status == 200
}

#[tokio::test]
async fn ready_is_after_the_first_round_of_handshakes() {
    let manager = Supervisor::new();
    let (one, (two, go)) = (Server::mcp("one").await, late("two").await);
    let router = manager.start([one.address, two.address], HEALTH, "").await;
    two.arrived().await;
    assert!(manager.next().await.starts_with("STATUS=starting"));
    assert!(!is_ready(&router).await && !router.log().contains("is ready"));
    assert_eq!(post(router.address, &[], INITIALIZE).await.status, 200, "clients are served");
    assert!(!manager.heard().join("\n").contains("READY=1"));
    go.notify_one();
    assert_eq!(manager.hears("READY=1").await, "READY=1\nSTATUS=100:0, 2 of 2 endpoints up");
    assert!(is_ready(&router).await);
    eventually("the log says so", async || router.log().contains("is ready").then_some(())).await;
    router.split(90, 10).await;
    assert_eq!(manager.next().await, "STATUS=90:10, 2 of 2 endpoints up");
}

#[tokio::test]
async fn a_refused_connection_is_a_result() {
    let manager = Supervisor::new();
    let (one, none) = (Server::mcp("one").await, nobody().await);
    let _router = manager.start([one.address, none], HEALTH, "").await;
    let ready = manager.hears("READY=1").await;
    assert!(ready.ends_with("1 of 2 endpoints up"), "{ready}");
}

#[tokio::test]
async fn nobody_waits_for_ever_for_a_server_that_hangs() {
    let manager = Supervisor::new();
    // The system accepts for it, and nobody ever answers.
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = hole.local_addr().unwrap();
    let settings = "[health]\ninterval = \"1s\"\ntimeout = \"50s\"\n";
    let began = Instant::now();
    let router = manager.start([nobody().await, at], settings, "").await;
    let ready = manager.hears("READY=1").await;
    assert!(ready.ends_with("0 of 2 endpoints up"), "{ready}");
    assert!(began.elapsed().as_secs() >= 10);
    let what = format!("endpoints=http://{at}/mcp");
    eventually("it says who hangs", async || router.log().contains(&what).then_some(())).await;
}

#[tokio::test]
async fn a_reload_has_a_beginning_and_an_end() {
    let manager = Supervisor::new();
    let none = nobody().await;
    let router = manager.start([none, none], "[split]\nprimary = 100\nsecondary = 0", "").await;
    assert_eq!(manager.next().await, "READY=1\nSTATUS=100:0, 2 endpoints");
    router.edit("primary = 100\nsecondary = 0", "primary = 70\nsecondary = 30");
    signal(&router, Signal::SIGHUP);
    assert!(manager.next().await.starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(manager.next().await, "READY=1");
    assert_eq!(manager.next().await, "STATUS=70:30, 2 endpoints");
    router.edit("secondary = 30", "secondary = 70");
    let refused = router.cli(&["reload"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(manager.next().await.starts_with("RELOADING=1"));
    assert_eq!(manager.next().await, "READY=1");
    let status = manager.next().await;
    assert_eq!(status, "STATUS=70:30, 2 endpoints, LAST RELOAD REFUSED (see the log)");
    router.edit("secondary = 70", "secondary = 30");
    assert_eq!(router.cli(&["reload"]).status.code(), Some(0));
    assert_eq!(manager.hears("STATUS").await, "STATUS=70:30, 2 endpoints");
}

#[tokio::test]
async fn who_takes_over_speaks_when_the_manager_listens_to_it() {
    let (manager, none) = (Supervisor::new(), nobody().await);
    let mut router = manager.start([none; 2], "", "WATCHDOG_USEC=60000000").await;
    manager.hears("WATCHDOG=1").await;
    for _ in 0..3 {
        let pid = router.upgrade().await["pid"].clone();
        assert_eq!(manager.next().await, format!("MAINPID={pid}"));
        assert_eq!(manager.next().await, "READY=1\nSTATUS=100:0, 2 endpoints");
        assert_eq!(manager.next().await, "WATCHDOG=1");
    }
}

#[tokio::test]
async fn an_end_asks_for_the_time_that_it_may_take() {
    let manager = Supervisor::new();
    let silent = Server::scripted(|_| vec![Step::Wait(Arc::new(Notify::new()))]).await;
    let settings = "[timeouts]\ndrain = \"3s\"";
    let mut router = manager.start([silent.address; 2], settings, "").await;
    let mut client = Connection::open(router.address).await;
    client.request("POST", "/mcp", &[], WHOAMI).await;
    silent.arrived().await;
    manager.hears("READY=1").await;
    signal(&router, Signal::SIGTERM);
    assert_eq!(manager.next().await, "STOPPING=1");
    let mut asked = Vec::new();
    for _ in 0..2 {
        let message = manager.next().await;
        let (time, status) = message.split_once('\n').unwrap();
        assert_eq!(status, "STATUS=stopping, 1 in flight");
        asked.push(time.strip_prefix("EXTEND_TIMEOUT_USEC=").unwrap().parse::<u64>().unwrap());
    }
    // The rest of the drain and a little, however often it is asked for.
    assert!(asked[0] <= 8_000_000 && asked[1] <= 6_100_000 && asked[1] >= 2_000_000, "{asked:?}");
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn a_watchdog_is_fed_whatever_clients_do() {
    let none = nobody().await;
    let dir = TempDir::new().unwrap();
    let tls = Authority::new().issue(dir.path(), "own", &["mcp.example"]).settings();
    for (settings, clients) in [
        ("workers = 3", 0),
        ("workers = 1\n[limits]\nconnections = 1", 3),
        ("workers = 1\n[limits]\nconnections_per_address = 1", 3),
        (&format!("workers = 2\n[tls]\n{tls}"), 3),
        (&format!("workers = 1\n[limits]\nconnections = 1\n[tls]\n{tls}"), 3),
    ] {
        let manager = Supervisor::new();
        let watchdog = "WATCHDOG_USEC=400000 WATCHDOG_PID=$$";
        let router = manager.start([none; 2], settings, watchdog).await;
        let mut open = Vec::new();
        for _ in 0..clients {
            open.push(Connection::open(router.address).await);
        }
        for _ in 0..6 {
            manager.hears("WATCHDOG=1").await;
        }
        assert!(!router.log().contains("cannot connect"), "{settings}: {}", router.log());
    }
}

#[tokio::test]
async fn a_worker_that_stands_still_is_named_and_the_watchdog_goes_hungry() {
    let (manager, none) = (Supervisor::new(), nobody().await);
    let router = manager.start([none; 2], "workers = 2", "WATCHDOG_USEC=2000000").await;
    manager.hears("WATCHDOG=1").await;
    let Some(stopped) = Stopped::thread(&router, "worker-1") else { return };
    let name = "no sign of life from worker-1;";
    eventually("it is named", async || router.log().contains(name).then_some(())).await;
    manager.heard();
    router.ages().await;
    assert_eq!(manager.heard(), Vec::<String>::new());
    drop(stopped);
    manager.hears("WATCHDOG=1").await;
    let again = "alive again";
    eventually("it is well", async || router.log().contains(again).then_some(())).await;
}

#[tokio::test]
async fn an_admin_socket_that_is_gone_is_named_too() {
    let (manager, none) = (Supervisor::new(), nobody().await);
    let router = manager.start([none; 2], "", "WATCHDOG_USEC=400000").await;
    manager.hears("WATCHDOG=1").await;
    std::fs::remove_file(router.socket()).unwrap();
    let what = "watchdog: the admin socket";
    eventually("it is named", async || router.log().contains(what).then_some(())).await;
}

#[tokio::test]
async fn a_watchdog_of_somebody_else_is_not_fed() {
    let (manager, none) = (Supervisor::new(), nobody().await);
    let router = manager.start([none; 2], "", "WATCHDOG_USEC=400000 WATCHDOG_PID=1").await;
    manager.hears("READY=1").await;
    router.ages().await;
    assert_eq!(manager.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn a_manager_that_is_away_is_no_fault_of_ours() {
    let none = [format!("http://{}/mcp", nobody().await)];
    let dir = Router::prepare(&none, &none, "");
    let mut router = start(dir, "NOTIFY_SOCKET=/nowhere/notify WATCHDOG_USEC=400000").await;
    assert!(is_ready(&router).await);
    router.ages().await;
    router.stop().await;
    assert_eq!(router.log().matches("NOTIFY_SOCKET").count(), 1);
}
