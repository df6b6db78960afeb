//! Clients without end that check every answer, and write down what they did not get.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::ledger::{Failed, Failure, Work};
use super::talk::{Answer, Caller, Events};
use super::world::World;

/// Calls of a session, and the pause before each, in milliseconds.
const CALLS: std::ops::Range<u32> = 3..60;
const PAUSE: std::ops::Range<u64> = 20..400;
/// Who was not served does not come back at once.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// One client.
struct Client {
    world: Rc<World>,
    caller: Caller,
    number: usize,
    asked: u64,
    /// The server of its session, and since when.
    home: Option<&'static str>,
    since: Instant,
    session: Option<String>,
    is_far: bool,
}

/// All that is put on a router: clients of each kind, until the run ends.
pub async fn load(world: Rc<World>, each: usize) {
    let mut clients = JoinSet::new();
    for number in 0..each {
        // One in three comes over the wire that is made worse.
        let client = |kind: usize| Client::new(&world, kind * 1000 + number, number % 3 == 2);
        clients.spawn_local(client(1).sessions());
        clients.spawn_local(client(2).sessions());
        clients.spawn_local(client(3).modern());
        clients.spawn_local(client(4).streams());
        clients.spawn_local(client(5).old());
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

impl Client {
    fn new(world: &Rc<World>, number: usize, is_far: bool) -> Client {
        let to = if is_far { world.clients.address } else { world.address };
        Client {
            world: Rc::clone(world),
            caller: Caller::new(to, &world.visitor),
            number,
            asked: 0,
            home: None,
            since: Instant::now(),
            session: None,
            is_far,
        }
    }

    fn goes_on(&self) -> bool {
        !self.world.is_closing.get()
    }

    /// Sessions one after the other.
    async fn sessions(mut self) {
        while self.goes_on() {
            if self.open(&[]).await.is_err() {
                sleep(AFTER_FAILURE).await;
                continue;
            }
            for _ in 0..rand::random_range(CALLS) {
                sleep(draw_pause()).await;
                if !self.goes_on() || self.call(Work::Bound, &[]).await == Err(true) {
                    break;
                }
            }
            self.close().await;
        }
    }

    /// Calls of the era without sessions, by one caller.
    async fn modern(mut self) {
        let bearer = format!("Bearer chaos-{}", self.number);
        while self.goes_on() {
            sleep(draw_pause()).await;
            let (work, method) = match rand::random_range(0..10) {
                0 => (Work::Opening, "server/discover"),
                1 | 2 => (Work::List, "tools/list"),
                _ => (Work::Call, "tools/call"),
            };
            let own = [
                ("authorization", bearer.as_str()),
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", method),
            ];
            let _ = match work {
                Work::Call => self.call(work, &[&own[..], &[("mcp-name", "")]].concat()).await,
                _ => self.ask(work, &own, method, json!({})).await.map(drop),
            };
        }
    }

    /// Sessions with an event stream that is resumed wherever it ends.
    async fn streams(mut self) {
        while self.goes_on() {
            if self.open(&[]).await.is_err() {
                sleep(AFTER_FAILURE).await;
                continue;
            }
            let is_real = self.world.is_real(self.home);
            let mut last = None;
            for _ in 0..rand::random_range(1..4) {
                if self.goes_on() && !is_real && self.follow(&mut last).await.is_err() {
                    sleep(AFTER_FAILURE).await;
                }
                if self.call(Work::Bound, &[]).await == Err(true) {
                    break;
                }
            }
            self.close().await;
        }
    }

    /// One stream to its end; each event is the one after the last.
    async fn follow(&mut self, last: &mut Option<u64>) -> Result<(), ()> {
        let began = Instant::now();
        let (id, resume) = (self.next(), last.map(|last| last.to_string()));
        let session = self.session.clone().unwrap_or_default();
        let mut headers = vec![("x-request-id", id.as_str()), ("mcp-session-id", &session)];
        headers.extend(resume.iter().map(|last| ("last-event-id", last.as_str())));
        let opened = self.caller.stream("/mcp", &headers).await;
        let mut events = self.note(Work::Stream, id.clone(), began, opened)?;
        while self.goes_on() {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.world.closing() => return Ok(()),
            };
            let Some(event) = self.note(Work::Stream, id.clone(), began, event)? else {
                return Ok(());
            };
            let number = event.id.parse::<u64>().ok();
            let expected = last.map_or(0, |last| last + 1);
            let told: Value = serde_json::from_str(&event.data).unwrap_or_default();
            let is_own = told["params"]["data"]["session"]
                .as_str()
                .is_some_and(|own| session.ends_with(own));
            if number != Some(expected) || !is_own {
                self.world.ledger.wrong(format!("{id}: event {expected} of {session}: {event:?}"));
            }
            *last = number;
        }
        Ok(())
    }

    /// The transport of 2024-11-05: calls one way, answers the other.
    async fn old(mut self) {
        while self.goes_on() {
            sleep(draw_pause()).await;
            self.home = None;
            let (began, id) = (Instant::now(), self.next());
            let opened = self.caller.stream("/sse", &[("x-request-id", &id)]).await;
            // Real servers speak one transport at a time.
            if matches!(&opened, Err(Failed::Theirs(404 | 405, _))) && self.world.has_real() {
                continue;
            }
            // Where it lives is told by the first answer.
            let Ok(mut events) = self.note(Work::Call, id.clone(), began, opened) else {
                sleep(AFTER_FAILURE).await;
                continue;
            };
            let first = events.first().await;
            let Ok(first) = self.note(Work::Stream, id, began, first) else { continue };
            if first.name != "endpoint" {
                self.world.ledger.wrong(format!("no endpoint: {first:?}"));
            }
            self.talk_on(&mut events, &first.data).await;
        }
    }

    async fn talk_on(&mut self, events: &mut Events, target: &str) {
        let method = "initialize";
        let Ok(told) = self.ask_on(events, target, method, initialize()).await else { return };
        self.settle(&told);
        for _ in 0..rand::random_range(CALLS) {
            sleep(draw_pause()).await;
            if !self.goes_on() {
                return;
            }
            let text = self.next();
            let params = json!({ "name": "echo", "arguments": { "text": text } });
            let Ok(told) = self.ask_on(events, target, "tools/call", params).await else { return };
            self.check_echo(&told, &text);
        }
    }

    async fn ask_on(
        &mut self,
        events: &mut Events,
        target: &str,
        method: &str,
        params: Value,
    ) -> Result<Value, ()> {
        let (began, id) = (Instant::now(), self.next());
        let message =
            json!({ "jsonrpc": "2.0", "id": self.asked, "method": method, "params": params });
        let accepted = self.caller.post(target, &[("x-request-id", &id)], &message).await;
        let answered = match accepted {
            Ok(Answer { status: 202, .. }) => events.answer(&message["id"]).await,
            other => other,
        };
        // Its session ends with the stream.
        let answer = self.note(Work::Stream, id, began, answered)?;
        Ok(answer.message)
    }

    async fn open(&mut self, more: &[(&str, &str)]) -> Result<(), ()> {
        (self.session, self.home) = (None, None);
        let answer = self.ask(Work::Opening, more, "initialize", initialize()).await;
        let answer = answer.map_err(drop)?;
        self.session = answer.session;
        self.settle(&answer.message);
        let told = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let (began, id) = (Instant::now(), self.next());
        let session = self.session.clone().unwrap_or_default();
        let headers = [("x-request-id", id.as_str()), ("mcp-session-id", &session)];
        let told = self.caller.post("/mcp", &headers, &told).await;
        self.note(Work::Bound, id, began, told).map(drop)
    }

    /// Its session is where the first answer says.
    fn settle(&mut self, told: &Value) {
        let name = told["result"]["serverInfo"]["version"].as_str().unwrap_or_default();
        self.home = self.world.named(name);
        self.since = Instant::now();
        if self.home.is_none() {
            self.world.ledger.wrong(format!("no server is called {name:?}: {told}"));
        }
    }

    async fn close(&mut self) {
        let (began, id) = (Instant::now(), self.next());
        let session = self.session.take().unwrap_or_default();
        let headers = [("x-request-id", id.as_str()), ("mcp-session-id", &session)];
        let ended = self.caller.delete(&headers).await;
        let ended = match ended {
            Ok(status @ 400..) => Err(Failed::Theirs(status, "DELETE".to_owned())),
            other => other,
        };
        let _ = self.note(Work::Bound, id, began, ended);
        self.home = None;
    }

    /// A call that is checked; on failure, whether its session is gone.
    async fn call(&mut self, work: Work, headers: &[(&str, &str)]) -> Result<(), bool> {
        let text = self.next();
        let is_echo = rand::random_bool(0.7);
        let name = if is_echo { "echo" } else { "whoami" };
        let arguments = if is_echo { json!({ "text": text }) } else { json!({}) };
        let mut headers = headers.to_vec();
        for (key, value) in &mut headers {
            if *key == "mcp-name" {
                *value = name;
            }
        }
        let params = json!({ "name": name, "arguments": arguments });
        let answer = self.ask(work, &headers, "tools/call", params).await?;
        if is_echo {
            self.check_echo(&answer.message, &text);
        } else {
            let told = content(&answer.message);
            let told: Value = serde_json::from_str(&told).unwrap_or_default();
            let server = self.world.named(told["version"].as_str().unwrap_or_default());
            if server.is_none() || (work == Work::Bound && server != self.home) {
                let home = self.home;
                self.world.ledger.wrong(format!("{text}: of {home:?}, answered by {answer:?}"));
            }
        }
        Ok(())
    }

    fn check_echo(&self, told: &Value, text: &str) {
        if content(told) != text {
            self.world.ledger.wrong(format!("{text}: {told}"));
        }
    }

    /// A request; on failure, whether its session is gone.
    async fn ask(
        &mut self,
        work: Work,
        headers: &[(&str, &str)],
        method: &str,
        mut params: Value,
    ) -> Result<Answer, bool> {
        let (began, id) = (Instant::now(), self.next());
        let number = self.asked;
        if headers.iter().any(|(name, _)| *name == "mcp-method") {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "chaos", "version": "0" },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        let message = json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": params });
        let mut headers = headers.to_vec();
        headers.push(("x-request-id", &id));
        let session = self.session.clone();
        headers.extend(session.iter().map(|session| ("mcp-session-id", session.as_str())));
        let answer = self.caller.post("/mcp", &headers, &message).await;
        let is_gone = matches!(&answer, Err(Failed::Theirs(404, _)));
        let answer = self.note(work, id, began, answer);
        let Ok(answer) = answer else {
            sleep(AFTER_FAILURE).await;
            return Err(is_gone);
        };
        if answer.message["id"] != number {
            self.world.ledger.wrong(format!("{number} was answered with {answer:?}"));
        }
        Ok(answer)
    }

    /// What nobody else says.
    fn next(&mut self) -> String {
        self.asked = self.world.next();
        format!("c{}-{}", self.number, self.asked)
    }

    fn note<T>(
        &self,
        work: Work,
        request: String,
        began: Instant,
        came: Result<T, Failed>,
    ) -> Result<T, ()> {
        let ledger = &self.world.ledger;
        let failed = match came {
            Ok(came) => {
                ledger.answered(work);
                return Ok(came);
            }
            Err(failed) => failed,
        };
        // A call in no session knows no server.
        let server = if matches!(work, Work::Bound | Work::Stream) { self.home } else { None };
        let (since, is_far, ended) = (self.since, self.is_far, Instant::now());
        ledger.failed(Failure { work, request, server, since, is_far, failed, began, ended });
        Err(())
    }
}

fn draw_pause() -> Duration {
    Duration::from_millis(rand::random_range(PAUSE))
}

fn initialize() -> Value {
    json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": { "name": "chaos", "version": "0" },
    })
}

fn content(told: &Value) -> String {
    told["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}
