//! Payloads that play with where a request goes, and with its headers.

use super::{Message, Payload, Want};
use Want::{Either, Passes, Picky, Refused};

fn one(name: &'static str, bytes: impl AsRef<[u8]>, want: Want) -> Payload {
    Payload { name, bytes: bytes.as_ref().to_vec(), wants: vec![want] }
}

/// A GET of this target.
fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

fn seen(target: &str) -> Message {
    Message::new("GET", target, "")
}

pub fn all() -> Vec<Payload> {
    [targets(), absolute(), hosts(), lines(), versions(), headers(), connection(), sizes(), calls()]
        .into_iter()
        .flatten()
        .collect()
}

fn targets() -> Vec<Payload> {
    let same = |name, target: &str| one(name, get(target), Passes(seen(target)));
    let picky = |name, target: &str| one(name, get(target), Picky(seen(target)));
    vec![
        same("a query", "/x?a=b?c=d&&e=%00&f[]=%2F"),
        same("an empty query", "/x?"),
        same("an encoded slash", "/a%2Fb/%2e%2e/c"),
        same("encoded letters", "/%61%7e/%E2%98%83"),
        same("a semicolon", "/a;b=c/d,e=f"),
        picky("dots", "/a/../b/./c"),
        picky("two slashes", "//x//y"),
        picky("half an escape", "/a%2"),
        picky("an escape that is none", "/a%zz"),
        picky("an encoded null", "/a%00b"),
        picky("a backslash", "/a\\b"),
        picky("a bracket", "/a<b>{c}|^`"),
        picky("a snowman", "/\u{2603}"),
        one("a fragment", get("/x#y"), Either(seen("/x"))),
        one("a space", get("/a b"), Refused),
        one("a tab", get("/a\tb"), Refused),
        one("an asterisk", get("*"), Picky(seen("*"))),
        one("no slash", get("x"), Refused),
        one("a target of nothing", get(""), Refused),
    ]
}

fn absolute() -> Vec<Payload> {
    vec![
        one("absolute", get("http://localhost/x?y"), Passes(seen("/x?y"))),
        one("absolute in capitals", get("HTTP://LOCALHOST/x"), Either(seen("/x"))),
        one("absolute with an empty path", get("http://localhost"), Either(seen("/"))),
        one("absolute with https", get("https://localhost/x"), Either(seen("/x"))),
        one("absolute with another host", get("http://other/x"), Refused),
        one("absolute with another port", get("http://localhost:1/x"), Refused),
        one("absolute with a user", get("http://localhost@other/x"), Refused),
        one("absolute with a user before the host", get("http://a:b@localhost/x"), Refused),
        one("absolute with a scheme that is none", get("gopher://localhost/x"), Either(seen("/x"))),
        one("absolute without a host", get("http:///x"), Refused),
    ]
}

fn hosts() -> Vec<Payload> {
    let with = |lines: &str| format!("GET /x HTTP/1.1\r\n{lines}\r\n");
    let refused = |name, lines: &str| one(name, with(lines), Refused);
    vec![
        one(
            "a host with a port",
            with("Host: localhost:8080\r\n"),
            Passes(seen("/x").host(Some("localhost:8080"))),
        ),
        one(
            "a host that is an address",
            with("host: [::1]:8080\r\n"),
            Passes(seen("/x").host(Some("[::1]:8080"))),
        ),
        one(
            "a port beyond the last",
            with("host: localhost:99999\r\n"),
            Picky(seen("/x").host(Some("localhost:99999"))),
        ),
        one("a host with a comma", with("host: a,b\r\n"), Picky(seen("/x").host(Some("a,b")))),
        refused("no host", ""),
        refused("two hosts", "host: localhost\r\nhost: other\r\n"),
        refused("the same host twice", "host: localhost\r\nhost: localhost\r\n"),
        refused("an empty host", "host:\r\n"),
        refused("a host with a space", "host: localhost other\r\n"),
        refused("a host with a path", "host: localhost/x\r\n"),
        refused("a host with a user", "host: a@localhost\r\n"),
        refused("a host with a query", "host: localhost?x\r\n"),
        refused("a host in front of a colon", "host : localhost\r\n"),
        refused("a host that is folded", "host: localhost\r\n other\r\n"),
    ]
}

/// Request lines.
fn lines() -> Vec<Payload> {
    let host = "host: localhost\r\n\r\n";
    let line = |name, line: &str, want| one(name, format!("{line}\r\n{host}"), want);
    vec![
        line("HEAD", "HEAD /x HTTP/1.1", Passes(Message::new("HEAD", "/x", ""))),
        line("PUT elsewhere", "PUT /x HTTP/1.1", Either(Message::new("PUT", "/x", ""))),
        line("OPTIONS", "OPTIONS /x HTTP/1.1", Either(Message::new("OPTIONS", "/x", ""))),
        line("small letters", "get /x HTTP/1.1", Picky(Message::new("get", "/x", ""))),
        line("TRACE", "TRACE /x HTTP/1.1", Refused),
        line("CONNECT", "CONNECT localhost:80 HTTP/1.1", Refused),
        line("a method that is none", "G(T /x HTTP/1.1", Refused),
        line("two spaces", "GET  /x HTTP/1.1", Refused),
        line("a space at the end", "GET /x HTTP/1.1 ", Refused),
        line("a tab between", "GET\t/x\tHTTP/1.1", Refused),
        line("a request line in a target", "GET /x HTTP/1.1 HTTP/1.1", Refused),
    ]
}

fn versions() -> Vec<Payload> {
    let host = "host: localhost\r\n";
    let post = |lines: &str, rest: &str| format!("POST /x HTTP/1.0\r\n{host}{lines}\r\n{rest}");
    let hello = || Message::new("POST", "/x", "hello");
    vec![
        one("1.0", format!("GET /x HTTP/1.0\r\n{host}\r\n"), Passes(seen("/x"))),
        one("1.0 without a host", "GET /x HTTP/1.0\r\n\r\n", Passes(seen("/x").host(None))),
        one("1.0 with a body", post("content-length: 5\r\n", "hello"), Passes(hello())),
        one(
            "1.0 with chunks",
            post("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            Either(hello()),
        ),
        one(
            "1.0 with a body without a length",
            post("", "hello"),
            Either(Message::new("POST", "/x", "")),
        ),
        one("0.9", "GET /x\r\n\r\n", Refused),
        one("1.2", format!("GET /x HTTP/1.2\r\n{host}\r\n"), Refused),
        one("2.0", format!("GET /x HTTP/2.0\r\n{host}\r\n"), Refused),
        one("no version that there is", format!("GET /x http/1.1\r\n{host}\r\n"), Refused),
        one("half a preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", Refused),
    ]
}

fn headers() -> Vec<Payload> {
    let with = |lines: &str| format!("GET /x HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    let refused = |name, lines: &str| one(name, with(lines), Refused);
    vec![
        one(
            "headers in order",
            with("x-a: 1\r\nX-B: 2\r\nx-A: 3\r\n"),
            Passes(seen("/x").with("x-a", "1").with("x-a", "3").with("x-b", "2")),
        ),
        one(
            "a header of nothing",
            with("x-a:\r\nx-b: \t \r\n"),
            Passes(seen("/x").with("x-a", "").with("x-b", "")),
        ),
        one(
            "spaces around a value",
            with("x-a:  \t a  b \t \r\n"),
            Passes(seen("/x").with("x-a", "a  b")),
        ),
        one(
            "a value that looks like a header",
            with("x-a: x-b: 1\r\n"),
            Passes(seen("/x").with("x-a", "x-b: 1")),
        ),
        one(
            "a name of odd letters",
            with("x!#$%&'*+.^`|~1: a\r\n"),
            Picky(seen("/x").with("x!#$%&'*+.^`|~1", "a")),
        ),
        one(
            "two cookies",
            with("cookie: a=1\r\ncookie: b=2\r\n"),
            Passes(seen("/x").with("cookie", "a=1; b=2")),
        ),
        refused("a header without a colon", "x-a\r\n"),
        refused("a header without a name", ": a\r\n"),
        refused("a name with a space", "x a: 1\r\n"),
        refused("a name with brackets", "x[a]: 1\r\n"),
        refused("a name with a null", "x\0a: 1\r\n"),
        refused("a value that is folded", "x-a: 1\r\n 2\r\n"),
        refused("a value with a bare return", "x-a: 1\rx-b: 2\r\n"),
    ]
}

/// Headers that belong to one connection, and such as pretend to.
fn connection() -> Vec<Payload> {
    let with = |lines: &str| format!("GET /x HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    let gone = |name, lines: &str| one(name, with(lines), Passes(seen("/x")));
    let either = |name, lines: &str| one(name, with(lines), Either(seen("/x")));
    let hello = "POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n";
    let expect = |value: &str| format!("{hello}expect: {value}\r\n\r\nhello");
    let body = || Message::new("POST", "/x", "hello");
    vec![
        gone("what Connection names", "connection: x-gone\r\nx-gone: 1\r\n"),
        gone(
            "what belongs to a connection",
            "keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nte: trailers\r\n\
             trailer: x\r\nproxy-authorization: x\r\n",
        ),
        either(
            "an upgrade to h2c",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
        ),
        either("an upgrade to a socket", "connection: Upgrade\r\nupgrade: websocket\r\n"),
        one("Connection names the host", with("connection: host\r\n"), Refused),
        one(
            "Connection names the length",
            format!("{hello}connection: content-length\r\n\r\nhello"),
            Refused,
        ),
        one("expectations", expect("100-continue"), Passes(body())),
        one("expectations that nobody has", expect("the-impossible"), Either(body())),
        one(
            "a GET with a body",
            with("content-length: 5\r\n") + "hello",
            Either(Message::new("GET", "/x", "hello")),
        ),
        one(
            "a GET with chunks",
            with("transfer-encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
            Either(Message::new("GET", "/x", "hello")),
        ),
    ]
}

fn sizes() -> Vec<Payload> {
    let with = |lines: &str| format!("GET /x HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    let long: &'static str = "a".repeat(20_000).leak();
    let values: Vec<String> = (0..80).map(|number| number.to_string()).collect();
    let many =
        values.iter().map(|value| format!("x-many: {value}\r\n")).collect::<Vec<_>>().concat();
    let target = format!("/{}", "a".repeat(7_000));
    vec![
        one(
            "a long header",
            with(&format!("x-long: {long}\r\n")),
            Passes(seen("/x").with("x-long", long)),
        ),
        one(
            "many headers",
            with(&many),
            Passes(seen("/x").with("x-many", values.join(", ").leak())),
        ),
        one("a header that is too long", with(&format!("x-long: {long}{long}\r\n")), Refused),
        one("too many headers", with(&many.repeat(2)), Refused),
        one("a long target", get(&target), Passes(seen(&target))),
        one(
            "a long body",
            {
                let body = "b".repeat(200_000);
                format!(
                    "POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 200000\r\n\r\n{body}"
                )
            },
            Passes(Message::new("POST", "/x", &"b".repeat(200_000))),
        ),
    ]
}

/// Messages of MCP.
fn calls() -> Vec<Payload> {
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"whoami"}}"#;
    let post = |lines: &str, rest: &str| {
        format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{lines}\r\n{rest}"
        )
    };
    let length = format!("content-length: {}\r\n", call.len());
    let seen = || Message::new("POST", "/mcp", call);
    let (one_half, other) = call.split_at(20);
    let pieces = format!("14\r\n{one_half}\r\n{:x}\r\n{other}\r\n0\r\n\r\n", other.len());
    vec![
        one("a call", post(&length, call), Passes(seen())),
        one("a call in chunks", post("transfer-encoding: chunked\r\n", &pieces), Passes(seen())),
        one(
            "a call with two names",
            post(&format!("{length}mcp-name: a\r\nMcp-Name: b\r\n"), call),
            Refused,
        ),
        one(
            "a call in a session that is none",
            post(&format!("{length}mcp-session-id: other-0\r\n"), call),
            Refused,
        ),
        one("a call and more", post("content-length: 77\r\n", &format!("{call} {{}}")), Refused),
        one("a call that ends in between", post("content-length: 20\r\n", one_half), Refused),
    ]
}
