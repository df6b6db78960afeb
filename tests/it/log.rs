//! What the router logs, and what it must not.

use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::client::{Connection, once};
use crate::support::server::{answer, chunk, stream_head};
use crate::support::{INITIALIZE, Router, Server, Step, WHOAMI, eventually, post};

/// A call with a secret argument, a name that acts on a terminal, and a trace.
const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a\u001b[2Jb\u202e","arguments":{"password":"hunter2"},"_meta":{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}}"#;

#[tokio::test]
async fn the_access_log_names_what_happened_and_gives_nothing_away() {
    for format in ["json", "text"] {
        let server = Server::mcp("one").await;
        let settings = format!("\n[log]\naccess = \"on\"\nformat = \"{format}\"");
        let router = Router::start(&[server.address], &[server.address], &settings).await;
        let token = ("authorization", "Bearer t0ps3cret");
        let session = post(router.address, &[token], INITIALIZE).await.session();
        let header = ("traceparent", "00-aaaabbbbccccddddeeeeffff00001111-00f067aa0ba902b7-01");
        post(router.address, &[token, ("mcp-session-id", &session), header], CALL).await;
        post(router.address, &[token, ("mcp-session-id", &session)], CALL).await;
        let log = eventually("three lines", async || {
            let log = router.log();
            (log.matches("trace_id").count() == 2).then_some(log)
        })
        .await;
        for secret in ["t0ps3cret", "hunter2", &session, "one-0", "\x1b[2J", "\u{202e}"] {
            assert!(!log.contains(secret), "{secret:?} is in {log}");
        }
        if format == "text" {
            assert!(log.contains("outcome=\"ok\""), "{log}");
            continue;
        }
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines: Vec<_> = lines.filter(|line| line["target"] == "tidegate::access").collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().any(|line| line["method"] == "initialize"));
        // Two workers may write at the same time.
        let of = |trace: &str| lines.iter().find(|line| line["trace_id"] == trace).unwrap();
        let header = of("aaaabbbbccccddddeeeeffff00001111");
        let meta = of("4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(meta["tool"], "a\\u{1b}[2Jb\\u{202e}");
        for (key, value) in
            [("arm", "primary"), ("outcome", "ok"), ("blame", "nobody"), ("method", "tools/call")]
        {
            assert_eq!(meta[key], value);
        }
        assert_eq!(header["session"], meta["session"]);
        assert!(meta["response_ms"].as_f64() >= meta["first_byte_ms"].as_f64());
    }
}

#[tokio::test]
async fn what_came_of_a_call_on_another_exchange_is_logged_with_it() {
    let called = Arc::new(Notify::new());
    let server = Server::scripted(move |seen| {
        if seen.method == "POST" {
            called.notify_one();
            return vec![Step::Send(answer(202, &[], ""))];
        }
        let event = |text: &str| Step::Send(chunk(&format!("{text}\n\n")));
        vec![
            Step::Send(stream_head(&[])),
            event("event: endpoint\ndata: /messages?session=1"),
            Step::Wait(Arc::clone(&called)),
            event(r#"data: {"jsonrpc":"2.0","id":7,"result":{"isError":true}}"#),
            Step::UntilGone(Arc::default()),
        ]
    })
    .await;
    let settings = "\n[log]\naccess = \"on\"\nformat = \"json\"";
    let router = Router::start(&[server.address], &[server.address], settings).await;
    let mut stream = Connection::open(router.address).await;
    stream.request("GET", "/sse", &[], "").await;
    stream.head().await;
    let first = stream.until("\n\n").await;
    let uri = first.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    assert_eq!(once(router.address, "POST", uri, &[], WHOAMI).await.status, 202);
    stream.until("isError").await;
    let line = eventually("its line", async || {
        let log = router.log();
        let line = log.lines().find(|line| line.contains("tools/call"))?;
        serde_json::from_str::<Value>(line).ok()
    })
    .await;
    assert_eq!((&line["outcome"], &line["blame"]), (&json!("tool_error"), &json!("relative")));
    assert_eq!(line["tool"], "whoami");
    assert_eq!(router.log().matches("tools/call").count(), 1);
}

#[tokio::test]
async fn a_log_that_nobody_reads_slows_nobody() {
    let server = Server::mcp("one").await;
    let settings = "\n[log]\naccess = \"on\"\nformat = \"json\"";
    let router = Router::start(&[server.address], &[server.address], settings).await;
    let dir = router.into_dir();
    let (_unread, log) = std::io::pipe().unwrap();
    let router = Router::spawn_logging(dir, Stdio::from(log)).await;
    // Far more than the 64 KiB that a pipe holds.
    for _ in 0..1000 {
        assert_eq!(post(router.address, &[], INITIALIZE).await.status, 200);
    }
}
