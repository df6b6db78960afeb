//! What the scripted servers say: the tools of the real ones, both eras, HTTP+SSE, streams that can
//! be resumed, and on command what no client should ever have to read.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::support::server::{answer, chunk, stream_head};
use crate::support::{Seen, Step};

/// How a server behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Well,
    /// Each answer takes so long.
    Slow(Duration),
    /// 500.
    Fails,
    /// No HTTP at all.
    NoHttp,
    /// Less than the length that was told, then the end.
    TooShort,
    /// Chunks that do not add up.
    BrokenChunks,
    /// A whole answer with half a message in it.
    HalfMessage,
    /// An event stream in which nothing comes, and which does not end.
    Endless,
    /// Half an answer, then nothing more from its side.
    HalfClosed,
    /// Half an answer, then a reset.
    Reset,
}

/// How often each call has run, by its argument.
pub type Ran = Arc<Mutex<HashMap<String, u32>>>;

/// Events of a stream before it ends by itself, and the time between two.
const EVENTS: usize = 100;
const RHYTHM: Duration = Duration::from_millis(100);
/// What a call takes whose argument ends with a 0.
const SLOW_CALL: Duration = Duration::from_millis(300);

/// One life of a server: what it remembers dies with it.
struct Life {
    name: &'static str,
    /// Distinguishes its sessions from those of its other lives.
    number: u32,
    sessions: Mutex<HashSet<String>>,
    /// The event streams of HTTP+SSE.
    streams: Mutex<HashMap<String, UnboundedSender<String>>>,
    ran: Ran,
}

/// The script of one life.
pub fn script(
    name: &'static str,
    number: u32,
    ran: Ran,
    manner: Arc<Mutex<Manner>>,
) -> impl Fn(&Seen) -> Vec<Step> + Send + Sync {
    let (sessions, streams) = (Mutex::default(), Mutex::default());
    let life = Life { name, number, sessions, streams, ran };
    move |seen| {
        let good = life.answers(seen);
        let manner = *manner.lock().unwrap();
        mannered(manner, seen, good)
    }
}

fn mannered(manner: Manner, seen: &Seen, good: Vec<Step>) -> Vec<Step> {
    let whole = || match good.iter().find(|step| matches!(step, Step::Send(_))) {
        Some(Step::Send(text)) => text.clone(),
        _ => String::new(),
    };
    let half = |text: String| text[..text.len() / 2].to_owned();
    let text = |text: &str| Step::Send(text.to_owned());
    match manner {
        Manner::Well => good,
        Manner::Slow(by) => [Step::Rest(by)].into_iter().chain(good).collect(),
        Manner::Fails => vec![Step::Send(answer(500, &[], r#"{"error":"told to"}"#))],
        Manner::NoHttp => vec![text("SSH-2.0-OpenSSH_9.6\r\n"), Step::Close],
        Manner::TooShort => {
            let told = json!({ "jsonrpc": "2.0", "id": body(seen)["id"], "result": {} });
            let told = told.to_string();
            let cut = answer(200, &[], &format!("{told}{told}"));
            vec![Step::Send(cut[..cut.len() - told.len()].to_owned()), Step::Close]
        }
        Manner::BrokenChunks => vec![Step::Send(stream_head(&[])), text("zz\r\ndata: {\r\n")],
        Manner::HalfMessage => vec![Step::Send(answer(200, &[], r#"{"jsonrpc":"2.0","id":"#))],
        Manner::Endless => vec![Step::Send(stream_head(&[])), Step::UntilGone(Arc::default())],
        Manner::HalfClosed => vec![Step::Send(half(whole())), Step::HalfClose],
        Manner::Reset => vec![Step::Send(half(whole())), Step::Reset],
    }
}

fn body(seen: &Seen) -> Value {
    serde_json::from_str(&seen.body).unwrap_or_default()
}

fn send(text: String) -> Vec<Step> {
    vec![Step::Send(text)]
}

fn event(id: Option<usize>, data: &Value) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    chunk(&format!("{id}data: {data}\n\n"))
}

impl Life {
    fn answers(&self, seen: &Seen) -> Vec<Step> {
        if let Some((_, stream)) = seen.target.split_once("/messages?stream=") {
            let stream = stream.split('&').next().unwrap_or_default();
            return self.answers_on_stream(stream, seen);
        }
        if seen.method == "GET" && seen.target.starts_with("/sse") {
            return self.opens_stream();
        }
        let session = seen.header("mcp-session-id");
        let is_known = |id: &str| self.sessions.lock().unwrap().contains(id);
        match (seen.method.as_str(), session) {
            (_, Some(id)) if !is_known(id) => {
                let told = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "Session not found" } });
                send(answer(404, &[], &told.to_string()))
            }
            ("DELETE", Some(id)) => {
                self.sessions.lock().unwrap().remove(id);
                send(answer(200, &[], ""))
            }
            ("GET", Some(id)) => events(id, seen.header("last-event-id")),
            ("POST", _) => self.answers_post(seen),
            _ => send(answer(405, &[], "")),
        }
    }

    /// Half of the calls are answered on an event stream, as real servers do.
    fn answers_post(&self, seen: &Seen) -> Vec<Step> {
        let message = body(seen);
        let Some(told) = self.says(&message) else { return send(answer(202, &[], "")) };
        let text = message["params"]["arguments"]["text"].as_str().unwrap_or_default();
        let rest = text.ends_with('0').then_some(Step::Rest(SLOW_CALL));
        let opened = (message["method"] == "initialize").then(|| self.opens_session());
        let own: Vec<_> = opened.iter().map(|id| ("mcp-session-id", id.as_str())).collect();
        let told = if text.ends_with(['1', '3', '5', '7', '9']) {
            stream_head(&[]) + &event(None, &told) + &chunk("")
        } else {
            answer(200, &own, &told.to_string())
        };
        rest.into_iter().chain(send(told)).collect()
    }

    fn opens_session(&self) -> String {
        let mut sessions = self.sessions.lock().unwrap();
        let id = format!("{}-{}-{}", self.name, self.number, rand::random::<u64>());
        sessions.insert(id.clone());
        id
    }

    fn opens_stream(&self) -> Vec<Step> {
        let (sender, pieces) = unbounded_channel();
        let id = format!("{}-{}", self.number, rand::random::<u64>());
        let first = chunk(&format!("event: endpoint\ndata: /messages?stream={id}\n\n"));
        self.streams.lock().unwrap().insert(id, sender);
        vec![Step::Send(stream_head(&[])), Step::Send(first), Step::Follow(pieces)]
    }

    fn answers_on_stream(&self, stream: &str, seen: &Seen) -> Vec<Step> {
        let streams = self.streams.lock().unwrap();
        let Some(stream) = streams.get(stream).filter(|stream| !stream.is_closed()) else {
            return send(answer(404, &[], ""));
        };
        if let Some(told) = self.says(&body(seen)) {
            let told = chunk(&format!("event: message\ndata: {told}\n\n"));
            if stream.send(told).is_err() {
                return send(answer(404, &[], ""));
            }
        }
        send(answer(202, &[], ""))
    }

    /// The answer to a message; `None` to a notification.
    fn says(&self, message: &Value) -> Option<Value> {
        let id = message.get("id")?;
        let params = &message["params"];
        let own = json!({ "name": "scripted", "version": self.name });
        let tools = || {
            ["echo", "whoami"]
                .map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }))
        };
        let content = |text: &str| json!({ "content": [{ "type": "text", "text": text }] });
        let result = match message["method"].as_str()? {
            "initialize" => json!({
                "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": own
            }),
            "server/discover" => json!({
                "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} }, "serverInfo": own
            }),
            "tools/list" => json!({ "tools": tools() }),
            "tools/call" if params["name"] == "echo" => {
                let text = params["arguments"]["text"].as_str()?;
                *self.ran.lock().unwrap().entry(text.to_owned()).or_default() += 1;
                content(text)
            }
            "tools/call" => content(&json!({ "version": self.name }).to_string()),
            _ => json!({}),
        };
        Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }
}

/// Numbered events of a session, from the one after the last that the client has.
fn events(session: &str, last: Option<&str>) -> Vec<Step> {
    let first = last.and_then(|last| last.parse::<usize>().ok()).map_or(0, |last| last + 1);
    let told = |number: usize| {
        let params = json!({ "level": "info", "data": { "session": session, "number": number } });
        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params })
    };
    let pieces = (first..first + EVENTS)
        .flat_map(|number| [Step::Rest(RHYTHM), Step::Send(event(Some(number), &told(number)))]);
    let head = Step::Send(stream_head(&[]));
    [head].into_iter().chain(pieces).chain(send(chunk(""))).collect()
}
