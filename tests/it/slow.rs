//! Clients that are slow, silent or many: each is ended within its limit, and the others notice
//! nothing of it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::support::client::Connection;
use crate::support::frames::{
    GOAWAY, HEADERS, Http2, PREFACE, RST_STREAM, WINDOW_UPDATE, frame, head, settings,
};
use crate::support::server::{chunk, stream_head};
use crate::support::{MODERN, Router, Server, Step, WHOAMI, eventually, nobody, ours, post};

async fn before(server: SocketAddr, settings: &str) -> Router {
    Router::start(&[server], &[nobody().await], settings).await
}

/// How often something was cut for this reason.
async fn cut(router: &Router, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    router.metric("tidegate_client_connections_cut_total", &[&label]).await
}

/// Waits until it was that often.
async fn cut_times(router: &Router, reason: &str, times: u32) {
    eventually(&format!("{times} are cut: {reason}"), async || {
        (cut(router, reason).await > f64::from(times) - 0.5).then_some(())
    })
    .await;
    assert!(cut(router, reason).await < f64::from(times) + 0.5);
}

/// Reads up to so many bytes of what is there; nothing once the peer has closed.
fn sip(stream: &TcpStream, most: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut read = 0;
    while read < most {
        match stream.try_read(&mut bytes[read..]) {
            Ok(0) => return (read > 0).then(|| bytes[..read].to_vec()),
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return None,
        }
    }
    Some(bytes[..read].to_vec())
}

/// Waits until the peer has closed, and returns what it said; `more` is sent now and then.
async fn drip(stream: &mut TcpStream, more: &[u8]) -> String {
    let mut all = Vec::new();
    eventually("it is closed", || {
        // One that is closed already takes nothing.
        let _ = stream.try_write(more);
        let sip = sip(stream, 4096);
        all.extend(sip.iter().flatten());
        async move { sip.is_none().then_some(()) }
    })
    .await;
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn a_first_head_comes_in_time_or_not_at_all() {
    let server = Server::mcp("one").await;
    let router = before(server.address, "[timeouts]\nheader = \"300ms\"").await;
    let unfinished = frame(HEADERS, 0, 1, &head("POST"));
    let preface = [PREFACE, &settings(&[])].concat();
    let starts: [(&[u8], &[u8]); 8] = [
        (b"", b""),
        (b"GET", b""),
        (b"GET /mcp HTTP/1.1\r\nx-a: ", b"b"),
        (b"PRI * HTTP/2.0", b""),
        (PREFACE, b""),
        (&preface, b""),
        (&preface, &frame(6, 0, 0, b"12345678")),
        (&[preface.clone(), unfinished].concat(), b""),
    ];
    let mut times = 0;
    for (start, more) in starts {
        let mut stream = TcpStream::connect(router.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        drip(&mut stream, more).await;
        times += 1;
        cut_times(&router, "header", times).await;
    }
    assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
    assert!(server.seen().len() == 1);
}

#[tokio::test]
async fn a_later_head_comes_in_time_from_its_first_byte() {
    let server = Server::mcp("one").await;
    let router = before(server.address, "[timeouts]\nheader = \"300ms\"").await;
    let mut one = Connection::open(router.address).await;
    let mut two = Http2::open(router.address, &[]).await;
    one.request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(one.answer().await.server(), "one");
    two.post(1, WHOAMI).await;
    assert!(two.answer(1).await.contains("one"));
    one.send("POST /mcp HT").await;
    two.send(frame(HEADERS, 0, 3, &head("POST"))).await;
    assert!(one.closed().await);
    two.closed().await;
    cut_times(&router, "header", 2).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_good_order() {
    let server = Server::mcp("one").await;
    let router = before(server.address, "[timeouts]\nidle = \"300ms\"").await;
    let mut open = Connection::open(router.address).await;
    let mut one = Connection::open(router.address).await;
    let mut two = Http2::open(router.address, &[]).await;
    for stream in [1, 3] {
        one.request("POST", "/mcp", &MODERN, WHOAMI).await;
        assert_eq!(one.answer().await.server(), "one");
        two.post(stream, WHOAMI).await;
        assert!(two.answer(stream).await.contains("one"));
    }
    assert!(one.closed().await);
    let farewell = two.until(GOAWAY, 0).await;
    assert_eq!(farewell.payload[4..8], [0; 4], "no error");
    two.closed().await;
    // One that has asked for nothing yet has more time.
    open.request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(open.answer().await.server(), "one");
    let counted = router.metric("tidegate_client_connections_cut_total", &[]).await;
    assert!(counted < 0.5, "{counted}");
}

/// A server whose stream has no end and no pause.
async fn torrent() -> Server {
    let flood = chunk(&format!("data: {}\n\n", "x".repeat(16 << 20)));
    Server::scripted(move |_| vec![Step::Send(stream_head(&[])), Step::Send(flood.clone())]).await
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let server = torrent().await;
    let router = before(server.address, "[timeouts]\nwrite_idle = \"500ms\"").await;
    let mut deaf = Connection::open(router.address).await;
    deaf.request("GET", "/mcp", &[], "").await;
    cut_times(&router, "write", 1).await;
    let mut deaf = Http2::open(router.address, &[(4, 0x7fff_ffff)]).await;
    deaf.send(frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())).await;
    deaf.send(frame(HEADERS, 5, 1, &head("GET"))).await;
    // Both that its socket is full and that its stream waits for that.
    cut_times(&router, "write", 2).await;
    eventually("nothing is left", async || {
        let streams = router.metric("tidegate_streams_open", &["primary"]).await;
        let connections = router.metric("tidegate_upstream_connections", &[]).await;
        (streams + connections < 0.5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_cut_and_one_that_is_only_slow_is_not() {
    let server = torrent().await;
    let settings = "[timeouts]\nwrite_idle = \"500ms\"\n[limits]\nmin_rate = 1000000";
    let router = before(server.address, settings).await;
    for (piece, buffer, wanted) in [(2 << 10, 4096, false), (256 << 10, 1 << 20, true)] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(buffer).unwrap();
        let mut stream = socket.connect(router.address).await.unwrap();
        stream.write_all(b"GET /mcp HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut left = 60;
        let stays = eventually("it is over", || {
            left -= 1;
            let ends = sip(&stream, piece).is_none().then_some(false);
            let stays = (left == 0).then_some(true);
            async move { ends.or(stays) }
        })
        .await;
        assert_eq!(stays, wanted, "{piece}");
    }
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_is_ended_alone() {
    let server = torrent().await;
    let small = Server::mcp("one").await;
    for (server, is_small) in [(&server, false), (&small, true)] {
        let settings = "[timeouts]\nwrite_idle = \"500ms\"\nidle = \"1m\"";
        let router = before(server.address, settings).await;
        let mut client = Http2::open(router.address, &[(4, 0)]).await;
        for stream in [1, 3] {
            client.post(stream, WHOAMI).await;
        }
        let open = |stream| frame(WINDOW_UPDATE, 0, stream, &1_000_000_u32.to_be_bytes());
        if is_small {
            client.send(open(3)).await;
            assert!(client.answer(3).await.contains("one"));
        } else {
            client.send(frame(WINDOW_UPDATE, 0, 3, &10_u32.to_be_bytes())).await;
            client.until(0, 3).await;
        }
        client.until(RST_STREAM, 1).await;
        cut_times(&router, "write", if is_small { 1 } else { 2 }).await;
        // The connection goes on.
        client.send(frame(6, 0, 0, b"12345678")).await;
        client.until(6, 0).await;
    }
}

#[tokio::test]
async fn a_body_that_drips_is_refused() {
    let server = Server::mcp("one").await;
    let router = before(server.address, "").await;
    let head = "POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{";
    let mut stream = TcpStream::connect(router.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let said = drip(&mut stream, b" ").await;
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("body_stalled"), "{said}");
    cut_times(&router, "body", 1).await;
    assert_eq!(server.seen().len(), 0);
}

/// How many were shed for this reason.
async fn shed(router: &Router, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    router.metric("tidegate_client_connections_total", &["result=\"shed\"", &label]).await
}

#[tokio::test]
async fn one_address_does_not_take_every_place() {
    let server = Server::mcp("one").await;
    let settings = "workers = 2\n[limits]\nconnections = 50\nconnections_per_address = 10";
    let router = before(server.address, settings).await;
    let mut good = Connection::open(router.address).await;
    good.request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(good.answer().await.server(), "one");
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(Connection::open(router.address).await);
    }
    let last = flood.last_mut().unwrap();
    let told = last.answer().await;
    ours(&told, 503, "overloaded");
    assert_eq!((told.header("retry-after"), told.header("connection")), (Some("2"), Some("close")));
    assert!(last.closed().await);
    eventually("the rest is shed", async || (shed(&router, "address").await > 190.5).then_some(()))
        .await;
    good.request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(good.answer().await.server(), "one");
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    let mut elsewhere = elsewhere.connect(router.address).await.unwrap();
    elsewhere.write_all(b"GET /mcp HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(drip(&mut elsewhere, b"!").await.starts_with("HTTP/1.1 405"));
    drop(flood);
    eventually("there is room again", async || {
        let mut again = Connection::open(router.address).await;
        again.request("POST", "/mcp", &MODERN, WHOAMI).await;
        (again.answer().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_has_many_clients_up_to_the_limit_for_all() {
    let server = Server::mcp("one").await;
    let settings = "[limits]\nconnections = 20\nconnections_per_address = 3\n\
                    [affinity]\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let router = before(server.address, settings).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(router.address).await;
        connection.request("POST", "/mcp", &MODERN, WHOAMI).await;
        assert_eq!(connection.answer().await.server(), "one");
        open.push(connection);
    }
    ours(&Connection::open(router.address).await.answer().await, 503, "overloaded");
    eventually("it is counted", async || (shed(&router, "limit").await > 0.5).then_some(())).await;
}

#[tokio::test]
async fn the_last_descriptors_are_not_for_clients() {
    let server = Server::mcp("one").await;
    let dir = before(server.address, "").await.into_dir();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let few = ["sh", "-c", "ulimit -n 160; exec \"$0\" \"$@\""];
    let router = Router::spawn_under(&few, dir, log.into()).await;
    assert!(router.log().contains("limits.connections = 10000 cannot be reached"));
    let mut good = Connection::open(router.address).await;
    let mut flood = Vec::new();
    for _ in 0..300 {
        flood.push(Connection::open(router.address).await);
    }
    ours(&flood.last_mut().unwrap().answer().await, 503, "overloaded");
    eventually("many are shed", async || {
        (shed(&router, "descriptors").await > 200.0).then_some(())
    })
    .await;
    assert!(router.status().await.is_ok());
    // Who is in is passed on to a server, which takes a descriptor as well.
    good.request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(good.answer().await.server(), "one");
    assert!(!router.log().contains("cannot accept"));
}

#[tokio::test]
async fn without_descriptors_connections_wait_and_are_served_afterwards() {
    let server = Server::mcp("one").await;
    let router = before(server.address, "").await;
    let limit = |soft: &str| {
        let (pid, limit) = (router.pid().to_string(), format!("--nofile={soft}:"));
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    };
    limit("5");
    let mut waiting = Connection::open(router.address).await;
    waiting.request("POST", "/mcp", &MODERN, WHOAMI).await;
    eventually("it says so", async || {
        router.log().contains("cannot accept connections").then_some(())
    })
    .await;
    limit("500");
    assert_eq!(waiting.answer().await.server(), "one");
    assert!(router.log().matches("cannot accept connections").count() <= 8, "{}", router.log());
}
