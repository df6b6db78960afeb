//! Debian's slowhttptest against the real program: every connection of the attack is ended within
//! its limit, and good clients are served all the while.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::server::answer;
use crate::support::{MODERN, Process, Router, Server, Step, WHOAMI, eventually, nobody, post};

/// What a good client waits for at most while the attack is on.
const GOOD_MAX: Duration = Duration::from_secs(1);

/// Attacks with 300 connections for longer than they may last, and checks that after so many
/// seconds all are ended for this reason. Our side counts: the attacker takes its time to look.
async fn attack(words: &[&str], path: &str, within: u64, reason: &str) {
    let large = answer(200, &[], &format!("{{\"x\":\"{}\"}}", "y".repeat(512 << 10)));
    let result = r#"{"jsonrpc":"2.0","id":7,"result":{"server":"one"}}"#;
    let server = Server::scripted(move |seen| {
        let is_good = seen.target == "/mcp";
        vec![Step::Send(if is_good { answer(200, &[], result) } else { large.clone() })]
    })
    .await;
    let settings = "[timeouts]\nheader = \"2s\"\nidle = \"3s\"\nwrite_idle = \"3s\"";
    let router = Router::start(&[server.address], &[nobody().await], settings).await;
    let url = format!("http://{}{path}", router.address);
    let attacker = ["slowhttptest", "-c", "300", "-r", "300", "-l", "60", "-p", "3", "-u", &url];
    let attacker: Vec<String> = [&attacker, words].concat().into_iter().map(Into::into).collect();
    let attacker = Process::start(&attacker, &[]);
    let label = format!("reason=\"{reason}\"");
    let (start, mut served, mut cut) = (Instant::now(), 0, 0.0);
    while cut < 299.5 {
        assert!(start.elapsed() < Duration::from_secs(within), "{cut} of 300 are cut");
        for _ in 0..20 {
            let good = tokio::time::timeout(GOOD_MAX, post(router.address, &MODERN, WHOAMI)).await;
            assert_eq!(good.expect("a good client is served in time").server(), "one");
            served += 1;
        }
        cut = router.metric("tidegate_client_connections_cut_total", &[&label]).await;
    }
    eprintln!("{words:?}: {:.1} s, {served} good requests", start.elapsed().as_secs_f64());
    eventually("none of them is open", async || {
        (router.metric("tidegate_client_connections", &[]).await < 2.5).then_some(())
    })
    .await;
    drop(attacker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs tests/run: slowhttptest"]
async fn slow_heads() {
    attack(&["-H", "-i", "1", "-x", "10"], "/mcp", 8, "header").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs tests/run: slowhttptest"]
async fn slow_bodies() {
    let words = ["-B", "-i", "1", "-s", "8192", "-x", "10", "-f", "application/json"];
    attack(&words, "/elsewhere", 12, "body").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs tests/run: slowhttptest"]
async fn slow_reading() {
    let words = ["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"];
    attack(&words, "/elsewhere", 12, "write").await;
}
