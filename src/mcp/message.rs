//! Reads the JSON-RPC envelope of what a client posts: method, id, kind, of one message or of a
//! batch.
//!
//! Works on the bytes as they pass, so that a large body is never held back. A key that appears
//! twice makes the message invalid: the router would go by one value and the server by the other.
//! Of the parameters only what statistics need is kept, up to a limit; there the last of two equal
//! keys counts, as for most parsers. Does not know: what a tool does, HTTP.

use super::method::Method;
use super::scan::{Bracket, Progress, Scanner, Token, Visit};

/// Ids of a batch that are remembered to answer each with an error of ours; TypeScript's server
/// refuses larger batches.
const BATCH_IDS_MAX: usize = 100;

/// Bytes of a name: SDKs allow tools 128 characters.
const NAME_MAX: usize = 256;

/// Bytes of a `traceparent`; version 00 of W3C Trace Context has 55.
const TRACEPARENT_MAX: usize = 64;

/// The id of a request, exactly as the client wrote it: `"1"` and `1` are different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Whether both are the same value: a server may write an id in another way than it read it.
    /// Numbers are compared as doubles, which is what they are in JavaScript.
    pub fn matches(&self, other: &RequestId) -> bool {
        use serde_json::Value::{Number, String};
        let value = |id: &RequestId| serde_json::from_str(&id.0);
        self == other
            || match (value(self), value(other)) {
                (Ok(String(one)), Ok(String(other))) => one == other,
                (Ok(Number(one)), Ok(Number(other))) => one.as_f64() == other.as_f64(),
                _ => false,
            }
    }

    /// Takes a token that may be an id: a string or a number.
    pub(super) fn of(token: Token<'_>) -> Option<RequestId> {
        let Token::Whole(bytes) = token else { return None };
        let fits = matches!(bytes.first(), Some(b'"' | b'-' | b'0'..=b'9'));
        let value = serde_json::from_slice::<serde_json::Value>(bytes);
        (fits && value.is_ok()).then(|| str::from_utf8(bytes).ok().map(|s| RequestId(s.into())))?
    }
}

/// What a body has turned out to be so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Too early to tell.
    Unknown,
    /// A call that wants an answer.
    Request(Method),
    /// A call that wants none.
    Notification(Method),
    /// The answer to a request of the server.
    Reply,
    /// An array of messages.
    Batch {
        /// `initialize` is among them, which the protocol forbids.
        initialize: bool,
    },
}

/// Reads one body.
#[derive(Debug, Default)]
pub struct Reader {
    scanner: Scanner,
    envelope: Envelope,
}

impl Reader {
    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.scanner.feed(bytes, &mut self.envelope);
    }

    /// The body has ended.
    pub fn finish(&mut self) -> Progress {
        match self.scanner.finish(&mut self.envelope) {
            Progress::Complete | Progress::TooDeep => self.progress(),
            other => other,
        }
    }

    /// Whether the body can still become, is, or can no longer be a JSON-RPC message.
    pub fn progress(&self) -> Progress {
        let envelope = &self.envelope;
        match self.scanner.progress() {
            _ if envelope.broken => Progress::Invalid,
            // What we cannot follow could be anything, so it is not sent on.
            Progress::TooDeep => Progress::Invalid,
            Progress::Complete if envelope.array == Some(0) => Progress::Invalid,
            Progress::Complete if self.shape() == Shape::Unknown => Progress::Invalid,
            other => other,
        }
    }

    /// What it is, as far as that is known.
    pub fn shape(&self) -> Shape {
        let envelope = &self.envelope;
        let complete = self.scanner.progress() == Progress::Complete;
        if envelope.array.is_some() {
            return Shape::Batch { initialize: envelope.initialize_in_batch };
        }
        match (envelope.now.method, envelope.now.has_id) {
            (Some(method), false) if complete || method.is_notification() => {
                Shape::Notification(method)
            }
            // Without an id it may still come: SDKs write it last.
            (Some(method), _) => Shape::Request(method),
            // An error may come without an id: what it answers could not be read.
            (None, _) if complete && envelope.now.has_answer => Shape::Reply,
            _ => Shape::Unknown,
        }
    }

    /// The ids of the requests in it: one, or those of a batch; none of what is no message, where
    /// they could be anybody's.
    pub fn ids(&self) -> &[RequestId] {
        if self.envelope.broken { &[] } else { &self.envelope.ids }
    }

    /// The id of a single reply: that of the server's request which it answers.
    pub fn reply_id(&self) -> Option<&RequestId> {
        self.envelope.reply_id.as_ref().filter(|_| self.shape() == Shape::Reply)
    }

    /// `params.name` of a single message: the tool or the prompt. `None` as well where it is longer
    /// than 256 bytes.
    pub fn name(&self) -> Option<&str> {
        self.envelope.params.name.as_deref()
    }

    /// Whether a single message has a `params.cursor`: it asks for a further page.
    pub fn has_cursor(&self) -> bool {
        self.envelope.params.has_cursor
    }

    /// `params.requestId` of a single message: the call that a client cancels.
    pub fn cancelled_id(&self) -> Option<&RequestId> {
        let is_cancel = self.envelope.now.method == Some(Method::CANCELLED);
        self.envelope.params.request_id.as_ref().filter(|_| is_cancel)
    }

    /// `params._meta.traceparent` of a single message, unchecked, up to 64 bytes.
    pub fn traceparent(&self) -> Option<&str> {
        self.envelope.params.traceparent.as_deref()
    }
}

/// The keys of one message that matter.
#[derive(Debug, Default)]
struct Message {
    method: Option<Method>,
    has_id: bool,
    id: Option<RequestId>,
    has_answer: bool,
    seen: u8,
}

/// A key that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Method,
    Id,
    Result,
    Error,
    Params,
    Name,
    Cursor,
    RequestId,
    Meta,
    Traceparent,
}

/// The object whose keys are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Envelope,
    /// `params`
    Params,
    /// `params._meta`
    Meta,
}

/// What is kept of the parameters of a single message.
#[derive(Debug, Default)]
struct Params {
    name: Option<Box<str>>,
    has_cursor: bool,
    request_id: Option<RequestId>,
    traceparent: Option<Box<str>>,
}

/// Collects envelopes from the scanner's tokens.
#[derive(Debug, Default)]
struct Envelope {
    /// The document is an array of this many values.
    array: Option<usize>,
    now: Message,
    place: Place,
    key: Option<Key>,
    params: Params,
    ids: Vec<RequestId>,
    reply_id: Option<RequestId>,
    initialize_in_batch: bool,
    broken: bool,
}

impl Envelope {
    /// Depth at which the keys that are read stand.
    fn level(&self) -> usize {
        let envelope = if self.array.is_some() { 2 } else { 1 };
        envelope + self.place as usize
    }

    fn end_of_message(&mut self) {
        let message = &mut self.now;
        match (message.method, message.id.take()) {
            (Some(_), Some(id)) if self.ids.len() < BATCH_IDS_MAX => self.ids.push(id),
            (None, Some(id)) => self.reply_id = Some(id),
            _ => {}
        }
        self.initialize_in_batch |=
            self.array.is_some() && message.method == Some(Method::INITIALIZE);
    }
}

impl Visit for Envelope {
    fn wants(&self, depth: usize) -> bool {
        depth == 1 || depth == self.level()
    }

    fn key(&mut self, depth: usize, token: Token<'_>) {
        if depth != self.level() {
            return;
        }
        let name = token.text();
        self.key = match (self.place, name.as_deref()) {
            (Place::Envelope, Some("method")) => Some(Key::Method),
            (Place::Envelope, Some("id")) => Some(Key::Id),
            (Place::Envelope, Some("result")) => Some(Key::Result),
            (Place::Envelope, Some("error")) => Some(Key::Error),
            (Place::Envelope, Some("params")) if self.array.is_none() => Some(Key::Params),
            (Place::Params, Some("name")) => Some(Key::Name),
            (Place::Params, Some("cursor")) => Some(Key::Cursor),
            (Place::Params, Some("requestId")) => Some(Key::RequestId),
            (Place::Params, Some("_meta")) => Some(Key::Meta),
            (Place::Meta, Some("traceparent")) => Some(Key::Traceparent),
            _ => None,
        };
        if let Some(key @ (Key::Method | Key::Id | Key::Result | Key::Error)) = self.key {
            self.broken |= self.now.seen & (1 << key as u8) != 0;
            self.now.seen |= 1 << key as u8;
            self.now.has_answer |= matches!(key, Key::Result | Key::Error);
        }
    }

    fn scalar(&mut self, depth: usize, token: Token<'_>) {
        if depth != self.level() {
            // A member of a batch that is no object.
            self.broken |= depth == 1;
            return;
        }
        match self.key.take() {
            Some(Key::Method) if token.is_text() => {
                let name = token.text();
                let known = name.map_or(Method::OTHER, |name| Method::named(name.as_bytes()));
                self.now.method = Some(known);
            }
            Some(Key::Method) => self.broken = true,
            Some(Key::Id) => {
                self.now.has_id = true;
                self.now.id = RequestId::of(token);
            }
            Some(Key::Name) => self.params.name = bounded(token, NAME_MAX),
            Some(Key::Cursor) => self.params.has_cursor = token.is_text(),
            Some(Key::RequestId) => self.params.request_id = RequestId::of(token),
            Some(Key::Traceparent) => self.params.traceparent = bounded(token, TRACEPARENT_MAX),
            _ => {}
        }
    }

    fn open(&mut self, depth: usize, bracket: Bracket) {
        match (depth, bracket) {
            (0, Bracket::Array) => self.array = Some(0),
            (1, bracket) if self.array.is_some() => {
                self.broken |= bracket != Bracket::Object;
                self.array = self.array.map(|count| count + 1);
                self.now = Message::default();
            }
            (depth, bracket) if depth == self.level() => match (self.key.take(), bracket) {
                (Some(Key::Method), _) => self.broken = true,
                (Some(Key::Id), _) => self.now.has_id = true,
                (Some(Key::Params), Bracket::Object) => {
                    self.place = Place::Params;
                    self.params = Params::default();
                }
                (Some(Key::Meta), Bracket::Object) => self.place = Place::Meta,
                _ => {}
            },
            _ => {}
        }
    }

    fn close(&mut self, depth: usize) {
        if depth + 1 != self.level() {
            return;
        }
        match self.place {
            Place::Meta => self.place = Place::Params,
            Place::Params => self.place = Place::Envelope,
            Place::Envelope => self.end_of_message(),
        }
    }
}

/// A text of at most this many bytes.
fn bounded(token: Token<'_>, max: usize) -> Option<Box<str>> {
    token.text().filter(|text| text.len() <= max).map(Into::into)
}

#[cfg(test)]
mod tests;
