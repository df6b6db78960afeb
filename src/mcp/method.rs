//! The JSON-RPC methods that MCP defines, as a closed set.
//!
//! A method is a label in metrics and a key to the few rules that depend on it, so an unknown one
//! is `_other`, whatever a client makes up. Does not know: parameters.

use std::fmt;

/// A method of MCP, or a word with an underscore in front for what has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(&'static str);

/// Every method of the revisions 2024-11-05 to 2026-07-28 that a client sends.
const KNOWN: [&str; 30] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "subscriptions/listen",
    "completion/complete",
    "logging/setLevel",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
    "tasks/result",
    "tasks/list",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/message",
    "notifications/roots/list_changed",
    "notifications/elicitation/complete",
    "notifications/tasks/status",
    "roots/list",
    "sampling/createMessage",
    "elicitation/create",
];

impl Method {
    /// A method that MCP does not define.
    pub const OTHER: Method = Method("_other");
    /// The reply of a client to a request of the server.
    pub const REPLY: Method = Method("_reply");
    /// Several messages in one POST (2025-03-26).
    pub const BATCH: Method = Method("_batch");
    /// A GET that opens a stream.
    pub const STREAM: Method = Method("_stream");
    /// A DELETE that ends a session.
    pub const DELETE: Method = Method("_delete");
    /// A path that is not MCP's: OAuth, discovery documents, pages.
    pub const NONE: Method = Method("_none");
    /// Opens a legacy session.
    pub const INITIALIZE: Method = Method("initialize");
    /// Asks a modern server what it speaks.
    pub const DISCOVER: Method = Method("server/discover");

    /// A client gives up a call of its own.
    pub const CANCELLED: Method = Method("notifications/cancelled");
    /// Calls a tool.
    pub const CALL: Method = Method("tools/call");
    /// Opens a stream of what changes at a modern server.
    pub const LISTEN: Method = Method("subscriptions/listen");

    /// The method of this name.
    pub fn named(name: &[u8]) -> Method {
        KNOWN.into_iter().find(|known| known.as_bytes() == name).map_or(Method::OTHER, Method)
    }

    /// The label.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether it never wants an answer.
    pub fn is_notification(self) -> bool {
        self.0.starts_with("notifications/")
    }

    /// Whether its result comes in pages, each asked for by a cursor from the one before.
    pub fn is_list(self) -> bool {
        self.0.ends_with("/list")
    }

    /// Whether doing it twice is the same as doing it once, by the protocol and not by a server's
    /// own hints: only these may be sent again after they were once sent.
    pub fn is_read_only(self) -> bool {
        matches!(
            self.0,
            "initialize"
                | "server/discover"
                | "ping"
                | "tools/list"
                | "prompts/list"
                | "resources/list"
                | "resources/templates/list"
        )
    }

    /// Whether an HTTP error would decide a client's view of the server for good
    /// (a discovering client takes it as the server's era, a host disables the server).
    pub fn is_first_contact(self) -> bool {
        self == Method::INITIALIZE || self == Method::DISCOVER
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_closed_set() {
        assert_eq!(Method::named(b"initialize"), Method::INITIALIZE);
        assert_eq!(Method::named(b"server/discover"), Method::DISCOVER);
        assert_eq!(Method::named(b"subscriptions/listen"), Method::LISTEN);
        assert_eq!(Method::named(b"tools/call\n"), Method::OTHER);
        assert_eq!(Method::named(b"_batch"), Method::OTHER);
        assert_eq!(Method::CALL.to_string(), "tools/call");
    }

    #[test]
    fn only_reads_may_be_repeated() {
        for name in KNOWN {
            let method = Method::named(name.as_bytes());
            if method.is_first_contact() {
                assert!(method.is_read_only(), "{name}");
            }
            let first = ["initialize", "server/discover"].contains(&name);
            assert_eq!(method.is_first_contact(), first, "{name}");
        }
        assert!(!Method::named(b"tools/call").is_read_only());
        assert!(!Method::named(b"resources/read").is_read_only());
    }
}
