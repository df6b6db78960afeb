//! What the router makes of the same fault in released servers: every SDK has its own way to show
//! it, and the outcome and the blame have to be right for each.
//!
//! A server has one column for each era that it speaks and each form of its answers, and a process
//! of its own for each, as the last fault is its end.

mod rust;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::client::{Connection, once};
use crate::support::real::pairs_of;
use crate::support::{INITIALIZE, Reply, Router, delete, eventually, nobody, post};

/// What a client asks for.
#[derive(Clone, Copy)]
enum Ask {
    /// A tool, with these arguments.
    Tool(&'static str, &'static str),
    /// A completion, whose handler raises this code.
    Raise(&'static str),
    /// Another method, with these parameters.
    Method(&'static str, &'static str),
    /// A tool that never answers, of a server that breaks the exchange off in this way.
    Broken(&'static str),
    /// Anything, in a session that the server does not know any more.
    InLostSession,
    /// A tool whose name is another one in the header.
    WrongHeader,
}

use Ask::{Broken, InLostSession, Method, Raise, Tool, WrongHeader};

/// Not to be had in this column.
const NONE: &str = "";

/// A fault, its outcome and blame, and the columns where that differs: the first whose name has
/// all these words.
type Row = (&'static str, Ask, &'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const ROWS: [Row; 18] = [
    ("an answer", Tool("echo", r#"{"text":"x"}"#), "ok nobody", &[]),
    ("a tool throws", Tool("fail", "{}"), "tool_error relative", &[]),
    ("an unknown tool", Tool("nowhere", "{}"), "tool_error relative", &[("ts2", "client_error relative"), ("rust", "client_error relative")]),
    ("bad arguments", Tool("echo", r#"{"text":5}"#), "tool_error relative", &[]),
    // Python 1 and TypeScript show whatever a tool raises as a failure of the tool.
    ("a tool raises -32603", Tool("raise_code", r#"{"code":-32603}"#), "rpc_error arm", &[("py1", "tool_error relative"), ("ts", "tool_error relative")]),
    ("a tool raises -32602", Tool("raise_code", r#"{"code":-32602}"#), "client_error relative", &[("py1", "tool_error relative"), ("ts", "tool_error relative")]),
    ("a handler raises -32603", Raise("-32603"), "rpc_error arm", &[]),
    ("a handler raises -32602", Raise("-32602"), "client_error relative", &[]),
    ("a handler raises a code of its own", Raise("17"), "rpc_error relative", &[]),
    ("an unknown method", Method("made/up", "{}"), "client_error relative", &[]),
    ("a cursor of nobody", Method("tools/list", r#"{"cursor":"made up"}"#), "ok nobody", &[]),
    ("a header that lies", WrongHeader, NONE, &[("modern", "skew skew")]),
    ("HTTP 500", Broken("500"), "http_error arm", &[]),
    // Over HTTP+SSE a call is accepted at once, and its answer may come for as long as the stream is there.
    ("silence", Tool("hang", "{}"), "timeout arm", &[("sse", NONE)]),
    ("a reset", Broken("cut"), "transport arm", &[("sse", NONE)]),
    // An answer in JSON has no beginning that could come without its end.
    ("an end without an answer", Broken("end"), "transport arm", &[("json", NONE), ("rust", NONE), ("sse", NONE)]),
    ("the session is lost", InLostSession, "http_error arm", &[("modern", NONE), ("sse", NONE)]),
    ("the process is killed", Tool("crash", "{}"), "transport arm", &[("rust", NONE)]),
];

/// A server behind a router, and a client that speaks one era.
struct Scene {
    column: String,
    router: Router,
    server: SocketAddr,
    /// That of a legacy client.
    session: Option<String>,
    /// That of a client of HTTP+SSE, and where it posts.
    stream: Option<(Connection, String)>,
}

impl Scene {
    async fn new(column: &str, server: SocketAddr) -> Scene {
        // Longer than any of these servers takes on a busy machine.
        let settings = "[timeouts]\nfirst_byte = \"2s\"\nstream_idle = \"2s\"";
        let router = Router::start(&[server], &[nobody().await], settings).await;
        let mut scene =
            Scene { column: column.to_owned(), router, server, session: None, stream: None };
        scene.begin().await;
        scene
    }

    /// Opens a session, where the era has some.
    async fn begin(&mut self) {
        if self.column.contains("modern") {
            return;
        }
        if self.column.contains("sse") {
            let mut stream = Connection::open(self.router.address).await;
            stream.request("GET", "/sse", &[], "").await;
            stream.head().await;
            let first = stream.until("\n\n").await;
            let uri = first.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            once(self.router.address, "POST", uri, &[], INITIALIZE).await;
            stream.until("protocolVersion").await;
            self.stream = Some((stream, uri.to_owned()));
        } else {
            self.session = Some(post(self.router.address, &[], INITIALIZE).await.session());
        }
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.post(&[], &initialized).await.status, 202);
    }

    async fn post(&self, more: &[(&str, &str)], message: &Value) -> Reply {
        let method = message["method"].as_str().unwrap();
        let name = message["params"]["name"].as_str().unwrap_or_default();
        if let Some((_, uri)) = &self.stream {
            return once(self.router.address, "POST", uri, more, &message.to_string()).await;
        }
        let own = match &self.session {
            Some(session) => vec![("mcp-session-id", session.as_str())],
            None if name.is_empty() => {
                vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]
            }
            None => vec![
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", method),
                ("mcp-name", name),
            ],
        };
        let given = |own: &&(&str, &str)| more.iter().all(|(name, _)| *name != own.0);
        let own: Vec<_> = own.iter().filter(given).chain(more).copied().collect();
        post(self.router.address, &own, &message.to_string()).await
    }

    async fn ask(&self, ask: Ask) -> Reply {
        let tool = |name: &str, arguments: Value| json!({ "name": name, "arguments": arguments });
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let (method, mut params) = match ask {
            Tool(name, arguments) => ("tools/call", tool(name, parse(arguments))),
            Method(method, params) => (method, parse(params)),
            Raise(code) => {
                let of = json!({ "type": "ref/prompt", "name": "greet" });
                let argument = json!({ "name": "name", "value": code });
                ("completion/complete", json!({ "ref": of, "argument": argument }))
            }
            Broken(_) => ("tools/call", tool("hang", json!({}))),
            InLostSession | WrongHeader => ("tools/call", tool("echo", json!({ "text": "x" }))),
        };
        params["_meta"] = json!({ "progressToken": "p" });
        if self.column.contains("modern") {
            let named = |key: &str| format!("io.modelcontextprotocol/{key}");
            params["_meta"][named("protocolVersion")] = json!("2026-07-28");
            params["_meta"][named("clientInfo")] = json!({ "name": "test", "version": "0" });
            params["_meta"][named("clientCapabilities")] = json!({});
        }
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        match ask {
            Broken(fault) => self.post(&[("x-fault", fault)], &message).await,
            WrongHeader => self.post(&[("mcp-name", "fail")], &message).await,
            _ => self.post(&[], &message).await,
        }
    }

    /// Asks for something, and gives the outcome and the blame of the one exchange that is counted.
    async fn verdict(&mut self, ask: Ask) -> (String, Reply) {
        let lost = matches!(ask, InLostSession);
        if let (true, Some(session)) = (lost, &self.session) {
            let own = session.splitn(3, '.').nth(2).unwrap();
            assert!(delete(self.server, own).await.status < 300);
        }
        let before = self.counts().await.1;
        let reply = self.ask(ask).await;
        let counted = eventually("it is counted", async || {
            let (pending, mut now) = self.counts().await;
            now.retain(|labels, count| {
                *count -= before.get(labels).unwrap_or(&0);
                *count > 0
            });
            (pending == 0 && !now.is_empty()).then_some(now)
        })
        .await;
        if lost {
            self.begin().await;
        }
        assert_eq!(counted.values().sum::<u64>(), 1, "{counted:?}");
        let [_, outcome, blame] = counted.into_keys().next().unwrap();
        (format!("{outcome} {blame}"), reply)
    }

    /// What waits and, by method, outcome and blame, what is over; a session's stream is no call.
    async fn counts(&self) -> (u64, BTreeMap<[String; 3], u64>) {
        let scrape = self.router.scrape().await;
        let pending = scrape.count("tidegate_exchanges_pending", &[]);
        let mut counts = scrape.by("tidegate_exchanges_total", ["method", "outcome", "blame"]);
        counts.retain(|[method, ..], _| method != "_stream");
        (pending, counts)
    }

    /// Every row that this column has; gives what is wrong.
    async fn rows(mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (fault, ask, common, others) in ROWS {
            let own = |(words, _): &&(&str, &str)| {
                words.split(' ').all(|word| self.column.contains(word))
            };
            let want = others.iter().find(own).map_or(common, |(_, other)| other);
            if want == NONE {
                continue;
            }
            let (verdict, reply) = self.verdict(ask).await;
            if verdict != want {
                let Scene { column, .. } = &self;
                let (status, answer) = (reply.status, reply.text());
                wrong.push(format!("{column}: {fault}: {verdict}, not {want}: {status} {answer}"));
            }
        }
        wrong
    }
}

/// All columns of a server of the fixtures.
async fn columns(server: &str, columns: &[&str]) {
    let mut wrong = Vec::new();
    for column in columns {
        let json = if column.contains("json") { "1" } else { "0" };
        let faults = [("FAULTS", "1"), ("JSON", json)];
        let name = if *column == "sse" { format!("{server} sse") } else { server.to_owned() };
        let (_process, address) = pairs_of(&name)[0].start_server(&faults).await;
        wrong.extend(Scene::new(&format!("{server} {column}"), address).await.rows().await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn python_1_shows_its_faults() {
    columns("py1", &["legacy", "legacy json", "sse"]).await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn python_2_shows_its_faults() {
    columns("py2", &["legacy", "legacy json", "modern", "modern json", "sse"]).await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn typescript_1_shows_its_faults() {
    columns("ts1", &["legacy", "legacy json", "sse"]).await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn typescript_2_shows_its_faults() {
    columns("ts2", &["legacy", "legacy json", "modern", "modern json"]).await;
}

/// A column of the Rust SDK's server.
async fn rust_column(column: &str) {
    let (_server, address) = rust::start(column.contains("json")).await;
    let wrong = Scene::new(column, address).await.rows().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn rust_shows_its_faults_in_sessions() {
    rust_column("rust legacy").await;
}

#[tokio::test]
async fn rust_shows_its_faults_without_sessions() {
    rust_column("rust modern").await;
}

#[tokio::test]
async fn rust_shows_its_faults_in_json() {
    rust_column("rust modern json").await;
}
