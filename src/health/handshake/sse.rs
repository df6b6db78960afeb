//! The handshake of 2024-11-05: one event stream on which every answer comes, and a URI to post
//! to. Closing the stream ends the session.
//!
//! Does not know: other eras.

use std::rc::Rc;

use serde_json::{Map, Value, json};
use url::{Position, Url};

use crate::mcp::sse;

use super::super::caller::{Ask, Caller, Events, Reply};
use super::super::verdict::Fault;
use super::legacy::{about, initialize_message, initialized_message, request_message};
use super::session::{About, Opened, is_refusal, refusal};
use crate::mcp::shown::plain;

/// A stream and the URI that belongs to it.
#[derive(Debug)]
pub(super) struct Stream {
    caller: Rc<Caller>,
    events: Events,
    /// Path and query to post to.
    target: String,
}

/// A session on a stream.
#[derive(Debug)]
pub(in crate::health) struct Sse {
    stream: Stream,
    pub(super) about: About,
    asked: u64,
}

/// Opens the stream (wire.md 4.3).
pub(super) async fn open(caller: &Rc<Caller>) -> Result<Opened<Stream>, Fault> {
    let answer = caller.send(&Ask::stream(&caller.settings.sse_path)).await?;
    if is_refusal(answer.head.status) {
        return Ok(Opened::NotSpoken(refusal(answer).await.0));
    }
    if !Events::are_in(&answer) {
        let status = answer.head.status.as_u16();
        return Ok(Opened::NotSpoken(format!("HTTP {status} and no event stream")));
    }
    let mut events = Events::new(answer);
    let first = events.next().await?.ok_or(Fault::Closed { reset: false })?;
    if first.kind != sse::Kind::Endpoint {
        return Err(Fault::bad("the first event is no `endpoint`"));
    }
    let target = target(caller, &String::from_utf8_lossy(&first.data))?;
    Ok(Opened::Yes(Stream { caller: Rc::clone(caller), events, target }))
}

/// The path and query to post to. Clients refuse a URI that leads elsewhere, and so do we.
fn target(caller: &Caller, uri: &str) -> Result<String, Fault> {
    let host = String::from_utf8_lossy(caller.settings.host.as_bytes()).into_owned();
    let base = |authority: &str| {
        Url::parse(&format!("http://{authority}{}", caller.settings.sse_path)).ok()
    };
    let own = [base(&host), base(&caller.endpoint.url.authority())];
    let joined = own[0].as_ref().and_then(|base| base.join(uri.trim()).ok());
    let is_own = |it: &Url| own.iter().flatten().any(|base| base.host() == it.host());
    let Some(joined) = joined.filter(is_own) else {
        return Err(Fault::bad(format!("its message URI leads elsewhere: {}", plain(uri))));
    };
    Ok(joined[Position::BeforePath..Position::AfterQuery].to_owned())
}

impl Stream {
    /// Opens the session on it.
    pub(super) async fn initialize(mut self) -> Result<Sse, Fault> {
        self.post(&initialize_message()).await?;
        let about = about(&self.events.reply(&json!(1)).await?.map_err(Fault::Rpc)?)?;
        Ok(Sse { stream: self, about, asked: 1 })
    }

    async fn post(&self, message: &Value) -> Result<(), Fault> {
        let answer = self.caller.send(&Ask::post(&self.target, message)).await?;
        if is_refusal(answer.head.status) {
            return Err(Fault::Bad(refusal(answer).await.0));
        }
        Ok(())
    }
}

impl Sse {
    /// The path and query that its messages are posted to.
    pub(super) fn target(&self) -> &str {
        &self.stream.target
    }

    /// Says that the session is understood.
    pub(super) async fn initialized(&self) -> Result<(), Fault> {
        self.stream.post(&initialized_message()).await
    }

    pub(super) async fn request(
        &mut self,
        method: &str,
        params: Map<String, Value>,
    ) -> Result<Reply, Fault> {
        self.asked += 1;
        let id = json!(self.asked);
        let message = request_message(&id, method, &params);
        self.stream.post(&message).await?;
        self.stream.events.reply(&id).await
    }
}
