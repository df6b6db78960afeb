//! One request of a handshake and the reading of its answer.
//!
//! Requests look as real traffic does: the same `Host`, path and headers. Answers are read within
//! bounds, whatever comes. Does not know: eras, and which request comes after which.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, LOCATION, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::Value;

use crate::mcp::header::SESSION_ID;
use crate::mcp::sse;
use crate::route::Endpoint;
use crate::tls::client::Secured;
use crate::upstream::connect::ConnectError;
use crate::upstream::own::{Answer, Line, OwnError};

use super::bounded;
use super::subject::{Settings, Subject};
use super::verdict::{Fault, RpcError};
use crate::mcp::shown::plain;

/// Bytes of a body or of one event; the SDKs' own limit for bodies.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// Bytes of the body of an error, of which a sentence is shown.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// What the end of a session may take; nobody waits for it.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// `Accept` of a POST: servers refuse anything less.
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// A request of ours.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    /// Those of the protocol.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Ask {
    /// A message in a POST.
    pub(super) fn post(target: &str, message: &Value) -> Ask {
        let headers =
            [(ACCEPT, BOTH), (CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        Ask {
            method: Method::POST,
            target: target.to_owned(),
            headers: headers.into_iter().collect(),
            body: message.to_string().into(),
        }
    }

    /// A GET for an event stream.
    pub(super) fn stream(target: &str) -> Ask {
        let accept = (ACCEPT, HeaderValue::from_static("text/event-stream"));
        Ask {
            method: Method::GET,
            target: target.to_owned(),
            headers: [accept].into_iter().collect(),
            body: Bytes::new(),
        }
    }

    /// The same with another header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Ask {
        self.headers.insert(name, value);
        self
    }
}

/// Asks one endpoint.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) settings: Arc<Settings>,
    /// Open already, for the next request.
    line: RefCell<Option<Line>>,
}

impl Caller {
    pub(super) fn new(subject: &Subject) -> Rc<Caller> {
        Rc::new(Caller {
            endpoint: Arc::clone(&subject.endpoint),
            settings: Arc::clone(&subject.settings),
            line: RefCell::default(),
        })
    }

    /// Opens the connection of the next request; tells what the server has shown, if TLS is spoken.
    pub(super) async fn connect(&self) -> Result<Option<Secured>, Fault> {
        let line = self.line().await?;
        let secured = line.secured().cloned();
        self.line.replace(Some(line));
        Ok(secured)
    }

    async fn line(&self) -> Result<Line, Fault> {
        if let Some(line) = self.line.take() {
            return Ok(line);
        }
        let line = Line::open(&self.endpoint, self.settings.connect).await;
        line.map_err(|error| match error {
            ConnectError::Tls(fault) => Fault::Tls(fault.to_string()),
            other => Fault::Unreachable(other.to_string()),
        })
    }

    /// Sends a request. What comes is a success or a refusal that tells something of the protocol;
    /// locked doors and broken servers are faults.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Answer, Fault> {
        let host = &self.settings.host;
        let answer = self.exchange(ask, host).await?;
        let status = answer.head.status;
        match status.as_u16() {
            421 => Err(self.wrong_host(status)),
            403 if *host != self.endpoint.authority && self.opens_for_itself(ask).await => {
                Err(self.wrong_host(status))
            }
            401 | 403 => {
                let token_sent = self.settings.sends_token();
                Err(Fault::Unauthenticated { status: status.as_u16(), token_sent })
            }
            429 | 500..=599 => {
                let why = match error_in(answer).await {
                    Some(error) => format!("HTTP {}, {error}", status.as_u16()),
                    None => format!("HTTP {}", status.as_u16()),
                };
                Err(Fault::Server(why))
            }
            300..=399 => {
                let to = answer.head.headers.get(LOCATION).map(HeaderValue::as_bytes);
                let to = plain(&String::from_utf8_lossy(to.unwrap_or(b"nowhere")));
                Err(Fault::bad(format!("HTTP {}, a redirect to {to}", status.as_u16())))
            }
            200..=499 => Ok(answer),
            _ => Err(Fault::bad(format!("HTTP {}", status.as_u16()))),
        }
    }

    /// Whether the same request with the endpoint's own name as `Host` is not refused.
    async fn opens_for_itself(&self, ask: &Ask) -> bool {
        let own = &self.endpoint.authority;
        let Ok(answer) = self.exchange(ask, own).await else { return false };
        if let Some(id) = answer.head.headers.get(SESSION_ID) {
            self.farewell(own, id.clone(), HeaderMap::new());
        }
        !matches!(answer.head.status, StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST)
    }

    fn wrong_host(&self, status: StatusCode) -> Fault {
        let host = plain(&String::from_utf8_lossy(self.settings.host.as_bytes()));
        Fault::WrongHost { status: status.as_u16(), host }
    }

    /// Sends a request and takes whatever answer comes.
    pub(super) async fn exchange(&self, ask: &Ask, host: &HeaderValue) -> Result<Answer, Fault> {
        let mut headers = ask.headers.clone();
        headers.insert(HOST, host.clone());
        let agent = concat!("tidegate-health/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(token) = &self.settings.health.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.headers_mut() = headers;
        *request.uri_mut() = ask
            .target
            .parse()
            .map_err(|_| Fault::bad(format!("`{}` is no path", plain(&ask.target))))?;
        Ok(self.line().await?.send(request).await?)
    }

    /// Ends a session, in the background: it is over for us whatever the server says to that.
    pub(super) fn farewell(&self, host: &HeaderValue, id: HeaderValue, headers: HeaderMap) {
        let caller = Caller {
            endpoint: Arc::clone(&self.endpoint),
            settings: Arc::clone(&self.settings),
            line: RefCell::default(),
        };
        let target = self.endpoint.url.path().to_owned();
        let ask = Ask { method: Method::DELETE, target, headers, body: Bytes::new() };
        let (ask, host) = (ask.with(SESSION_ID, id), host.clone());
        tokio::task::spawn_local(async move {
            let sent = tokio::time::timeout(FAREWELL_MAX, caller.exchange(&ask, &host)).await;
            if !matches!(sent, Ok(Ok(_))) {
                tracing::debug!(endpoint = %caller.endpoint.url, "a session of ours was not ended");
            }
        });
    }
}

impl From<OwnError> for Fault {
    fn from(error: OwnError) -> Fault {
        match error {
            OwnError::Reset => Fault::Closed { reset: true },
            OwnError::Closed => Fault::Closed { reset: false },
            OwnError::Tls(fault) => Fault::Tls(fault.to_string()),
            OwnError::NotHttp(why) => Fault::Bad(format!("no HTTP: {}", plain(&why))),
            OwnError::TooLarge(_) => Fault::Bad(error.to_string()),
        }
    }
}

/// What JSON-RPC answers: the result, or the error.
pub(super) type Reply = Result<Value, RpcError>;

/// Reads the answer to the request with this id, from a JSON body or from an event stream.
pub(super) async fn reply(answer: Answer, id: &Value) -> Result<Reply, Fault> {
    match Type::of(&answer)? {
        Type::Json => {
            let body = answer.whole(BODY_MAX).await?;
            reply_in(json(&body)?, id).unwrap_or_else(|| Err(Fault::bad("no JSON-RPC response")))
        }
        Type::Events => Events::new(answer).reply(id).await,
    }
}

/// The JSON-RPC error in a refusal, if there is one.
pub(super) async fn error_in(answer: Answer) -> Option<RpcError> {
    let body = answer.whole(ERROR_BODY_MAX).await.ok()?;
    // A server may refuse in an event stream too.
    let line = body.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"data:"));
    let message = json(&body).or_else(|_| json(line.unwrap_or_default())).ok()?;
    message.get("error").map(rpc_error)
}

/// What an answer's body holds.
enum Type {
    Json,
    Events,
}

impl Type {
    fn of(answer: &Answer) -> Result<Type, Fault> {
        let headers = &answer.head.headers;
        if headers.get(CONTENT_ENCODING).is_some_and(|it| it != "identity") {
            return Err(Fault::bad("the body is compressed, which nobody asked for"));
        }
        let status = answer.head.status;
        if status == StatusCode::ACCEPTED || status == StatusCode::NO_CONTENT {
            return Err(Fault::bad(format!("HTTP {} and no answer", status.as_u16())));
        }
        let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        match text.split(';').next().unwrap_or_default().trim() {
            "application/json" => Ok(Type::Json),
            "text/event-stream" => Ok(Type::Events),
            other => {
                let status = status.as_u16();
                let other = if other.is_empty() { "nothing".to_owned() } else { plain(other) };
                Err(Fault::bad(format!("HTTP {status} with {other}, neither JSON nor events")))
            }
        }
    }
}

/// An event stream being read.
#[derive(Debug)]
pub(super) struct Events {
    answer: Answer,
    reader: sse::Reader,
    data: sse::Kept,
    /// What has come and was not read yet.
    rest: Bytes,
}

/// An event that carries something.
pub(super) struct Event {
    pub(super) kind: sse::Kind,
    pub(super) data: Vec<u8>,
}

impl Events {
    pub(super) fn new(answer: Answer) -> Events {
        let data = sse::Kept::new(BODY_MAX);
        Events { answer, reader: sse::Reader::default(), data, rest: Bytes::new() }
    }

    /// Whether an answer is an event stream.
    pub(super) fn are_in(answer: &Answer) -> bool {
        matches!(Type::of(answer), Ok(Type::Events))
    }

    /// The next event with data; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            while !self.rest.is_empty() {
                let (read, event) = self.reader.next(&self.rest, &mut self.data);
                self.rest = self.rest.slice(read..);
                let Some(data) = self.data.whole() else {
                    return Err(Fault::bad(format!("an event of more than {BODY_MAX} bytes")));
                };
                if let Some(event) = event {
                    let event = Event { kind: event.kind, data: data.to_vec() };
                    self.data.clear();
                    // An event without data only says that the stream can be resumed.
                    if !event.data.is_empty() {
                        return Ok(Some(event));
                    }
                }
            }
            match self.answer.piece().await? {
                Some(piece) => self.rest = piece,
                None => return Ok(None),
            }
        }
    }

    /// The answer to the request with this id.
    pub(super) async fn reply(&mut self, id: &Value) -> Result<Reply, Fault> {
        while let Some(event) = self.next().await? {
            if event.kind != sse::Kind::Message {
                continue;
            }
            if let Some(reply) = reply_in(json(&event.data)?, id) {
                return reply;
            }
        }
        // Before the answer, the end of the stream is the end of the connection.
        Err(Fault::Closed { reset: false })
    }
}

fn json(bytes: &[u8]) -> Result<Value, Fault> {
    if bytes.trim_ascii().is_empty() {
        return Err(Fault::bad("an empty body"));
    }
    bounded::read(bytes).map_err(|error| Fault::bad(format!("no JSON: {error}")))
}

/// The response in a message; `None` if it is a request or a notification.
fn reply_in(mut message: Value, id: &Value) -> Option<Result<Reply, Fault>> {
    if message.get("method").is_some() {
        return None;
    }
    // Errors come with all sorts of ids, or none.
    if let Some(error) = message.get("error") {
        return Some(Ok(Err(rpc_error(error))));
    }
    let result = message.get_mut("result")?.take();
    Some(if message["id"] != *id {
        let found = plain(&message["id"].to_string());
        Err(Fault::bad(format!("it answers the id {found} and not {id}")))
    } else if result.is_object() {
        Ok(Ok(result))
    } else {
        Err(Fault::bad("its result is no object"))
    })
}

fn rpc_error(error: &Value) -> RpcError {
    let supported = error["data"]["supported"].as_array().into_iter().flatten();
    RpcError {
        code: error["code"].as_i64().unwrap_or_default(),
        message: plain(error["message"].as_str().unwrap_or_default()),
        supported: supported.filter_map(|it| it.as_str().map(str::to_owned)).collect(),
    }
}
