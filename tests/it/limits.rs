//! Bounds in time and in number: what waits too long is ended, what breaks off never becomes
//! whole, and nothing is left over afterwards.

use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use crate::support::client::{Connection, request};
use crate::support::server::{chunk, stream_head};
use crate::support::{
    INITIALIZE, MODERN, Router, Server, Step, WHOAMI, eventually, nobody, ours, post,
};

async fn before(server: SocketAddr, settings: &str) -> Router {
    Router::start(&[server], &[nobody().await], settings).await
}

/// A server that reads each connection to its end and hands over what came.
async fn reading() -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, came) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut all = Vec::new();
            // A reset ends it as well.
            let _ = stream.read_to_end(&mut all).await;
            if sender.send(all).is_err() {
                return;
            }
        }
    });
    (address, came)
}

/// An address that takes connections and never accepts another one.
fn full() -> (Socket, Vec<Socket>, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let waiting = (0..4).map(|_| {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        // It is under way; whether it gets through does not matter.
        let _ = client.connect(&address);
        client
    });
    let waiting = waiting.collect();
    (socket, waiting, address.as_socket().unwrap())
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed_in_time() {
    let server = Server::mcp("one").await;
    let router = before(server.address, "[timeouts]\nidle = \"300ms\"").await;
    let mut connection = Connection::open(router.address).await;
    connection.request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(connection.answer().await.server(), "one");
    assert!(connection.closed().await);
}

#[tokio::test]
async fn a_server_that_does_not_accept_is_passed_over_in_time() {
    let (server, (_socket, _waiting, address)) = (Server::mcp("one").await, full());
    let settings = "[timeouts]\nconnect = \"200ms\"";
    let router = Router::start(&[address], &[server.address], settings).await;
    assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
    let router = Router::start(&[address], &[nobody().await], settings).await;
    ours(&post(router.address, &[], INITIALIZE).await, 503, "server_unreachable");
}

#[tokio::test]
async fn a_server_that_reads_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let router = before(listener.local_addr().unwrap(), "[timeouts]\nfirst_byte = \"300ms\"").await;
    let body = WHOAMI.replace("whoami", &"a".repeat(2 << 20));
    for headers in [&MODERN[..], &[]] {
        ours(&post(router.address, headers, &body).await, 504, "server_timeout");
    }
}

#[tokio::test]
async fn a_client_may_ask_before_it_sends_its_body() {
    let server = Server::mcp("one").await;
    let router = before(server.address, "").await;
    let headers = [&MODERN[..], &[("expect", "100-continue")]].concat();
    let whole = request(router.address, "POST", "/mcp", &headers, WHOAMI);
    let (head, body) = whole.split_at(whole.len() - WHOAMI.len());
    let mut connection = Connection::open(router.address).await;
    connection.send(head).await;
    assert_eq!(connection.head().await.status, 100);
    connection.send(body).await;
    assert_eq!(connection.answer().await.server(), "one");
    assert_eq!(server.last().header("expect"), None);
    let refused = head.replace("application/json", "text/plain");
    connection.send(refused.replace(", text/event-stream", "")).await;
    ours(&connection.answer().await, 415, "not_json");
}

#[tokio::test]
async fn a_request_that_breaks_off_never_becomes_a_whole_one() {
    let (server, mut came) = reading().await;
    let router = before(server, "[timeouts]\nbody_idle = \"300ms\"").await;
    let start = &WHOAMI.replace("whoami", &"a".repeat(200_000))[..150_000];
    for headers in [&MODERN[..], &[]] {
        let whole = request(router.address, "POST", "/mcp", headers, "");
        let head = whole.strip_suffix("content-length: 0\r\n\r\n").unwrap();
        let sized = format!("{head}content-length: 200000\r\n\r\n{start}");
        let chunk = format!("{:x}\r\n{start}\r\n", start.len());
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}");
        let cut = format!("{chunked}0\r\n\r\n");
        let broken = format!("{chunked}nonsense\r\n");
        for (bytes, leaves) in [
            (&sized, true),
            (&chunked, true),
            (&sized, false),
            (&chunked, false),
            (&cut, false),
            (&broken, false),
        ] {
            let mut connection = Connection::open(router.address).await;
            connection.send(bytes).await;
            if leaves {
                drop(connection);
            } else {
                let status = connection.answer().await.status;
                assert!(matches!(status, 400 | 408), "{status}");
            }
            let all = came.recv().await.unwrap();
            let text = String::from_utf8_lossy(&all);
            assert!(text.starts_with("POST /mcp"), "{text}");
            assert!(!text.ends_with("\r\n0\r\n\r\n") && all.len() < 180_000, "{}", all.len());
        }
    }
}

#[tokio::test]
async fn what_clients_leave_behind_is_cleared_away() {
    let gone = Arc::new(Notify::new());
    let server = Server::scripted(move |_| {
        let head = stream_head(&[]);
        let news = r#"data: {"jsonrpc":"2.0","method":"notifications/message"}"#;
        let start = head + &chunk(&format!("{news}\n\n"));
        vec![Step::Send(start), Step::UntilGone(Arc::clone(&gone))]
    })
    .await;
    let router = before(server.address, "").await;
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(router.address).await;
        connection.request("POST", "/mcp", &MODERN, WHOAMI).await;
        connection.head().await;
        connection.until("data: ").await;
        open.push(connection);
    }
    let streams = async || router.metric("tidegate_streams_open", &["arm=\"primary\""]).await;
    eventually("the streams are counted", async || (streams().await > 19.5).then_some(())).await;
    drop(open);
    eventually("none is left", async || (streams().await < 0.5).then_some(())).await;
    for (name, labels) in
        [("tidegate_upstream_connections", &[][..]), ("tidegate_client_connections", &[])]
    {
        eventually("no connection is left", async || {
            (router.metric(name, labels).await < 0.5).then_some(())
        })
        .await;
    }
    let cancelled = ["outcome=\"cancelled\"", "method=\"tools/call\""];
    let counted = router.metric("tidegate_exchanges_total", &cancelled).await;
    assert!((counted - 20.0).abs() < 0.1, "{counted}");
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_and_the_rest_served() {
    let server = Server::mcp("one").await;
    let router = before(server.address, "[limits]\nconnections = 3").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(router.address).await;
        connection.request("POST", "/mcp", &MODERN, WHOAMI).await;
        assert_eq!(connection.answer().await.server(), "one");
        open.push(connection);
    }
    assert!(Connection::open(router.address).await.closed().await);
    open[0].request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(open[0].answer().await.server(), "one");
    drop(open);
    eventually("a place is free", async || {
        let mut connection = Connection::open(router.address).await;
        connection.flood(b" ", 1).await;
        connection.try_half_close().await;
        let counted = router.metric("tidegate_client_connections", &[]).await;
        (counted < 1.5).then_some(())
    })
    .await;
    assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
}
