//! What the router logs, and what it must not.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{INITIALIZE, Router, Server, eventually, post};

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
        assert_eq!(lines[0]["method"], "initialize");
        let [header, meta] = [&lines[1], &lines[2]];
        assert_eq!(header["trace_id"], "aaaabbbbccccddddeeeeffff00001111");
        assert_eq!(meta["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
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
