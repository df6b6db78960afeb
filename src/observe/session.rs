//! Sessions and calls as numbers, so that two workers can speak of the same one without sharing
//! anything, and a log line can name one without giving it away.
//!
//! Does not know: tags, where a session lives.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use crate::mcp::message::RequestId;

/// A session, by what its client has of it: the tagged id, or the tag in its message URI. Both
/// hold a MAC of 128 bits, so this number says nothing about them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(u64);

impl SessionKey {
    /// The number of a session.
    pub fn of(id: &[u8]) -> SessionKey {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        SessionKey(hasher.finish())
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A JSON-RPC request in a session: the client's or, with ids of its own, the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The session.
    pub session: SessionKey,
    /// The request's id, by value.
    pub id: u64,
}

impl CallKey {
    /// The number of a request.
    pub fn of(session: SessionKey, id: &RequestId) -> CallKey {
        let mut hasher = DefaultHasher::new();
        // A server may write the same value in another way: 1.0 for 1, an escape for a letter.
        match serde_json::from_str(id.as_json()) {
            Ok(Value::String(text)) => text.hash(&mut hasher),
            Ok(Value::Number(number)) => number.as_f64().map(f64::to_bits).hash(&mut hasher),
            _ => id.as_json().hash(&mut hasher),
        }
        CallKey { session, id: hasher.finish() }
    }
}
