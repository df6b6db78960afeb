//! Requests that somebody could read differently, each with what the client hears. Behind every
//! one stands a good request: it is answered only where its beginning is beyond doubt, and nothing
//! else ever reaches the server.

use tokio::task::JoinSet;

use super::{Scene, exchange};
use crate::support::WHOAMI;

/// A good request, after which the router closes.
const AFTER: &str =
    "GET /after HTTP/1.1\r\nhost: a\r\nx-request-id: after\r\nconnection: close\r\n\r\n";

/// What the server gets of it.
const AFTER_SENT: &str = "GET /after HTTP/1.1\r\nhost: a\r\nx-request-id: after\r\n\
    x-forwarded-for: 127.0.0.1\r\nforwarded: for=127.0.0.1;proto=http;host=\"a\"\r\n\
    x-forwarded-proto: http\r\nx-forwarded-host: a\r\nvia: 1.1 tidegate-SELF\r\n\r\n";

/// What the client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Our own answer, and nothing any more.
    Last(u16, &'static str),
    /// Our own answer, and that to the good request.
    Then(u16, &'static str),
    /// The library's answer, without a body, and nothing any more.
    Bare(u16),
}
use Heard::{Bare, Last, Then};

const BAD: Heard = Last(400, "bad_framing");

/// `POST /mcp` with these lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{lines}\r\n{body}")
}

/// A body in one chunk whose size is written so, and what follows it.
fn chunk(size: &str, rest: &str) -> String {
    post("transfer-encoding: chunked\r\n", &format!("{size}{WHOAMI}{rest}"))
}

/// `GET` with this target, these lines.
fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
}

/// Where does the body end?
fn framing() -> Vec<(String, Heard)> {
    let whole = format!("{:x}\r\n{WHOAMI}\r\n0\r\n\r\n", WHOAMI.len());
    let long = format!("content-length: {}\r\n", WHOAMI.len());
    let chunked = "transfer-encoding: chunked\r\n";
    let unknown = Last(501, "unknown_coding");
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    vec![
        // CL.TE, TE.CL and the like.
        (post(&format!("content-length: 6\r\n{chunked}"), "0\r\n\r\nG"), BAD),
        (post(&format!("{chunked}content-length: 6\r\n"), "0\r\n\r\nG"), BAD),
        (post(&format!("{chunked}content-length: 3\r\n"), smuggled), BAD),
        (post(&format!("{chunked}content-length: 0\r\n"), &whole), BAD),
        (post(&format!("{long}{chunked}"), &whole), BAD),
        (get("/x", &format!("content-length: 5\r\n{chunked}")) + smuggled, BAD),
        // TE.TE: a coding that one side does not recognise.
        (post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", &whole), BAD),
        (post("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", &whole), Bare(400)),
        (post("transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n", &whole), unknown),
        (post("transfer-encoding: gzip, chunked\r\n", &whole), unknown),
        (post("transfer-encoding: x, y, chunked\r\n", &whole), unknown),
        (post("transfer-encoding: chunked, chunked\r\n", &whole), BAD),
        (post("transfer-encoding: , chunked\r\n", &whole), BAD),
        (post("transfer-encoding: chunked, gzip\r\n", &whole), Bare(400)),
        (post("transfer-encoding: chunked,\r\n", &whole), Bare(400)),
        (post("transfer-encoding: xchunked\r\n", &whole), Bare(400)),
        (post("transfer-encoding: identity\r\n", &whole), Bare(400)),
        (post("transfer-encoding: \"chunked\"\r\n", &whole), Bare(400)),
        (post("transfer-encoding: chunked;q=1\r\n", &whole), Bare(400)),
        (post("transfer-encoding:\r\n", &whole), Bare(400)),
        (post("transfer-encoding: \x0bchunked\r\n", &whole), Bare(400)),
        (post("transfer-encoding : chunked\r\n", &whole), Bare(400)),
        (post(" transfer-encoding: chunked\r\n", &whole), Bare(400)),
        (post("x: y\r\n transfer-encoding: chunked\r\n", &whole), Bare(400)),
        (post("transfer-encoding:\r\n chunked\r\n", &whole), Bare(400)),
        (post("x: y\ntransfer-encoding: chunked\r\n", &whole), BAD),
        (post("x: y\rtransfer-encoding: chunked\r\n", &whole), Bare(400)),
        (
            post(&format!("transfer_encoding: chunked\r\n{long}"), WHOAMI),
            Then(400, "bad_header_name"),
        ),
        (chunk("", "").replace("HTTP/1.1", "HTTP/1.0"), Bare(400)),
    ]
}

/// How long is the body, and should there be one?
fn lengths() -> Vec<(String, Heard)> {
    let long = format!("content-length: {}\r\n", WHOAMI.len());
    let chunked = "transfer-encoding: chunked\r\n";
    vec![
        // A length that is no number, or two.
        (post(&format!("{long}{long}"), WHOAMI), BAD),
        (post(&format!("content-length: 0\r\n{long}"), WHOAMI), Bare(400)),
        (post("content-length: 5, 5\r\n", WHOAMI), Bare(400)),
        (post("content-length: +5\r\n", WHOAMI), Bare(400)),
        (post("content-length: -1\r\n", WHOAMI), Bare(400)),
        (post("content-length: 0x5\r\n", WHOAMI), Bare(400)),
        (post("content-length: 5 5\r\n", WHOAMI), Bare(400)),
        (post("content-length: 5\u{b2}\r\n", WHOAMI), Bare(400)),
        (post("content-length:\r\n", WHOAMI), Bare(400)),
        (post("content-length: 18446744073709551617\r\n", WHOAMI), Bare(400)),
        (post(&format!("content-length: {:040}\r\n", WHOAMI.len()), WHOAMI), BAD),
        (post(&format!("content_length: 0\r\n{long}"), WHOAMI), Then(400, "bad_header_name")),
        // A body where none is meant (CL.0).
        (
            get("/x", "content-length: 35\r\n") + "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
            Then(400, "unexpected_body"),
        ),
        (get("/x", chunked) + "1\r\na\r\n0\r\n\r\n", Then(400, "unexpected_body")),
        (
            get("/mcp", "content-length: 1\r\n").replace("GET", "DELETE") + "a",
            Then(400, "unexpected_body"),
        ),
        (post("", "").replace("HTTP/1.1", "HTTP/1.0"), Last(411, "length_required")),
        (
            post("connection: keep-alive\r\n", "").replace("HTTP/1.1", "HTTP/1.0"),
            Last(411, "length_required"),
        ),
    ]
}

/// Chunks whose end two programs could see in two places.
fn chunks() -> Vec<(String, Heard)> {
    let size = format!("{:x}", WHOAMI.len());
    let end = "\r\n0\r\n\r\n";
    let good = format!("{size}\r\n");
    let mut all: Vec<_> = [
        format!("{size} \r\n"),
        format!(" {size}\r\n"),
        format!("{size}\n"),
        format!("{size}\r"),
        format!("{size};\r\n"),
        format!("{size};a\n"),
        format!("{size};a\rb\r\n"),
        format!("{size};{}\r\n", "a".repeat(300)),
        format!("0x{size}\r\n"),
        format!("+{size}\r\n"),
        format!("-{size}\r\n"),
        format!("{size},{size}\r\n"),
        format!("100000000000000{size}\r\n"),
        format!("ffffffffffffffff{size}\r\n"),
        "\r\n".to_owned(),
        "zz\r\n".to_owned(),
    ]
    .iter()
    .map(|size| (chunk(size, end), BAD))
    .collect();
    all.extend(
        [
            "0\r\n\r\n",
            "\n0\r\n\r\n",
            "\r\n0\r\n\n",
            "\r\n0\r\nx: y\n\r\n",
            "\r\n0\r\n x: y\r\n\r\n",
        ]
        .map(|end| (chunk(&good, end), BAD)),
    );
    all
}

/// What is asked for, and of whom?
fn targets() -> Vec<(String, Heard)> {
    let bad = Last(400, "bad_target");
    let plain = Then(400, "bad_target");
    let host = Then(400, "bad_host");
    let bare = |target: &str, lines: &str| format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
    vec![
        (get("/a#b", ""), bad),
        (get("/mcp#/../admin", ""), bad),
        (get("/a\\b", ""), bad),
        (get("/\\evil.example", ""), bad),
        (get("/\u{c3}\u{a9}", ""), bad),
        (get("/\u{e9}", ""), Bare(400)),
        (get("/a\tb", ""), Bare(400)),
        (get("/a\0b", ""), Bare(400)),
        (get("/a b", ""), Bare(400)),
        (get("/a\x7fb", ""), Bare(400)),
        (get("", ""), Bare(400)),
        (get("*", ""), plain),
        (get("a:80", ""), plain),
        (get("ftp://a/", ""), plain),
        (get(&format!("/{}", "a".repeat(9000)), ""), Then(414, "target_too_long")),
        (get("http://b/x", ""), host),
        (get("http://a:80/x", ""), host),
        (get("http://u@a/x", ""), host),
        (bare("/x", ""), host),
        (bare("/x", "host: a\r\nhost: a\r\n"), host),
        (bare("/x", "host: a\r\nHOST: b\r\n"), host),
        (bare("http://b/x", "host: a\r\nhost: b\r\n"), host),
        (bare("/x", "host:\r\n"), host),
        (bare("/x", "host: a b\r\n"), host),
        (bare("/x", "host: a/b\r\n"), host),
        (bare("/x", "host: a,b\r\n"), host),
        (bare("/x", "host: u@a\r\n"), host),
        (bare("/x", "host: a:80:90\r\n"), host),
        (bare("/x", "host: a:99999\r\n"), host),
        (bare("/x", "host : a\r\n"), Bare(400)),
        (bare("/x", " host: a\r\n"), Bare(400)),
        (bare("/x", "x: y\r\n host: a\r\n"), Bare(400)),
    ]
}

/// What else a head should not say.
fn heads() -> Vec<(String, Heard)> {
    let whoami =
        |lines: &str| post(&format!("{lines}content-length: {}\r\n", WHOAMI.len()), WHOAMI);
    let twice = Then(400, "repeated_header");
    let named = Then(400, "bad_connection");
    let method = Then(405, "method_not_allowed");
    let line = |line: &str| format!("{line}\r\nhost: a\r\n\r\n");
    let mut all = vec![
        (line("CONNECT a:80 HTTP/1.1"), Last(405, "method_not_allowed")),
        (line("TRACE /x HTTP/1.1"), method),
        (line("PUT /mcp HTTP/1.1"), method),
        (line("GET /x HTTP/1.2"), Bare(400)),
        (line("GET /x HTTP/2.0"), Bare(400)),
        (line("GET /x HTTP/0.9"), Bare(400)),
        (line("GET /x http/1.1"), Bare(400)),
        (line("GET /x HTTP/1.1 "), Bare(400)),
        (line("GET /x"), Bare(400)),
        (line("GET  /x HTTP/1.1"), Bare(400)),
        (line("GET /x  HTTP/1.1"), Bare(400)),
        (line("GET\t/x HTTP/1.1"), Bare(400)),
        (line(" GET /x HTTP/1.1"), Bare(400)),
        (line("\nGET /x HTTP/1.1"), BAD),
        (line("\r\n\r\n\r\nGET /x HTTP/1.1"), BAD),
        ("GET /x HTTP/1.1\nhost: a\n\n".to_owned(), BAD),
        (get("/x", "x: a\0b\r\n"), Bare(400)),
        (get("/x", "x: a\x1bb\r\n"), Bare(400)),
        (get("/x", "x\0: a\r\n"), Bare(400)),
        (get("/x", "x y: a\r\n"), Bare(400)),
        (get("/x", ": a\r\n"), Bare(400)),
        (get("/x", "no colon\r\n"), Bare(400)),
        (get("/x", "x: a\r\n\x20\r\n"), Bare(400)),
        (get("/x", "x: a\r\r\n"), Bare(400)),
        (get("/x", "x_y: a\r\n"), Then(400, "bad_header_name")),
        (whoami("expect: 200-ok\r\n"), Then(417, "expectation_failed")),
        (whoami("expect: 100-continue, x\r\n"), Then(417, "expectation_failed")),
        (whoami("origin: http://evil.example\r\n"), Then(403, "origin_not_allowed")),
        (whoami("content-type: text/plain\r\n"), twice),
        (whoami("authorization: a\r\nauthorization: b\r\n"), twice),
        (whoami("mcp-param-x: a\r\nMcp-Param-X: b\r\n"), twice),
        (whoami("last-event-id: 1\r\nlast-event-id: 2\r\n"), twice),
        (whoami("x-api-key: a\r\nX-Api-Key: b\r\n"), twice),
        (whoami("x-api-key: a\r\nconnection: x-api-key\r\n"), named),
        (get("/x", "connection: \u{e9}\r\n"), named),
    ];
    for name in
        ["host", "content-length", "transfer-encoding", "Mcp-Session-Id", "x-forwarded-for", "via"]
    {
        all.push((
            get("/x", &format!("connection: close, {name}\r\n")),
            Last(400, "bad_connection"),
        ));
    }
    all
}

#[tokio::test]
async fn nothing_that_can_be_read_in_two_ways_reaches_a_server() {
    let scene = Scene::with("").await;
    let all = [framing(), lengths(), chunks(), targets(), heads()].concat();
    assert!(all.len() >= 138, "{}", all.len());
    let followed = all.iter().filter(|(_, want)| matches!(want, Then(..))).count();
    let mut cases = JoinSet::new();
    for (bytes, want) in all {
        let to = scene.router.address;
        cases.spawn(async move {
            // Latin-1, so that a letter above ASCII is one byte that is no UTF-8.
            let sent: Vec<u8> = (bytes.clone() + AFTER).chars().map(|it| it as u8).collect();
            let heard = exchange(to, &sent).await;
            let got: Vec<_> = heard.iter().map(|it| (it.status, it.reason())).collect();
            let own = |status: u16, reason: &str| (status, reason.to_owned());
            let want = match want {
                Last(status, reason) => vec![own(status, reason)],
                Then(status, reason) => vec![own(status, reason), own(200, "")],
                Bare(status) => vec![own(status, "")],
            };
            (got != want).then(|| format!("{bytes:?}\n  is {got:?}\n  not {want:?}"))
        });
    }
    let wrong: Vec<String> = cases.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What reached the server came at once on several connections, but each request is a whole one.
    let sent = scene.server.take();
    assert_eq!(sent.replace(AFTER_SENT, ""), "");
    assert_eq!(sent.len(), followed * AFTER_SENT.len());
}

#[tokio::test]
async fn a_call_whose_body_breaks_while_it_is_passed_on_is_never_a_whole_one() {
    let scene = Scene::with("").await;
    let head = "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: whoami\r\n\
                transfer-encoding: chunked\r\n";
    let half = &WHOAMI[..40];
    let broken = post(head, &format!("28\r\n{half}\r\n2;\r\n")) + AFTER;
    let heard = scene.send(broken.as_bytes()).await;
    assert_eq!((heard.len(), heard[0].status, heard[0].reason().as_str()), (1, 400, "bad_framing"));
    let sent = scene.server.take();
    assert!(!sent.contains("\r\n0\r\n") && !sent.contains("/after"), "{sent}");
}
