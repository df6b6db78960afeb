//! Which call is this? Answered from the head alone wherever the protocol allows it.
//!
//! A legacy POST is the exception: `initialize` has no header of its own, and one that carries a
//! stale session id must not stick to it. Everything else that decides a route stands in the
//! method, the path and the headers. Does not know: arms, tags, how a body is read.

use http::{HeaderMap, Method as HttpMethod};

use super::header::{self, Era};
use super::message::Shape;
use super::method::Method;

/// The paths that MCP uses here.
#[derive(Clone, Copy, Debug)]
pub struct Paths<'a> {
    /// The Streamable HTTP endpoint, such as `/mcp`.
    pub mcp: &'a str,
    /// The stream of the 2024-11-05 transport, such as `/sse`.
    pub sse: &'a str,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One or more messages of a client.
    Post,
    /// A GET that opens or resumes a stream.
    Stream,
    /// A DELETE that ends a session.
    Delete,
    /// The GET that opens a session of the 2024-11-05 transport.
    LegacyStream,
    /// A browser asks what it may do; never counted, never split.
    Preflight,
    /// A method that the MCP endpoint does not have.
    Unsupported,
    /// Not MCP: OAuth, discovery documents, anything else.
    Other,
}

/// One classified request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// How the client speaks.
    pub era: Era,
    /// What the request is for.
    pub kind: Kind,
    /// Its JSON-RPC method, or the word for what has none.
    pub method: Method,
    /// It is a message of a 2024-11-05 session, which its URI names.
    pub by_uri: bool,
}

impl Call {
    /// Classifies a request by its head. `tagged_uri`: the URI carries a tag of ours, which only the
    /// message URI of a 2024-11-05 session does.
    pub fn of(
        http: &HttpMethod,
        path: &str,
        headers: &HeaderMap,
        paths: Paths<'_>,
        tagged_uri: bool,
    ) -> Call {
        let by_uri = tagged_uri && http == HttpMethod::POST;
        let kind = if by_uri { Kind::Post } else { kind(http, path, paths) };
        let era = match kind {
            Kind::LegacyStream => Era::Legacy,
            _ if by_uri => Era::Legacy,
            _ => Era::of(headers),
        };
        let method = match kind {
            Kind::Post => match (era, headers.get(header::METHOD)) {
                // Before 2026-07-28 nothing makes this header true, so it is not read.
                (Era::Modern, Some(name)) => Method::named(name.as_bytes()),
                _ => Method::OTHER,
            },
            Kind::Stream | Kind::LegacyStream => Method::STREAM,
            Kind::Delete => Method::DELETE,
            Kind::Preflight | Kind::Unsupported | Kind::Other => Method::NONE,
        };
        Call { era, kind, method, by_uri }
    }

    /// Whether the method stands in the body only.
    pub fn needs_body(&self, headers: &HeaderMap) -> bool {
        self.kind == Kind::Post
            && (self.era == Era::Legacy || !headers.contains_key(header::METHOD))
    }

    /// Takes the method from what the body turned out to be.
    #[must_use]
    pub fn with_body(self, shape: Shape) -> Call {
        let method = match shape {
            Shape::Request(method) | Shape::Notification(method) => method,
            Shape::Reply => Method::REPLY,
            Shape::Batch { .. } => Method::BATCH,
            Shape::Unknown => self.method,
        };
        Call { method, ..self }
    }

    /// Whether this call opens a legacy session.
    pub fn opens_session(&self) -> bool {
        match self.kind {
            Kind::Post => {
                self.era == Era::Legacy && self.method == Method::INITIALIZE && !self.by_uri
            }
            Kind::LegacyStream => true,
            _ => false,
        }
    }
}

fn kind(http: &HttpMethod, path: &str, paths: Paths<'_>) -> Kind {
    if http == HttpMethod::OPTIONS {
        return Kind::Preflight;
    }
    // A trailing slash is the server's business (some redirect), but the traffic is MCP's.
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    if path == paths.sse && http == HttpMethod::GET {
        return Kind::LegacyStream;
    }
    if path != paths.mcp.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(paths.mcp) {
        return Kind::Other;
    }
    match *http {
        HttpMethod::POST => Kind::Post,
        HttpMethod::GET => Kind::Stream,
        HttpMethod::DELETE => Kind::Delete,
        HttpMethod::HEAD => Kind::Other,
        _ => Kind::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: Paths<'_> = Paths { mcp: "/mcp", sse: "/sse" };

    #[track_caller]
    fn check(request: &str, version: Option<&str>, method: Option<&str>, want: (Era, Kind, &str)) {
        let (http, path) = request.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::PROTOCOL_VERSION, version), (header::METHOD, method)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let legacy_post = path.starts_with("/message");
        let call = Call::of(&http.parse().unwrap(), path, &headers, PATHS, legacy_post);
        assert_eq!((call.era, call.kind, call.method.as_str()), want, "{request}");
    }

    #[test]
    fn heads() {
        use Era::{Legacy, Modern};
        let modern = Some("2026-07-28");
        check("POST /mcp", None, None, (Legacy, Kind::Post, "_other"));
        check("POST /mcp", Some("2025-06-18"), Some("tools/call"), (Legacy, Kind::Post, "_other"));
        check("POST /mcp", modern, Some("tools/call"), (Modern, Kind::Post, "tools/call"));
        check("POST /mcp", modern, Some("made/up"), (Modern, Kind::Post, "_other"));
        check("POST /mcp/", None, None, (Legacy, Kind::Post, "_other"));
        check("GET /mcp", Some("2025-11-25"), None, (Legacy, Kind::Stream, "_stream"));
        check("DELETE /mcp", None, None, (Legacy, Kind::Delete, "_delete"));
        check("GET /sse", None, None, (Legacy, Kind::LegacyStream, "_stream"));
        check("GET /sse", modern, None, (Legacy, Kind::LegacyStream, "_stream"));
        check("POST /messages/", modern, None, (Legacy, Kind::Post, "_other"));
        check("OPTIONS /mcp", None, None, (Legacy, Kind::Preflight, "_none"));
        check("PUT /mcp", None, None, (Legacy, Kind::Unsupported, "_none"));
        check("HEAD /mcp", None, None, (Legacy, Kind::Other, "_none"));
        check("GET /", None, None, (Legacy, Kind::Other, "_none"));
        check(
            "GET /.well-known/oauth-protected-resource/mcp",
            None,
            None,
            (Legacy, Kind::Other, "_none"),
        );
        check("POST /token", None, None, (Legacy, Kind::Other, "_none"));
    }

    #[test]
    fn a_slash_at_the_end_of_a_path_makes_no_difference() {
        for (mcp, path) in [("/", "/"), ("/mcp/", "/mcp"), ("/mcp/", "/mcp/"), ("/mcp", "/mcp/")] {
            let paths = Paths { mcp, ..PATHS };
            assert_eq!(kind(&HttpMethod::POST, path, paths), Kind::Post, "{mcp} {path}");
        }
    }

    #[test]
    fn sessions_are_opened_by_initialize_and_by_the_stream_of_2024() {
        let body = |call: Call, method| call.with_body(Shape::Request(method));
        let mut headers = HeaderMap::new();
        let of =
            |http, path, headers: &HeaderMap, by_uri| Call::of(&http, path, headers, PATHS, by_uri);
        let post = of(HttpMethod::POST, "/mcp", &headers, false);
        assert!(body(post, Method::INITIALIZE).opens_session());
        assert!(!body(post, Method::CALL).opens_session());
        assert!(!post.with_body(Shape::Batch { initialize: true }).opens_session());
        let by_uri = of(HttpMethod::POST, "/messages", &headers, true);
        assert!(!body(by_uri, Method::INITIALIZE).opens_session());
        assert!(of(HttpMethod::GET, "/sse", &headers, false).opens_session());
        assert!(!of(HttpMethod::GET, "/mcp", &headers, false).opens_session());
        headers.insert(header::PROTOCOL_VERSION, "2026-07-28".parse().unwrap());
        let modern = of(HttpMethod::POST, "/mcp", &headers, false);
        assert!(!body(modern, Method::INITIALIZE).opens_session());
    }

    #[test]
    fn a_body_is_read_only_where_the_head_is_silent() {
        let mut headers = HeaderMap::new();
        let call = |headers: &HeaderMap| Call::of(&HttpMethod::POST, "/mcp", headers, PATHS, false);
        assert!(call(&headers).needs_body(&headers));
        headers.insert(header::PROTOCOL_VERSION, "2026-07-28".parse().unwrap());
        assert!(call(&headers).needs_body(&headers));
        headers.insert(header::METHOD, "tools/call".parse().unwrap());
        assert!(!call(&headers).needs_body(&headers));
    }
}
