//! Reads the JSON-RPC envelope of what a client posts: method, id, kind, of one message or of a
//! batch.
//!
//! Works on the bytes as they pass, so that a large body is never held back. A key that appears
//! twice makes the message invalid: the router would go by one value and the server by the other.
//! Does not know: parameters, HTTP.

use std::borrow::Cow;

use super::method::Method;
use super::scan::{Bracket, Progress, Scanner, Token, Visit};

/// Ids of a batch that are remembered to answer each with an error of ours; TypeScript's server
/// refuses larger batches.
const BATCH_IDS_MAX: usize = 100;

/// The id of a request, exactly as the client wrote it: `"1"` and `1` are different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Takes a token that may be an id: a string or a number.
    fn of(token: Token<'_>) -> Option<RequestId> {
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
            Progress::Complete if envelope.array.is_none() && !envelope.object => Progress::Invalid,
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

/// A key of a message that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Method,
    Id,
    Result,
    Error,
}

/// Collects envelopes from the scanner's tokens.
#[derive(Debug, Default)]
struct Envelope {
    /// The document is an array of this many values.
    array: Option<usize>,
    /// The document is an object.
    object: bool,
    now: Message,
    key: Option<Key>,
    ids: Vec<RequestId>,
    initialize_in_batch: bool,
    broken: bool,
}

impl Envelope {
    /// Depth at which the keys of a message stand.
    fn level(&self) -> usize {
        if self.array.is_some() { 2 } else { 1 }
    }

    fn end_of_message(&mut self) {
        let message = &mut self.now;
        if let (Some(_), Some(id)) = (message.method, message.id.take())
            && self.ids.len() < BATCH_IDS_MAX
        {
            self.ids.push(id);
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
        self.key = match token {
            Token::Whole(text) => match unquoted(text).as_ref() {
                b"method" => Some(Key::Method),
                b"id" => Some(Key::Id),
                b"result" => Some(Key::Result),
                b"error" => Some(Key::Error),
                _ => None,
            },
            Token::TooLong => None,
        };
        if let Some(key) = self.key {
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
            Some(Key::Method) => match token {
                Token::Whole(text @ [b'"', ..]) => {
                    self.now.method = Some(Method::named(&unquoted(text)));
                }
                Token::Whole(_) => self.broken = true,
                Token::TooLong => self.now.method = Some(Method::OTHER),
            },
            Some(Key::Id) => {
                self.now.has_id = true;
                self.now.id = RequestId::of(token);
            }
            _ => {}
        }
    }

    fn open(&mut self, depth: usize, bracket: Bracket) {
        match (depth, bracket) {
            (0, Bracket::Object) => self.object = true,
            (0, Bracket::Array) => self.array = Some(0),
            (1, bracket) if self.array.is_some() => {
                self.broken |= bracket != Bracket::Object;
                self.array = self.array.map(|count| count + 1);
                self.now = Message::default();
            }
            (depth, _) if depth == self.level() => match self.key.take() {
                Some(Key::Method) => self.broken = true,
                Some(Key::Id) => self.now.has_id = true,
                _ => {}
            },
            _ => {}
        }
    }

    fn close(&mut self, depth: usize) {
        if depth + 1 == self.level() && (self.object || self.array.is_some()) {
            self.end_of_message();
        }
    }
}

/// A string token without its quotes and escapes.
fn unquoted(text: &[u8]) -> Cow<'_, [u8]> {
    if text.contains(&b'\\') {
        let decoded: String = serde_json::from_slice(text).unwrap_or_default();
        return Cow::Owned(decoded.into_bytes());
    }
    Cow::Borrowed(text.get(1..text.len() - 1).unwrap_or_default())
}

#[cfg(test)]
mod tests;
