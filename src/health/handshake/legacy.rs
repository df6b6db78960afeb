//! The handshake from 2025-03-26 to 2025-11-25: `initialize`, a session, and its end.
//!
//! A session that was opened is ended in any case, also when whoever asked is gone in the middle:
//! servers keep what nobody ends. Does not know: other eras.

use std::rc::Rc;

use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use super::super::caller::{Ask, Caller, Events, Reply, reply};
use super::super::verdict::Fault;
use super::session::{About, Opened, is_refusal, refusal};
use crate::mcp::header::{PROTOCOL_VERSION, SESSION_ID, is_legacy};
use crate::mcp::shown::plain;

/// The version that we offer: the newest with a handshake.
const VERSION: &str = "2025-11-25";

/// A session.
#[derive(Debug)]
pub(in crate::health) struct Legacy {
    open: Open,
    pub(super) about: About,
    asked: u64,
}

/// Ends a session when it is dropped.
#[derive(Debug)]
struct Open {
    caller: Rc<Caller>,
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let version = self.version.take().map(|version| (PROTOCOL_VERSION, version));
            self.caller.farewell(&self.caller.settings.host, id, version.into_iter().collect());
        }
    }
}

/// The message that opens a session of either legacy transport.
pub(super) fn initialize_message() -> Value {
    let params = json!({
        "protocolVersion": VERSION, "capabilities": {}, "clientInfo": super::client_info(),
    });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params })
}

/// The message that says that both know each other now.
pub(super) fn initialized_message() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}

/// A request inside a session, of either transport.
pub(super) fn request_message(id: &Value, method: &str, params: &Map<String, Value>) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// Reads the result of `initialize`.
pub(super) fn about(result: &Value) -> Result<About, Fault> {
    let version = result["protocolVersion"].as_str();
    let Some(version) = version.filter(|version| is_legacy(version)) else {
        let found =
            version.map_or_else(|| "nothing".to_owned(), |version| format!("`{}`", plain(version)));
        return Err(Fault::bad(format!("it was offered {VERSION} and takes {found}")));
    };
    Ok(About::of(result, version.to_owned()))
}

/// Opens a session (wire.md 4.2, step 1).
pub(super) async fn initialize(caller: &Rc<Caller>) -> Result<Opened<Legacy>, Fault> {
    let ask = Ask::post(caller.endpoint.url.path(), &initialize_message());
    let answer = caller.send(&ask).await?;
    // From here on the server may hold a session, whatever its answer goes on to say.
    let id = answer.head.headers.get(SESSION_ID).cloned();
    let mut open = Open { caller: Rc::clone(caller), id, version: None };
    if let Some(id) = &mut open.id {
        id.set_sensitive(true);
    }
    if is_refusal(answer.head.status) {
        return Ok(Opened::NotSpoken(refusal(answer).await.0));
    }
    let about = match reply(answer, &json!(1)).await? {
        Ok(result) => about(&result)?,
        Err(error) if error.is_internal() => return Err(Fault::Rpc(error)),
        Err(error) => return Ok(Opened::NotSpoken(error.to_string())),
    };
    open.version = HeaderValue::from_str(&about.version).ok();
    Ok(Opened::Yes(Legacy { open, about, asked: 1 }))
}

impl Legacy {
    /// Says that the session is understood (step 2).
    pub(super) async fn initialized(&self) -> Result<(), Fault> {
        let ask = self.ask(&initialized_message());
        let answer = self.open.caller.send(&ask).await?;
        if is_refusal(answer.head.status) {
            return Err(Fault::Bad(refusal(answer).await.0));
        }
        Ok(())
    }

    pub(super) async fn request(
        &mut self,
        method: &str,
        params: Map<String, Value>,
    ) -> Result<Reply, Fault> {
        self.asked += 1;
        let id = json!(self.asked);
        let message = request_message(&id, method, &params);
        let answer = self.open.caller.send(&self.ask(&message)).await?;
        reply(answer, &id).await
    }

    /// Opens the stream for what the server has to say by itself; `None` where it has none.
    pub(in crate::health) async fn listen(&self) -> Result<Option<Events>, Fault> {
        let mut ask = Ask::stream(self.open.caller.endpoint.url.path());
        ask.headers.extend(self.headers());
        let answer = self.open.caller.send(&ask).await?;
        if is_refusal(answer.head.status) {
            let is_offered = answer.head.status != http::StatusCode::METHOD_NOT_ALLOWED;
            let why = refusal(answer).await.0;
            return if is_offered { Err(Fault::Bad(why)) } else { Ok(None) };
        }
        if !Events::are_in(&answer) {
            return Err(Fault::bad("what was to be an event stream is none"));
        }
        Ok(Some(Events::new(answer)))
    }

    fn ask(&self, message: &Value) -> Ask {
        let mut ask = Ask::post(self.open.caller.endpoint.url.path(), message);
        ask.headers.extend(self.headers());
        ask
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let id = self.open.id.clone().map(|id| (SESSION_ID, id));
        let version = self.open.version.clone().map(|version| (PROTOCOL_VERSION, version));
        id.into_iter().chain(version).collect()
    }
}
