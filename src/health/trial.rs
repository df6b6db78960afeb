//! Single requests of a session that was opened for them, also such as a well-meaning client
//! never sends, and what a server does with each.
//!
//! Every request has `health.timeout` of its own, and every answer the bounds of a handshake. Does
//! not know: which answer is the right one, why anything is asked.

use std::collections::HashMap;
use std::rc::Rc;

use http::{HeaderValue, Method, StatusCode};
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::caller::{Ask, Caller, error_in};
use super::catalogue::{Catalogue, List};
use super::handshake::pages;
use super::handshake::session::Session;
use super::subject::Subject;
use super::verdict::{Fault, Verdict};
use super::{expect, handshake};
use crate::config::ProbeCall;
use crate::mcp::header::SESSION_ID;
use crate::mcp::shown::plain;

/// A session id that no server has given: the right length and letters, and nobody's.
const NEVER_WAS: &str = "00000000-0000-4000-8000-7469646567e7";

/// A body that breaks off in the middle of its JSON.
const CUT: &str = "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": ";

/// What a server did with a call. Texts are fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It answered with a result.
    Result {
        /// Whether that says `isError`.
        is_error: bool,
        /// Its first text.
        said: String,
    },
    /// It answered with a JSON-RPC error.
    Error {
        /// Its code.
        code: i64,
        /// Its message.
        said: String,
    },
    /// 401 or 403.
    Locked(u16),
    /// Nothing came in time.
    Silence,
    /// 5xx, a broken connection, or what is no answer of the protocol; the text says what.
    Fault(String),
}

/// A status, and the JSON-RPC error that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Of HTTP.
    pub status: u16,
    /// Of JSON-RPC.
    pub code: Option<i64>,
}

/// A session with its tools listed; ended when it is dropped. Needs a `LocalSet`.
#[derive(Debug)]
pub struct Trial {
    subject: Subject,
    caller: Rc<Caller>,
    session: Session,
    /// Of the tools that are to be called: some arguments go into headers.
    schemas: HashMap<String, Value>,
}

impl Trial {
    /// Opens one, to call these tools.
    ///
    /// # Errors
    /// When no session is to be had, or its tools cannot be listed.
    pub async fn open(subject: &Subject, tools: &[&str]) -> Result<Trial, Verdict> {
        let session = handshake::open(subject).await?;
        let mut trial = Trial {
            subject: subject.clone(),
            caller: Caller::new(subject),
            session,
            schemas: HashMap::new(),
        };
        if trial.offers_tools() {
            let (limit, step) = (subject.settings.health.timeout, "tools/list");
            let listing = timeout(limit, trial.pages(tools)).await;
            listing
                .map_err(|_| Verdict::Timeout { step: step.to_owned(), limit })?
                .map_err(|fault| fault.at(step))?;
        }
        Ok(trial)
    }

    /// Whether the server says that it has tools.
    pub fn offers_tools(&self) -> bool {
        self.session.about().offers("tools")
    }

    /// Whether it lists this one of the tools that it was opened for.
    pub fn lists(&self, tool: &str) -> bool {
        self.schemas.contains_key(tool)
    }

    async fn pages(&mut self, tools: &[&str]) -> Result<usize, Fault> {
        let (session, schemas) = (&mut self.session, &mut self.schemas);
        pages::list(session, List::Tools, &mut Catalogue::default(), |tool| {
            if let Some(name) = tool["name"].as_str().filter(|name| tools.contains(name)) {
                schemas.insert(name.to_owned(), tool["inputSchema"].clone());
            }
        })
        .await
    }

    /// Lists the tools once more, or gives a sign of life where there are none.
    ///
    /// # Errors
    /// What came instead.
    pub async fn list(&mut self) -> Result<(), String> {
        let limit = self.subject.settings.health.timeout;
        let asked = async {
            if self.offers_tools() {
                self.pages(&[]).await.map(drop)
            } else {
                self.session.beat().await
            }
        };
        told(timeout(limit, asked).await)
    }

    /// Makes a call of the configuration and compares its answer with what is expected.
    ///
    /// # Errors
    /// What came instead.
    pub async fn probe(&mut self, call: &ProbeCall) -> Result<(), String> {
        let limit = self.subject.settings.health.timeout;
        let schema = self.schemas.get(&call.tool);
        let calling = self.session.call(&call.tool, &call.arguments, schema);
        match timeout(limit, calling).await {
            Ok(Ok(result)) => expect::check(&call.expect, &result),
            other => told(other.map(|it| it.map(drop))),
        }
    }

    /// Calls a tool, whatever comes of it.
    pub async fn call(&mut self, tool: &str, arguments: &Map<String, Value>) -> Reaction {
        let limit = self.subject.settings.health.timeout;
        let schema = self.schemas.get(tool);
        match timeout(limit, self.session.call(tool, arguments, schema)).await {
            Err(_) => Reaction::Silence,
            Ok(Ok(result)) => {
                let mut content = result["content"].as_array().into_iter().flatten();
                let text = content.find_map(|it| it["text"].as_str()).unwrap_or_default();
                let is_error = result["isError"].as_bool().unwrap_or(false);
                Reaction::Result { is_error, said: plain(text) }
            }
            Ok(Err(Fault::Rpc(error))) => Reaction::Error { code: error.code, said: error.message },
            Ok(Err(Fault::Unauthenticated { status, .. } | Fault::WrongHost { status, .. })) => {
                Reaction::Locked(status)
            }
            Ok(Err(fault)) => Reaction::Fault(fault.to_string()),
        }
    }

    /// Sends a body that is no JSON.
    ///
    /// # Errors
    /// When there is no answer of HTTP.
    pub async fn malformed(&self) -> Result<Raw, String> {
        let mut ask = self.ask();
        ask.body = Bytes::from_static(CUT.as_bytes());
        self.raw(&ask).await
    }

    /// Asks in a session that never was; `None` where the server gives no session ids.
    pub async fn in_no_session(&self) -> Option<Result<Raw, String>> {
        let mut ask = self.ask();
        let id = HeaderValue::from_static(NEVER_WAS);
        ask.headers.get(SESSION_ID)?;
        ask = ask.with(SESSION_ID, id);
        Some(self.raw(&ask).await)
    }

    /// Ends the session and asks in it once more; `None` where the server gives no session ids, or
    /// lets no client end one.
    pub async fn after_its_end(&self) -> Option<Result<Raw, String>> {
        let ask = self.ask();
        ask.headers.get(SESSION_ID)?;
        let end = Ask { method: Method::DELETE, body: Bytes::new(), ..ask.clone() };
        match self.raw(&end).await {
            Ok(Raw { status: 200..=299, .. }) => Some(self.raw(&ask).await),
            _ => None,
        }
    }

    /// A list of tools as this session asks for it, to be spoilt.
    fn ask(&self) -> Ask {
        let message =
            json!({ "jsonrpc": "2.0", "id": "spoilt", "method": "tools/list", "params": {} });
        let (target, headers) = self.session.address();
        let target = target.unwrap_or_else(|| self.subject.endpoint.url.path());
        let mut ask = Ask::post(target, &message);
        ask.headers.extend(headers);
        ask
    }

    async fn raw(&self, ask: &Ask) -> Result<Raw, String> {
        let limit = self.subject.settings.health.timeout;
        let asking = async {
            let answer = self.caller.exchange(ask, &self.subject.settings.host).await?;
            let status = answer.head.status;
            let is_bare = matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT);
            let error = if is_bare { None } else { error_in(answer).await };
            Ok(Raw { status: status.as_u16(), code: error.map(|error| error.code) })
        };
        match timeout(limit, asking).await {
            Ok(done) => done.map_err(|fault: Fault| fault.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

fn told<E>(done: Result<Result<(), Fault>, E>) -> Result<(), String> {
    match done {
        Ok(done) => done.map_err(|fault| fault.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
