//! SIGTERM: nobody loses a request, streams end so that their clients come back, and the end is
//! bounded and told.

use std::collections::HashSet;
use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::{SIGTERM, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::support::certificates::Authority;
use crate::support::client::{Connection, request};
use crate::support::frames::{GOAWAY, Http2, PING, frame};
use crate::support::secure::Visitor;
use crate::support::server::{answer, chunk, mcp, stream_head};
use crate::support::{
    INITIALIZE, MODERN, Router, Server, Step, WHOAMI, eventually, nobody, post, said,
};

fn text(bytes: &str) -> Step {
    Step::Send(bytes.to_owned())
}

async fn before(server: &Server, settings: &str) -> Router {
    Router::start(&[server.address], &[nobody().await], settings).await
}

fn terminate(router: &Router) {
    kill(Pid::from_raw(router.pid()), SIGTERM).unwrap();
}

/// Until it is known to have begun.
async fn begun(router: &Router) {
    terminate(router);
    eventually("the end begins", || async { router.log().contains("stopping").then_some(()) })
        .await;
}

/// A server that waits after so many bytes of its answer to whoever asks for that.
async fn slow(after: usize) -> (Server, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let server = Server::scripted(move |seen| {
        let whole = answer(200, &[], "{}");
        let (first, last) = whole.split_at(after.min(whole.len() - 1));
        match seen.header("x-slow") {
            Some(_) => vec![text(first), Step::Wait(Arc::clone(&wait)), text(last)],
            None => vec![text(&whole)],
        }
    });
    (server.await, go)
}

/// A call whose answer takes its time.
async fn slow_call(client: &mut Connection) {
    let headers = [&MODERN[..], &[("x-slow", "yes")]].concat();
    client.request("POST", "/mcp", &headers, WHOAMI).await;
}

#[tokio::test]
async fn the_next_answer_on_a_connection_is_the_last() {
    let (server, go) = slow(0).await;
    let mut router = before(&server, "").await;
    // One whose answer has no head yet, one that asks after the end has begun.
    let mut asking = Connection::open(router.address).await;
    slow_call(&mut asking).await;
    server.arrived().await;
    let mut kept = Connection::open(router.address).await;
    kept.request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(kept.answer().await.header("connection"), None);
    begun(&router).await;
    kept.request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(kept.answer().await.header("connection"), Some("close"));
    assert!(kept.closed().await);
    go.notify_one();
    let reply = asking.answer().await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert!(asking.closed().await);
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn an_answer_on_its_way_leaves_room_for_one_more_request() {
    let (server, go) = slow(usize::MAX).await;
    let mut router = before(&server, "").await;
    let mut client = Connection::open(router.address).await;
    slow_call(&mut client).await;
    assert_eq!(client.head().await.header("connection"), None);
    begun(&router).await;
    go.notify_one();
    assert_eq!(client.body(2).await, 2);
    client.request("POST", "/mcp", &MODERN, WHOAMI).await;
    let reply = client.answer().await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn a_router_that_stops_hands_nothing_over() {
    let (server, go) = slow(0).await;
    let mut router = before(&server, "").await;
    let mut client = Connection::open(router.address).await;
    slow_call(&mut client).await;
    eventually("the call arrives", || async { (server.count(WHOAMI) > 0).then_some(()) }).await;
    begun(&router).await;
    let output = router.cli(&["upgrade"]);
    let said = said(&output);
    assert!(output.status.code() == Some(1) && said.contains("router is stopping"), "{said}");
    go.notify_one();
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn who_has_just_connected_may_still_ask() {
    let server = Server::mcp("one").await;
    let mut router = before(&server, "").await;
    let whole = request(router.address, "POST", "/mcp", &MODERN, WHOAMI);
    let (first, rest) = whole.split_at(1);
    let mut silent = Connection::open(router.address).await;
    let mut begins = Connection::open(router.address).await;
    begins.send(first).await;
    let mut never = Connection::open(router.address).await;
    begun(&router).await;
    silent.send(&whole).await;
    begins.send(rest).await;
    for client in [&mut silent, &mut begins] {
        let reply = client.answer().await;
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    }
    assert!(never.closed().await);
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn a_handshake_under_way_is_finished() {
    let server = Server::mcp("one").await;
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let own = authority.issue(dir.path(), "own", &["localhost"]).settings();
    let mut router = before(&server, &format!("\n[tls]\n{own}")).await;
    let visitor = Visitor::new(&authority.file(dir.path()), "localhost");
    let silent = TcpStream::connect(router.address).await.unwrap();
    begun(&router).await;
    let mut client = visitor.open_on(silent, router.address).await;
    client.request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(client.answer().await.header("connection"), Some("close"));
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn clients_in_a_closed_loop_see_no_failure() {
    let server = Server::mcp("one").await;
    let mut router = before(&server, "").await;
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let to = router.address;
            tokio::spawn(async move {
                let mut client = Connection::open(to).await;
                for answered in 1.. {
                    client.request("POST", "/mcp", &MODERN, WHOAMI).await;
                    let reply = client.answer().await;
                    assert_eq!(reply.server(), "one");
                    if reply.header("connection") == Some("close") {
                        return answered;
                    }
                }
                0
            })
        })
        .collect();
    eventually("some answers", || async { (server.seen().len() > 200).then_some(()) }).await;
    terminate(&router);
    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }
    assert_eq!(answered, server.seen().len());
    assert_eq!(router.ended().await, 0);
    assert!(router.log().contains("everything has finished"), "{}", router.log());
}

#[tokio::test]
async fn one_that_has_taken_over_waits_for_the_one_before() {
    let (server, go) = slow(0).await;
    let mut router = before(&server, "").await;
    let mut client = Connection::open(router.address).await;
    slow_call(&mut client).await;
    server.arrived().await;
    router.upgrade().await;
    // Whoever ends the service now ends the first process with the second.
    terminate(&router);
    let waits = "waiting for the router before";
    eventually("it waits", || async { router.log().contains(waits).then_some(()) }).await;
    assert!(!router.log().contains("stopped"), "{}", router.log());
    go.notify_one();
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(router.first_ended().await, 0);
    assert_eq!(router.ended().await, 0);
    assert_eq!(router.log().matches("everything has finished").count(), 2, "{}", router.log());
}

#[tokio::test]
async fn http_2_serves_what_was_asked_before_its_farewell_was_read() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let server = Server::scripted(move |_| {
        vec![Step::Wait(Arc::clone(&wait)), text(&answer(200, &[], "{}"))]
    })
    .await;
    let mut router = before(&server, "").await;
    let mut idle = Http2::open(router.address, &[]).await;
    let mut client = Http2::open(router.address, &[]).await;
    client.post(1, WHOAMI).await;
    server.arrived().await;
    terminate(&router);
    // The first of two: nothing is refused yet. The client has not read it when it asks again.
    let first = client.until(GOAWAY, 0).await;
    assert_eq!(first.payload[..4], [0x7f, 0xff, 0xff, 0xff]);
    client.post(3, WHOAMI).await;
    eventually("it arrives", || async { (server.seen().len() == 2).then_some(()) }).await;
    let ping = client.until(PING, 0).await;
    client.send(frame(PING, 1, 0, &ping.payload)).await;
    let second = client.until(GOAWAY, 0).await;
    assert_eq!(second.payload[..4], [0, 0, 0, 3]);
    for stream in [1, 3] {
        go.notify_one();
        assert_eq!(client.answer(stream).await, "{}");
    }
    assert!(client.closed().await.is_none());
    let ping = idle.until(PING, 0).await;
    idle.send(frame(PING, 1, 0, &ping.payload)).await;
    assert!(idle.closed().await.is_some());
    assert_eq!(router.ended().await, 0);
    assert!(router.log().contains("everything has finished"), "{}", router.log());
}

/// A server whose streams begin so (`#`: a number of their own) and go on when they are told to, until the client has gone.
async fn streaming(begin: &str, then: &str) -> (Server, Arc<Notify>, Arc<Notify>) {
    let (go, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait, told) = (Arc::clone(&go), Arc::clone(&gone));
    let head = stream_head(&[]);
    let begin = begin.to_owned();
    let then = chunk(then);
    let server = Server::scripted(move |seen| match (seen.method.as_str(), seen.rpc().as_str()) {
        ("POST", "initialize") => {
            vec![text(&answer(
                200,
                &[("mcp-session-id", "one-0")],
                r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            ))]
        }
        ("POST", "") => vec![text(&answer(202, &[], ""))],
        ("POST", "tools/call") if seen.target.contains("message") => {
            vec![text(&answer(202, &[], ""))]
        }
        _ => vec![
            text(&(head.clone() + &chunk(&begin.replace('#', &seen.connection.to_string())))),
            Step::Wait(Arc::clone(&wait)),
            text(&then),
            Step::UntilGone(Arc::clone(&told)),
        ],
    });
    (server.await, go, gone)
}

const SOON: &str = "[timeouts]\ndrain = \"20s\"\ndrain_streams = \"500ms\"";

const LISTEN: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{"notifications":{}}}"#;

const LISTENS: [(&str, &str); 2] =
    [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "subscriptions/listen")];

#[tokio::test]
async fn a_stream_for_news_ends_in_good_order_after_a_whole_event() {
    let (server, go, gone) = streaming("data: 1\n\ndata: ha", "lf\n\n").await;
    let mut router = before(&server, SOON).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let mut client = Connection::open(router.address).await;
    client.request("GET", "/mcp", &[("mcp-session-id", &session)], "").await;
    client.head().await;
    client.until("data: ha").await;
    begun(&router).await;
    let status = router.status().await.unwrap();
    assert_eq!(
        (&status["stopping"]["streams"], &status["stopping"]["calls"]),
        (&1.into(), &0.into())
    );
    let shown = router.cli(&["status"]);
    assert!(
        String::from_utf8_lossy(&shown.stdout).contains("STOPPING   calls in flight 0, streams 1")
    );
    assert_eq!(crate::support::get(router.metrics, "/live", &[]).await.status, 200);
    // Half an event does not end, however long it takes.
    assert!(
        tokio::time::timeout(std::time::Duration::from_secs(1), client.until("lf")).await.is_err()
    );
    go.notify_one();
    assert_eq!(client.rest().await, ("lf\n\n".to_owned(), true));
    gone.notified().await;
    assert_eq!(router.ended().await, 0);
    assert!(router.log().contains("streams 1,"), "{}", router.log());
    assert!(router.log().contains("everything has finished"), "{}", router.log());
}

#[tokio::test]
async fn a_subscription_is_cut() {
    let (server, _, _) = streaming("data: 1\n\n", "").await;
    let mut router = before(&server, SOON).await;
    let mut client = Connection::open(router.address).await;
    client.request("POST", "/mcp", &LISTENS, LISTEN).await;
    client.head().await;
    client.until("data: 1\n\n").await;
    begun(&router).await;
    assert!(!client.ended().await, "no last chunk");
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn over_http_2_too_news_end_and_subscriptions_are_cut() {
    let (server, _, _) = streaming("data: 1\n\n", "").await;
    let mut router = before(&server, SOON).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let mut sender = h2(&router).await;
    let news = h2_request(&router, "GET", &[("mcp-session-id", &session)], "");
    let mut news = sender.send_request(news).await.unwrap();
    let mut listens =
        sender.send_request(h2_request(&router, "POST", &LISTENS, LISTEN)).await.unwrap();
    for reply in [&mut news, &mut listens] {
        assert_eq!(reply.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    }
    begun(&router).await;
    assert_eq!(news.collect().await.unwrap().to_bytes(), "");
    assert!(listens.collect().await.is_err());
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn a_hundred_streams_do_not_end_in_one_moment() {
    let (server, _, _) = streaming("data: 1\n\n", "").await;
    let mut router = before(&server, &SOON.replace("500ms", "2s")).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let mut all = Vec::new();
    for _ in 0..100 {
        let mut client = Connection::open(router.address).await;
        client.request("GET", "/mcp", &[("mcp-session-id", &session)], "").await;
        client.head().await;
        client.until("data: 1").await;
        all.push(client);
    }
    begun(&router).await;
    let began = Instant::now();
    let ends = all.into_iter().map(|mut client| {
        tokio::spawn(async move {
            assert!(client.ended().await);
            began.elapsed().as_millis() / 50
        })
    });
    let mut moments = HashSet::new();
    for end in ends.collect::<Vec<_>>() {
        moments.insert(end.await.unwrap());
    }
    // 400 ms are eight times 50 ms.
    assert!(moments.len() >= 4, "{moments:?}");
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn an_http_sse_session_keeps_its_stream_until_its_call_is_answered() {
    let reply = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n";
    let endpoint = "event: endpoint\ndata: /message?a=#\n\n";
    let (server, go, _) = streaming(endpoint, reply).await;
    let mut router = before(&server, SOON).await;
    let open = async || {
        let mut stream = Connection::open(router.address).await;
        stream.request("GET", "/sse", &[], "").await;
        stream.head().await;
        let first = stream.until("\n\n").await;
        (stream, first.split("data: ").nth(1).unwrap().trim().to_owned())
    };
    let (mut busy, uri) = open().await;
    let (mut idle, _) = open().await;
    let mut caller = Connection::open(router.address).await;
    caller.request("POST", &uri, &[], WHOAMI).await;
    assert_eq!(caller.answer().await.status, 202);
    begun(&router).await;
    assert!(idle.ended().await);
    // Some rounds later it is still there.
    router.ages().await;
    go.notify_one();
    go.notify_one();
    assert_eq!(busy.rest().await, (reply.to_owned(), true));
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn a_stream_that_was_resumed_lives_until_its_call_is_answered() {
    let reply = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n";
    let (others, go) = (mcp("one"), Arc::new(Notify::new()));
    let wait = Arc::clone(&go);
    let server = Server::scripted(move |seen| {
        let open = |event: &str| text(&(stream_head(&[]) + &chunk(event)));
        match (seen.method.as_str(), seen.rpc().as_str()) {
            ("POST", "tools/call") => vec![open("id: 1\ndata:\n\n"), text(&chunk(""))],
            ("GET", _) => vec![
                open(": here\n\n"),
                Step::Wait(Arc::clone(&wait)),
                text(&chunk(reply)),
                Step::UntilGone(Arc::default()),
            ],
            _ => others(seen),
        }
    })
    .await;
    let mut router = before(&server, SOON).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let own = [("mcp-session-id", session.as_str()), ("last-event-id", "1")];
    assert_eq!(post(router.address, &own[..1], WHOAMI).await.status, 200);
    let mut rest = Connection::open(router.address).await;
    rest.request("GET", "/mcp", &own, "").await;
    rest.head().await;
    rest.until(": here\n\n").await;
    begun(&router).await;
    router.ages().await;
    go.notify_one();
    assert_eq!(rest.rest().await, (reply.to_owned(), true));
    assert_eq!(router.ended().await, 0);
}

#[tokio::test]
async fn at_the_end_of_drain_what_can_be_resumed_ends_and_the_rest_is_cut() {
    for (event, clean) in [("id: 1\ndata: 1\n\n", true), ("data: 1\n\n", false)] {
        let (server, _, _) = streaming(event, "").await;
        let mut router = before(&server, "[timeouts]\ndrain = \"500ms\"").await;
        let mut client = Connection::open(router.address).await;
        client.request("POST", "/mcp", &MODERN, WHOAMI).await;
        client.head().await;
        client.until(event).await;
        begun(&router).await;
        let began = Instant::now();
        assert_eq!(client.ended().await, clean);
        assert_eq!(router.ended().await, 0);
        assert!(began.elapsed().as_secs() < 4, "bounded");
        assert_eq!(router.log().contains("cut what was still open"), !clean, "{}", router.log());
        assert!(router.log().contains("calls in flight 1,"), "{}", router.log());
    }
}

async fn h2(router: &Router) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(router.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn h2_request(
    router: &Router,
    method: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{}/mcp", router.address))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}
