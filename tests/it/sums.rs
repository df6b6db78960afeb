//! Every request is counted once: after any mix of requests and faults, with clients that come
//! and go, weights that change and a scraper at work, the counts are what clients sent, to the
//! last one.
//!
//! Servers do what the name of the tool says, so a client knows beforehand what its call will come
//! to. One thing it cannot know: a connection closed before an answer is a race if it had been kept
//! and a lost answer if it was new, so the two are one here.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::support::client::{Connection, once};
use crate::support::{INITIALIZE, MODERN, Reply, Router, Scrape, Server};

use server::{Memory, SSE_CALLS, respond};

/// What becomes of the client's connection.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Kept,
    /// It ends with the answer.
    Closed,
    /// The client itself leaves: at once, or in the middle of the answer.
    Leaves,
    LeavesStream,
}

/// A tool, how often it is called, and what that comes to: outcome, blame, the class of the status
/// in a session and without one.
type Tool = (&'static str, u32, &'static str, &'static str, [&'static str; 2], After);

const TOOLS: [Tool; 24] = [
    ("answer", 300, "ok", "nobody", ["2xx"; 2], After::Kept),
    ("stream", 100, "ok", "nobody", ["2xx"; 2], After::Kept),
    ("fails", 20, "tool_error", "relative", ["2xx"; 2], After::Kept),
    ("fails_in_stream", 20, "tool_error", "relative", ["2xx"; 2], After::Kept),
    ("internal", 20, "rpc_error", "arm", ["2xx"; 2], After::Kept),
    ("internal_in_stream", 20, "rpc_error", "arm", ["2xx"; 2], After::Kept),
    ("refuses", 20, "client_error", "relative", ["2xx"; 2], After::Kept),
    ("own_code", 10, "rpc_error", "relative", ["2xx"; 2], After::Kept),
    ("no_json", 10, "rpc_error", "arm", ["2xx"; 2], After::Kept),
    ("bad_event", 10, "rpc_error", "arm", ["2xx"; 2], After::Kept),
    ("wrong_id", 10, "rpc_error", "arm", ["2xx"; 2], After::Kept),
    ("page", 10, "rpc_error", "arm", ["2xx"; 2], After::Kept),
    ("accepted", 10, "rpc_error", "arm", ["2xx"; 2], After::Kept),
    ("coded", 10, "unclassified", "nobody", ["2xx"; 2], After::Kept),
    ("busy", 20, "http_error", "arm", ["5xx"; 2], After::Kept),
    ("throttled", 10, "client_error", "relative", ["4xx"; 2], After::Kept),
    ("empty", 10, "transport", "arm", ["2xx"; 2], After::Kept),
    ("stream_ends", 10, "transport", "arm", ["2xx"; 2], After::Kept),
    ("half", 10, "transport", "arm", ["2xx"; 2], After::Closed),
    ("stream_breaks", 10, "transport", "arm", ["2xx"; 2], After::Closed),
    ("closes", 10, "transport", "arm", ["2xx", "5xx"], After::Kept),
    ("resets", 10, "transport", "arm", ["2xx", "5xx"], After::Kept),
    ("hangs", 10, "cancelled", "nobody", ["none"; 2], After::Leaves),
    ("stream_hangs", 10, "cancelled", "nobody", ["2xx"; 2], After::LeavesStream),
];

/// What clients sent and what has to come of it.
#[derive(Default)]
struct Expected {
    sent: u64,
    /// By method, outcome and blame; and, alone, by the class of the status.
    counts: BTreeMap<Vec<String>, u64>,
}

/// One client with a connection that it keeps for as long as it can, and a session.
struct Client {
    to: SocketAddr,
    expected: Arc<Mutex<Expected>>,
    random: SmallRng,
    connection: Option<Connection>,
    session: String,
    last_id: u64,
}

impl Client {
    fn expect(&self, method: &str, outcome: &str, blame: &str, status: &str) {
        let mut expected = self.expected.lock().unwrap();
        expected.sent += 1;
        for key in [vec![method, outcome, blame], vec![status]] {
            let key = key.into_iter().map(str::to_owned).collect();
            *expected.counts.entry(key).or_default() += 1;
        }
    }

    async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(self.to).await);
        }
        let connection = self.connection.as_mut().unwrap();
        connection.request(method, target, headers, body).await;
    }

    async fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        self.send(method, target, headers, body).await;
        self.connection.as_mut().unwrap().answer().await
    }

    /// The same in the session.
    async fn ask_in(&mut self, method: &str, more: &[(&str, &str)], body: &str) -> Reply {
        let session = self.session.clone();
        let headers = [&[("mcp-session-id", session.as_str())], more].concat();
        self.ask(method, "/mcp", &headers, body).await
    }

    async fn begin(&mut self) {
        self.expect("initialize", "ok", "nobody", "2xx");
        self.session = self.ask("POST", "/mcp", &[], INITIALIZE).await.session();
    }

    fn call(&mut self, tool: &str) -> String {
        self.last_id += 1;
        let id = self.last_id;
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}"}}}}"#
        )
    }

    /// A call of any tool, in the session or as a modern client.
    async fn call_something(&mut self) {
        let total: u32 = TOOLS.iter().map(|tool| tool.1).sum();
        let mut draw = self.random.random_range(0..total);
        let &(tool, _, outcome, blame, statuses, after) = TOOLS
            .iter()
            .find(|tool| {
                let found = draw < tool.1;
                draw = draw.wrapping_sub(tool.1);
                found
            })
            .unwrap();
        // Who leaves at once may be gone before a body is read that tells a legacy method.
        let modern = after == After::Leaves || self.random.random_bool(0.4);
        self.expect("tools/call", outcome, blame, statuses[usize::from(modern)]);
        let (body, session) = (self.call(tool), self.session.clone());
        let own = [("mcp-session-id", session.as_str())];
        let headers = if modern { &MODERN[..] } else { &own[..] };
        self.send("POST", "/mcp", headers, &body).await;
        let connection = self.connection.as_mut().unwrap();
        match after {
            After::Leaves => {}
            After::LeavesStream => {
                connection.head().await;
                connection.until("notifications/message").await;
            }
            After::Kept | After::Closed => {
                let reply = connection.answer().await;
                assert_eq!(reply.complete, after == After::Kept, "{tool}: {}", reply.text());
            }
        }
        if after != After::Kept {
            self.connection = None;
        }
    }

    /// A call whose stream the server closes, and the GET that fetches the answer.
    async fn resume(&mut self) {
        let (tool, outcome, blame) = if self.random.random_bool(0.5) {
            ("early", "ok", "nobody")
        } else {
            ("early_fails", "tool_error", "relative")
        };
        self.expect("tools/call", outcome, blame, "2xx");
        let body = self.call(tool);
        let reply = self.ask_in("POST", &[], &body).await;
        let event = reply.text().lines().next().unwrap().replace("id: ", "");
        self.expect("_stream", "ok", "nobody", "2xx");
        let rest = self.ask_in("GET", &[("last-event-id", &event)], "").await;
        assert!(rest.text().contains(&format!("\"id\":{}", self.last_id)), "{}", rest.text());
    }

    /// A session over HTTP+SSE, which ends in one of three ways with a call open.
    async fn legacy_session(&mut self) {
        let (end, stream, call) = match self.random.random_range(0..3) {
            0 => ("leaves", ["ok", "nobody"], ["cancelled", "nobody"]),
            1 => ("ends", ["ok", "nobody"], ["transport", "arm"]),
            _ => ("breaks", ["transport", "nobody"], ["transport", "arm"]),
        };
        self.expect("_stream", stream[0], stream[1], "2xx");
        let mut open = Connection::open(self.to).await;
        open.request("GET", &format!("/sse?{end}"), &[], "").await;
        open.head().await;
        let first = open.until("\n\n").await;
        let uri = first.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned();
        for id in 1..=SSE_CALLS {
            let (outcome, blame) = [("tool_error", "relative"), ("ok", "nobody")][id % 2];
            self.expect("tools/call", outcome, blame, "2xx");
            let body = format!(r#"{{"id":{id},"method":"tools/call","params":{{"name":"x"}}}}"#);
            assert_eq!(self.ask("POST", &uri, &[], &body).await.status, 202);
            open.until(&format!("\"id\":{id}")).await;
        }
        self.expect("tools/call", call[0], call[1], "2xx");
        let body = r#"{"id":99,"method":"tools/call","params":{"name":"never"}}"#;
        assert_eq!(self.ask("POST", &uri, &[], body).await.status, 202);
        if end != "leaves" {
            self.expect("notifications/initialized", "ok", "nobody", "2xx");
            let note = r#"{"method":"notifications/initialized"}"#;
            assert_eq!(self.ask("POST", &uri, &[], note).await.status, 202);
            assert_eq!(open.ended().await, end == "ends");
        }
    }

    /// What the router does not pass on; it may close the connection after it.
    async fn refused(&mut self) {
        let host: &[_] = &[("host", "a@b")];
        let (method, headers, body, label) = match self.random.random_range(0..5) {
            0 => ("POST", host, INITIALIZE, "_other"),
            1 => ("GET", host, "", "_stream"),
            2 => ("POST", &[][..], "{broken", "_other"),
            3 => ("POST", &[("mcp-session-id", "made up")][..], self_ping(), "ping"),
            _ => ("PUT", &[][..], "", "_none"),
        };
        self.expect(label, "rejected", "nobody", "4xx");
        let reply = once(self.to, method, "/mcp", headers, body).await;
        assert!(reply.text().contains("\"origin\":\"tidegate\""), "{}", reply.text());
    }

    /// A client that leaves in the middle of its request.
    async fn half_request(&mut self) {
        self.expect("_other", "cancelled", "nobody", "4xx");
        let mut connection = Connection::open(self.to).await;
        let body = self.call("answer");
        let head = "POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n";
        connection.send(format!("{head}{body}")).await;
        connection.half_close().await;
        assert!(connection.closed().await);
    }

    /// What is neither a call nor a fault.
    async fn other(&mut self) {
        let batch = |second: &str| {
            format!(
                r#"[{{"id":1,"method":"ping"}},{{"method":"notifications/initialized"}},{{"id":2,"method":"tools/call","params":{{"name":"{second}"}}}}]"#
            )
        };
        let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
        let reply = r#"{"jsonrpc":"2.0","id":5,"result":{}}"#;
        let ok = ("ok", "nobody", "2xx");
        let offered: &[_] = &[("x-offered", "no")];
        let (http, headers, body, label, (outcome, blame, status)) =
            match self.random.random_range(0..8) {
                0 => ("POST", &[][..], note.to_owned(), "notifications/cancelled", ok),
                1 => ("POST", &[][..], reply.to_owned(), "_reply", ok),
                2 => ("POST", &[][..], self_ping().to_owned(), "ping", ok),
                3 => ("POST", &[][..], batch("answer"), "_batch", ok),
                4 => {
                    let failed = ("tool_error", "relative", "2xx");
                    ("POST", &[][..], batch("fails"), "_batch", failed)
                }
                5 => ("GET", &[][..], String::new(), "_stream", ok),
                6 => {
                    let refused = ("client_error", "nobody", "4xx");
                    ("GET", offered, String::new(), "_stream", refused)
                }
                _ => ("DELETE", &[][..], String::new(), "_delete", ok),
            };
        self.expect(label, outcome, blame, status);
        assert!(self.ask_in(http, headers, &body).await.complete);
        if http == "DELETE" {
            self.begin().await;
        }
    }

    /// An `initialize` that both arms refuse, or a preflight, which is not counted at all.
    async fn in_vain(&mut self) {
        if self.random.random_bool(0.5) {
            self.expect("initialize", "http_error", "arm", "5xx");
            let unlucky = INITIALIZE.replace("\"test\"", "\"unlucky\"");
            assert_eq!(self.ask("POST", "/mcp", &[], &unlucky).await.status, 503);
        } else {
            self.ask("OPTIONS", "/mcp", &[], "").await;
        }
    }

    async fn work(mut self, requests: u64) {
        self.begin().await;
        while self.expected.lock().unwrap().sent < requests {
            match self.random.random_range(0..100) {
                0..80 => self.call_something().await,
                80..93 => self.other().await,
                93..96 => self.resume().await,
                96..98 => self.refused().await,
                98 => self.in_vain().await,
                _ if self.random.random_bool(0.5) => self.half_request().await,
                _ => self.legacy_session().await,
            }
        }
    }
}

fn self_ping() -> &'static str {
    r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#
}

/// Scrapes all the time: nothing is ever counted that was not sent.
async fn watch(router: &Router, expected: &Mutex<Expected>) {
    let mut rhythm = interval(Duration::from_millis(100));
    loop {
        rhythm.tick().await;
        let scrape = router.scrape().await;
        let counted = scrape.count("tidegate_exchanges_total", &[]);
        let pending = scrape.count("tidegate_exchanges_pending", &[]);
        let sent = expected.lock().unwrap().sent;
        assert!(counted + pending <= sent, "{counted} and {pending} of {sent}");
    }
}

async fn change_weights(router: &Router) {
    let mut rhythm = interval(Duration::from_millis(50));
    for secondary in (0..=100).cycle().step_by(7) {
        rhythm.tick().await;
        router.split(100 - secondary, secondary).await;
    }
}

/// So many requests of eight clients; `seed` makes the same mix again.
async fn sums(requests: u64, seed: u64) {
    let memories = [Memory::default(), Memory::default()];
    let [one, two] = memories.map(|memory| Server::scripted(move |seen| respond(&memory, seen)));
    let (one, two) = tokio::join!(one, two);
    let settings = "\n[log]\nlevel = \"error\"";
    let router = Router::start(&[one.address], &[two.address], settings).await;
    let expected = Arc::<Mutex<Expected>>::default();
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let client = Client {
            to: router.address,
            expected: Arc::clone(&expected),
            random: SmallRng::seed_from_u64(seed + number),
            connection: None,
            session: String::new(),
            last_id: 0,
        };
        clients.spawn(client.work(requests));
    }
    tokio::select! {
        _ = clients.join_all() => {}
        () = watch(&router, &expected) => {}
        () = change_weights(&router) => {}
    }
    let expected = std::mem::take(&mut *expected.lock().unwrap());
    // What is under way is counted when it ends, and a round of joining takes a second.
    let mut rhythm = interval(Duration::from_millis(250));
    let mut last = Vec::new();
    for _ in 0..40 {
        rhythm.tick().await;
        let scrape = router.scrape().await;
        last = differences(&scrape, &expected);
        if last.is_empty() {
            return assert_eq!(scrape.count("tidegate_exchanges_total", &[]), expected.sent);
        }
    }
    panic!("seed {seed}, {} requests:\n{}", expected.sent, last.join("\n"));
}

/// Where the counts are not what they should be.
fn differences(scrape: &Scrape, expected: &Expected) -> Vec<String> {
    let mut counted = BTreeMap::<_, u64>::new();
    for ([method, outcome, blame], count) in
        scrape.by("tidegate_exchanges_total", ["method", "outcome", "blame"])
    {
        let lost = ["transport", "arm"].map(str::to_owned);
        let [outcome, blame] = if outcome == "race" { lost } else { [outcome, blame] };
        *counted.entry(vec![method, outcome, blame]).or_default() += count;
    }
    for ([class], count) in scrape.by("tidegate_responses_total", ["status"]) {
        counted.insert(vec![class], count);
    }
    counted.insert(vec!["pending".to_owned()], scrape.count("tidegate_exchanges_pending", &[]));
    counted.retain(|_, count| *count > 0);
    let keys: BTreeSet<_> = counted.keys().chain(expected.counts.keys()).collect();
    keys.into_iter()
        .map(|key| (key, counted.get(key).unwrap_or(&0), expected.counts.get(key).unwrap_or(&0)))
        .filter(|(_, counted, expected)| counted != expected)
        .map(|(key, counted, expected)| format!("{key:?}: {counted}, not {expected}"))
        .collect()
}

#[tokio::test]
async fn the_sum_of_all_counts_is_what_clients_sent() {
    sums(5_000, 2026).await;
}

#[tokio::test]
#[ignore = "takes a minute or two: tests/run"]
async fn the_sum_of_all_counts_is_what_clients_sent_after_100_000_requests() {
    sums(100_000, 1127).await;
}
