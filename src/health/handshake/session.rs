//! What was opened, whatever the era: a way to ask, and what the server said of itself.
//!
//! Does not know: what is asked for and why.

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::config::Protocol;

use super::super::caller::{Reply, error_in};
use super::super::verdict::{Fault, RpcError};
use super::legacy::Legacy;
use super::modern::{self, Modern};
use super::sse::Sse;
use crate::mcp::shown::plain;
use crate::upstream::own::Answer;

/// A server's name for itself, made fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a server said of itself.
#[derive(Clone, Debug)]
pub(in crate::health) struct About {
    /// The protocol version that is spoken.
    pub(in crate::health) version: String,
    pub(in crate::health) server: Option<ServerInfo>,
    capabilities: Value,
}

impl About {
    /// Reads the result of `initialize` or `server/discover`.
    pub(super) fn of(result: &Value, version: String) -> About {
        let in_meta = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        let info = result.get("serverInfo").unwrap_or(in_meta);
        let text = |key: &str| plain(info[key].as_str().unwrap_or("?"));
        let server = info.is_object();
        let server = server.then(|| ServerInfo { name: text("name"), version: text("version") });
        About { version, server, capabilities: result["capabilities"].clone() }
    }

    /// Whether the server says that it has this.
    pub(in crate::health) fn offers(&self, capability: &str) -> bool {
        !self.capabilities[capability].is_null()
    }

    /// For the line of a step.
    pub(super) fn text(&self) -> String {
        match &self.server {
            Some(server) => format!("{}, {} {}", self.version, server.name, server.version),
            None => self.version.clone(),
        }
    }
}

/// A first request's end, if nothing was wrong with it.
pub(super) enum Opened<S> {
    /// This era is spoken.
    Yes(S),
    /// It is not; the text says what came instead.
    NotSpoken(String),
}

impl<S> Opened<S> {
    /// With what a step tells of it.
    pub(super) fn told(self, told: impl FnOnce(&S) -> String) -> (Opened<S>, String) {
        let told = match &self {
            Opened::Yes(session) => told(session),
            Opened::NotSpoken(why) => format!("not spoken ({why})"),
        };
        (self, told)
    }

    /// The same of something made from it.
    pub(super) fn map<T>(self, make: impl FnOnce(S) -> T) -> Opened<T> {
        match self {
            Opened::Yes(session) => Opened::Yes(make(session)),
            Opened::NotSpoken(why) => Opened::NotSpoken(why),
        }
    }
}

/// What a refusal says, in a few words.
pub(super) async fn refusal(answer: Answer) -> (String, Option<RpcError>) {
    let status = answer.head.status.as_u16();
    match error_in(answer).await {
        Some(error) => (format!("HTTP {status}, {error}"), Some(error)),
        None => (format!("HTTP {status}"), None),
    }
}

/// Whether an answer carries a message for us.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error()
}

/// The way to ask a server.
#[derive(Debug)]
pub(in crate::health) enum Session {
    Modern(Modern),
    Legacy(Legacy),
    Sse(Box<Sse>),
}

impl Session {
    pub(in crate::health) fn about(&self) -> &About {
        match self {
            Session::Modern(session) => &session.about,
            Session::Legacy(session) => &session.about,
            Session::Sse(session) => &session.about,
        }
    }

    pub(in crate::health) fn protocol(&self) -> Protocol {
        match self {
            Session::Modern(_) => Protocol::Modern,
            Session::Legacy(_) => Protocol::Legacy,
            Session::Sse(_) => Protocol::Sse,
        }
    }

    /// Asks for something; the answer is the result.
    pub(in crate::health) async fn request(
        &mut self,
        method: &str,
        params: Map<String, Value>,
    ) -> Result<Value, Fault> {
        let reply = match self {
            Session::Modern(session) => session.request(method, params, Vec::new()).await,
            Session::Legacy(session) => session.request(method, params).await,
            Session::Sse(session) => session.request(method, params).await,
        };
        result(reply)
    }

    /// Calls a tool; modern servers want to see some arguments in headers, as its schema says.
    pub(in crate::health) async fn call(
        &mut self,
        tool: &str,
        arguments: &Map<String, Value>,
        schema: Option<&Value>,
    ) -> Result<Value, Fault> {
        let params = [("name", json!(tool)), ("arguments", json!(arguments))];
        let params = params.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
        let Session::Modern(session) = self else {
            return self.request("tools/call", params).await;
        };
        let headers = modern::call_headers(tool, arguments, schema);
        result(session.request("tools/call", params, headers).await)
    }

    /// Where its requests go, if not to the endpoint's path, and the headers that they all have.
    pub(in crate::health) fn address(&self) -> (Option<&str>, HeaderMap) {
        match self {
            Session::Modern(session) => (None, session.headers()),
            Session::Legacy(session) => (None, session.headers()),
            Session::Sse(session) => (Some(session.target()), HeaderMap::new()),
        }
    }

    /// The cheapest sign of life that the era has.
    pub(in crate::health) async fn beat(&mut self) -> Result<(), Fault> {
        let method = match self {
            Session::Modern(_) => "server/discover",
            Session::Legacy(_) | Session::Sse(_) => "ping",
        };
        self.request(method, Map::new()).await.map(drop)
    }
}

fn result(reply: Result<Reply, Fault>) -> Result<Value, Fault> {
    reply?.map_err(Fault::Rpc)
}
