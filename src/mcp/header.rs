//! Names and values of the headers that MCP defines, and the era that they tell.
//!
//! Does not know: bodies. A body's `protocolVersion` never tells the era: rmcp names 2026-07-28 in
//! the body of a 2025 handshake.

use http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderName};

/// `Mcp-Session-Id`: the session of a legacy client.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `MCP-Protocol-Version`: absent or legacy, or the modern revision.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Method`: the JSON-RPC method of a modern request.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`: the tool, prompt, resource or task of a modern request.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// `Last-Event-ID`: a legacy client resumes a stream.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// `traceparent`: the trace that a request belongs to (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`: what goes with it.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The revisions with a handshake. Anything else in the version header is modern: so Python's
/// server decides, and a server that does not know the value says so itself.
const LEGACY_VERSIONS: [&str; 5] =
    ["2024-10-07", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// Whether this is the name of a revision with a handshake.
pub fn is_legacy(version: &str) -> bool {
    LEGACY_VERSIONS.contains(&version)
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize` and sessions.
    Legacy,
    /// From 2026-07-28: every request stands alone.
    Modern,
}

impl Era {
    /// The era that the headers of a request tell.
    pub fn of(headers: &HeaderMap) -> Era {
        match headers.get(PROTOCOL_VERSION) {
            Some(version)
                if !LEGACY_VERSIONS.iter().any(|known| version.as_bytes() == known.as_bytes()) =>
            {
                Era::Modern
            }
            _ => Era::Legacy,
        }
    }
}

/// The trace that a request says it belongs to (W3C Trace Context).
pub fn traceparent(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT)?.to_str().ok()
}

/// The first of the headers that must not be repeated, but is: two values would let the router
/// and the server read different ones.
pub fn repeated(headers: &HeaderMap) -> Option<HeaderName> {
    headers
        .keys()
        .filter(|name| is_single(name))
        .find(|name| headers.get_all(*name).iter().nth(1).is_some())
        .cloned()
}

/// Whether a header may stand once only: all of MCP's, and those that decide who calls and what
/// for.
fn is_single(name: &HeaderName) -> bool {
    name.as_str().starts_with("mcp-")
        || [AUTHORIZATION, CONTENT_TYPE, ORIGIN, LAST_EVENT_ID].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn eras() {
        assert_eq!(Era::of(&with(&[])), Era::Legacy);
        for version in LEGACY_VERSIONS {
            assert_eq!(Era::of(&with(&[(PROTOCOL_VERSION, version)])), Era::Legacy);
            assert!(is_legacy(version), "{version}");
        }
        assert!(!is_legacy("2026-07-28"));
        assert_eq!(Era::of(&with(&[(PROTOCOL_VERSION, "2026-07-28")])), Era::Modern);
        assert_eq!(Era::of(&with(&[(PROTOCOL_VERSION, "nonsense")])), Era::Modern);
    }

    #[test]
    fn a_trace_is_read_from_its_header() {
        assert_eq!(traceparent(&with(&[(TRACEPARENT, "00-0a-b7-01")])), Some("00-0a-b7-01"));
        assert_eq!(traceparent(&with(&[(TRACESTATE, "a=b")])), None);
    }

    #[test]
    fn repeated_headers_are_named() {
        let param = HeaderName::from_static("mcp-param-region");
        for name in [METHOD, LAST_EVENT_ID, ORIGIN, AUTHORIZATION, CONTENT_TYPE, param] {
            let twice = with(&[(name.clone(), "a"), (name.clone(), "b")]);
            assert_eq!(repeated(&twice), Some(name));
        }
        let accept = http::header::ACCEPT;
        assert_eq!(repeated(&with(&[(accept.clone(), "a"), (accept, "b")])), None);
        assert_eq!(repeated(&with(&[(SESSION_ID, "a"), (METHOD, "b")])), None);
        assert_eq!(repeated(&with(&[(SESSION_ID, "a"), (SESSION_ID, "a")])), Some(SESSION_ID));
    }
}
