//! What a call's time is: that of its server. While the server waits for its client the clock
//! stands, and what waits by design has no time at all, wherever the messages pass.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::client::{Connection, once};
use crate::support::real::pairs_of;
use crate::support::server::{answer, chunk, stream_head};
use crate::support::{INITIALIZE, MODERN, Router, Seen, Server, Step, eventually, nobody, post};

/// What a server may take on a busy machine in seconds, and a person who thinks for more than one
/// second cannot.
const SERVER_MAX: f64 = 0.6;

const ASK: &str = r#"{"jsonrpc":"2.0","id":100,"method":"elicitation/create","params":{}}"#;
const REPLY: &str = r#"{"jsonrpc":"2.0","id":100,"result":{"action":"decline"}}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

fn event(data: &str) -> Step {
    Step::Send(chunk(&format!("data: {data}\n\n")))
}

fn respond(called: &Arc<Notify>, replied: &Arc<Notify>, seen: &Seen) -> Vec<Step> {
    let head = || Step::Send(stream_head(&[]));
    let named = |event: &str| Step::Send(chunk(&format!("id: {event}\n")));
    let reply = || Step::Wait(Arc::clone(replied));
    let end = || Step::Send(chunk(""));
    let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
    if seen.method == "POST" && body["method"].is_null() {
        replied.notify_one();
    }
    match (seen.method.as_str(), body["params"]["name"].as_str().unwrap_or_default()) {
        ("GET", _) if seen.target == "/sse" => {
            let endpoint = "event: endpoint\ndata: /messages?session=1\n\n";
            let called = Step::Wait(Arc::clone(called));
            let first = Step::Send(chunk(endpoint));
            vec![head(), first, called, event(ASK), reply(), event(RESULT)]
        }
        ("GET", _) => match seen.header("last-event-id") {
            Some("asked") => vec![head(), reply(), event(RESULT), end()],
            Some(_) => vec![head(), event(ASK), reply(), event(RESULT), end()],
            None => vec![head(), Step::Wait(Arc::clone(called)), event(ASK), end()],
        },
        _ if seen.target.starts_with("/messages") => {
            called.notify_one();
            vec![Step::Send(answer(202, &[], ""))]
        }
        (_, "asks") => vec![head(), event(ASK), reply(), event(RESULT), end()],
        (_, "asks_elsewhere") => {
            called.notify_one();
            vec![reply(), head(), event(RESULT), end()]
        }
        (_, "asks_and_closes") => vec![head(), named("asked"), event(ASK), end()],
        (_, "closes_and_asks") => vec![head(), named("1"), event(""), end()],
        _ if body["method"] == "initialize" => {
            let own = [("mcp-session-id", "s")];
            vec![Step::Send(answer(200, &own, &RESULT.replace('7', "1")))]
        }
        _ if body["id"].is_null() || body["method"].is_null() => {
            vec![Step::Send(answer(202, &[], ""))]
        }
        _ => vec![head(), event(RESULT), end()],
    }
}

/// A server that asks its client, a router, and a session.
struct Scene {
    router: Router,
    session: String,
    _server: Server,
}

impl Scene {
    async fn new() -> Scene {
        let (called, replied) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let server = Server::scripted(move |seen| respond(&called, &replied, seen)).await;
        let router = Router::start(&[server.address], &[nobody().await], "").await;
        let session = post(router.address, &[], INITIALIZE).await.session();
        Scene { router, session, _server: server }
    }

    fn own(&self) -> [(&str, &str); 1] {
        [("mcp-session-id", &self.session)]
    }

    /// The person's answer, after some thought.
    async fn reply(&self, target: &str) {
        self.router.ages().await;
        let reply = once(self.router.address, "POST", target, &self.own(), REPLY).await;
        assert_eq!(reply.status, 202);
    }

    /// What follows an event, with the person's answer in it.
    async fn resumed(&self, last: &str) {
        let mut rest = Connection::open(self.router.address).await;
        let headers = [&self.own()[..], &[("last-event-id", last)]].concat();
        rest.request("GET", "/mcp", &headers, "").await;
        rest.head().await;
        self.reply("/mcp").await;
        rest.until("\"id\":7").await;
    }
}

/// That one call was answered well, and in the server's own time.
async fn one_quick_call(router: &Router) {
    let scrape = eventually("the call is counted", async || {
        let scrape = router.scrape().await;
        let done = scrape.count("tidegate_exchanges_total", &["\"tools/call\""]) > 0;
        (done && scrape.count("tidegate_exchanges_pending", &[]) == 0).then_some(scrape)
    })
    .await;
    let call = ["method=\"tools/call\"", "outcome=\"ok\""];
    assert_eq!(scrape.count("tidegate_exchanges_total", &call), 1, "{}", scrape.0);
    assert_eq!(scrape.count("tidegate_exchange_duration_seconds_count", &call[..1]), 1);
    let seconds = scrape.sum("tidegate_exchange_duration_seconds_sum", &call[..1]);
    assert!(seconds < SERVER_MAX, "{seconds} s");
}

#[tokio::test]
async fn the_clock_stands_while_the_client_is_asked_on_the_calls_own_stream() {
    let scene = Scene::new().await;
    let mut connection = Connection::open(scene.router.address).await;
    connection.request("POST", "/mcp", &scene.own(), &call("asks")).await;
    connection.head().await;
    connection.until("elicitation").await;
    scene.reply("/mcp").await;
    connection.until("\"id\":7").await;
    one_quick_call(&scene.router).await;
}

#[tokio::test]
async fn the_clock_stands_while_the_client_is_asked_on_the_stream_for_news() {
    let scene = Scene::new().await;
    let mut news = Connection::open(scene.router.address).await;
    news.request("GET", "/mcp", &scene.own(), "").await;
    news.head().await;
    let mut connection = Connection::open(scene.router.address).await;
    connection.request("POST", "/mcp", &scene.own(), &call("asks_elsewhere")).await;
    news.until("elicitation").await;
    scene.reply("/mcp").await;
    connection.head().await;
    connection.until("\"id\":7").await;
    one_quick_call(&scene.router).await;
}

#[tokio::test]
async fn the_clock_stands_while_the_client_is_asked_over_http_sse() {
    let scene = Scene::new().await;
    let mut stream = Connection::open(scene.router.address).await;
    stream.request("GET", "/sse", &[], "").await;
    stream.head().await;
    let first = stream.until("\n\n").await;
    let uri = first.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let accepted = once(scene.router.address, "POST", uri, &[], &call("x")).await;
    assert_eq!(accepted.status, 202);
    stream.until("elicitation").await;
    scene.reply(uri).await;
    stream.until("\"id\":7").await;
    one_quick_call(&scene.router).await;
}

#[tokio::test]
async fn the_clock_stands_for_who_was_asked_before_the_stream_was_closed_and_resumed() {
    let scene = Scene::new().await;
    post(scene.router.address, &scene.own(), &call("asks_and_closes")).await;
    scene.resumed("asked").await;
    one_quick_call(&scene.router).await;
}

#[tokio::test]
async fn the_clock_stands_for_who_is_asked_on_the_resumed_stream() {
    let scene = Scene::new().await;
    post(scene.router.address, &scene.own(), &call("closes_and_asks")).await;
    scene.resumed("1").await;
    one_quick_call(&scene.router).await;
}

#[tokio::test]
async fn what_waits_by_design_has_no_time() {
    let scene = Scene::new().await;
    let ask = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}"}}"#);
    let to = scene.router.address;
    post(to, &scene.own(), &ask("tasks/result")).await;
    let mut news = Connection::open(to).await;
    news.request("GET", "/mcp", &scene.own(), "").await;
    news.head().await;
    drop(news);
    let listen = [MODERN[0], ("mcp-method", "subscriptions/listen")];
    post(to, &listen, &ask("subscriptions/listen")).await;
    eventually("all are counted", async || {
        let counted = scene.router.metric("tidegate_exchanges_total", &["outcome=\"ok\""]).await;
        (counted > 3.5).then_some(())
    })
    .await;
    let scrape = scene.router.scrape().await;
    let measured = scrape.by("tidegate_exchange_duration_seconds_count", ["method"]);
    assert_eq!(Vec::from_iter(measured), [(["initialize".to_owned()], 1)]);
}

/// The first version whose servers may close a stream early.
const CLOSES_EARLY: (&str, &str) = ("mcp-protocol-version", "2025-11-25");

/// A session with a client that can be asked, at a released server.
async fn real_session(to: SocketAddr) -> String {
    let able = r#""capabilities":{"elicitation":{},"sampling":{}}"#;
    let initialize =
        INITIALIZE.replace(r#""capabilities":{}"#, able).replace("2025-06-18", CLOSES_EARLY.1);
    let session = post(to, &[], &initialize).await.session();
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(post(to, &[("mcp-session-id", &session)], initialized).await.status, 202);
    session
}

/// The answer of a person or of a model to what is asked in this event.
fn thoughtful(events: &str) -> Value {
    let data = events.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    let ask: Value = serde_json::from_str(data.unwrap()).unwrap();
    let result = if ask["method"] == "elicitation/create" {
        json!({ "action": "accept", "content": { "answer": "seven" } })
    } else {
        let content = json!({ "type": "text", "text": "seven" });
        json!({ "role": "assistant", "model": "tide", "content": content })
    };
    json!({ "jsonrpc": "2.0", "id": ask["id"], "result": result })
}

/// Calls of a released server: two ask the client, one closes its stream early.
async fn released(server: &str) {
    let (_process, address) = pairs_of(server)[0].start_server(&[]).await;
    for tool in ["ask_user", "ask_model", "poll"] {
        let router = Router::start(&[address], &[nobody().await], "").await;
        let session = real_session(router.address).await;
        let own = [("mcp-session-id", session.as_str()), CLOSES_EARLY];
        let mut news = Connection::open(router.address).await;
        news.request("GET", "/mcp", &own, "").await;
        assert_eq!(news.head().await.status, 200);
        let arguments = json!({ "question": "how deep?", "prompt": "how deep?" });
        let meta = json!({ "progressToken": 1 });
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        let mut connection = Connection::open(router.address).await;
        connection.request("POST", "/mcp", &own, &body.to_string()).await;
        if tool == "poll" {
            let before = connection.answer().await.text();
            assert!(!before.contains("\"id\":7"), "not closed early: {before}");
            let last = before.lines().filter_map(|line| line.strip_prefix("id: ")).next_back();
            connection = Connection::open(router.address).await;
            let resume = [own[0], own[1], ("last-event-id", last.unwrap())];
            connection.request("GET", "/mcp", &resume, "").await;
            connection.head().await;
        } else {
            connection.head().await;
            // This SDK asks on the stream for news.
            let asking = if server == "ts2" { &mut news } else { &mut connection };
            let asked = asking.until("/create").await;
            router.ages().await;
            let reply = thoughtful(&asked).to_string();
            assert_eq!(post(router.address, &own, &reply).await.status, 202);
        }
        connection.until("\"id\":7").await;
        one_quick_call(&router).await;
    }
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn released_servers_that_ask_or_close_early_are_timed_without_their_clients() {
    for server in ["py1", "py2", "ts1", "ts2"] {
        released(server).await;
    }
}
