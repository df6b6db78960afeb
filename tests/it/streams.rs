//! What flows: at once, unchanged, however large, in both directions, and only for as long as
//! both ends are there.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt as _, Empty, combinators::BoxBody};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::client::{Connection, request};
use crate::support::server::{answer, chunk, stream_head};
use crate::support::{INITIALIZE, MODERN, Router, Server, Step, WHOAMI, nobody, post};

fn text(bytes: &str) -> Step {
    Step::Send(bytes.to_owned())
}

async fn before(server: SocketAddr, settings: &str) -> Router {
    Router::start(&[server], &[nobody().await], settings).await
}

/// A connection on which a modern call has been sent.
async fn called(router: &Router) -> Connection {
    let mut connection = Connection::open(router.address).await;
    connection.request("POST", "/mcp", &MODERN, WHOAMI).await;
    connection
}

/// A server that treats each connection so, after the head of the request.
async fn raw<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut last = [0; 4];
            while last != *b"\r\n\r\n" {
                let Ok(byte) = stream.read_u8().await else { break };
                last = [last[1], last[2], last[3], byte];
            }
            tokio::spawn(serve(stream));
        }
    });
    address
}

#[tokio::test]
async fn the_head_and_every_piece_pass_at_once() {
    let go = Arc::new(Notify::new());
    let until = Arc::clone(&go);
    for streamed in [true, false] {
        let until = Arc::clone(&until);
        let server = Server::scripted(move |_| {
            let head = stream_head(&[]);
            let head = if streamed { head } else { head.replace("text/event-stream", "a/b") };
            let mut steps = vec![text(&head)];
            for piece in ["da", "ta: 1\n", "\n", "data: \u{2603}"] {
                steps.push(Step::Wait(Arc::clone(&until)));
                steps.push(text(&chunk(piece)));
            }
            steps.extend([Step::Wait(Arc::clone(&until)), text(&chunk(""))]);
            steps
        })
        .await;
        let router = before(server.address, "").await;
        let mut connection = called(&router).await;
        assert_eq!(connection.head().await.status, 200);
        for piece in ["da", "ta: 1\n", "\n", "data: \u{2603}"] {
            go.notify_one();
            assert_eq!(connection.until(piece).await, piece);
        }
        go.notify_one();
        assert!(connection.ended().await);
    }
}

#[tokio::test]
async fn comments_keep_a_silent_stream_alive_but_never_stand_in_an_event() {
    let go = Arc::new(Notify::new());
    let until = Arc::clone(&go);
    let server = Server::scripted(move |seen| match seen.header("x-half") {
        Some(half) => vec![
            text(&(stream_head(&[]) + &chunk(&half.replace('_', "\n")))),
            Step::Wait(Arc::clone(&until)),
            text(&(chunk("rest\n\n") + &chunk(""))),
        ],
        None => vec![text(&stream_head(&[])), Step::UntilGone(Arc::new(Notify::new()))],
    })
    .await;
    let router = before(server.address, "workers = 1\n[timeouts]\nkeep_alive = \"100ms\"").await;
    for half in ["data: 1,", "id: 1_data:", "data: 1__event: x_data: 2_data: ,", ":"] {
        let mut inside = Connection::open(router.address).await;
        let headers = [&MODERN[..], &[("x-half", half)]].concat();
        inside.request("POST", "/mcp", &headers, WHOAMI).await;
        inside.head().await;
        let mut between = called(&router).await;
        between.head().await;
        let comments = ": keep-alive\n\n".repeat(4);
        assert_eq!(between.until(&comments).await, comments);
        go.notify_one();
        let whole = half.replace('_', "\n") + "rest\n\n";
        assert_eq!(inside.until("rest\n\n").await, whole);
    }
}

#[tokio::test]
async fn a_stream_without_a_session_is_not_held_back_by_a_comment() {
    let go = Arc::new(Notify::new());
    let until = Arc::clone(&go);
    let server = Server::scripted(move |_| {
        vec![
            text(&(stream_head(&[]) + &chunk(": hello\n\nretry: 5\n\n"))),
            Step::Wait(Arc::clone(&until)),
            text(&(chunk("event: endpoint\ndata: /message?a=1\n\ndata: 2\n\n") + &chunk(""))),
        ]
    })
    .await;
    let router = before(server.address, "[timeouts]\nkeep_alive = \"100ms\"").await;
    for path in ["/mcp", "/sse"] {
        let mut connection = Connection::open(router.address).await;
        connection.request("GET", path, &[], "").await;
        connection.head().await;
        assert!(connection.until(": keep-alive").await.starts_with(": hello\n\nretry: 5\n\n"));
        go.notify_one();
        let rest = connection.until("data: 2\n\n").await;
        assert!(rest.contains("event: endpoint\ndata: /message?a=1&tidegate=s"), "{rest}");
    }
}

#[tokio::test]
async fn a_message_uri_with_a_tag_in_it_is_not_cut_by_the_servers_length() {
    let event = "event: endpoint\ndata: /message?a=1\n\ndata: 2\n\n";
    let head = answer(200, &[], event).replace("application/json", "text/event-stream");
    let server = Server::scripted(move |_| vec![text(&head)]).await;
    let router = before(server.address, "").await;
    let mut connection = Connection::open(router.address).await;
    connection.request("GET", "/sse", &[], "").await;
    let reply = connection.answer().await;
    assert!(reply.complete && reply.text().ends_with("\n\ndata: 2\n\n"), "{}", reply.text());
}

/// A server that tells when its client has gone, having sent this much.
async fn waiting(sends: &'static str) -> (Server, Arc<Notify>) {
    let gone = Arc::new(Notify::new());
    let told = Arc::clone(&gone);
    let server =
        Server::scripted(move |_| vec![text(sends), Step::UntilGone(Arc::clone(&told))]).await;
    (server, gone)
}

const STARTED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
     9\r\ndata: 1\n\n\r\n";

#[tokio::test]
async fn a_hang_up_reaches_the_server_at_once() {
    for sends in ["", STARTED] {
        for half in [false, true] {
            let (server, gone) = waiting(sends).await;
            let router = before(server.address, "").await;
            let mut connection = called(&router).await;
            if sends.is_empty() {
                server.arrived().await;
            } else {
                connection.head().await;
                connection.until("data: 1").await;
            }
            if half {
                connection.half_close().await;
            } else {
                drop(connection);
            }
            gone.notified().await;
            assert_eq!(server.seen().len(), 1, "nothing is made up");
        }
    }
}

async fn h2(router: &Router) -> SendRequest<BoxBody<Bytes, Infallible>> {
    let stream = TcpStream::connect(router.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn h2_call(router: &Router) -> Request<BoxBody<Bytes, Infallible>> {
    let mut request = Request::post(format!("http://{}/mcp", router.address))
        .header("content-type", "application/json");
    for (name, value) in MODERN {
        request = request.header(name, value);
    }
    request.body(WHOAMI.to_owned().map_err(|never| match never {}).boxed()).unwrap()
}

#[tokio::test]
async fn a_stream_that_an_http_2_client_resets_reaches_the_server_at_once() {
    for sends in ["", STARTED] {
        let (server, gone) = waiting(sends).await;
        let router = before(server.address, "").await;
        let mut sender = h2(&router).await;
        let mut other = h2_call(&router);
        let sent = sender.send_request(h2_call(&router));
        if sends.is_empty() {
            let sent = tokio::spawn(sent);
            server.arrived().await;
            sent.abort();
        } else {
            let mut reply = sent.await.unwrap();
            assert_eq!(reply.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
            drop(reply);
        }
        gone.notified().await;
        assert_eq!(server.seen().len(), 1);
        *other.body_mut() = Empty::new().boxed();
        assert_eq!(sender.send_request(other).await.unwrap().status(), 400, "still connected");
    }
}

#[tokio::test]
async fn a_large_answer_is_streamed() {
    const PIECES: usize = 50;
    let server = Server::scripted(|_| {
        let mut steps = vec![text(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            PIECES << 20
        ))];
        steps.extend((0..PIECES).map(|_| Step::Send("a".repeat(1 << 20))));
        steps
    })
    .await;
    let router = before(server.address, "").await;
    let memory = router.peak_memory();
    let mut connection = called(&router).await;
    connection.head().await;
    assert_eq!(connection.body(PIECES << 20).await, PIECES << 20);
    let grown = router.peak_memory() - memory;
    assert!(grown < 16 * 1024, "{grown} KiB");
}

/// A message of this many bytes.
fn large(bytes: usize) -> String {
    WHOAMI.replace("whoami", &"a".repeat(bytes - WHOAMI.len() + "whoami".len()))
}

#[tokio::test]
async fn a_large_request_is_streamed_and_can_be_answered_while_it_comes() {
    let server = raw(|mut stream| async move {
        let head = stream_head(&[]) + &chunk("data: early\n\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut body = vec![0; 3 << 20];
        stream.read_exact(&mut body).await.unwrap();
        assert!(body.ends_with(b"}"));
        stream.write_all((chunk("data: late\n\n") + &chunk("")).as_bytes()).await.unwrap();
    })
    .await;
    let router = before(server, "").await;
    for headers in [&MODERN[..], &[]] {
        let whole = request(router.address, "POST", "/mcp", headers, &large(3 << 20));
        let (first, rest) = whole.split_at(1 << 20);
        let mut connection = Connection::open(router.address).await;
        connection.send(first).await;
        assert_eq!(connection.head().await.status, 200);
        connection.until("data: early").await;
        connection.send(rest).await;
        connection.until("data: late").await;
    }
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    for close in [true, false] {
        let server = raw(move |mut stream| async move {
            let refusal = answer(413, &[("x-own", "yes")], "{}");
            stream.write_all(refusal.as_bytes()).await.unwrap();
            if close {
                stream.shutdown().await.unwrap();
            }
            // Whatever the router does with the connection is right.
            while stream.read_u8().await.is_ok() {}
        })
        .await;
        let router = before(server, "").await;
        for headers in [&MODERN[..], &[]] {
            let mut connection = Connection::open(router.address).await;
            connection.request("POST", "/mcp", headers, &large(4 << 20)).await;
            let reply = connection.answer().await;
            assert_eq!((reply.status, reply.header("x-own")), (413, Some("yes")));
        }
    }
}

#[tokio::test]
async fn a_server_that_half_closes_after_its_answer_is_connected_to_anew() {
    let server = Server::scripted(|_| {
        vec![text(&answer(200, &[], r#"{"jsonrpc":"2.0","id":7,"result":{}}"#)), Step::HalfClose]
    })
    .await;
    let router = before(server.address, "workers = 1").await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    for _ in 0..10 {
        let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
        assert_eq!(reply.status, 200);
    }
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, (0..11).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_connection_is_given_up_before_the_server_does() {
    for (said, connections) in [("timeout=1", [0, 1, 2]), ("timeout=60, max=100", [0, 0, 0])] {
        let server = Server::scripted(move |_| {
            let body = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;
            vec![text(&answer(200, &[("keep-alive", said)], body))]
        })
        .await;
        let router = before(server.address, "workers = 1").await;
        for _ in 0..3 {
            assert_eq!(post(router.address, &MODERN, WHOAMI).await.status, 200);
        }
        let seen: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(seen, connections, "{said}");
    }
}
