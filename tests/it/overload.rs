//! More work than there is room for: who waits, who is turned away and how, and who is not bothered.

mod many;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::client::{Connection, request};
use crate::support::server::{answer, stream_head};
use crate::support::{
    INITIALIZE, MODERN, Reply, Router, Scrape, Server, Step, WHOAMI, eventually, get, nobody, ours,
    post, said, within,
};

const TIGHT: &str = "[limits]\nin_flight = 2\nqueue = 1\n[timeouts]\nqueue = \"10s\"";
const NOTIFICATION: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const REPLY: &str = r#"{"jsonrpc":"2.0","id":"ask","result":{}}"#;
const LISTEN: &str = r#"{"jsonrpc":"2.0","id":5,"method":"subscriptions/listen","params":{}}"#;

/// A server whose calls and streams last until it is told to answer one.
async fn busy(name: &'static str) -> (Server, Arc<Notify>) {
    let (go, until) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let told = Arc::clone(&go);
    let server = Server::scripted(move |seen| match (seen.method.as_str(), seen.rpc().as_str()) {
        ("GET", _) | (_, "subscriptions/listen") => {
            vec![Step::Send(stream_head(&[])), Step::UntilGone(Arc::clone(&until))]
        }
        (_, "initialize") => {
            vec![Step::Send(answer(
                200,
                &[("mcp-session-id", "s")],
                r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            ))]
        }
        (_, "tools/call") => {
            let result = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"server":"{name}"}}}}"#);
            vec![Step::Wait(Arc::clone(&told)), Step::Send(answer(200, &[], &result))]
        }
        _ => vec![Step::Send(answer(202, &[], ""))],
    })
    .await;
    (server, go)
}

/// A call that has been sent and not answered.
async fn calling(router: &Router, headers: &[(&str, &str)]) -> Connection {
    let mut connection = Connection::open(router.address).await;
    connection.request("POST", "/mcp", headers, WHOAMI).await;
    connection
}

/// Waits until an arm has so many exchanges in flight and so many in its queues.
async fn has(router: &Router, arm: &str, taken: u64, queued: u64) {
    let sum = |status: &serde_json::Value, what: &str| -> u64 {
        let endpoints = status["arms"][arm]["endpoints"].as_array().unwrap();
        endpoints.iter().map(|it| it["room"][what].as_u64().unwrap()).sum()
    };
    eventually("as many as should be there", async || {
        let status = router.status().await.unwrap();
        ((sum(&status, "taken"), sum(&status, "queued")) == (taken, queued)).then_some(())
    })
    .await;
}

/// Two calls in flight and one in the queue.
async fn filled(router: &Router) -> [Connection; 3] {
    let two = [calling(router, &MODERN).await, calling(router, &MODERN).await];
    has(router, "primary", 2, 0).await;
    let third = calling(router, &MODERN).await;
    has(router, "primary", 2, 1).await;
    let [one, two] = two;
    [one, two, third]
}

fn refused(reply: &Reply) {
    ours(reply, 503, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("2"));
}

fn rejected(scrape: &Scrape, arm: &str) -> u64 {
    let labels = [&format!("arm=\"{arm}\"")[..], "outcome=\"rejected\"", "blame=\"relative\""];
    scrape.count("tidegate_exchanges_total", &labels)
}

#[tokio::test]
async fn beyond_the_queue_calls_are_turned_away_at_once() {
    let ((server, go), (other, _)) = (busy("one").await, busy("two").await);
    let router = Router::start(&[server.address], &[other.address], TIGHT).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let mut three = filled(&router).await;
    refused(&post(router.address, &MODERN, WHOAMI).await);
    refused(&post(router.address, &[], INITIALIZE).await);
    let own = [("mcp-session-id", session.as_str())];
    let gentle = post(router.address, &own, WHOAMI).await;
    assert_eq!(ours(&gentle, 200, "overloaded"), json!(7));
    assert!(said(&router.cli(&["status"])).contains("FULL: limit 2, 1 waiting"));
    for (metric, count) in [("in_flight", 2), ("queued", 1)] {
        let name = format!("tidegate_endpoint_{metric}");
        eventually("it is shown", async || {
            let scrape = router.scrape().await;
            (scrape.count(&name, &["arm=\"primary\""]) == count).then_some(())
        })
        .await;
    }
    for (taken, queued) in [(2, 0), (1, 0), (0, 0)] {
        go.notify_one();
        has(&router, "primary", taken, queued).await;
    }
    for connection in &mut three {
        assert_eq!(connection.answer().await.server(), "one");
    }
    let scrape = router.scrape().await;
    assert_eq!((rejected(&scrape, "primary"), rejected(&scrape, "secondary")), (3, 0));
    for (result, count) in [("waited", 1), ("queue_full", 3), ("too_long", 0)] {
        let label = format!("result=\"{result}\"");
        let name = "tidegate_requests_without_room_total";
        assert_eq!(scrape.count(name, &["arm=\"primary\"", &label]), count, "{result}");
    }
    assert!(other.seen().is_empty(), "work spilled to the other arm");
}

#[tokio::test]
async fn nobody_waits_longer_than_allowed() {
    let (server, _go) = busy("one").await;
    let settings = TIGHT.replace("10s", "300ms");
    let router = Router::start(&[server.address], &[nobody().await], &settings).await;
    let mut three = filled(&router).await;
    refused(&three[2].answer().await);
    let label = ["result=\"too_long\""];
    assert_eq!(router.scrape().await.count("tidegate_requests_without_room_total", &label), 1);
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_leaves_its_place() {
    let (server, go) = busy("one").await;
    let router = Router::start(&[server.address], &[nobody().await], TIGHT).await;
    let [mut one, _two, waiting] = filled(&router).await;
    drop(waiting);
    has(&router, "primary", 2, 0).await;
    let mut next = calling(&router, &MODERN).await;
    has(&router, "primary", 2, 1).await;
    for (taken, queued) in [(2, 0), (1, 0), (0, 0)] {
        go.notify_one();
        has(&router, "primary", taken, queued).await;
    }
    assert_eq!(next.answer().await.server(), "one");
    assert_eq!(one.answer().await.server(), "one");
    let labels = ["arm=\"primary\"", "outcome=\"cancelled\""];
    assert_eq!(router.scrape().await.count("tidegate_exchanges_total", &labels), 1);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_reload_makes_room_for_those_who_wait() {
    let (server, go) = busy("one").await;
    let router = Router::start(&[server.address], &[nobody().await], TIGHT).await;
    let mut three = filled(&router).await;
    router.edit("in_flight = 2", "in_flight = 3");
    assert!(router.cli(&["reload"]).status.success());
    has(&router, "primary", 3, 0).await;
    router.edit("in_flight = 3", "in_flight = 1");
    assert!(router.cli(&["reload"]).status.success());
    let mut fourth = calling(&router, &MODERN).await;
    has(&router, "primary", 3, 1).await;
    refused(&post(router.address, &MODERN, WHOAMI).await);
    for (taken, queued) in [(2, 1), (1, 1), (1, 0), (0, 0)] {
        go.notify_one();
        has(&router, "primary", taken, queued).await;
    }
    for connection in &mut three {
        assert_eq!(connection.answer().await.server(), "one");
    }
    assert_eq!(fourth.answer().await.server(), "one");
}

#[tokio::test]
async fn what_has_a_choice_goes_where_there_is_room() {
    let ((one, _), (two, _)) = (busy("one").await, busy("two").await);
    let settings =
        TIGHT.replace("in_flight = 2", "in_flight = 1").replace("queue = 1", "queue = 0");
    let settings = format!("{settings}\n[affinity]\nprincipal = [\"authorization\"]");
    let router = Router::start(&[one.address, two.address], &[nobody().await], &settings).await;
    // One caller has one endpoint, as long as there is room on it.
    let caller = [&MODERN[..], &[("authorization", "Bearer it")]].concat();
    let _first = calling(&router, &caller).await;
    has(&router, "primary", 1, 0).await;
    let _second = calling(&router, &caller).await;
    has(&router, "primary", 2, 0).await;
    eventually("each has one", async || {
        (one.seen().len() == 1 && two.seen().len() == 1).then_some(())
    })
    .await;
    refused(&post(router.address, &caller, WHOAMI).await);
}

#[tokio::test]
async fn a_session_waits_for_its_own_server() {
    let ((one, _), (two, _)) = (busy("one").await, busy("two").await);
    let settings = TIGHT.replace("in_flight = 2", "in_flight = 1");
    let router = Router::start(&[one.address, two.address], &[nobody().await], &settings).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let own = [("mcp-session-id", session.as_str())];
    let (its, other) = if one.seen().is_empty() { (&two, &one) } else { (&one, &two) };
    let _first = calling(&router, &own).await;
    has(&router, "primary", 1, 0).await;
    let _second = calling(&router, &own).await;
    has(&router, "primary", 1, 1).await;
    // What ends its other exchanges does not wait for them.
    for body in [NOTIFICATION, REPLY] {
        assert_eq!(post(router.address, &own, body).await.status, 202);
    }
    assert_eq!((its.seen().len(), other.seen().len()), (4, 0));
}

#[tokio::test]
async fn streams_without_an_end_take_no_room() {
    let (server, go) = busy("one").await;
    let router = Router::start(&[server.address], &[nobody().await], TIGHT).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let listen = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "subscriptions/listen")];
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = Connection::open(router.address).await;
        stream.request("GET", "/mcp", &[("mcp-session-id", &session)], "").await;
        assert_eq!(stream.head().await.status, 200);
        open.push(stream);
        let mut stream = Connection::open(router.address).await;
        stream.request("POST", "/mcp", &listen, LISTEN).await;
        assert_eq!(stream.head().await.status, 200);
        open.push(stream);
    }
    has(&router, "primary", 0, 0).await;
    go.notify_one();
    assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
    assert_eq!(get(router.metrics, "/ready", &[]).await.status, 200);
}

#[tokio::test]
async fn a_server_whose_calls_fail_gets_no_new_ones_for_a_while() {
    let failing = Server::scripted(|seen| match seen.rpc().as_str() {
        "initialize" => vec![Step::Send(answer(200, &[("mcp-session-id", "s")], "{}"))],
        _ => vec![Step::Send(answer(500, &[], ""))],
    })
    .await;
    let (good, other) = (Server::mcp("good").await, Server::mcp("other").await);
    // Whoever shows nothing is nobody, and each call goes where there is least to do.
    let settings = "[health]\neject_after = 3\ninterval = \"off\"\n\
                    [affinity]\nprincipal = [\"authorization\"]";
    let both = [failing.address, good.address];
    let router = Router::start(&both, &[other.address], settings).await;
    let url = format!("endpoint=\"http://{}/mcp\"", failing.address);
    eventually("it is out", async || {
        post(router.address, &MODERN, WHOAMI).await;
        let ejected = router.metric("tidegate_endpoint_ejected", &[&url]).await;
        (ejected > 0.5).then_some(())
    })
    .await;
    let before = failing.seen().len();
    for _ in 0..10 {
        assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "good");
    }
    assert_eq!((failing.seen().len(), other.seen().len()), (before, 0));
    let status = router.status().await.unwrap();
    let its = &status["arms"]["primary"];
    assert_eq!(its["effective_weight"], 100.0);
    assert_eq!(its["endpoints"][0]["ejected"]["times"], 1);
    let why = "3 calls in a row failed by the server's fault";
    assert_eq!(its["endpoints"][0]["ejected"]["why"], why);
    assert!(said(&router.cli(&["status"])).contains("OUT until"));
    eventually("it is in the log", async || router.log().contains(why).then_some(())).await;
    assert_eq!(router.scrape().await.count("tidegate_ejections_total", &[&url]), 1);
}

/// Bytes of memory that the router has.
async fn resident(router: &Router) -> u64 {
    router.scrape().await.count("tidegate_memory_bytes", &["resident"])
}

#[tokio::test]
async fn short_of_memory_new_work_is_shed_and_sessions_go_on() {
    // One answers, the other takes connections and reads nothing.
    let (server, deaf) =
        (Server::mcp("one").await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let settings =
        "[limits]\nmemory = \"64MiB\"\n[timeouts]\nheader = \"5m\"\n[guards]\nsequential = \"off\"";
    let router = Router::start(&[server.address], &[deaf.local_addr().unwrap()], settings).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let own = [("mcp-session-id", session.as_str())];
    let known = tokio::sync::Mutex::new(Connection::open(router.address).await);
    let mut new = Connection::open(router.address).await;
    router.split(0, 100).await;
    // The first 200 kB of a message that does not go on.
    let long = INITIALIZE.replace("test", &"a".repeat(1 << 20));
    let start = &request(router.address, "POST", "/mcp", &[], &long).into_bytes()[..200_000];
    let is_ready = async || get(router.metrics, "/ready", &[]).await.status == 200;
    let is_full = async || router.metric("tidegate_shedding", &["new_work"]).await > 0.5;
    let mut open = Vec::new();
    for _ in 0..500 {
        open.push(Connection::open(router.address).await);
    }
    for some in open.chunks_mut(10) {
        if is_full().await {
            break;
        }
        for connection in some {
            connection.flood(start, 1).await;
        }
    }
    eventually("new work is shed", async || is_full().await.then_some(())).await;
    assert!(!is_ready().await);
    assert!(Connection::open(router.address).await.closed().await);
    new.request("POST", "/mcp", &MODERN, WHOAMI).await;
    refused(&new.answer().await);
    // What came at once may have been too much; it is served again once no more comes.
    eventually("the session goes on", async || {
        let mut known = known.lock().await;
        known.request("POST", "/mcp", &own, WHOAMI).await;
        (known.answer().await.json()["result"]["server"] == "one").then_some(())
    })
    .await;
    assert!(said(&router.cli(&["status"])).contains("memory     SHORT"));
    drop(open);
    router.split(100, 0).await;
    within(30, "clients are welcome again", async || is_ready().await.then_some(())).await;
    assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
    let told = ["only the requests of open sessions", "clients are welcome again"];
    eventually("it is in the log", async || {
        let log = router.log();
        told.iter().all(|it| log.contains(it)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn operators_are_answered_while_all_workers_are_busy() {
    let server = Server::mcp("one").await;
    let settings = "workers = 2\n[limits]\nin_flight = 1\nqueue = 0";
    let router = Router::start(&[server.address], &[nobody().await], settings).await;
    let pieces = request(router.address, "POST", "/mcp", &MODERN, WHOAMI).repeat(50);
    let mut floods = JoinSet::new();
    for _ in 0..8 {
        let (to, pieces) = (router.address, pieces.clone());
        floods.spawn(async move {
            loop {
                Connection::open(to).await.flood(pieces.as_bytes(), 100).await;
            }
        });
    }
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        router.status().await.unwrap();
        times.push(start.elapsed());
        let start = Instant::now();
        get(router.metrics, "/metrics", &[]).await;
        times.push(start.elapsed());
    }
    times.sort();
    drop(floods);
    let flood = router.scrape().await.count("tidegate_exchanges_total", &[]);
    assert!(flood > 1000, "{flood} requests are no flood");
    // The machine may be busy with other tests, which are no business of the router's.
    assert!(times[20] < Duration::from_secs(1), "{times:?}");
}
