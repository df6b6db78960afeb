//! `health-check` against scripted servers: every verdict, every era, and what a server gets to
//! see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::health::{
    check, check_with, discovered, error, legacy, message, modern, on, opened, result,
    session_ended, start, text, well,
};
use crate::support::server::{Seen, answer, chunk, stream_head};
use crate::support::{Server, Step, eventually, nobody};

#[tokio::test]
async fn a_modern_server_is_asked_as_clients_ask() {
    let server = modern(|_| None).await;
    let settings = "listen = '127.0.0.1:7777'\n[health]\ntoken = 't0ken'\nexpected_tools = ['echo']\n[primary.headers]\nx-key = 'k'\n";
    let checked = check(server.address, settings).await;
    checked.is("healthy", "as it should be");
    assert_eq!(checked.body["server"], json!({ "name": "one", "version": "1.5" }));
    assert_eq!(checked.body["eras"], json!(["modern"]));
    assert_eq!(
        checked.steps(),
        ["connect", "server/discover", "tools/list", "expected tools", "initialize (older)"]
    );
    for seen in &server.seen()[..2] {
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/mcp"));
        for (name, value) in [
            ("host", "127.0.0.1:7777"),
            ("authorization", "Bearer t0ken"),
            ("x-key", "k"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", &seen.rpc()),
        ] {
            assert_eq!(seen.header(name), Some(value), "{name}");
        }
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        let meta = &body["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    }
}

#[tokio::test]
async fn discovery_may_come_as_an_event_stream() {
    let server = modern(on("server/discover", |seen| {
        let event = format!("data: {}\n\n", message(seen, "result", &discovered()));
        let notification = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n";
        let priming = "data: \nid: 0\nretry: 3000\n\n";
        text(&[stream_head(&[]), chunk(priming), chunk(notification), chunk(&event)].concat())
    }))
    .await;
    check(server.address, "").await.is("healthy", "");
}

#[tokio::test]
async fn a_newer_server_is_asked_at_a_version_of_its_own() {
    let server = modern(on("server/discover", |seen| {
        if seen.header("mcp-protocol-version") == Some("2027-03-01") {
            return result(
                seen,
                &json!({ "supportedVersions": ["2027-03-01"], "capabilities": {} }),
            );
        }
        let error =
            json!({ "code": -32022, "message": "no", "data": { "supported": ["2027-03-01"] } });
        text(&answer(400, &[], &message(seen, "error", &error)))
    }))
    .await;
    let checked = check(server.address, "").await;
    checked.is("healthy", "");
    assert_eq!(checked.body["protocol_version"], "2027-03-01");
}

#[tokio::test]
async fn a_legacy_session_is_opened_used_and_ended() {
    let server = legacy(|_| None).await;
    let checked = check(server.address, "").await;
    checked.is("healthy", "");
    assert_eq!((&checked.body["eras"], &checked.body["tools"]), (&json!(["legacy"]), &json!(2)));
    session_ended(&server).await;
    let seen = server.seen();
    let calls: Vec<_> = seen.iter().map(Seen::rpc).collect();
    assert_eq!(
        calls[..4],
        ["server/discover", "initialize", "notifications/initialized", "tools/list"]
    );
    assert_eq!(seen[1].header("mcp-session-id"), None);
    for seen in &seen[2..] {
        assert_eq!(seen.header("mcp-session-id"), Some("s-1"));
        assert_eq!(seen.header("mcp-protocol-version"), Some("2025-06-18"));
    }
}

#[tokio::test]
async fn a_session_is_ended_whatever_went_wrong() {
    let cases: [fn(&Seen) -> Vec<Step>; 4] = [
        |_| vec![Step::Wait(Arc::new(Notify::new()))],
        |_| vec![Step::Reset],
        |seen| error(seen, 200, -32603, "broken"),
        |_| text("garbage\r\n\r\n"),
    ];
    for steps in cases {
        let server = legacy(on("tools/list", steps)).await;
        let checked = check(server.address, "[health]\ntimeout = '500ms'").await;
        assert_eq!(checked.code, 1);
        session_ended(&server).await;
    }
}

#[tokio::test]
async fn a_server_of_both_eras_is_known_as_such() {
    let server = modern(on("initialize", opened)).await;
    let checked = check(server.address, "").await;
    checked.is("healthy", "");
    assert_eq!(checked.body["eras"], json!(["modern", "legacy"]));
    session_ended(&server).await;
}

#[tokio::test]
async fn the_oldest_transport_answers_on_its_stream() {
    let (one, two) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let server = Server::scripted(move |seen| {
        let event = |id, result: Value| {
            let message = json!({ "jsonrpc": "2.0", "id": id, "result": result });
            Step::Send(chunk(&format!("event: message\r\ndata: {message}\r\n\r\n")))
        };
        match (seen.target.as_str(), seen.rpc().as_str()) {
            ("/sse", _) => vec![
                Step::Send(stream_head(&[]) + &chunk("event: endpoint\ndata: /messages?id=1\n\n")),
                Step::Wait(Arc::clone(&one)),
                event(
                    1,
                    json!({ "protocolVersion": "2024-11-05", "capabilities": { "tools": {} } }),
                ),
                Step::Wait(Arc::clone(&two)),
                event(2, json!({ "tools": [{ "name": "echo" }] })),
                Step::UntilGone(Arc::new(Notify::new())),
            ],
            ("/messages?id=1", rpc) => {
                match rpc {
                    "initialize" => one.notify_one(),
                    "tools/list" => two.notify_one(),
                    _ => {}
                }
                text(&answer(202, &[], ""))
            }
            _ => {
                text("HTTP/1.1 404 No\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\nnone")
            }
        }
    })
    .await;
    for protocol in ["auto", "sse"] {
        let checked = check(server.address, &format!("[health]\nprotocol = '{protocol}'")).await;
        checked.is("healthy", "");
        assert_eq!(checked.body["eras"], json!(["sse"]));
        assert_eq!(checked.body["protocol_version"], "2024-11-05");
    }
}

#[tokio::test]
async fn answers_to_the_first_message_that_are_none() {
    type Answer = fn(&Seen) -> Vec<Step>;
    let cases: [(&str, &str, Answer); 19] = [
        ("bad_answer", "no HTTP", |_| text("garbage, no HTTP at all\r\n\r\n")),
        ("bad_answer", "no HTTP", |_| text("HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello")),
        ("bad_answer", "no JSON", |_| text(&answer(200, &[], "hello"))),
        ("bad_answer", "neither JSON nor events", |_| {
            text("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/html\r\n\r\nhi")
        }),
        ("bad_answer", "HTTP 202 and no answer", |_| text(&answer(202, &[], ""))),
        ("bad_answer", "compressed", |_| text(&answer(200, &[("content-encoding", "gzip")], "x"))),
        ("bad_answer", "answers the id 7", |_| text(&answer(200, &[], r#"{"id":7,"result":{}}"#))),
        ("bad_answer", "no JSON-RPC response", |_| text(&answer(200, &[], "[1]"))),
        ("bad_answer", "its result is no object", |seen| result(seen, &json!(1))),
        ("bad_answer", "no `supportedVersions`", |seen| result(seen, &json!({}))),
        ("bad_answer", "a redirect to /mcp/", |_| text(&answer(307, &[("location", "/mcp/")], ""))),
        ("bad_answer", "no JSON", |_| text(&(stream_head(&[]) + &chunk("data: {\n\n")))),
        ("closed", "closed the connection at server/discover", |_| {
            text(&(stream_head(&[]) + &chunk("id: 1\n\n") + &chunk("")))
        }),
        ("closed", "it closed", |_| vec![Step::Close]),
        ("closed", "it reset", |_| vec![Step::Reset]),
        ("server_error", "HTTP 500", |_| text(&answer(500, &[], ""))),
        ("server_error", "HTTP 503, error -32603: Too many", |seen| {
            error(seen, 503, -32603, "Too many open sessions")
        }),
        ("server_error", "error -32603: oh\\u{1b}[2J", |seen| {
            error(seen, 200, -32603, "oh\u{1b}[2J")
        }),
        ("server_error", "HTTP 429", |_| text(&answer(429, &[], ""))),
    ];
    for (verdict, words, steps) in cases {
        let server = modern(on("server/discover", steps)).await;
        check(server.address, "").await.is(verdict, words);
        assert_eq!(server.seen().len(), 1, "{verdict}: {words}");
    }
}

#[tokio::test]
async fn a_server_that_is_none() {
    check(nobody().await, "").await.is("unreachable", "cannot connect");
    let server = Server::scripted(|_| text(&answer(404, &[], ""))).await;
    let words = "server/discover: HTTP 404; initialize: HTTP 404; GET /sse: HTTP 404";
    check(server.address, "").await.is("bad_answer", words);
    check(server.address, "[health]\nprotocol = 'legacy'").await.is("bad_answer", "initialize");
    let server = modern(|_| None).await;
    check(server.address, "[health]\nprotocol = 'sse'")
        .await
        .is("bad_answer", "GET /sse: HTTP 405");
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_says_where() {
    let silent = || |_: &Seen| vec![Step::Wait(Arc::new(Notify::new()))];
    for (step, server) in [
        ("it was at server/discover", modern(on("server/discover", silent())).await),
        ("it was at tools/list", modern(on("tools/list", silent())).await),
        ("it was at initialize", legacy(on("initialize", silent())).await),
        (
            "it was at notifications/initialized",
            legacy(on("notifications/initialized", silent())).await,
        ),
    ] {
        let checked = check_with(server.address, "", &["--timeout", "400ms"]).await;
        checked.is("timeout", "within 400ms");
        checked.is("timeout", step);
        let took = checked.body["took_ms"].as_f64().unwrap();
        assert!((399.0..3000.0).contains(&took), "{took}");
    }
}

#[tokio::test]
async fn a_locked_door_is_told_from_a_wrong_name() {
    for (status, token, words) in [
        (401, "", "answers 401, no token is configured"),
        (401, "[health]\ntoken = 't'", "answers 401, the token was refused"),
        (403, "", "answers 403, no token is configured"),
        (403, "[primary.headers]\nauthorization = 'x'", "answers 403, the token was refused"),
    ] {
        let server = Server::scripted(move |_| text(&answer(status, &[], ""))).await;
        check(server.address, token).await.is("unauthenticated", words);
    }
    let server = Server::scripted(|_| text(&answer(421, &[], ""))).await;
    check(server.address, "").await.is("wrong_host", "answers 421 to the Host `127.0.0.1:8080`");
    // Only the name is wrong: the same request with the server's own gets through.
    let server = modern(|seen| {
        let foreign = seen.header("host") == Some("mcp.example.com");
        foreign.then(|| text(&answer(403, &[], "{}")))
    })
    .await;
    let public = "public_origin = 'https://mcp.example.com'";
    check(server.address, public)
        .await
        .is("wrong_host", "answers 403 to the Host `mcp.example.com`");
    check(server.address, &format!("host = 'upstream'\n{public}")).await.is("healthy", "");
}

#[tokio::test]
async fn lists_that_never_end_are_ended() {
    let page = |seen: &Seen, next: &str| {
        result(seen, &json!({ "tools": [{ "name": "a" }], "nextCursor": next }))
    };
    let server = modern(on("tools/list", move |seen| page(seen, "again"))).await;
    check(server.address, "").await.is("bad_answer", "page 2 repeats the cursor `again`");
    let count = AtomicUsize::new(0);
    let server = modern(on("tools/list", move |seen| {
        page(seen, &count.fetch_add(1, Ordering::Relaxed).to_string())
    }))
    .await;
    check(server.address, "").await.is("bad_answer", "more than 100 pages");
    // An empty cursor is one like any other.
    let server = modern(on("tools/list", move |seen| {
        if seen.body.contains("cursor") { well(seen) } else { page(seen, "") }
    }))
    .await;
    let checked = check(server.address, "").await;
    checked.is("healthy", "");
    assert_eq!(checked.body["tools"], 3);
}

#[tokio::test]
async fn what_the_operator_expects_has_to_be_there() {
    let server = modern(|_| None).await;
    let tools = "[health]\nexpected_tools = ['add', 'pay', 'ship']";
    check(server.address, tools).await.is("missing_tools", "expected tools: pay, ship");
    let call = |expect: &str| {
        format!("[[health.calls]]\ntool = 'echo'\narguments = {{ a = 1 }}\nexpect = {expect}")
    };
    let ok = call("{ text_contains = 'ok', structured = { ok = true } }");
    check(server.address, &ok).await.is("healthy", "");
    let seen = server.seen().into_iter().find(|seen| seen.rpc() == "tools/call").unwrap();
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    let params = json!({ "name": "echo", "arguments": { "a": 1 } });
    assert_eq!(
        (&body["params"]["name"], &body["params"]["arguments"]),
        (&params["name"], &params["arguments"])
    );
    assert_eq!(seen.header("mcp-name"), Some("echo"));
    let other = call("{ structured = { ok = false } }");
    check(server.address, &other)
        .await
        .is("call_failed", "the call of echo failed: structuredContent.ok is true");
    let broken = modern(on("tools/call", |seen| error(seen, 200, -32602, "Tool not found"))).await;
    check(broken.address, &ok).await.is("call_failed", "error -32602: Tool not found");
}

#[tokio::test]
async fn no_tool_is_called_that_the_operator_does_not_name() {
    let (one, two) = (modern(|_| None).await, legacy(|_| None).await);
    for server in [&one, &two] {
        let settings = "[health]\nexpected_tools = ['add', 'echo']";
        check_with(server.address, settings, &["--stability", "300ms"]).await.is("healthy", "");
        assert!(server.seen().iter().all(|seen| seen.rpc() != "tools/call"));
    }
}

#[tokio::test]
async fn a_huge_answer_is_not_kept() {
    let huge = || "x".repeat(100 << 20);
    let json = format!("{{\"x\":\"{}\"}}", huge());
    let event = stream_head(&[]) + &chunk(&format!("data: {}\n\n", huge()));
    let notes = "data: {\"method\":\"notifications/message\"}\n\n".repeat(1 << 20);
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", huge());
    for (bytes, verdict, words) in [
        (answer(200, &[], &json), "bad_answer", "longer than 4194304 bytes"),
        (event, "bad_answer", "an event of more than 4194304 bytes"),
        (stream_head(&[]) + &chunk(&notes) + &chunk(""), "closed", "at server/discover"),
        (head, "bad_answer", "no HTTP"),
    ] {
        let server = Server::scripted(move |_| text(&bytes)).await;
        check_with(server.address, "", &["--timeout", "60s"]).await.is(verdict, words);
    }
}

#[tokio::test]
async fn a_held_session_shows_what_breaks_in_time() {
    let well_held = legacy(|seen| {
        let stream = vec![Step::Send(stream_head(&[])), Step::UntilGone(Arc::new(Notify::new()))];
        (seen.method == "GET").then_some(stream)
    })
    .await;
    let checked = check_with(well_held.address, "", &["--stability", "500ms"]).await;
    checked.is("healthy", "");
    let held = &checked.body["stability"];
    assert_eq!(
        (&held["failed"], &held["drops"], &held["stream"]),
        (&json!(0), &json!(0), &json!(true))
    );
    assert!(held["calls"].as_u64().unwrap() >= 3 && held["p99_ms"].is_f64(), "{held}");
    let dropping = legacy(|seen| {
        (seen.method == "GET").then(|| vec![Step::Send(stream_head(&[])), Step::Close])
    })
    .await;
    let checked = check_with(dropping.address, "", &["--stability", "500ms"]).await;
    assert!(checked.body["stability"]["drops"].as_u64().unwrap() >= 1, "{:#}", checked.body);
    assert_eq!((checked.code, &checked.body["verdict"]), (1, &json!("healthy")));
    let failing = legacy(on("ping", |seen| error(seen, 404, -32600, "Session not found"))).await;
    let checked = check_with(failing.address, "", &["--stability", "500ms"]).await;
    assert_eq!(checked.code, 1);
    assert_eq!(checked.body["stability"]["last_fault"], "error -32600: Session not found");
}

#[tokio::test]
async fn an_interruption_ends_the_session() {
    let silent = |_: &Seen| vec![Step::Wait(Arc::new(Notify::new()))];
    for (server, last, arguments) in [
        (legacy(|_| None).await, "ping", &["--stability", "60s"]),
        (legacy(on("tools/list", silent)).await, "tools/list", &["--timeout", "60s"]),
    ] {
        let (_dir, child) = start(server.address, "", arguments);
        let deleted = || server.seen().iter().filter(|seen| seen.method == "DELETE").count();
        eventually("a session is held", async || {
            server.seen().iter().any(|seen| seen.rpc() == last).then_some(())
        })
        .await;
        let before = deleted();
        kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGINT).unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(deleted(), before + 1, "it is ended before the program is");
    }
}

#[tokio::test]
async fn people_see_each_step_and_nothing_that_acts_on_a_terminal() {
    let server = modern(on("server/discover", |seen| {
        let mut found = discovered();
        found["serverInfo"]["name"] = json!("evil\u{1b}[2J\u{202e}\n");
        result(seen, &found)
    }))
    .await;
    let (_dir, child) = start(server.address, "", &[]);
    let said = String::from_utf8(child.wait_with_output().await.unwrap().stdout).unwrap();
    for words in [
        "primary http://127.0.0.1:",
        "ok      server/discover",
        "2 tools on 1 page",
        "healthy in",
        "evil\\u{1b}[2J",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}'), "{said:?}");
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_64() {
    for (settings, arguments) in [
        ("", &["--timeout", "0s"][..]),
        ("", &["--timeout", "5"]),
        ("", &["tertiary"]),
        ("[health]\nintervall = '5s'", &[]),
        ("[health]\ntoken = '${NO_SUCH_VARIABLE}'", &[]),
    ] {
        let (_dir, child) = start(nobody().await, settings, arguments);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(64), "{settings}{arguments:?}");
    }
}
