//! What the client receives is what the server sent, to the byte, however it was cut into pieces:
//! bodies that released servers have written, and odd ones that they might.

use std::path::Path;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::client::Connection;
use crate::support::{INITIALIZE, MODERN, Router, Server, Step, WHOAMI, nobody, post};

/// How often each body is sent in each way.
const ROUNDS: u64 = 3;

/// Event streams that no released server writes and every client reads.
const ODD_STREAMS: [&str; 14] = [
    "",
    "\n",
    "\r",
    ":",
    ": a comment alone\n\n",
    "\u{feff}data: {\"id\":7,\"result\":{}}\n\n",
    "data: {\"id\":7,\r\ndata: \"result\":{}}\r\n\r\n",
    "data:{\"id\":7,\"result\":{}}\r\r",
    "data: \nid: 0\nretry: 3000\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\nid: 0/0\n\n",
    "event: endpoint\ndata: https://elsewhere.example/messages\n\ndata: 1\n\n",
    "event: message\ndata: [{\"id\":7,\"result\":{}},{\"id\":8,\"error\":{\"code\":1}}]\n\n",
    "retry: 10\n\n\n\n: ping\r\n\r\ndata\n\ndata: {broken\n\n",
    "data: {\"id\":7,\"result\":{\"text\":\"潮\u{10ffff}\0\"}}",
    "id: 1\ndata:\n\ndata: without an end\n",
];

/// The same as JSON.
const ODD_DOCUMENTS: [&str; 6] = [
    "",
    " \n ",
    "{broken",
    "[{\"id\":7,\"result\":{}},\r\n{\"id\":8,\"error\":{\"code\":1}}]\n",
    "\u{feff}{\"id\":7,\"result\":{}}",
    "{\"id\":7,\"result\":{\"text\":\"\\ud83c\\udf0a 潮\"}}\0",
];

#[derive(Clone)]
struct Body {
    name: String,
    kind: &'static str,
    bytes: Vec<u8>,
}

fn bodies() -> Vec<Body> {
    const STREAM: &str = "text/event-stream";
    const DOCUMENT: &str = "application/json";
    let odd = |kind: &'static str| {
        move |text: &&str| Body { name: format!("{text:?}"), kind, bytes: text.as_bytes().to_vec() }
    };
    let mut all: Vec<_> = ODD_STREAMS.iter().map(odd(STREAM)).collect();
    all.extend(ODD_DOCUMENTS.iter().map(odd(DOCUMENT)));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/corpus");
    for file in std::fs::read_dir(corpus).unwrap() {
        let path = file.unwrap().path();
        let kind = match path.extension().and_then(|it| it.to_str()) {
            Some("sse") => STREAM,
            Some("json") => DOCUMENT,
            _ => continue,
        };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        all.push(Body { name, kind, bytes: std::fs::read(path).unwrap() });
    }
    all
}

/// Cuts bytes into pieces, most of them small.
fn cut(mut bytes: &[u8], random: &mut SmallRng) -> Vec<Vec<u8>> {
    let longest = [1, 3, 20, 2000][random.random_range(0..4)];
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(random.random_range(1..=longest).min(bytes.len()));
        pieces.push(piece.to_vec());
        bytes = rest;
    }
    pieces
}

/// An answer with this body, in one of the three framings, cut anywhere.
fn steps(body: &Body, seed: u64) -> Vec<Step> {
    let mut random = SmallRng::seed_from_u64(seed);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {}\r\n", body.kind);
    let framing = random.random_range(0..3);
    let (head, wire) = match framing {
        0 => (format!("{head}content-length: {}\r\n\r\n", body.bytes.len()), body.bytes.clone()),
        1 => {
            let mut wire = Vec::new();
            for piece in cut(&body.bytes, &mut random) {
                wire.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                wire.extend(piece);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            (format!("{head}transfer-encoding: chunked\r\n\r\n"), wire)
        }
        _ => (format!("{head}connection: close\r\n\r\n"), body.bytes.clone()),
    };
    let mut steps = vec![Step::Send(head)];
    steps.extend(cut(&wire, &mut random).into_iter().map(Step::Bytes));
    if framing == 2 {
        steps.push(Step::Close);
    }
    steps
}

#[tokio::test]
async fn every_byte_arrives_as_it_was_sent() {
    let bodies = Arc::new(bodies());
    let own = Arc::clone(&bodies);
    let server = Server::scripted(move |seen| {
        let Some(asked) = seen.header("x-body") else {
            return vec![Step::Send(crate::support::server::answer(
                200,
                &[("mcp-session-id", "s")],
                r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            ))];
        };
        let (number, seed) = asked.split_once(' ').unwrap();
        steps(&own[number.parse::<usize>().unwrap()], seed.parse().unwrap())
    })
    .await;
    let settings = "[timeouts]\nkeep_alive = \"off\"";
    let router = Router::start(&[server.address], &[nobody().await], settings).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let session = [("mcp-session-id", session.as_str())];
    let ways = [
        ("POST", "/mcp", &MODERN[..], WHOAMI),
        ("POST", "/mcp", &session, WHOAMI),
        ("GET", "/mcp", &session, ""),
        ("GET", "/mcp", &[], ""),
        ("GET", "/sse", &[], ""),
    ];
    let mut connection = Connection::open(router.address).await;
    for (number, body) in bodies.iter().enumerate() {
        for (way, (method, target, headers, message)) in ways.into_iter().enumerate() {
            for round in 0..ROUNDS {
                let seed = (number as u64) * 1000 + (way as u64) * 100 + round;
                let asked = format!("{number} {seed}");
                let headers = [headers, &[("x-body", asked.as_str())]].concat();
                connection.request(method, target, &headers, message).await;
                let reply = connection.answer().await;
                let what = format!("{} by {method} {target}, seed {seed}", body.name);
                assert!(reply.complete, "{what}");
                let [got, sent] = [&reply.body, &body.bytes].map(|it| it.escape_ascii());
                assert!(reply.body == body.bytes, "{what}:\n{got}\nand not\n{sent}");
            }
        }
    }
}
