//! Ten thousand clients that dawdle, and ten thousand streams on which nothing happens: what each of
//! them costs, and that nobody else is bothered.

use std::time::Duration;

use http::Request;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::interval;

use super::resident;
use crate::support::client::{Connection, request};
use crate::support::server::stream_head;
use crate::support::{INITIALIZE, MODERN, Router, Server, WHOAMI, nobody, post, within};

const MANY: usize = 10_000;
/// What the process may take by default.
const BUDGET: u64 = 1 << 30;

/// Patience without limit, and room for all of them and a few others.
const SETTINGS: &str = "[limits]
connections = 10100
connections_per_address = 100000
min_rate = 0
[timeouts]
header = \"1h\"
idle = \"1h\"
body_idle = \"1h\"";

/// Holds as many clients that send a byte each second: half of them of a head, half of a body.
async fn dawdle(to: std::net::SocketAddr, clients: usize) {
    let body = INITIALIZE.replace("test", &"a".repeat(100_000));
    let whole = request(to, "POST", "/mcp", &[], &body).into_bytes();
    let head = whole.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    let mut open = Vec::new();
    for number in 0..clients {
        let begun = if number % 2 == 0 { 20 } else { head + 100 };
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(&whole[..begun]).await.unwrap();
        open.push((stream, begun));
    }
    let mut each = interval(Duration::from_secs(1));
    loop {
        each.tick().await;
        for (stream, sent) in &mut open {
            stream.write_all(&whole[*sent..=*sent]).await.expect("nobody closed it");
            *sent += 1;
        }
    }
}

/// What the router has more than before, for each of so many.
async fn cost(router: &Router, before: u64, count: usize, what: &str) -> u64 {
    // A look of its own after they have come.
    router.ages().await;
    let now = resident(router).await;
    let each = now.saturating_sub(before) / count as u64;
    eprintln!("{each} bytes for each of {count} {what}, {} KiB in all", now >> 10);
    assert!(now < BUDGET, "{now}");
    each
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs tests/run: takes a minute"]
async fn ten_thousand_idle_connections() {
    let server = Server::mcp("one").await;
    let router = Router::start(&[server.address], &[nobody().await], SETTINGS).await;
    let before = resident(&router).await;
    let mut open = Vec::new();
    for _ in 0..MANY {
        let mut connection = Connection::open(router.address).await;
        connection.request("POST", "/mcp", &MODERN, WHOAMI).await;
        assert_eq!(connection.answer().await.server(), "one");
        open.push(connection);
    }
    let each = cost(&router, before, MANY, "idle connections").await;
    assert!(each < 60_000, "{each}");
    open[0].request("POST", "/mcp", &MODERN, WHOAMI).await;
    assert_eq!(open[0].answer().await.server(), "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs tests/run: takes a minute"]
async fn ten_thousand_slow_clients() {
    let server = Server::mcp("one").await;
    let router = Router::start(&[server.address], &[nobody().await], SETTINGS).await;
    let before = resident(&router).await;
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        clients.spawn(dawdle(router.address, MANY / 10));
    }
    let open = async || router.metric("tidegate_client_connections", &[]).await as usize;
    within(60, "all are there", async || (open().await >= MANY).then_some(())).await;
    for _ in 0..10 {
        router.ages().await;
        assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
    }
    assert_eq!(clients.try_join_next().map(|it| it.is_ok()), None, "a slow client was cut");
    let each = cost(&router, before, MANY, "slow clients").await;
    assert!(each < 60_000, "{each}");
    drop(clients);
    within(60, "all are gone", async || (open().await == 0).then_some(())).await;
}

/// A server that opens a stream on each connection and says nothing more on it.
async fn silent() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                let read = stream.read(&mut head).await.unwrap_or(0);
                if read > 0 && stream.write_all(stream_head(&[]).as_bytes()).await.is_ok() {
                    // Until the router has gone.
                    let _ = stream.read(&mut head[..1]).await;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs tests/run: takes a minute"]
async fn ten_thousand_idle_streams() {
    let good = Server::mcp("good").await;
    let router = Router::start(&[silent().await], &[good.address], "").await;
    let before = resident(&router).await;
    let (mut connections, mut streams) = (JoinSet::new(), Vec::new());
    for _ in 0..MANY / 100 {
        let stream = TokioIo::new(TcpStream::connect(router.address).await.unwrap());
        let (sender, connection) =
            http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), stream).await.unwrap();
        connections.spawn(connection);
        for _ in 0..100 {
            let request = Request::get(format!("http://{}/mcp", router.address))
                .header("accept", "text/event-stream");
            let request = request.body(Empty::new()).unwrap();
            let answer = sender.clone().send_request(request).await.unwrap();
            assert_eq!(answer.status(), 200);
            streams.push(answer.into_body());
        }
    }
    let open = async || router.metric("tidegate_streams_open", &[]).await as usize;
    within(60, "all are there", async || (open().await >= MANY).then_some(())).await;
    router.split(0, 100).await;
    for _ in 0..10 {
        router.ages().await;
        assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "good");
    }
    assert_eq!(open().await, MANY);
    let each = cost(&router, before, MANY, "idle streams").await;
    assert!(each < 50_000, "{each}");
    drop((streams, connections));
    within(60, "all are gone", async || {
        let upstream = router.metric("tidegate_upstream_connections", &[]).await as usize;
        (open().await == 0 && upstream == 0).then_some(())
    })
    .await;
}
