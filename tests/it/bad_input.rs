//! Clients that send what they should not: each gets an answer, no server sees a thing that was
//! not meant for it, and the next client is served as if nothing had been.

use std::convert::Infallible;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::client::{Connection, once, request};
use crate::support::{INITIALIZE, MODERN, Reply, Router, Server, WHOAMI, nobody, ours, post};

/// A router between two servers, with short timeouts.
struct Scene {
    router: Router,
    one: Server,
    two: Server,
}

impl Scene {
    async fn new() -> Scene {
        let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
        let settings = "workers = 2\n[timeouts]\nheader = \"500ms\"\nbody_idle = \"300ms\"";
        let router = Router::start(&[one.address], &[two.address], settings).await;
        Scene { router, one, two }
    }

    fn seen(&self) -> usize {
        self.one.seen().len() + self.two.seen().len()
    }

    /// Sends bytes and reads one answer.
    async fn send(&self, bytes: impl AsRef<[u8]>) -> Reply {
        let mut connection = Connection::open(self.router.address).await;
        connection.send(bytes).await;
        connection.answer().await
    }

    /// That these bytes are refused by us and reach no server; returns the id in the answer.
    async fn refused(&self, bytes: impl AsRef<[u8]>, status: u16, reason: &str) -> Value {
        let before = self.seen();
        let reply = self.send(&bytes).await;
        let shown = String::from_utf8_lossy(bytes.as_ref()).chars().take(300).collect::<String>();
        assert_eq!(reply.status, status, "{shown} -> {}", reply.text());
        assert_eq!(self.seen(), before, "{shown}");
        ours(&reply, status, reason)
    }

    /// That a good session is served.
    async fn still_serves(&self) {
        let session = post(self.router.address, &[], INITIALIZE).await.session();
        let reply = post(self.router.address, &[("mcp-session-id", &session)], WHOAMI).await;
        assert_eq!((reply.status, reply.server()), (200, "one".to_owned()));
        assert!(!self.router.log().contains("panicked"), "{}", self.router.log());
    }
}

/// A POST of these bytes to `/mcp`, with more header lines.
fn message(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

const MODERN_HEAD: &str =
    "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: whoami\r\n";

#[tokio::test]
async fn a_body_that_is_no_message_is_refused_in_both_eras() {
    let scene = Scene::new().await;
    let deep = "[".repeat(300) + &"]".repeat(300);
    let deep_in_message = format!(r#"{{"id":1,"method":"ping","params":{deep}}}"#);
    let bodies: [&[u8]; 24] = [
        b"",
        b" ",
        b"garbage",
        b"null",
        b"5",
        b"\"text\"",
        b"{}",
        b"[]",
        b"[1]",
        b"[[]]",
        b"{\"id\":1}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/ca",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"",
        b"{\"id\":\"\xff\",\"method\":\"ping\"}",
        b"{\"id\":\"\xed\xa0\x80\",\"method\":\"ping\"}",
        b"\xef\xbb\xbf{\"id\":1,\"method\":\"ping\"}",
        b"{\"id\":1,\"method\":\"ping\",\"method\":\"tools/call\"}",
        b"{\"id\":1,\"method\":\"ping\",\"m\\u0065thod\":\"tools/call\"}",
        b"{\"id\":1,\"id\":2,\"method\":\"ping\"}",
        b"{\"id\":1,\"method\":7}",
        b"{\"id\":1,\"method\":{}}",
        b"{\"id\":1,\"method\":\"ping\"} more",
        deep.as_bytes(),
        deep_in_message.as_bytes(),
    ];
    for body in bodies {
        scene.refused(message("", body), 400, "malformed_json").await;
        scene.refused(message(MODERN_HEAD, body), 400, "malformed_json").await;
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn a_huge_body_is_refused_and_the_client_hears_it() {
    let scene = Scene::new().await;
    let piece = vec![b'a'; 1 << 20];
    let chunk = [b"100000\r\n".as_slice(), &piece, b"\r\n"].concat();
    let head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let start = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":""#;
    let before = scene.router.peak_memory();
    for (framing, piece) in [
        (format!("content-length: {}\r\n\r\n{start}", 100 << 20), &piece),
        (format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{start}\r\n", start.len()), &chunk),
        (
            format!(
                "{MODERN_HEAD}transfer-encoding: chunked\r\n\r\n{:x}\r\n{start}\r\n",
                start.len()
            ),
            &chunk,
        ),
    ] {
        let mut connection = Connection::open(scene.router.address).await;
        connection.send(format!("{head}{framing}")).await;
        connection.flood(piece, 100).await;
        ours(&connection.answer().await, 413, "body_too_large");
    }
    let grown = scene.router.peak_memory() - before;
    assert!(grown < 32 * 1024, "{grown} KiB");
    assert_eq!(scene.seen(), 0);
    scene.still_serves().await;
}

#[tokio::test]
async fn a_client_that_reads_only_after_it_has_written_all_hears_it_too() {
    let scene = Scene::new().await;
    let piece = "a".repeat(16 << 20);
    let body = WHOAMI.replace("whoami", &piece);
    for headers in ["", MODERN_HEAD] {
        scene.refused(message(headers, &body), 413, "body_too_large").await;
        let chunked = String::from_utf8(message(headers, "")).unwrap().replace(
            "content-length: 0\r\n\r\n",
            &format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        );
        scene.refused(chunked, 413, "body_too_large").await;
    }
    let late = WHOAMI.replace("whoami", &piece[..1 << 20]) + "}";
    for headers in ["", MODERN_HEAD] {
        scene.refused(message(headers, &late), 400, "malformed_json").await;
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn only_json_is_a_message() {
    let scene = Scene::new().await;
    for kind in ["text/plain", "application/jsonp", "multipart/form-data; boundary=x", ""] {
        let bytes =
            request(scene.router.address, "POST", "/mcp", &[("content-type", kind)], WHOAMI);
        scene.refused(bytes, 415, "not_json").await;
    }
    for kind in ["application/json;charset=utf-8", "Application/JSON"] {
        assert_eq!(post(scene.router.address, &[("content-type", kind)], WHOAMI).await.status, 200);
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn half_a_request_ends_in_time() {
    let scene = Scene::new().await;
    let halves =
        ["", "P", "PRI * HTTP/2.0\r\n", "POST /mcp HTT", "POST /mcp HTTP/1.1\r\nhost: a\r\nx"];
    let mut open = Vec::new();
    for half in halves {
        let mut connection = Connection::open(scene.router.address).await;
        connection.send(half).await;
        open.push(connection);
    }
    for (mut connection, half) in open.into_iter().zip(halves) {
        assert!(connection.closed().await, "{half}");
    }
    for headers in ["", MODERN_HEAD] {
        let whole = message(headers, WHOAMI);
        scene.refused(&whole[..whole.len() - 1], 408, "body_stalled").await;
        let mut connection = Connection::open(scene.router.address).await;
        connection.send(&whole[..whole.len() - 1]).await;
        connection.half_close().await;
        assert!(connection.closed().await);
    }
    assert_eq!(scene.seen(), 0);
    scene.still_serves().await;
}

#[tokio::test]
async fn header_floods_are_refused() {
    let scene = Scene::new().await;
    let many = |count: usize, size: usize| -> Vec<u8> {
        let line = |number| format!("x-{number}: {}\r\n", "a".repeat(size));
        message(&(0..count).map(line).collect::<String>(), WHOAMI)
    };
    scene.refused(many(120, 1), 431, "headers_too_large").await;
    scene.refused(many(1, 40_000), 431, "headers_too_large").await;
    scene.refused(many(20, 2_000), 431, "headers_too_large").await;
    for flood in [many(300, 1), many(5_000, 100), many(1, 1 << 20)] {
        let mut connection = Connection::open(scene.router.address).await;
        connection.flood(&flood, 1).await;
        assert_eq!(connection.answer().await.status, 431);
    }
    assert_eq!(scene.seen(), 0);
    scene.still_serves().await;
}

#[tokio::test]
async fn unknown_rpc_methods_are_the_servers_business() {
    let scene = Scene::new().await;
    for method in ["made/up", "", "tools/call\\n", "\\u0000", "notifications/made_up"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        assert_eq!(post(scene.router.address, &[], &body).await.status, 200, "{method}");
        assert_eq!(scene.one.last().body, body);
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn unknown_http_methods_are_not_allowed() {
    let scene = Scene::new().await;
    for line in [
        "CONNECT localhost:80",
        "TRACE /mcp",
        "TRACE /elsewhere",
        "PUT /mcp",
        "PATCH /mcp/",
        "BREW /mcp",
        "post /mcp",
    ] {
        let bytes = format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let before = scene.seen();
        let reply = scene.send(bytes).await;
        assert_eq!(reply.header("allow"), Some("GET, POST, DELETE, OPTIONS"), "{line}");
        ours(&reply, 405, "method_not_allowed");
        assert_eq!(scene.seen(), before, "{line}");
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn ids_come_back_exactly_as_they_were_written() {
    let router = Router::start(&[nobody().await], &[nobody().await], "").await;
    let check = async |id: &str, want: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"tools/call","id":{id}}}"#);
        let reply = post(router.address, &[], &body).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")), "{id}");
        assert_eq!(reply.json()["error"]["data"]["origin"], "tidegate");
        let start = format!(r#"{{"jsonrpc":"2.0","id":{want},"error":"#);
        assert!(reply.text().starts_with(&start), "{}", reply.text());
    };
    for id in [
        "0",
        "-1",
        "1.5",
        "1.0",
        "1E+2",
        "123456789012345678901234567890",
        r#""text""#,
        r#""""#,
        r#""1""#,
        r#""\u0041\n\"\\\/""#,
        r#""né ☃ 𝄞""#,
        r#""\ud834\udd1e""#,
    ] {
        check(id, id).await;
    }
    let long = format!("\"{}\"", "a".repeat(2000));
    for id in ["null", "true", "{}", "[1]", r#"{"id":5}"#, "1e999", "01", "-", r#""\ud834""#, &long]
    {
        check(id, "null").await;
    }
}

#[tokio::test]
async fn what_must_stand_once_may_not_stand_twice() {
    let scene = Scene::new().await;
    let session = post(scene.router.address, &[], INITIALIZE).await.session();
    for name in ["mcp-session-id", "Mcp-Method", "mcp-name", "MCP-Protocol-Version"] {
        let lines = format!("{name}: {session}\r\n{name}: {session}\r\n");
        scene.refused(message(&lines, WHOAMI), 400, "repeated_header").await;
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn a_request_has_exactly_one_good_host() {
    let scene = Scene::new().await;
    let with = |target: &str, version: &str, lines: &str| {
        format!("GET {target} HTTP/{version}\r\n{lines}\r\n")
    };
    for (target, version, lines) in [
        ("/mcp", "1.1", ""),
        ("/mcp", "1.1", "host: a\r\nhost: a\r\n"),
        ("/mcp", "1.1", "host: a\r\nhost: b\r\n"),
        ("/mcp", "1.0", "host: a\r\nhost: b\r\n"),
        ("/mcp", "1.1", "host: a b\r\n"),
        ("/mcp", "1.1", "host: a/b\r\n"),
        ("/mcp", "1.1", "host: user@a\r\n"),
        ("/mcp", "1.1", "host: \r\n"),
        ("http://b/mcp", "1.1", "host: a\r\n"),
    ] {
        scene.refused(with(target, version, lines), 400, "bad_host").await;
    }
    for (target, version, lines) in [
        ("/x", "1.0", ""),
        ("/x", "1.1", "host: [::1]:8080\r\n"),
        ("http://A/x", "1.1", "host: a\r\n"),
    ] {
        assert_eq!(scene.send(with(target, version, lines)).await.status, 405, "the server's own");
        assert_eq!(scene.one.last().target, "/x");
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn framing_that_could_be_read_in_two_ways_is_refused() {
    let scene = Scene::new().await;
    let chunked = format!("{:x}\r\n{WHOAMI}\r\n0\r\n\r\n", WHOAMI.len());
    for (lines, status, reason) in [
        ("transfer-encoding: gzip, chunked\r\n", 501, "unknown_coding"),
        ("transfer-encoding: chunked, chunked\r\n", 400, "bad_framing"),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", 400, "bad_framing"),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", 501, "unknown_coding"),
    ] {
        let head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        let before = scene.seen();
        let reply = scene.send(format!("{head}{lines}\r\n{chunked}")).await;
        ours(&reply, status, reason);
        assert_eq!(scene.seen(), before, "{lines}");
    }
    for name in ["host", "mcp-session-id", "Mcp-Method", "authorization", "content-type", "origin"]
    {
        let lines = format!("connection: keep-alive, {name}\r\n");
        scene.refused(message(&lines, WHOAMI), 400, "bad_connection").await;
    }
    for both in ["content-length: 5\r\ncontent-length: 6\r\n", "content-length: -1\r\n"] {
        let bytes = format!("POST /mcp HTTP/1.1\r\nhost: localhost\r\n{both}\r\n{WHOAMI}");
        assert_eq!(scene.send(bytes).await.status, 400);
    }
    assert_eq!(scene.seen(), 0);
    scene.still_serves().await;
}

#[tokio::test]
async fn session_ids_that_we_did_not_make_lead_nowhere() {
    let scene = Scene::new().await;
    let session = post(scene.router.address, &[], INITIALIZE).await.session();
    let changed = session.replace("one", "two");
    let before = scene.seen();
    let long = "x".repeat(3000);
    for id in ["one-0", "", "null", &session[..20], &session[1..], &changed, &long] {
        let reply = post(scene.router.address, &[("mcp-session-id", id)], WHOAMI).await;
        assert_eq!(ours(&reply, 404, "unknown_session"), json!(7), "{id}");
    }
    for target in ["/mcp?tidegate=", "/mcp?tidegate=x&a=b", "/message?tidegate=s.x"] {
        let reply = once(scene.router.address, "POST", target, &[], WHOAMI).await;
        assert_eq!(ours(&reply, 404, "unknown_session"), json!(7), "{target}");
    }
    assert_eq!(scene.seen(), before);
    let headers = [&MODERN[..], &[("mcp-session-id", "one-0")]].concat();
    let body = WHOAMI.replace("\"id\":7", "\"id\":8");
    assert_eq!(post(scene.router.address, &headers, &body).await.server(), "one");
    scene.still_serves().await;
}

#[tokio::test]
async fn initialize_may_not_hide_in_a_batch() {
    let scene = Scene::new().await;
    let batch = format!("[{WHOAMI},{INITIALIZE}]");
    let before = scene.seen();
    let reply = post(scene.router.address, &[], &batch).await;
    assert_eq!(reply.status, 400);
    let errors = reply.json();
    assert_eq!((&errors[0]["id"], &errors[1]["id"]), (&json!(7), &json!(1)));
    assert_eq!(errors[0]["error"]["data"]["reason"], "initialize_in_batch");
    assert_eq!(scene.seen(), before);
    scene.still_serves().await;
}

#[tokio::test]
async fn http_1_0_and_pipelined_requests_are_served() {
    let scene = Scene::new().await;
    let mut connection = Connection::open(scene.router.address).await;
    connection.send(String::from_utf8(message("", WHOAMI)).unwrap().replace("1.1", "1.0")).await;
    assert_eq!(connection.answer().await.server(), "one");
    assert!(connection.closed().await);
    let mut connection = Connection::open(scene.router.address).await;
    let bodies: Vec<_> = (0..5).map(|id| WHOAMI.replace('7', &id.to_string())).collect();
    connection.send(bodies.iter().flat_map(|body| message("", body)).collect::<Vec<_>>()).await;
    for id in 0..5 {
        assert_eq!(connection.answer().await.json()["id"], id);
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn http_2_clients_hear_the_same() {
    let scene = Scene::new().await;
    let stream = TcpStream::connect(scene.router.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut ask = async |method: &str, kind: &str, body: Bytes| {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}/mcp", scene.router.address))
            .header("content-type", kind)
            .body(Full::<Bytes>::from(body).map_err(|never: Infallible| match never {}))
            .unwrap();
        let reply = sender.send_request(request).await.unwrap();
        let status = reply.status().as_u16();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let json = "application/json";
    for (method, kind, body, status, reason) in [
        ("POST", json, "garbage", 400, "malformed_json"),
        ("POST", "text/plain", WHOAMI, 415, "not_json"),
        ("PUT", json, "", 405, "method_not_allowed"),
    ] {
        let (got, error) = ask(method, kind, Bytes::from(body)).await;
        assert_eq!((got, &error["error"]["data"]["reason"]), (status, &json!(reason)));
    }
    let (status, error) = ask("POST", json, vec![b' '; 5 << 20].into()).await;
    assert_eq!((status, &error["error"]["data"]["reason"]), (413, &json!("body_too_large")));
    assert_eq!(scene.seen(), 0);
    let (status, answer) = ask("POST", json, WHOAMI.into()).await;
    assert_eq!((status, &answer["result"]["server"]), (200, &json!("one")));
    scene.still_serves().await;
}

#[tokio::test]
async fn random_bytes_never_kill_a_worker() {
    let scene = Scene::new().await;
    let mut random = rand::rngs::SmallRng::seed_from_u64(2026);
    let starts: [&[u8]; 6] = [
        b"",
        b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n",
        b"GET /sse?tidegate=",
        b"POST /mcp HTTP/1.1\r\nhost: a\r\nmcp-session-id: 1A.",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for round in 0..180 {
        let mut bytes = starts[round % starts.len()].to_vec();
        let noise = bytes.len();
        bytes.resize(noise + random.random_range(0..400), 0);
        random.fill(&mut bytes[noise..]);
        let mut connection = Connection::open(scene.router.address).await;
        connection.flood(&bytes, 1).await;
        // The router may have closed already.
        connection.try_half_close().await;
        assert!(connection.closed().await);
    }
    for _ in 0..8 {
        scene.still_serves().await;
    }
}
