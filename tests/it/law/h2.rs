//! The same law on HTTP/2, with frames written by hand, since no library sends such things.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Scene;
use crate::support::WHOAMI;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals without an index (RFC 7541 section 6.2.2), none longer than 126 bytes.
fn fields(pairs: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let field = |(name, value): &(&str, &str)| [vec![0], text(name), text(value)].concat();
    pairs.iter().flat_map(field).collect()
}

/// What comes of one request: the reason of our answer, `answered` by a server, or `broken` by the
/// library.
async fn ask(scene: &Scene, pairs: &[(&str, &str)], body: &str) -> String {
    let mut stream = TcpStream::connect(scene.router.address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let flags = if body.is_empty() { END_STREAM | END_HEADERS } else { END_HEADERS };
    bytes.extend(frame(HEADERS, flags, 1, &fields(pairs)));
    if !body.is_empty() {
        bytes.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
    }
    stream.write_all(&bytes).await.unwrap();
    let heard = async {
        let mut text = String::new();
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return "closed".to_owned();
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            match head[3] {
                DATA => text += &String::from_utf8(payload).unwrap(),
                RESET | GO_AWAY => return "broken".to_owned(),
                _ => {}
            }
            if matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0 {
                let body: serde_json::Value = serde_json::from_str(&text).unwrap();
                let reason = body["error"]["data"]["reason"].as_str();
                return reason.unwrap_or("answered").to_owned();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("an answer")
}

#[tokio::test]
async fn the_law_holds_for_http_2() {
    let scene = Scene::with("").await;
    let post = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/mcp"),
        (":authority", "a"),
        ("content-type", "application/json"),
    ];
    for (more, want) in [
        (&[][..], "answered"),
        (&[("te", "trailers")], "answered"),
        (&[("host", "a")], "answered"),
        (&[("host", "b")], "bad_host"),
        (&[("host", "a"), ("host", "a")], "bad_host"),
        (&[("te", "gzip")], "broken"),
        (&[("connection", "close")], "broken"),
        (&[("transfer-encoding", "chunked")], "broken"),
        (&[("upgrade", "websocket")], "broken"),
        (&[("keep-alive", "timeout=5")], "broken"),
        (&[("proxy-connection", "close")], "broken"),
        (&[("X-Upper", "a")], "broken"),
        (&[("x", "a\r\nsmuggled: b")], "broken"),
        (&[("x", "a\0b")], "broken"),
        (&[("x y", "a")], "broken"),
        (&[("content-length", "3")], "broken"),
        (&[(":path", "/other")], "broken"),
        (&[("mcp_session_id", "a")], "bad_header_name"),
        (&[("mcp-method", "a"), ("mcp-method", "a")], "repeated_header"),
        (&[("authorization", "a"), ("authorization", "b")], "repeated_header"),
        (&[("authorization", " Bearer a")], "bad_header_value"),
        (&[("mcp-protocol-version", "2025-06-18\t")], "bad_header_value"),
        (&[("expect", "x")], "expectation_failed"),
        (&[("origin", "http://evil.example")], "origin_not_allowed"),
    ] {
        let all = [&post[..], more].concat();
        assert_eq!(ask(&scene, &all, WHOAMI).await, want, "{more:?}");
    }
    let get = |method, path, authority| {
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)]
    };
    for (head, body, want) in [
        (get("GET", "/x", "a"), "", "answered"),
        (get("GET", "/x", "a"), "body", "unexpected_body"),
        (get("TRACE", "/x", "a"), "", "method_not_allowed"),
        (get("GET", "/a\\b", "a"), "", "bad_target"),
        (get("GET", "/a b", "a"), "", "broken"),
        (get("GET", "x", "a"), "", "broken"),
        (get("GET", "*", "a"), "", "bad_target"),
        (get("GET", "/x", "u@a"), "", "bad_host"),
        (get("GET", "/x", "a/b"), "", "broken"),
        (get("GET", "/x", "a:b"), "", "bad_host"),
    ] {
        assert_eq!(ask(&scene, &head, body).await, want, "{head:?}");
    }
    assert_eq!(ask(&scene, &get("GET", "/x", "a")[..3], "").await, "bad_host");
    let sent = scene.server.take();
    assert_eq!(sent.matches(" HTTP/1.1\r\n").count(), 4, "{sent}");
    assert!(sent.contains("via: 2.0 tidegate-SELF\r\n") && !sent.contains("smuggled"), "{sent}");
}
