//! A server that does what the name of the tool says, and HTTP+SSE sessions beside it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::support::server::{answer, chunk, stream_head};
use crate::support::{Seen, Step};

fn result(id: &str, failed: bool) -> String {
    let failed = if failed { r#","isError":true"# } else { "" };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]{failed}}}}}"#)
}

fn error(id: &str, code: i32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"as told"}}}}"#)
}

/// A whole stream with these events.
fn stream(events: &[&str]) -> String {
    let noted = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    let events = [&[noted], events].concat();
    let chunks: String =
        events.iter().map(|data| chunk(&format!("event: message\ndata: {data}\n\n"))).collect();
    stream_head(&[]) + &chunks
}

/// What a server does with a call of this tool.
fn call_steps(tool: &str, id: &str) -> Vec<Step> {
    let send = |text: String| vec![Step::Send(text)];
    let then = |text: String, step: Step| vec![Step::Send(text), step];
    let gone = || Step::UntilGone(Arc::new(Notify::new()));
    let end = chunk("");
    match tool {
        "stream" => send(stream(&[&result(id, false)]) + &end),
        "fails" => send(answer(200, &[], &result(id, true))),
        "fails_in_stream" => send(stream(&[&result(id, true)]) + &end),
        "internal" => send(answer(200, &[], &error(id, -32603))),
        "internal_in_stream" => send(stream(&[&error(id, -32603)]) + &end),
        "refuses" => send(answer(200, &[], &error(id, -32602))),
        "own_code" => send(answer(200, &[], &error(id, 17))),
        "no_json" => send(answer(200, &[], &result(id, false).replace("}}", "}"))),
        "bad_event" => send(stream(&["{broken"]) + &end),
        "wrong_id" => send(answer(200, &[], &result("\"nobody's\"", false))),
        "page" => send(answer(200, &[], "<html>").replace("application/json", "text/html")),
        "accepted" => send(answer(202, &[], "")),
        "coded" => send(answer(200, &[("content-encoding", "gzip")], "\u{1f}")),
        "busy" => send(answer(503, &[], "busy")),
        "throttled" => send(answer(429, &[], "{}")),
        "empty" => send(answer(200, &[("content-type", "application/json")], "")),
        "stream_ends" => send(stream(&[]) + &end),
        "half" => {
            let whole = answer(200, &[], &result(id, false));
            then(whole[..whole.len() - 5].to_owned(), Step::Close)
        }
        "stream_breaks" => then(stream(&[]), Step::Reset),
        "closes" => vec![Step::Close],
        "resets" => vec![Step::Reset],
        "hangs" => vec![gone()],
        "stream_hangs" => then(stream(&[]), gone()),
        // The rest comes to who asks for what came after this event.
        "early" => send(stream_head(&[]) + &chunk(&format!("id: {id}\ndata:\n\n")) + &end),
        "early_fails" => send(stream_head(&[]) + &chunk(&format!("id: -{id}\ndata:\n\n")) + &end),
        _ => send(answer(200, &[], &result(id, false))),
    }
}

/// Calls of an HTTP+SSE session: its stream answers each when it is told to.
pub const SSE_CALLS: usize = 4;

/// What a server remembers.
#[derive(Default)]
pub struct Memory {
    sessions: AtomicUsize,
    /// The streams of HTTP+SSE sessions, by the name that their message URIs have.
    told: Mutex<Vec<Arc<Notify>>>,
}

impl Memory {
    /// Answers calls 1, 2 and so on when they have come: every second fails. Then it ends so.
    fn open(&self, end: Step) -> Vec<Step> {
        let tell = Arc::new(Notify::new());
        let name = {
            let mut told = self.told.lock().unwrap();
            told.push(Arc::clone(&tell));
            told.len() - 1
        };
        let uri = format!("event: endpoint\ndata: /messages?session={name}\n\n");
        let mut steps = vec![Step::Send(stream_head(&[]) + &chunk(&uri))];
        for call in 1..=SSE_CALLS {
            steps.push(Step::Wait(Arc::clone(&tell)));
            let data = result(&call.to_string(), call % 2 == 0);
            steps.push(Step::Send(chunk(&format!("event: message\ndata: {data}\n\n"))));
        }
        steps.extend([Step::Wait(tell), end]);
        steps
    }

    fn tell(&self, target: &str) {
        let name: usize = target.rsplit_once('=').unwrap().1.parse().unwrap();
        self.told.lock().unwrap()[name].notify_one();
    }
}

/// What it does with a request.
pub fn respond(memory: &Memory, seen: &Seen) -> Vec<Step> {
    let accepted = || vec![Step::Send(answer(202, &[], ""))];
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap_or_default();
    let id = body["id"].to_string();
    match (seen.method.as_str(), seen.target.split('?').next().unwrap()) {
        ("GET", "/sse") if seen.target.ends_with("breaks") => memory.open(Step::Reset),
        ("GET", "/sse") => memory.open(Step::Send(chunk(""))),
        ("POST", "/messages") => {
            // The last call is left without an answer.
            if body["params"]["name"] != "never" {
                memory.tell(&seen.target);
            }
            accepted()
        }
        ("GET", "/mcp") => match seen.header("last-event-id") {
            Some(id) => {
                let data = result(id.trim_start_matches('-'), id.starts_with('-'));
                vec![Step::Send(stream(&[&data]) + &chunk(""))]
            }
            None if seen.header("x-offered") == Some("no") => {
                vec![Step::Send(answer(405, &[], ""))]
            }
            None => vec![Step::Send(stream(&[]) + &chunk(""))],
        },
        ("DELETE", _) => vec![Step::Send(answer(200, &[], ""))],
        ("POST", "/mcp") => match body["method"].as_str().unwrap_or_default() {
            "initialize" if body["params"]["clientInfo"]["name"] == "unlucky" => {
                vec![Step::Send(answer(503, &[], ""))]
            }
            "initialize" => {
                let number = memory.sessions.fetch_add(1, Ordering::Relaxed);
                let session = format!("session-{number}");
                let own = [("mcp-session-id", session.as_str())];
                vec![Step::Send(answer(200, &own, &result(&id, false)))]
            }
            "tools/call" => call_steps(body["params"]["name"].as_str().unwrap_or_default(), &id),
            _ if body.is_array() => {
                let failed = seen.body.contains("fails");
                let all = format!("[{},{}]", result("1", false), result("2", failed));
                vec![Step::Send(answer(200, &[], &all))]
            }
            _ if body["id"].is_null() || body["method"].is_null() => accepted(),
            _ => vec![Step::Send(answer(200, &[], &result(&id, false)))],
        },
        _ => vec![Step::Send(answer(404, &[], ""))],
    }
}
