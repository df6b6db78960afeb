//! Payloads that play with where a message ends.

use super::{Message, Payload, Want};
use Want::{Either, Passes, Refused};

/// What a smuggler wants a server to see.
pub const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn one(name: &'static str, bytes: impl AsRef<[u8]>, want: Want) -> Payload {
    Payload { name, bytes: bytes.as_ref().to_vec(), wants: vec![want] }
}

/// A POST with these header lines, and then these bytes.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /x HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n{rest}")
}

fn chunked(rest: &str) -> String {
    post("transfer-encoding: chunked\r\n", rest)
}

/// That POST as it is meant.
fn x(body: &str) -> Message {
    Message::new("POST", "/x", body)
}

pub fn all() -> Vec<Payload> {
    [lengths(), codings(), both(), chunks(), endings(), pipelines()].into_iter().flatten().collect()
}

fn lengths() -> Vec<Payload> {
    let hello = |lines: &str| post(lines, "hello");
    let smuggled = |lines: &str| post(lines, &format!("hello{HIDDEN}"));
    vec![
        one("length", hello("content-length: 5\r\n"), Passes(x("hello"))),
        one("length 0", post("content-length: 0\r\n", ""), Passes(x(""))),
        one("no length", post("", ""), Passes(x(""))),
        one("length in spaces", hello("content-length: \t 5 \t\r\n"), Passes(x("hello"))),
        one("length in zeros", hello("content-length: 0005\r\n"), Either(x("hello"))),
        one(
            "length twice",
            hello("content-length: 5\r\ncontent-length: 5\r\n"),
            Either(x("hello")),
        ),
        one("length in a list", hello("content-length: 5, 5\r\n"), Either(x("hello"))),
        one("two lengths", smuggled("content-length: 5\r\ncontent-length: 46\r\n"), Refused),
        one("two lengths in a list", smuggled("content-length: 5, 46\r\n"), Refused),
        one("length with a sign", hello("content-length: +5\r\n"), Refused),
        one("length below 0", hello("content-length: -5\r\n"), Refused),
        one("length in hexadecimals", hello("content-length: 0x5\r\n"), Refused),
        one("two numbers", hello("content-length: 5 5\r\n"), Refused),
        one("length of nothing", hello("content-length:\r\n"), Refused),
        one("length beyond 64 bits", hello("content-length: 18446744073709551621\r\n"), Refused),
        one(
            "length with an underscore",
            post("content_length: 5\r\n", ""),
            Either(x("").with("content_length", "5")),
        ),
        one("length in front of a colon", smuggled("content-length : 46\r\n"), Refused),
        one("less than promised", post("content-length: 50\r\n", "hello"), Refused),
    ]
}

fn codings() -> Vec<Payload> {
    let body = format!("0\r\n\r\n{HIDDEN}");
    let refused = |name, coding: &str| one(name, post(&format!("{coding}\r\n"), &body), Refused);
    let hello = |lines: &str| post(lines, "5\r\nhello\r\n0\r\n\r\n");
    vec![
        one("chunked", hello("transfer-encoding: chunked\r\n"), Passes(x("hello"))),
        one("chunked in capitals", hello("Transfer-Encoding: CHUNKED\r\n"), Either(x("hello"))),
        one("chunked after a tab", hello("transfer-encoding:\tchunked\r\n"), Either(x("hello"))),
        refused("chunked twice", "transfer-encoding: chunked, chunked"),
        refused("chunked in two lines", "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        refused("chunked first", "transfer-encoding: chunked, gzip"),
        refused("chunked last", "transfer-encoding: gzip, chunked"),
        refused("identity", "transfer-encoding: identity"),
        refused(
            "chunked and identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        ),
        refused("no coding that there is", "transfer-encoding: xchunked"),
        refused("a coding in quotes", "transfer-encoding: \"chunked\""),
        refused("an empty coding", "transfer-encoding: ,chunked"),
        refused("a coding with a parameter", "transfer-encoding: chunked;x=1"),
        refused("a coding behind a vertical tab", "transfer-encoding: \u{b}chunked"),
        refused("a coding in front of a colon", "transfer-encoding : chunked"),
        refused("a coding on the next line", "transfer-encoding:\r\n chunked"),
        refused("a coding that is folded", "x: y\r\n transfer-encoding: chunked"),
        one(
            "a coding behind a bare return",
            post("x: y\rtransfer-encoding: chunked\r\n", &body),
            Refused,
        ),
        one(
            "a coding with an underscore",
            post("transfer_encoding: chunked\r\n", ""),
            Either(x("").with("transfer_encoding", "chunked")),
        ),
    ]
}

fn both() -> Vec<Payload> {
    let (te, hidden) = ("transfer-encoding: chunked\r\n", format!("0\r\n\r\n{HIDDEN}"));
    let length = format!("content-length: {}\r\n", hidden.len());
    let inside = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    // Who reads only the coding, and closes afterwards, sees an empty message and nothing hidden.
    vec![
        one("CL.TE", post(&format!("{length}{te}"), &hidden), Either(x(""))),
        one("CL.TE, the coding first", post(&format!("{te}{length}"), &hidden), Either(x(""))),
        one(
            "CL.0 with a coding",
            post(&format!("content-length: 0\r\n{te}"), &hidden),
            Either(x("")),
        ),
        one("TE.CL", post(&format!("content-length: 4\r\n{te}"), &inside), Either(x(HIDDEN))),
        one(
            "length and a coding that is none",
            post(&format!("{length}transfer-encoding: x\r\n"), &hidden),
            Refused,
        ),
        one(
            "length and an obfuscated coding",
            post(
                &format!("{length}transfer-encoding: chunked\r\ntransfer-encoding: x\r\n"),
                &hidden,
            ),
            Refused,
        ),
    ]
}

fn chunks() -> Vec<Payload> {
    let hello = "5\r\nhello\r\n0\r\n\r\n";
    let refused = |name, rest: &str| one(name, chunked(rest), Refused);
    let either = |name, rest: &str| one(name, chunked(rest), Either(x("hello")));
    let bits = "1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n";
    let letters = format!("A\r\n0123456789\r\n1a\r\n{}\r\n0\r\n\r\n", "x".repeat(26));
    vec![
        one("no chunks", chunked("0\r\n\r\n"), Passes(x(""))),
        one("small chunks", chunked(bits), Passes(x("hello"))),
        one(
            "sizes with letters",
            chunked(&letters),
            Passes(x(&format!("0123456789{}", "x".repeat(26)))),
        ),
        one(
            "a request in a chunk",
            chunked(&format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len())),
            Passes(x(HIDDEN)),
        ),
        either("sizes with zeros", "0005\r\nhello\r\n0000\r\n\r\n"),
        either("an extension", "5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        either("an extension in quotes", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"),
        either("a space after a size", "5 \r\nhello\r\n0\r\n\r\n"),
        either("a trailer", "5\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n"),
        either("a length as a trailer", "5\r\nhello\r\n0\r\ncontent-length: 90\r\n\r\n"),
        either("a host as a trailer", "5\r\nhello\r\n0\r\nhost: other\r\n\r\n"),
        either("a session as a trailer", "5\r\nhello\r\n0\r\nmcp-session-id: x\r\n\r\n"),
        refused("a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        refused("a size below 0", "-5\r\nhello\r\n0\r\n\r\n"),
        refused("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        refused("a size after a space", " 5\r\nhello\r\n0\r\n\r\n"),
        refused("a size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        refused("a size of nothing", "\r\nhello\r\n0\r\n\r\n"),
        refused("a size beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        refused("a chunk longer than its size", &format!("3\r\nhello\r\n{hello}")),
        refused("a chunk shorter than its size", "7\r\nhello\r\n0\r\n\r\n"),
        refused("no line end after a chunk", "5\r\nhello0\r\n\r\n"),
        refused("a bare return after a size", "5\rhello\r\n0\r\n\r\n"),
        refused("no end", "5\r\nhello\r\n"),
    ]
}

/// Lines that end in other ways.
fn endings() -> Vec<Payload> {
    let bare = post("content-length: 5\r\n", "hello").replace("\r\n", "\n");
    vec![
        one("bare line feeds", bare, Either(x("hello"))),
        one(
            "a bare line feed in the head",
            "GET /x HTTP/1.1\r\nhost: localhost\nx-two: 2\r\n\r\n",
            Either(Message::new("GET", "/x", "").with("x-two", "2")),
        ),
        one("bare line feeds in chunks", chunked("5\nhello\n0\n\n"), Either(x("hello"))),
        one(
            "a bare line feed in an extension",
            chunked("5;\nhello\r\n0\r\n\r\n"),
            Either(x("hello")),
        ),
        one(
            "empty lines before a request",
            "\r\n\r\nGET /x HTTP/1.1\r\nhost: localhost\r\n\r\n",
            Either(Message::new("GET", "/x", "")),
        ),
        one("a line of a null", "GET /x HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n", Refused),
        one("no head end", "GET /x HTTP/1.1\r\nhost: localhost\r\n", Refused),
        one(
            "a space before a header",
            "GET /x HTTP/1.1\r\n x: 1\r\nhost: localhost\r\n\r\n",
            Refused,
        ),
    ]
}

fn pipelines() -> Vec<Payload> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let seen = |path: &str| Message::new("GET", path, "");
    let many = |name, bytes: String, wants| Payload { name, bytes: bytes.into_bytes(), wants };
    let five = post("content-length: 5\r\n", "hello");
    let in_chunks = chunked("5\r\nhello\r\n0\r\n\r\n");
    vec![
        many("two at once", get("/1") + &get("/2"), vec![Passes(seen("/1")), Passes(seen("/2"))]),
        many(
            "a length, chunks, and no body",
            five.clone() + &in_chunks + &get("/3"),
            vec![Passes(x("hello")), Passes(x("hello")), Passes(seen("/3"))],
        ),
        many(
            "one that is good and one that is not",
            five.clone() + &get("/a b"),
            vec![Passes(x("hello")), Refused],
        ),
        many("one that is not and one that is good", get("/a b") + &five, vec![Refused]),
        many(
            "an empty line between two",
            five.clone() + "\r\n" + &get("/2"),
            vec![Passes(x("hello")), Either(seen("/2"))],
        ),
        many("more than the length", five + "x", vec![Passes(x("hello")), Refused]),
        many(
            "one after the last",
            post("connection: close\r\ncontent-length: 5\r\n", "hello") + &get("/2"),
            vec![Passes(x("hello"))],
        ),
    ]
}
