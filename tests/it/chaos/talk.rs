//! A client's connection to the router: one that it keeps, over TLS, with an HTTP library that
//! tells half an answer from a whole one.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::ledger::Failed;
use crate::support::secure::Visitor;

/// Longer than anything may take between a router that gives up in time and its client.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub session: Option<String>,
    /// The message that was waited for; null if there is none to come.
    pub message: Value,
}

pub struct Caller {
    to: SocketAddr,
    visitor: Visitor,
    kept: Option<SendRequest<Full<Bytes>>>,
}

impl Caller {
    pub fn new(to: SocketAddr, visitor: &Visitor) -> Caller {
        Caller { to, visitor: visitor.clone(), kept: None }
    }

    /// A message, and the answer to it.
    pub async fn post(
        &mut self,
        target: &str,
        headers: &[(&str, &str)],
        message: &Value,
    ) -> Result<Answer, Failed> {
        let whole = async {
            let response = self.send(Method::POST, target, headers, message.to_string()).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|_| Failed::Cut)?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            let of = |name: &str| head.headers.get(name).and_then(|it| it.to_str().ok());
            let status = head.status.as_u16();
            let is_stream = of("content-type").is_some_and(|it| it.starts_with("text/event"));
            let read = if is_stream { found(&text, &message["id"]) } else { parsed(&text) };
            let is_missing = |read: &Value| read.is_null() && message.get("id").is_some();
            let message = match read {
                Some(read) if status != 200 || !is_missing(&read) => read,
                _ if status == 200 => return Err(Failed::Half(text)),
                _ => return Err(Failed::Theirs(status, text)),
            };
            Ok(Answer { status, session: of("mcp-session-id").map(str::to_owned), message })
        };
        let answer = timeout(PATIENCE, whole).await.unwrap_or(Err(Failed::Silent));
        if answer.is_err() {
            self.kept = None;
        }
        judged(answer?)
    }

    /// An event stream.
    pub async fn stream(
        &mut self,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Events, Failed> {
        let opening = self.send(Method::GET, target, headers, String::new());
        let response = timeout(PATIENCE, opening).await.unwrap_or(Err(Failed::Silent))?;
        // A stream has its connection for itself.
        self.kept = None;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(Events { body: response.into_body(), text: String::new() });
        }
        let body = timeout(PATIENCE, response.into_body().collect()).await;
        let body = body.map_err(|_| Failed::Silent)?.map_err(|_| Failed::Cut)?.to_bytes();
        let message = parsed(&String::from_utf8_lossy(&body)).unwrap_or_default();
        Err(error_of(status, &message).unwrap_or(Failed::Theirs(status, String::new())))
    }

    /// A request without a message.
    pub async fn delete(&mut self, headers: &[(&str, &str)]) -> Result<u16, Failed> {
        let asking = self.send(Method::DELETE, "/mcp", headers, String::new());
        let response = timeout(PATIENCE, asking).await.unwrap_or(Err(Failed::Silent))?;
        self.kept = None;
        Ok(response.status().as_u16())
    }

    async fn send(
        &mut self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Response<Incoming>, Failed> {
        let mut sender = match self.kept.take() {
            Some(kept) if !kept.is_closed() => kept,
            _ => self.connect().await?,
        };
        let accept = if method == Method::GET { "" } else { "application/json, " };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", self.to.to_string())
            .header("accept", format!("{accept}text/event-stream"));
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let closed = |error: hyper::Error| Failed::Closed(error.to_string());
        let response = sender.send_request(request).await.map_err(closed)?;
        self.kept = Some(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failed> {
        let unconnected = |error: std::io::Error| Failed::Unconnected(error.to_string());
        let stream = self.visitor.connect(self.to).await.map_err(unconnected)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        spawn_local(connection);
        Ok(sender)
    }
}

/// What is an error is one, whatever its status.
fn judged(answer: Answer) -> Result<Answer, Failed> {
    match error_of(answer.status, &answer.message) {
        Some(failed) => Err(failed),
        None if answer.status >= 400 => Err(Failed::Theirs(answer.status, String::new())),
        None => Ok(answer),
    }
}

fn error_of(status: u16, message: &Value) -> Option<Failed> {
    let error = message.get("error")?;
    let data = &error["data"];
    Some(match data["reason"].as_str() {
        Some(reason) if data["origin"] == "tidegate" => Failed::Ours(status, reason.to_owned()),
        _ => Failed::Theirs(status, error.to_string()),
    })
}

fn parsed(text: &str) -> Option<Value> {
    if text.is_empty() { Some(Value::Null) } else { serde_json::from_str(text).ok() }
}

/// The message with this id among the events.
fn found(text: &str, id: &Value) -> Option<Value> {
    let messages = text.lines().filter_map(|line| line.trim_end().strip_prefix("data:"));
    messages.filter_map(|it| serde_json::from_str::<Value>(it).ok()).find(|it| it["id"] == *id)
}

/// One event of a stream.
#[derive(Debug, Default)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: String,
}

/// A stream that goes on.
pub struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    /// The next one; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, Failed> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (read(event), rest.to_owned());
                self.text = rest;
                match event {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err(Failed::Cut),
                Some(Ok(frame)) => {
                    let piece = frame.into_data().unwrap_or_default();
                    self.text += &String::from_utf8_lossy(&piece).replace('\r', "");
                }
            }
        }
    }

    /// The one that a server sends at once.
    pub async fn first(&mut self) -> Result<Event, Failed> {
        timeout(PATIENCE, self.next()).await.unwrap_or(Err(Failed::Silent))?.ok_or(Failed::Cut)
    }

    /// The answer to a request that was made elsewhere.
    pub async fn answer(&mut self, id: &Value) -> Result<Answer, Failed> {
        let waiting = async {
            loop {
                let event = self.next().await?.ok_or(Failed::Cut)?;
                let message = parsed(&event.data).unwrap_or_default();
                if message["id"] == *id {
                    return Ok(Answer { status: 200, session: None, message });
                }
            }
        };
        judged(timeout(PATIENCE, waiting).await.unwrap_or(Err(Failed::Silent))?)
    }
}

/// An event; `None` if it is a comment.
fn read(text: &str) -> Option<Event> {
    let mut event = Event::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        match name {
            "event" => value.clone_into(&mut event.name),
            "id" => value.clone_into(&mut event.id),
            "data" => event.data += value,
            _ => {}
        }
    }
    (!event.data.is_empty()).then_some(event)
}
