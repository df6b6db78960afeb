//! Servers that send what they should not: it passes as it is, in little memory, and is called by
//! its name.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::support::client::Connection;
use crate::support::server::answer;
use crate::support::{MODERN, Router, Server, Step, WHOAMI, eventually, nobody};

const JSON: &str = "content-type: application/json";
const STREAM: &str = "content-type: text/event-stream";
const CODED: &str = "content-encoding: gzip\r\ncontent-type: application/json";
const CODED_STREAM: &str = "content-encoding: br\r\ncontent-type: text/event-stream";

const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;
const FAILURE: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true}}"#;

/// One piece of a large body.
const PIECE: usize = 1 << 20;
/// So many make what the issue calls huge.
const PIECES: usize = 100;

/// So many are enough to see that nothing is kept.
const ENDLESS: usize = 20;

/// A body: what comes first, a text that is repeated so often, and what comes last.
struct Body {
    head: &'static str,
    first: String,
    repeated: String,
    times: usize,
    last: String,
}

impl Body {
    fn of(head: &'static str, all: &str) -> Body {
        Body::long(head, all, "", 0, "")
    }

    fn long(head: &'static str, first: &str, repeated: &str, times: usize, last: &str) -> Body {
        let [first, repeated, last] = [first, repeated, last].map(str::to_owned);
        Body { head, first, repeated, times, last }
    }

    fn len(&self) -> usize {
        self.first.len() + self.repeated.len() * self.times + self.last.len()
    }

    fn steps(&self) -> Vec<Step> {
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\ncontent-length: {}", self.head, self.len());
        let mut steps = vec![Step::Send(format!("{head}\r\n\r\n{}", self.first))];
        steps.extend((0..self.times).map(|_| Step::Send(self.repeated.clone())));
        steps.push(Step::Send(self.last.clone()));
        steps
    }
}

async fn before(server: &Server) -> Router {
    Router::start(&[server.address], &[nobody().await], "workers = 1").await
}

/// A modern call.
async fn called(router: &Router) -> Connection {
    let mut connection = Connection::open(router.address).await;
    connection.request("POST", "/mcp", &MODERN, WHOAMI).await;
    connection
}

/// That one call was counted, with this outcome and blame.
async fn counted(router: &Router, outcome: &str, blame: &str) {
    let seen = eventually("it is counted", async || {
        let counts = router.scrape().await.by("tidegate_exchanges_total", ["outcome", "blame"]);
        (!counts.is_empty()).then_some(counts)
    })
    .await;
    assert_eq!(Vec::from_iter(seen), [([outcome, blame].map(str::to_owned), 1)]);
}

/// Sends this body through a router and says what has to come of it.
async fn check(body: Body, outcome: &str, blame: &str) {
    let (length, whole) = (body.len(), body.times == 0);
    let text = body.first.clone() + &body.last;
    let shown = text.chars().take(60).collect::<String>();
    let body = Arc::new(body);
    let server = Server::scripted(move |_| body.steps()).await;
    let router = before(&server).await;
    let memory = router.peak_memory();
    let mut connection = called(&router).await;
    if whole {
        let reply = connection.answer().await;
        assert_eq!((reply.complete, reply.text()), (true, text));
    } else {
        assert_eq!(connection.head().await.status, 200);
        assert_eq!(connection.body(length).await, length, "{shown}");
    }
    counted(&router, outcome, blame).await;
    let grown = router.peak_memory() - memory;
    assert!(grown < 16 * 1024, "{grown} KiB: {shown}");
}

#[tokio::test]
async fn what_cannot_be_read_is_called_so() {
    let event = |data: &str| format!("event: message\ndata: {data}\n\n");
    let deep = format!(r#"{{"id":7,"result":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    for (head, text, outcome, blame) in [
        (JSON, "{broken", "rpc_error", "arm"),
        (JSON, &RESULT[..20], "rpc_error", "arm"),
        (JSON, "\"text\"", "rpc_error", "arm"),
        (STREAM, &event("{broken"), "rpc_error", "arm"),
        (STREAM, &event("[1]"), "rpc_error", "arm"),
        // What is wrong before the answer does not take it back.
        (STREAM, &(event("{broken") + &event(RESULT)), "ok", "nobody"),
        (STREAM, &event(RESULT)[..30], "transport", "arm"),
        (JSON, &deep, "unclassified", "nobody"),
        (STREAM, &event(&deep), "unclassified", "nobody"),
        (CODED, "no text", "unclassified", "nobody"),
        (CODED, RESULT, "unclassified", "nobody"),
        (CODED_STREAM, "no text", "unclassified", "nobody"),
    ] {
        check(Body::of(head, text), outcome, blame).await;
    }
}

#[tokio::test]
#[ignore = "takes some ten seconds: tests/run"]
async fn a_hundred_megabytes_are_read_in_little_memory() {
    let filler = "a".repeat(PIECE);
    let (start, end) = FAILURE.split_at(FAILURE.find("\"content\"").unwrap());
    let start = format!("{start}\"text\":\"");
    let end = format!("\",{end}");
    let in_event = format!("event: message\ndata: {start}");
    check(Body::long(JSON, &start, &filler, PIECES, &end), "tool_error", "relative").await;
    let last = format!("{end}\n\n");
    check(Body::long(STREAM, &in_event, &filler, PIECES, &last), "tool_error", "relative").await;
}

#[tokio::test]
async fn many_small_things_are_read_in_little_memory() {
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let asks = format!("data: {ask}\n\n").repeat(1000);
    let last = format!("data: {RESULT}\n\n");
    check(Body::long(STREAM, "", &asks, 50, &last), "ok", "nobody").await;
    let comments = ": nothing\n\n".repeat(1000);
    check(Body::long(STREAM, "", &comments, 200, &last), "ok", "nobody").await;
    let keys = r#""key":{"a":[1,2,3]},"#.repeat(1000);
    let rest = &RESULT[1..];
    check(Body::long(JSON, "{", &keys, 100, rest), "ok", "nobody").await;
    let lines = "data:\n".repeat(1000);
    check(Body::long(STREAM, "", &lines, 200, &last), "ok", "nobody").await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_the_clients_to_leave() {
    let filler = "a".repeat(PIECE);
    for start in [
        format!("{JSON}\r\n\r\n{{\"id\":7,\"result\":\""),
        format!("{STREAM}\r\n\r\ndata: {{\"id\":7,\"result\":\""),
        format!("{STREAM}\r\n\r\nevent: "),
        format!("{STREAM}\r\n\r\n: "),
        format!("{JSON}\r\n\r\n{{\""),
        format!("{JSON}\r\n\r\n1"),
    ] {
        let gone = Arc::new(Notify::new());
        let (told, filler) = (Arc::clone(&gone), filler.clone());
        let server = Server::scripted(move |_| {
            let mut steps = vec![Step::Send(format!("HTTP/1.1 200 OK\r\n{start}"))];
            steps.extend((0..ENDLESS).map(|_| Step::Send(filler.clone())));
            steps.push(Step::UntilGone(Arc::clone(&told)));
            steps
        })
        .await;
        let router = before(&server).await;
        let memory = router.peak_memory();
        let mut connection = called(&router).await;
        connection.head().await;
        assert!(connection.body(ENDLESS * PIECE).await >= ENDLESS * PIECE);
        drop(connection);
        gone.notified().await;
        counted(&router, "cancelled", "nobody").await;
        let grown = router.peak_memory() - memory;
        assert!(grown < 16 * 1024, "{grown} KiB");
    }
}

#[tokio::test]
async fn names_that_clients_make_up_are_no_labels() {
    let server = Server::scripted(|_| vec![Step::Send(answer(200, &[], RESULT))]).await;
    let router = before(&server).await;
    let memory = router.peak_memory();
    let mut connection = Connection::open(router.address).await;
    for number in 0..10_000 {
        let body = WHOAMI.replace("whoami", &format!("tool-{number}"));
        connection.request("POST", "/mcp", &MODERN, &body).await;
        assert_eq!(connection.answer().await.status, 200);
    }
    let scrape = router.scrape().await;
    assert_eq!(scrape.count("tidegate_exchanges_total", &["outcome=\"ok\""]), 10_000);
    let labels: BTreeSet<_> =
        scrape.by("tidegate_exchanges_total", ["tool"]).into_keys().flatten().collect();
    assert_eq!(Vec::from_iter(labels), ["_other"]);
    let grown = router.peak_memory() - memory;
    assert!(grown < 8 * 1024, "{grown} KiB");
}
