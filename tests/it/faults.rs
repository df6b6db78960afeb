//! Servers that die, lie, dawdle or cannot be reached: what the client hears, and how often a
//! server is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Notify;

use crate::support::client::{Connection, once};
use crate::support::server::{answer, chunk, stream_head};
use crate::support::{
    INITIALIZE, MODERN, Reply, Router, Server, Step, WHOAMI, delete, eventually, get, nobody, ours,
    post,
};

const LIST: &str = r#"{"jsonrpc":"2.0","id":9,"method":"tools/list"}"#;
const DISCOVER: &str = r#"{"jsonrpc":"2.0","id":3,"method":"server/discover"}"#;
const NOTIFICATION: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"server":"late"}}"#;

/// A server with sessions that does this with everything but `initialize`.
async fn breaking(steps: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::scripted(move |seen| match seen.rpc().as_str() {
        "initialize" => vec![Step::Send(answer(200, &[("mcp-session-id", "s")], "{}"))],
        _ => steps(count.fetch_add(1, Ordering::Relaxed)),
    })
    .await
}

/// A router before this server and another one, and a session on the first.
async fn session_on(server: &Server, settings: &str) -> (Router, Server, String) {
    let two = Server::mcp("two").await;
    let router = Router::start(&[server.address], &[two.address], settings).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    (router, two, session)
}

async fn call(router: &Router, session: &str, body: &str) -> Reply {
    post(router.address, &[("mcp-session-id", session)], body).await
}

/// Ends a server and waits until the router has no connection to it any more.
async fn gone<T>(server: T, router: &Router) {
    drop(server);
    eventually("the router has noticed", async || {
        let open = router.metric("tidegate_upstream_connections", &[]).await;
        (open < 0.5).then_some(())
    })
    .await;
}

fn text(bytes: &str) -> Step {
    Step::Send(bytes.to_owned())
}

#[tokio::test]
async fn a_server_that_dies_before_its_head_gives_an_error_and_no_second_call() {
    for how in 0..7 {
        let server = breaking(move |_| match how {
            0 => vec![Step::Close],
            1 => vec![Step::Reset],
            2 => vec![Step::HalfClose],
            3 => vec![text("HTTP/1.1 200 OK\r\ncontent-le"), Step::Close],
            4 => vec![text("garbage, no HTTP at all\r\n\r\n")],
            5 => vec![text("HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello")],
            _ => vec![text(&format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)))],
        })
        .await;
        let (router, two, session) = session_on(&server, "").await;
        let reason = if how < 4 { "server_closed_connection" } else { "bad_answer" };
        let reply = call(&router, &session, WHOAMI).await;
        assert_eq!(ours(&reply, 200, reason), json!(7), "{how}");
        assert_eq!(server.seen().len(), 2, "{how}");
        let reply = post(router.address, &MODERN, WHOAMI).await;
        assert_eq!(ours(&reply, 502, reason), json!(7), "{how}");
        assert_eq!((server.seen().len(), two.seen().len()), (3, 0), "{how}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_at_the_client() {
    let heads = [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\nhalf"
            .to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_owned()
            + &chunk("half"),
        stream_head(&[]) + &chunk("data: half"),
        stream_head(&[]) + "ffffff\r\ndata: half",
        stream_head(&[]) + &chunk("data: half") + "no chunk\r\n",
    ];
    for head in heads {
        for reset in [false, true] {
            let (go, own) = (Arc::new(Notify::new()), head.clone());
            let until = Arc::clone(&go);
            let server = breaking(move |_| {
                let end = if reset { Step::Reset } else { Step::Close };
                vec![text(&own), Step::Wait(Arc::clone(&until)), end]
            })
            .await;
            let (router, two, session) = session_on(&server, "").await;
            let mut connection = Connection::open(router.address).await;
            connection.request("POST", "/mcp", &[("mcp-session-id", &session)], WHOAMI).await;
            let seen = connection.head().await;
            assert_eq!(seen.status, 200);
            go.notify_one();
            assert!(connection.closed().await, "{head}");
            assert_eq!((server.seen().len(), two.seen().len()), (2, 0));
            let labels = ["method=\"tools/call\"", "outcome=\"transport\"", "arm=\"primary\""];
            eventually("it is counted", async || {
                (router.metric("tidegate_exchanges_total", &labels).await > 0.5).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_process_killed_in_mid_stream_ends_the_stream() {
    let server = breaking(|_| {
        vec![
            text(&(stream_head(&[]) + &chunk("data: 1\n\n"))),
            Step::UntilGone(Arc::new(Notify::new())),
        ]
    })
    .await;
    let inner = Router::start(&[server.address], &[nobody().await], "").await;
    let outer = Router::start(&[inner.address], &[nobody().await], "").await;
    let session = post(outer.address, &[], INITIALIZE).await.session();
    let mut connection = Connection::open(outer.address).await;
    connection.request("POST", "/mcp", &[("mcp-session-id", &session)], WHOAMI).await;
    connection.head().await;
    connection.until("data: 1").await;
    gone(inner, &outer).await;
    assert!(connection.closed().await);
    let reply = call(&outer, &session, WHOAMI).await;
    assert_eq!(ours(&reply, 200, "server_unreachable"), json!(7));
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let gone = Arc::new(Notify::new());
    let told = Arc::clone(&gone);
    let server = breaking(move |_| vec![Step::UntilGone(Arc::clone(&told))]).await;
    let settings = "[timeouts]\nfirst_byte = \"300ms\"";
    let (router, two, session) = session_on(&server, settings).await;
    assert_eq!(ours(&call(&router, &session, WHOAMI).await, 200, "server_timeout"), json!(7));
    gone.notified().await;
    assert_eq!(ours(&post(router.address, &MODERN, WHOAMI).await, 504, "server_timeout"), json!(7));
    gone.notified().await;
    assert_eq!(call(&router, &session, NOTIFICATION).await.status, 202);
    assert_eq!((server.seen().len(), two.seen().len()), (4, 0));
}

#[tokio::test]
async fn a_client_that_dawdles_with_its_body_is_not_the_servers_fault() {
    let server = Server::mcp("one").await;
    let settings = "[timeouts]\nfirst_byte = \"200ms\"\nbody_idle = \"700ms\"";
    let router = Router::start(&[server.address], &[nobody().await], settings).await;
    let mut connection = Connection::open(router.address).await;
    let body = WHOAMI.to_owned() + " ";
    connection.request("POST", "/mcp", &MODERN, &body).await;
    assert_eq!(connection.answer().await.server(), "one");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\ncontent-length: {}\r\n\r\n",
        body.len() + 1
    );
    connection.send(head + &body).await;
    ours(&connection.answer().await, 408, "body_stalled");
}

#[tokio::test]
async fn an_answer_that_stalls_is_cut_but_a_slow_one_is_not() {
    let tick = Arc::new(Notify::new());
    let until = Arc::clone(&tick);
    let server = breaking(move |count| match count {
        0 => {
            let mut steps = vec![text(&stream_head(&[]))];
            for number in 0..5 {
                steps.push(Step::Wait(Arc::clone(&until)));
                steps.push(text(&chunk(&format!("data: {number}\n\n"))));
            }
            steps.extend([Step::Wait(Arc::clone(&until)), text(&chunk(""))]);
            steps
        }
        _ => vec![
            text(&(stream_head(&[]) + &chunk("data: 1\n\n"))),
            Step::UntilGone(Arc::clone(&until)),
        ],
    })
    .await;
    let (router, _, session) = session_on(&server, "[timeouts]\nstream_idle = \"500ms\"").await;
    let mut connection = Connection::open(router.address).await;
    connection.request("POST", "/mcp", &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!(connection.head().await.status, 200);
    for number in 0..5 {
        tick.notify_one();
        connection.until(&format!("data: {number}")).await;
    }
    tick.notify_one();
    assert!(connection.ended().await);
    connection.request("POST", "/mcp", &[("mcp-session-id", &session)], WHOAMI).await;
    connection.head().await;
    connection.until("data: 1").await;
    assert!(connection.closed().await);
    tick.notified().await;
}

#[tokio::test]
async fn a_client_that_reads_late_gets_the_whole_answer() {
    let server = breaking(|count| match count {
        0 => {
            let piece = "a".repeat(1 << 20);
            let mut steps = vec![text(&format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
                30 << 20
            ))];
            steps.extend((0..30).map(|_| text(&piece)));
            steps
        }
        _ => vec![Step::UntilGone(Arc::new(Notify::new()))],
    })
    .await;
    let settings = "workers = 1\n[timeouts]\nstream_idle = \"200ms\"\nfirst_byte = \"900ms\"";
    let (router, _, session) = session_on(&server, settings).await;
    let mut late = Connection::open(router.address).await;
    late.request("POST", "/mcp", &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!(late.head().await.status, 200);
    // Four times as long as the server may pause passes until this one is given up.
    ours(&call(&router, &session, WHOAMI).await, 200, "server_timeout");
    assert_eq!(late.body(30 << 20).await, 30 << 20);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_costs_no_call_and_repeats_none() {
    let close = Server::scripted(|seen| {
        let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap_or_default();
        let result = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, body["id"]);
        vec![Step::Send(answer(200, &[("mcp-session-id", "s")], &result)), Step::Close]
    })
    .await;
    let (router, _two, session) = session_on(&close, "workers = 1").await;
    for id in 0..60 {
        let body = WHOAMI.replace('7', &id.to_string());
        let reply = call(&router, &session, &body).await;
        assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(id)));
        let reply = call(&router, &session, &LIST.replace('9', &format!("\"{id}\""))).await;
        assert_eq!(reply.json()["error"], json!(null), "read-only: repeated");
    }
    let calls: Vec<_> =
        close.seen().into_iter().filter(|seen| seen.rpc() == "tools/call").collect();
    for id in 0..60 {
        let own = WHOAMI.replace('7', &id.to_string());
        assert!(calls.iter().filter(|seen| seen.body == own).count() <= 1, "{id}");
    }
}

#[tokio::test]
async fn on_a_stale_connection_a_read_is_repeated_and_a_call_is_not() {
    // The second request on every connection is read and answered with a reset.
    let server = Server::scripted(|seen| match seen.header("x-nth") {
        Some("2") => vec![Step::Reset],
        _ => vec![text(&answer(
            200,
            &[("mcp-session-id", "s")],
            r#"{"jsonrpc":"2.0","id":9,"result":{}}"#,
        ))],
    });
    let server = server.await;
    let (router, _two, session) = session_on(&server, "workers = 1").await;
    let own = [("mcp-session-id", session.as_str()), ("x-nth", "2")];
    ours(&post(router.address, &own, WHOAMI).await, 200, "server_closed_connection");
    assert_eq!(server.seen().iter().filter(|seen| seen.rpc() == "tools/call").count(), 1);
    assert_eq!(call(&router, &session, LIST).await.status, 200);
    ours(&post(router.address, &own, LIST).await, 200, "server_closed_connection");
    let lists = server.seen().iter().filter(|seen| seen.header("x-nth") == Some("2")).count();
    assert_eq!(lists, 1 + 2, "once on the kept connection, once on a new one");
}

#[tokio::test]
async fn garbage_on_a_kept_connection_is_no_race() {
    let server = breaking(|_| vec![text("garbage, no HTTP at all\r\n\r\n")]).await;
    let (router, _two, session) = session_on(&server, "workers = 1").await;
    ours(&call(&router, &session, WHOAMI).await, 200, "bad_answer");
    assert!(router.metric("tidegate_upstream_reused_total", &[]).await > 0.5);
    assert!(router.metric("tidegate_upstream_races_total", &[]).await < 0.5);
}

#[tokio::test]
async fn first_contact_is_tried_elsewhere_before_it_fails() {
    for how in 0..4 {
        let bad = Server::scripted(move |_| match how {
            0 => vec![Step::Reset],
            1 => vec![text(&answer(500, &[], "{}"))],
            2 => vec![text(&answer(503, &[], ""))],
            _ => vec![Step::Close],
        })
        .await;
        let (spare, two) = (Server::mcp("spare").await, Server::mcp("two").await);
        let router = Router::start(&[bad.address, spare.address], &[two.address], "").await;
        for (headers, body) in [(&[][..], INITIALIZE), (&MODERN[..1], DISCOVER)] {
            for _ in 0..2 {
                assert_eq!(post(router.address, headers, body).await.status, 200, "{how}");
            }
        }
        assert!(!bad.seen().is_empty() && two.seen().is_empty(), "{how}");
        assert!(spare.seen().len() >= 4, "{how}");
    }
}

#[tokio::test]
async fn first_contact_that_fails_everywhere_gives_the_servers_own_answer() {
    let busy = || Server::scripted(|_| vec![text(&answer(503, &[("x-own", "yes")], "{}"))]);
    let (one, two) = (busy().await, busy().await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let reply = post(router.address, &[], INITIALIZE).await;
    assert_eq!((reply.status, reply.header("x-own")), (503, Some("yes")));
    assert_eq!((one.seen().len(), two.seen().len()), (1, 1));
    let reply = post(router.address, &MODERN, WHOAMI).await;
    assert_eq!((reply.status, reply.header("x-own")), (503, Some("yes")));
    assert_eq!(one.seen().len() + two.seen().len(), 3, "a call is not tried elsewhere");
}

#[tokio::test]
async fn new_work_goes_on_to_whoever_can_be_reached() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let dead = [nobody().await, nobody().await];
    let router = Router::start(&[dead[0], one.address, dead[1]], &[two.address], "").await;
    for _ in 0..6 {
        assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
    }
    assert!(two.seen().is_empty());
    let router = Router::start(&dead, &[two.address], "").await;
    for _ in 0..3 {
        assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "two");
    }
    assert!(post(router.address, &[], INITIALIZE).await.session().ends_with(".two-0"));
}

#[tokio::test]
async fn a_session_whose_server_is_gone_goes_nowhere_else_and_is_never_not_found() {
    for errors in ["jsonrpc", "http"] {
        let server = Server::mcp("one").await;
        let (router, two, session) = session_on(&server, &format!("errors = \"{errors}\"")).await;
        gone(server, &router).await;
        let reply = call(&router, &session, WHOAMI).await;
        let status = if errors == "http" { 503 } else { 200 };
        assert_eq!(ours(&reply, status, "server_unreachable"), json!(7));
        let own = [("mcp-session-id", session.as_str())];
        // What wants no answer: an error would end the whole session of some clients.
        let status = if errors == "http" { 503 } else { 202 };
        for message in [NOTIFICATION, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#] {
            let reply = call(&router, &session, message).await;
            assert_eq!((reply.status, reply.body.is_empty()), (status, status == 202));
        }
        for reply in
            [get(router.address, "/mcp", &own).await, delete(router.address, &session).await]
        {
            assert_eq!(ours(&reply, 503, "server_unreachable"), json!(null));
            assert_eq!(reply.header("retry-after"), Some("2"));
        }
        assert!(two.seen().is_empty());
        assert_eq!(call(&router, "nonsense", WHOAMI).await.status, 404);
    }
}

#[tokio::test]
async fn a_large_call_of_a_session_whose_server_is_gone_is_answered_by_its_id() {
    let server = Server::mcp("one").await;
    let (router, two, session) = session_on(&server, "").await;
    gone(server, &router).await;
    let body = WHOAMI.replace("whoami", &"a".repeat(1 << 20));
    assert_eq!(ours(&call(&router, &session, &body).await, 200, "server_unreachable"), json!(7));
    assert!(two.seen().is_empty());
}

#[tokio::test]
async fn a_batch_of_a_session_whose_server_is_gone_gets_an_error_for_each_request() {
    let server = Server::mcp("one").await;
    let (router, _two, session) = session_on(&server, "").await;
    gone(server, &router).await;
    let reply = call(&router, &session, &format!("[{WHOAMI},{NOTIFICATION},{LIST}]")).await;
    let errors = reply.json();
    assert_eq!((reply.status, errors.as_array().unwrap().len()), (200, 2));
    assert_eq!((&errors[0]["id"], &errors[1]["id"]), (&json!(7), &json!(9)));
}

#[tokio::test]
async fn a_session_on_an_endpoint_that_was_configured_away_is_not_found() {
    let (one, spare) = (Server::mcp("one").await, Server::mcp("spare").await);
    let admin = "[admin]\nsocket = \"admin.sock\"";
    let (router, _two, session) = session_on(&one, &format!("\n{admin}")).await;
    router.edit(&one.address.to_string(), &spare.address.to_string());
    router.admin("POST", "/v1/reload", json!({})).await.unwrap();
    assert_eq!(ours(&call(&router, &session, WHOAMI).await, 404, "session_gone"), json!(7));
    assert!(spare.seen().is_empty());
}

#[tokio::test]
async fn odd_but_legal_answers_pass() {
    let connection_close = answer(200, &[("connection", "close")], RESULT);
    let informed =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_owned();
    let until_closed = format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{RESULT}");
    for (steps, status, body) in [
        (vec![connection_close], 200, RESULT),
        (vec![informed + &answer(200, &[], RESULT)], 200, RESULT),
        (vec![until_closed], 200, RESULT),
        (vec!["HTTP/1.1 204 No Content\r\n\r\n".to_owned()], 204, ""),
        (vec!["HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n".to_owned()], 304, ""),
        (vec!["HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()], 202, ""),
        (
            vec![format!(
                "HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{}{}",
                chunk(RESULT),
                chunk("")
            )],
            200,
            RESULT,
        ),
    ] {
        let server = breaking(move |_| {
            let mut all: Vec<_> = steps.iter().map(|it| text(it)).collect();
            all.push(Step::Close);
            all
        })
        .await;
        let (router, _two, session) = session_on(&server, "").await;
        for _ in 0..2 {
            let mut connection = Connection::open(router.address).await;
            connection.request("POST", "/mcp", &[("mcp-session-id", &session)], WHOAMI).await;
            let reply =
                if status == 304 { connection.head().await } else { connection.answer().await };
            assert_eq!((reply.status, reply.text().as_str()), (status, body));
            assert_eq!(reply.header("link"), None);
        }
    }
}

#[tokio::test]
async fn a_server_that_changes_the_protocol_unasked_gives_an_error() {
    let server = breaking(|_| {
        vec![text("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nx")]
    })
    .await;
    let (router, _two, session) = session_on(&server, "").await;
    let own = [("mcp-session-id", session.as_str()), ("upgrade", "x")];
    let reply = post(router.address, &own, WHOAMI).await;
    assert_eq!(ours(&reply, 200, "bad_answer"), json!(7));
    assert_eq!(server.last().header("upgrade"), None);
}

#[tokio::test]
async fn head_and_options_pass_and_a_preflight_is_not_counted() {
    let server =
        breaking(|_| vec![text("HTTP/1.1 200 OK\r\nallow: POST\r\ncontent-length: 0\r\n\r\n")])
            .await;
    let (router, two, _) = session_on(&server, "").await;
    for method in ["HEAD", "OPTIONS"] {
        let mut connection = Connection::open(router.address).await;
        connection.request(method, "/mcp", &[], "").await;
        let reply = connection.head().await;
        assert_eq!((reply.status, reply.header("allow")), (200, Some("POST")));
        assert_eq!(server.last().method, method);
    }
    let labels = ["method=\"_none\""];
    eventually("HEAD is counted", async || {
        (router.metric("tidegate_exchanges_total", &labels).await > 0.5).then_some(())
    })
    .await;
    assert!(once(router.address, "OPTIONS", "/mcp", &[], "").await.status == 200);
    post(router.address, &[], INITIALIZE).await;
    eventually("the last call is counted", async || {
        let opened = router.metric("tidegate_exchanges_total", &["method=\"initialize\""]).await;
        (opened > 1.5).then_some(())
    })
    .await;
    let none = router.metric("tidegate_exchanges_total", &labels).await;
    assert!((none - 1.0).abs() < 0.1, "{none}");
    assert!(two.seen().is_empty());
}
