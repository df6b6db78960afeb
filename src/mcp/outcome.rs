//! From the facts of an exchange to what really happened, and whose fault it was.
//!
//! The one place where that is decided, as a pure function, so that every later decision counts
//! the same. What only looks like a fault of the server, because clients made it or the change of
//! version did, must not count against it; what hides in HTTP 200 must. Does not know: arms by
//! name, how the facts were found, what is done about it.

use super::answer::{Content, Message, Why};
use super::classify::{Call, Kind};
use super::header::Era;
use super::message::{Reader, RequestId, Shape};
use super::method::Method;
use crate::names::{Blame, Outcome};

/// What an exchange came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// Whose fault that is.
    pub blame: Blame,
    /// A word for the log that tells apart what has the same outcome; one of a closed set.
    pub reason: &'static str,
}

impl Verdict {
    const fn arm(outcome: Outcome, reason: &'static str) -> Verdict {
        Verdict { outcome, blame: Blame::Arm, reason }
    }

    const fn relative(outcome: Outcome, reason: &'static str) -> Verdict {
        Verdict { outcome, blame: Blame::Relative, reason }
    }

    const fn skew(reason: &'static str) -> Verdict {
        Verdict { outcome: Outcome::Skew, blame: Blame::Skew, reason }
    }

    const fn nobody(outcome: Outcome, reason: &'static str) -> Verdict {
        Verdict { outcome, blame: Blame::Nobody, reason }
    }

    /// The worse of two for the arm; of equal ones the first.
    fn or_worse(self, other: Verdict) -> Verdict {
        if other.blame < self.blame { other } else { self }
    }
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The answer to one request.
    Answer,
    /// Nothing: it sent a notification, a reply, or no message at all.
    Nothing,
    /// The answers to a batch.
    Batch,
    /// Its body did not come far enough to tell.
    Unknown,
}

impl Wants {
    /// What the client of this call waits for, by what it posted.
    pub fn of(call: &Call, posted: &Reader) -> Wants {
        match posted.shape() {
            _ if call.kind != Kind::Post => Wants::Nothing,
            Shape::Request(_) => Wants::Answer,
            Shape::Notification(_) | Shape::Reply => Wants::Nothing,
            Shape::Batch { .. } if posted.ids().is_empty() => Wants::Nothing,
            Shape::Batch { .. } => Wants::Batch,
            Shape::Unknown => Wants::Unknown,
        }
    }
}

/// What is known of a call, whatever came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The call.
    pub call: Call,
    /// What its client waits for.
    pub wants: Wants,
    /// It belongs to a session that, as far as we know, lives at the server that was asked.
    pub session_is_live: bool,
    /// It calls a tool that the server's arm does not list, but the other arm does.
    pub asks_other_arm_tool: bool,
    /// It has a `params.cursor`.
    pub has_cursor: bool,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// We refused it, or the client's body came to nothing.
    Rejected,
    /// The servers of its arm had as much to do as they may, for too long.
    NoRoom,
    /// The client left before an answer's head.
    ClientLeft,
    /// No connection.
    Unreachable,
    /// The connection ended before an answer's head.
    Lost,
    /// The server closed a kept connection in the moment when the request was sent on it.
    Raced,
    /// What came was no HTTP, or a change of protocol that nobody asked for.
    Garbage,
    /// No answer's head in time.
    NoHeadInTime,
    /// The answer opened a session whose id cannot be one.
    BadSessionId,
    /// An answer.
    Head {
        /// The HTTP status.
        status: u16,
        /// What was in its body. For a message of a 2024-11-05 session: what came of the answer on
        /// the session's stream, as that is where it comes.
        heard: Heard,
        /// How the body, or that stream, ended.
        close: Close,
    },
}

/// How the body of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// As HTTP says that it should.
    Complete,
    /// By a reset, or short of its length.
    Broken,
    /// We gave it up after too long a silence.
    Stalled {
        /// A request of the server was waiting for the client's reply.
        asked: bool,
    },
    /// The client left.
    ClientLeft,
    /// After an event id and before the response, and nobody came back for the rest in time.
    NotResumed,
}

/// What was in the body of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heard {
    /// Nothing, or nothing but white space and events without data.
    #[default]
    Nothing,
    /// Messages, but no response.
    NoResponse,
    /// A response.
    Response {
        /// What it says.
        content: Content,
        /// It answers the request, see [`Response::answers`](super::answer::Response::answers).
        ours: bool,
    },
    /// Responses to a batch; this is the worst of them.
    Batch(Verdict),
    /// No response, and something that is no message.
    Invalid(Why),
    /// Neither JSON nor an event stream, by its content type.
    WrongType,
    /// Compressed, so it was not read.
    Encoded,
    /// Not read for another reason.
    NotRead,
}

impl Heard {
    /// Takes in the next message of the body. `request`: the id of the client's request, where it
    /// is known.
    pub fn hear(
        &mut self,
        message: &Message,
        facts: &Facts,
        status: u16,
        request: Option<&RequestId>,
    ) {
        *self = match (message, *self) {
            (Message::Response(response), heard) if facts.wants == Wants::Batch => {
                let verdict = of_response(facts, status, response.content);
                Heard::Batch(match heard {
                    Heard::Batch(worst) => worst.or_worse(verdict),
                    _ => verdict,
                })
            }
            (_, heard @ (Heard::Batch(_) | Heard::Response { ours: true, .. })) => heard,
            (Message::Response(response), _) => {
                Heard::Response { content: response.content, ours: response.answers(request) }
            }
            // The response may be in what is too deep, whatever else was wrong.
            (Message::Invalid(why @ Why::TooDeep), Heard::Invalid(_))
            | (Message::Invalid(why), Heard::Nothing | Heard::NoResponse) => Heard::Invalid(*why),
            (_, Heard::Nothing) => Heard::NoResponse,
            (_, heard) => heard,
        };
    }
}

/// What an exchange came to.
pub fn verdict(facts: &Facts, end: End) -> Verdict {
    match end {
        End::Rejected => Verdict::nobody(Outcome::Rejected, "rejected"),
        // It is we who refuse, at a limit that an operator has set, and a flood of requests is no
        // fault of a version: never the arm's alone. But a version that takes longer for each holds
        // its places longer and is full first: that its callers are turned away speaks against it if
        // those of the other arm are not. Where one arm has more work for each of its endpoints,
        // this leans towards the other one: limits.in_flight should leave the stable arm room.
        End::NoRoom => Verdict::relative(Outcome::Rejected, "no_room"),
        End::ClientLeft => Verdict::nobody(Outcome::Cancelled, "client_left"),
        End::Unreachable => Verdict::arm(Outcome::Transport, "unreachable"),
        End::Lost => Verdict::arm(Outcome::Transport, "lost"),
        End::Raced => Verdict::nobody(Outcome::Race, "raced"),
        End::Garbage => Verdict::arm(Outcome::Transport, "garbage"),
        End::NoHeadInTime => Verdict::arm(Outcome::Timeout, "no_head"),
        End::BadSessionId => Verdict::arm(Outcome::Transport, "bad_session_id"),
        End::Head { status, heard, close } => of_head(facts, status, heard, close),
    }
}

fn of_head(facts: &Facts, status: u16, heard: Heard, close: Close) -> Verdict {
    let is_mcp = !matches!(facts.call.kind, Kind::Preflight | Kind::Unsupported | Kind::Other);
    match status {
        200..=299 if is_mcp => of_success(facts, status, heard, close),
        200..=299 => Verdict::nobody(Outcome::Ok, "not_mcp"),
        300..=399 => Verdict::nobody(Outcome::Ok, "redirect"),
        400..=499 if is_mcp => match heard {
            Heard::Response { content, .. } => of_response(facts, status, content),
            Heard::Batch(worst) => worst,
            _ => of_refusal(facts, status),
        },
        400..=499 => Verdict::nobody(Outcome::ClientError, "not_mcp"),
        500..=599 => Verdict::arm(Outcome::HttpError, "http_5xx"),
        _ => Verdict::arm(Outcome::HttpError, "odd_status"),
    }
}

/// 2xx: the body decides.
fn of_success(facts: &Facts, status: u16, heard: Heard, close: Close) -> Verdict {
    let Facts { call, wants, .. } = *facts;
    if matches!(call.kind, Kind::Stream | Kind::LegacyStream) {
        return of_stream(close);
    }
    if wants == Wants::Nothing || call.kind == Kind::Delete {
        return Verdict::nobody(Outcome::Ok, "accepted");
    }
    let accepted = status == 202 && !call.by_uri;
    match heard {
        _ if accepted && wants != Wants::Unknown => {
            Verdict::arm(Outcome::RpcError, "accepted_request")
        }
        Heard::Response { content: content @ Content::Error { .. }, .. } => {
            of_response(facts, status, content)
        }
        _ if call.method == Method::LISTEN => of_stream(close),
        Heard::Response { content, ours: true } => of_response(facts, status, content),
        Heard::Response { .. } => Verdict::arm(Outcome::RpcError, "wrong_id"),
        Heard::Batch(worst) => worst,
        Heard::Invalid(Why::NotJson) => Verdict::arm(Outcome::RpcError, "not_json"),
        Heard::Invalid(Why::NoMessage) => Verdict::arm(Outcome::RpcError, "no_message"),
        Heard::Invalid(Why::BadEvent) => Verdict::arm(Outcome::RpcError, "bad_event"),
        Heard::WrongType if !call.by_uri => Verdict::arm(Outcome::RpcError, "wrong_content_type"),
        _ => of_silence(facts, heard, close),
    }
}

/// 2xx without a response, as far as could be read: how the body ended decides.
fn of_silence(facts: &Facts, heard: Heard, close: Close) -> Verdict {
    let unread = |reason| Verdict::nobody(Outcome::Unclassified, reason);
    match (close, heard) {
        (Close::Broken, _) => Verdict::arm(Outcome::Transport, "broken"),
        (Close::Stalled { asked: false }, _) => Verdict::arm(Outcome::Timeout, "stalled"),
        (Close::Stalled { asked: true }, _) => Verdict::nobody(Outcome::Timeout, "client_asked"),
        (Close::ClientLeft, _) => Verdict::nobody(Outcome::Cancelled, "client_left"),
        (_, Heard::Encoded) => unread("encoded"),
        (_, Heard::NotRead) => unread("not_read"),
        (_, Heard::Invalid(_)) => unread("too_deep"),
        (Close::NotResumed, _) => Verdict::arm(Outcome::Transport, "not_resumed"),
        (Close::Complete, Heard::Nothing) if facts.wants == Wants::Unknown => {
            Verdict::nobody(Outcome::Ok, "accepted")
        }
        (Close::Complete, Heard::Nothing) if !facts.call.by_uri => {
            Verdict::arm(Outcome::Transport, "empty")
        }
        (Close::Complete, _) => Verdict::arm(Outcome::Transport, "no_answer"),
    }
}

/// A stream that only ever ends because somebody ends it: each restart of a server ends them all.
fn of_stream(close: Close) -> Verdict {
    match close {
        Close::Broken => Verdict::nobody(Outcome::Transport, "broken"),
        _ => Verdict::nobody(Outcome::Ok, "stream_ended"),
    }
}

/// 4xx, where no code says more.
fn of_refusal(facts: &Facts, status: u16) -> Verdict {
    let Facts { call, session_is_live, .. } = *facts;
    match (status, call.kind) {
        (405, Kind::Stream | Kind::LegacyStream | Kind::Delete) => {
            Verdict::nobody(Outcome::ClientError, "not_offered")
        }
        (409, _) => Verdict::nobody(Outcome::ClientError, "conflict"),
        (404, _) if session_is_live && call.era == Era::Legacy => {
            Verdict::arm(Outcome::HttpError, "session_lost")
        }
        _ => Verdict::relative(Outcome::ClientError, "http_4xx"),
    }
}

fn of_response(facts: &Facts, status: u16, content: Content) -> Verdict {
    match content {
        Content::Error { code, invalid_request_state } => {
            of_error(facts, status, code, invalid_request_state)
        }
        Content::Result { .. } if status >= 400 => of_refusal(facts, status),
        Content::Result { is_error: true, .. } if facts.asks_other_arm_tool => {
            Verdict::skew("tool_not_here")
        }
        Content::Result { is_error: true, .. } => Verdict::relative(Outcome::ToolError, "is_error"),
        // Before 2026-07-28 a task fails by `isError` as well, which says nothing of the server.
        Content::Result { task_failed: true, task_error_code: Some(-32603), .. }
            if facts.call.era == Era::Modern =>
        {
            Verdict::arm(Outcome::RpcError, "task_internal_error")
        }
        Content::Result { task_failed: true, .. } => {
            Verdict::relative(Outcome::ToolError, "task_failed")
        }
        Content::Result { input_required: true, .. } => {
            Verdict::nobody(Outcome::Ok, "input_required")
        }
        Content::Result { .. } => Verdict::nobody(Outcome::Ok, "answered"),
    }
}

/// A JSON-RPC error, by its code.
fn of_error(facts: &Facts, status: u16, code: Option<i64>, other_state: bool) -> Verdict {
    let Facts { call, asks_other_arm_tool, has_cursor, .. } = *facts;
    let of_client = |reason| Verdict::relative(Outcome::ClientError, reason);
    match code {
        Some(-32603) => Verdict::arm(Outcome::RpcError, "internal_error"),
        Some(-32602) if other_state => Verdict::skew("request_state"),
        Some(-32602 | -32601) if asks_other_arm_tool => Verdict::skew("tool_not_here"),
        Some(-32602) if has_cursor && call.method.is_list() => Verdict::skew("cursor"),
        Some(-32020) => Verdict::skew("header_mismatch"),
        Some(-32042) => Verdict::nobody(Outcome::Ok, "url_elicitation"),
        Some(-32002) => Verdict::nobody(Outcome::ClientError, "resource_not_found"),
        Some(-32700) => Verdict::nobody(Outcome::ClientError, "parse_error"),
        Some(-32800) => Verdict::nobody(Outcome::ClientError, "request_cancelled"),
        // Servers write these under every 4xx that they answer, so the status says more: Python's
        // has -32600 even in a 404 for a lost session. An error without a code is OAuth's.
        Some(-32600 | -32019..=-32000) | None if status >= 400 => of_refusal(facts, status),
        Some(-32600) => of_client("invalid_request"),
        Some(-32601) => of_client("method_not_found"),
        Some(-32602) => of_client("invalid_params"),
        Some(-32021) => of_client("missing_capability"),
        Some(-32022) => of_client("unsupported_version"),
        Some(-32019..=-32000) => Verdict::relative(Outcome::RpcError, "server_code"),
        Some(_) => Verdict::relative(Outcome::RpcError, "other_code"),
        None => Verdict::relative(Outcome::RpcError, "no_code"),
    }
}

#[cfg(test)]
mod tests;
