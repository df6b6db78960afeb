//! Real servers behind the router: each of them sees exactly the messages that were meant, whatever
//! stands in the bytes of a client. That is what smuggling would break: two parsers that read the
//! same bytes in two ways.

mod framing;

mod heads;

mod servers;

use std::collections::{BTreeMap, BTreeSet};

use servers::Origin;

use crate::support::client::Connection;
use crate::support::{Reply, Router, Seen, nobody};

/// What must become of one request among a client's bytes.
enum Want {
    /// It reaches the server as this.
    Passes(Message),
    /// It is refused, and nothing after it is read.
    Refused,
    /// Either: both are safe, and which one it is says the law of the router.
    Either(Message),
    /// It reaches the server as this, or one of the two refuses it: some servers are stricter.
    Picky(Message),
}

/// A request as a server has to see it.
struct Message {
    method: &'static str,
    target: String,
    /// Nothing: the server's own, or none of the test's business.
    host: Option<&'static str>,
    /// Besides those that the router and the hops set.
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

impl Message {
    fn new(method: &'static str, target: &str, body: &str) -> Message {
        let (target, body) = (target.to_owned(), body.to_owned());
        Message { method, target, host: Some("localhost"), headers: Vec::new(), body }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Message {
        self.headers.push((name, value));
        self
    }

    fn host(mut self, host: Option<&'static str>) -> Message {
        self.host = host;
        self
    }

    /// That a server saw just this.
    fn is(&self, seen: &Seen) -> Result<(), String> {
        // ASGI has no word for a query that is empty.
        let target = |text: &str| text.trim_end_matches('?').to_owned();
        // And it writes methods in capitals.
        let method = self.method.eq_ignore_ascii_case(&seen.method);
        if !method || target(&self.target) != target(&seen.target) {
            return Err(format!("not {} {}", self.method, self.target));
        }
        if self.body != seen.body {
            return Err(format!("not the body {:?}", self.body));
        }
        if self.host.is_some_and(|host| seen.header("host") != Some(host)) {
            return Err(format!("not the host {:?}", self.host));
        }
        for name in self.headers.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>() {
            let values = |all: &mut dyn Iterator<Item = &str>| {
                all.map(str::trim).collect::<Vec<_>>().join(", ")
            };
            let own = self.headers.iter().filter(|it| it.0 == name).map(|it| it.1);
            let got = seen.headers.iter().filter(|it| it.0 == name).map(|it| it.1.as_str());
            let (own, got) = (values(&mut own.into_iter()), values(&mut got.into_iter()));
            if own != got {
                return Err(format!("{name} is not {own:?} but {got:?}"));
            }
        }
        let known = |name: &str| OURS.contains(&name) || self.headers.iter().any(|it| it.0 == name);
        match seen.headers.iter().find(|(name, _)| !known(name)) {
            Some((name, _)) => Err(format!("the header {name}")),
            None => frame(seen),
        }
    }
}

/// What the router and the hops set, and what every payload may have.
const OURS: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "content-type",
    "connection",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "forwarded",
    "via",
    "x-request-id",
    "traceparent",
];

/// That what frames a message says one thing.
fn frame(seen: &Seen) -> Result<(), String> {
    let count = |wanted: &str| seen.headers.iter().filter(|(name, _)| name == wanted).count();
    let frames = count("content-length") + count("transfer-encoding");
    let length = seen.header("content-length").map(str::to_owned);
    if frames > 1 || length.is_some_and(|length| length != seen.body.len().to_string()) {
        return Err("framing that says two things".to_owned());
    }
    if count("host") == 1 { Ok(()) } else { Err("not one host".to_owned()) }
}

/// A request in a line.
fn short(seen: &Seen) -> String {
    let cut = |text: &str| text.chars().take(60).collect::<String>();
    let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    let (target, body) = (cut(&seen.target), cut(&seen.body));
    format!("{} {target} {} {body:?}", seen.method, names.join(","))
}

/// What a client sends, and what must become of it.
struct Payload {
    name: &'static str,
    bytes: Vec<u8>,
    wants: Vec<Want>,
}

impl Payload {
    /// Whether there is a request in it that nobody may see.
    fn hides(&self) -> bool {
        let hidden = framing::HIDDEN.as_bytes();
        self.bytes.windows(hidden.len()).any(|it| it == hidden)
    }
}

/// A server behind a router of its own.
struct Stand {
    origin: Origin,
    router: Router,
    canaries: usize,
}

impl Stand {
    async fn new(origin: Origin) -> Stand {
        let settings =
            "workers = 1\n[timeouts]\nheader = \"500ms\"\nidle = \"500ms\"\nbody_idle = \"300ms\"";
        let router = Router::start(&[origin.address], &[nobody().await], settings).await;
        Stand { origin, router, canaries: 0 }
    }

    /// Sends a payload; says of each request that was answered whether the server did.
    async fn play(&mut self, payload: &Payload) -> Result<Vec<bool>, String> {
        let before = self.origin.seen().len();
        let mut connection = Connection::open(self.router.address).await;
        // Nothing to do for who is refused before all is written.
        connection.flood(&payload.bytes, 1).await;
        let mut passed = Vec::new();
        for _ in &payload.wants {
            let Some(reply) = final_answer(&mut connection).await else { break };
            passed.push(reply.header("x-origin").is_some());
            if passed.last() == Some(&false) {
                break;
            }
        }
        if payload.hides()
            && passed.last() == Some(&false)
            && connection.try_answer().await.is_some()
        {
            // Who cannot tell where a message ends cannot tell where the next one begins.
            return Err("what follows a refused request was read".to_owned());
        }
        drop(connection);
        let canary = self.canary().await?;
        let mut seen = self.origin.seen().split_off(before);
        let last = seen.pop().ok_or("the canary was not seen")?;
        canary.is(&last).map_err(|why| format!("canary: {why}: {}", short(&last)))?;
        judge(payload, &passed, &seen)?;
        Ok(passed)
    }

    /// A good request on a connection of its own: it gets the answer to itself.
    async fn canary(&mut self) -> Result<Message, String> {
        self.canaries += 1;
        let (target, body) = (format!("/canary/{}", self.canaries), self.canaries.to_string());
        let text = format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = Connection::open(self.router.address).await;
        connection.send(text).await;
        let reply = connection.answer().await;
        if reply.text() == format!("POST {target} {body}") {
            return Ok(Message::new("POST", &target, &body));
        }
        Err(format!("the canary got {} {}", reply.status, reply.text()))
    }
}

/// The next answer that is final; nothing once the router has closed.
async fn final_answer(connection: &mut Connection) -> Option<Reply> {
    loop {
        let reply = connection.try_answer().await?;
        if reply.status >= 200 {
            return Some(reply);
        }
    }
}

/// Whether the server saw what was meant.
fn judge(payload: &Payload, passed: &[bool], seen: &[Seen]) -> Result<(), String> {
    let mut seen = seen.iter();
    for (number, want) in payload.wants.iter().enumerate() {
        let passes = passed.get(number) == Some(&true);
        let message = match want {
            Want::Passes(_) if !passes => return Err(format!("request {number} was refused")),
            Want::Refused if passes => return Err(format!("request {number} was let through")),
            Want::Passes(message) | Want::Either(message) | Want::Picky(message) if passes => {
                message
            }
            // What is refused ends the connection's business.
            _ => break,
        };
        let it = seen.next().ok_or(format!("request {number} was answered and not seen"))?;
        message.is(it).map_err(|why| format!("request {number}: {why}: {}", short(it)))?;
    }
    match seen.next() {
        Some(more) => Err(format!("one more: {}", short(more))),
        None => Ok(()),
    }
}

#[tokio::test]
#[ignore = "needs tests/run: nginx, HAProxy, uvicorn, hypercorn and Node"]
async fn every_origin_sees_exactly_what_was_meant() {
    let mut payloads = framing::all();
    payloads.extend(heads::all());
    let mut wrong = Vec::new();
    let mut first: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for origin in Origin::all().await {
        let name = origin.name;
        let mut stand = Stand::new(origin).await;
        for payload in &payloads {
            match stand.play(payload).await {
                Err(why) => wrong.push(format!("{name}: {}: {why}", payload.name)),
                Ok(passed) => {
                    // What the router lets through does not depend on who stands behind it.
                    let picky = payload.wants.iter().any(|want| matches!(want, Want::Picky(_)));
                    let before = first.entry(payload.name).or_insert_with(|| passed.clone());
                    if !picky && *before != passed {
                        wrong.push(format!("{name}: {}: {passed:?}", payload.name));
                    }
                }
            }
        }
        assert!(!stand.router.log().contains("panicked"), "{}", stand.router.log());
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
