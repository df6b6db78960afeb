//! Reads what a server sends while it passes: the messages in it, and of a response what tells
//! success from failure.
//!
//! Errors of MCP hide in HTTP 200: as a result that says `isError`, as a JSON-RPC error, in the
//! middle of an event stream. A JSON body is one document and so is the data of each event; both
//! are read in constant memory, whatever their size. Of two equal keys the last counts, as for most
//! clients. Does not know: which request is answered, whose fault anything is.

use std::time::Duration;

use super::message::RequestId;
use super::scan::{self, Bracket, Progress, Scanner, Token};
use super::sse;

/// Messages of one document that are told; TypeScript's server refuses larger batches.
const MESSAGES_MAX: usize = 100;

/// One message of a server, or what stands in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The answer to a request of the client.
    Response(Response),
    /// A request to the client, which holds up the answer until the client has replied. Its id,
    /// unless that is none or too long.
    Request(Option<RequestId>),
    /// Wants no answer and is none.
    Notification,
    /// No message of JSON-RPC.
    Invalid(Why),
}

/// Why something is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The body is not JSON, or ends too early.
    NotJson,
    /// The body is JSON, but no message.
    NoMessage,
    /// The data of an event is not JSON or no message.
    BadEvent,
    /// Nested deeper than we follow: it may well be a message.
    TooDeep,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Whose answer it is, as the server wrote it; `None` for none, `null` and what is too long.
    pub id: Option<RequestId>,
    /// What it says.
    pub content: Content,
}

impl Response {
    /// Whether it answers a request of this id, where that is known. An error answers whatever its
    /// id is: servers that could not or did not read the request's make one up.
    pub fn answers(&self, request: Option<&RequestId>) -> bool {
        match (request, &self.id, self.content) {
            (None, ..) | (_, _, Content::Error { .. }) => true,
            (Some(request), Some(id), _) => id.matches(request),
            (Some(_), None, _) => false,
        }
    }
}

/// What a response says of success and failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `result`
    Result {
        /// `isError`: a tool failed, or refused what it was given.
        is_error: bool,
        /// `resultType` or a task's `status` is `input_required`: the server asks back.
        input_required: bool,
        /// It is about a task, or has one in it, whose `status` is `failed`.
        task_failed: bool,
        /// `error.code` of such a task.
        task_error_code: Option<i64>,
    },
    /// `error`
    Error {
        /// `code`, where it is a whole number.
        code: Option<i64>,
        /// `data.reason` is `invalid_request_state`: another server had sealed it.
        invalid_request_state: bool,
    },
}

/// Reads one body.
#[derive(Debug, Default)]
pub struct Body {
    document: Document,
    stream: Option<Stream>,
}

/// What is known of an event stream.
#[derive(Debug, Default)]
struct Stream {
    reader: sse::Reader,
    saw_event_id: bool,
}

impl Body {
    /// A body that is one JSON document.
    pub fn json() -> Body {
        Body::default()
    }

    /// A body that is a stream of events.
    pub fn stream() -> Body {
        Body { stream: Some(Stream::default()), ..Body::default() }
    }

    /// Looks at the next bytes, and tells the messages of each event that has happened by them. Of
    /// a batch at most the first 100 are told.
    pub fn feed(&mut self, mut bytes: &[u8], tell: &mut impl FnMut(Message)) {
        let Some(stream) = &mut self.stream else { return self.document.read(bytes) };
        while let (used, Some(event)) = stream.reader.next(bytes, &mut self.document) {
            bytes = &bytes[used..];
            stream.saw_event_id |= event.has_id;
            // The data of other events is not JSON, such as the URI in `endpoint`.
            if event.kind == sse::Kind::Message {
                self.document.finish(&mut |message| tell(of_event(message)));
            }
            self.document.restart();
        }
    }

    /// The body has ended as it should: a JSON document is told now, since until then anything that
    /// follows may spoil it. An event that has not ended never happened, and a body of nothing
    /// tells nothing.
    pub fn finish(&mut self, tell: &mut impl FnMut(Message)) {
        if self.stream.is_none() {
            self.document.finish(tell);
        }
    }

    /// Whether an event had an id, after which the client may resume.
    pub fn saw_event_id(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.saw_event_id)
    }

    /// How long the client is to wait before it resumes, if the server said so.
    pub fn retry(&self) -> Option<Duration> {
        self.stream.as_ref().and_then(|stream| stream.reader.retry())
    }
}

/// What of a body is no message, is a bad event in a stream.
fn of_event(message: Message) -> Message {
    match message {
        Message::Invalid(Why::NotJson | Why::NoMessage) => Message::Invalid(Why::BadEvent),
        other => other,
    }
}

/// One JSON document and the messages in it.
#[derive(Debug, Default)]
struct Document {
    scanner: Scanner,
    envelope: Envelope,
}

impl Document {
    fn read(&mut self, bytes: &[u8]) {
        self.scanner.feed(bytes, &mut self.envelope);
    }

    /// No more comes. White space alone is no document.
    fn finish(&mut self, tell: &mut impl FnMut(Message)) {
        if self.scanner.is_blank() {
            return;
        }
        let progress = self.scanner.finish(&mut self.envelope);
        let messages = &mut self.envelope.messages;
        let why = match progress {
            Progress::Complete if messages.is_empty() => Why::NoMessage,
            Progress::Complete => return messages.drain(..).for_each(tell),
            Progress::Incomplete | Progress::Invalid => Why::NotJson,
            Progress::TooDeep => Why::TooDeep,
        };
        // Who cannot read the whole document has none of its messages.
        tell(Message::Invalid(why));
    }

    /// Another document comes, in the same memory.
    fn restart(&mut self) {
        self.scanner.restart();
        let mut messages = std::mem::take(&mut self.envelope.messages);
        messages.clear();
        self.envelope = Envelope { messages, ..Envelope::default() };
    }
}

impl sse::Visit for Document {
    fn data(&mut self, piece: &[u8]) {
        self.read(piece);
    }
}

/// The object whose keys are read, by the path that leads to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Not in a message.
    #[default]
    Outside,
    Envelope,
    /// `result`
    Result,
    /// `result.task`
    Task,
    /// `result.error`
    TaskError,
    /// `error`
    Error,
    /// `error.data`
    ErrorData,
}

impl Place {
    /// Brackets of the message around its keys.
    fn depth(self) -> usize {
        match self {
            Place::Outside => 0,
            Place::Envelope => 1,
            Place::Result | Place::Error => 2,
            Place::Task | Place::TaskError | Place::ErrorData => 3,
        }
    }

    fn parent(self) -> Place {
        match self {
            Place::Outside | Place::Envelope => Place::Outside,
            Place::Result | Place::Error => Place::Envelope,
            Place::Task | Place::TaskError => Place::Result,
            Place::ErrorData => Place::Error,
        }
    }

    /// The key of this name here, if it matters.
    fn key(self, name: &str) -> Option<Key> {
        Some(match (self, name) {
            (Place::Envelope, "method") => Key::Method,
            (Place::Envelope, "id") => Key::Id,
            (Place::Envelope, "result") => Key::Result,
            (Place::Envelope, "error") => Key::Error,
            (Place::Result, "isError") => Key::IsError,
            (Place::Result, "resultType") => Key::ResultType,
            (Place::Result, "task") => Key::Task,
            (Place::Result, "error") => Key::TaskError,
            (Place::Result | Place::Task, "taskId") => Key::TaskId,
            (Place::Result | Place::Task, "status") => Key::Status,
            (Place::TaskError | Place::Error, "code") => Key::Code,
            (Place::Error, "data") => Key::Data,
            (Place::ErrorData, "reason") => Key::Reason,
            _ => return None,
        })
    }
}

/// A key that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Method,
    Id,
    Result,
    Error,
    IsError,
    ResultType,
    Task,
    TaskError,
    TaskId,
    Status,
    Code,
    Data,
    Reason,
}

/// What is known of the message that is being read.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one key that was or was not there")]
struct Parts {
    has_method: bool,
    has_id: bool,
    id: Option<RequestId>,
    has_result: bool,
    is_error: bool,
    input_required: bool,
    is_task: bool,
    failed: bool,
    task_error_code: Option<i64>,
    has_error: bool,
    code: Option<i64>,
    invalid_request_state: bool,
}

impl Parts {
    fn message(self) -> Message {
        let content = match self {
            Parts { has_method: true, has_id: false, .. } => return Message::Notification,
            Parts { has_method: true, id, .. } => return Message::Request(id),
            // Some write both and make one of them null.
            Parts { has_error: true, code, invalid_request_state, .. } => {
                Content::Error { code, invalid_request_state }
            }
            Parts { has_result: true, is_error, input_required, task_error_code, .. } => {
                let task_failed = self.is_task && self.failed;
                Content::Result { is_error, input_required, task_failed, task_error_code }
            }
            _ => return Message::Invalid(Why::NoMessage),
        };
        Message::Response(Response { id: self.id, content })
    }
}

/// Collects messages from the scanner's tokens.
#[derive(Debug, Default)]
struct Envelope {
    /// The document is an array.
    array: bool,
    place: Place,
    key: Option<Key>,
    now: Parts,
    messages: Vec<Message>,
}

impl Envelope {
    /// Depth of the tokens that are read.
    fn level(&self) -> usize {
        usize::from(self.array) + self.place.depth()
    }

    fn push(&mut self, message: Message) {
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push(message);
        }
    }
}

impl scan::Visit for Envelope {
    fn wants(&self, depth: usize) -> bool {
        depth == self.level()
    }

    fn key(&mut self, _: usize, token: Token<'_>) {
        self.key = token.text().and_then(|name| self.place.key(&name));
    }

    fn scalar(&mut self, _: usize, token: Token<'_>) {
        if self.place == Place::Outside {
            return self.push(Message::Invalid(Why::NoMessage));
        }
        let Some(key) = self.key.take() else { return };
        let is = |text: &str| token.text().is_some_and(|token| token == text);
        let (now, there) = (&mut self.now, token != Token::Whole(b"null"));
        match key {
            Key::Method => now.has_method = token.is_text(),
            Key::Id => {
                now.has_id = there;
                now.id = RequestId::of(token);
            }
            Key::Result => now.has_result = true,
            Key::Error => now.has_error = there,
            Key::IsError => now.is_error = token == Token::Whole(b"true"),
            Key::ResultType => now.input_required |= is("input_required"),
            Key::TaskId => now.is_task = true,
            Key::Status => {
                now.input_required |= is("input_required");
                now.failed = is("failed");
            }
            Key::Code if self.place == Place::Error => now.code = number(token),
            Key::Code => now.task_error_code = number(token),
            Key::Reason => now.invalid_request_state = is("invalid_request_state"),
            Key::Task | Key::TaskError | Key::Data => {}
        }
    }

    fn open(&mut self, depth: usize, bracket: Bracket) {
        if depth != self.level() {
            return;
        }
        let key = self.key.take();
        match key {
            Some(Key::Id) => self.now.has_id = true,
            Some(Key::Result) => self.now.has_result = true,
            Some(Key::Error) => self.now.has_error = true,
            _ => {}
        }
        self.place = match (self.place, key, bracket) {
            (Place::Outside, _, Bracket::Object) => {
                self.now = Parts::default();
                Place::Envelope
            }
            (Place::Outside, _, Bracket::Array) => {
                if self.array {
                    self.push(Message::Invalid(Why::NoMessage));
                }
                self.array = true;
                Place::Outside
            }
            (_, Some(Key::Result), Bracket::Object) => Place::Result,
            (_, Some(Key::Task), Bracket::Object) => Place::Task,
            (_, Some(Key::TaskError), Bracket::Object) => Place::TaskError,
            (_, Some(Key::Error), Bracket::Object) => Place::Error,
            (_, Some(Key::Data), Bracket::Object) => Place::ErrorData,
            (place, ..) => place,
        };
    }

    fn close(&mut self, depth: usize) {
        if depth + 1 != self.level() {
            return;
        }
        if self.place == Place::Envelope {
            let message = std::mem::take(&mut self.now).message();
            self.push(message);
        }
        self.place = self.place.parent();
    }
}

/// A whole number.
fn number(token: Token<'_>) -> Option<i64> {
    let Token::Whole(token) = token else { return None };
    str::from_utf8(token).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
