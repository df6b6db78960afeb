//! What every answer carries, whoever gave it: the request's id and, where that is the router's
//! business, what a browser wants to know before it shows the answer to a page (CORS).
//!
//! Does not know: whose pages may call; a page that may not is refused before this matters.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{Config, Cors};
use crate::listen::law::scan::is_token;
use crate::mcp::Kind;

use super::door::origin;
use super::inbound::Inbound;
use super::request_id;

/// What a page may read besides the body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Mcp-Session-Id, WWW-Authenticate, Last-Event-Id, Mcp-Protocol-Version",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");
/// Seconds for which a browser need not ask again; no browser remembers it for less.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The marks of one answer.
#[derive(Debug)]
pub struct Marks {
    request_id: HeaderValue,
    is_cors_ours: bool,
    /// The page that may read the answer.
    page: Option<HeaderValue>,
    /// It answers a browser that asks before a page calls.
    is_preflight: bool,
    /// The headers that the page wants to send.
    wanted: Option<HeaderValue>,
}

/// Whether a browser asks here before a page calls, and not the servers behind us.
pub fn is_preflight(inbound: &Inbound, config: &Config) -> bool {
    let headers = &inbound.head.headers;
    config.http.cors == Cors::Router
        && inbound.call.kind == Kind::Preflight
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Marks {
    /// The marks of the answer to this request.
    pub fn of(inbound: &Inbound, config: &Config) -> Marks {
        let is_cors_ours = config.http.cors == Cors::Router;
        let headers = &inbound.head.headers;
        let page = headers.get(ORIGIN).filter(|_| is_cors_ours);
        let is_preflight = is_preflight(inbound, config);
        let wanted = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|_| is_preflight);
        Marks {
            request_id: inbound.request_id.clone(),
            is_cors_ours,
            page: page.filter(|_| origin::is_allowed(headers, config)).cloned(),
            is_preflight,
            wanted: wanted.filter(|names| are_names(names)).cloned(),
        }
    }

    /// Puts them on. Where CORS is ours, the server's word on it does not count.
    pub fn put_on(self, headers: &mut HeaderMap) {
        headers.insert(request_id::NAME, self.request_id);
        if !self.is_cors_ours {
            return;
        }
        let theirs = headers.keys().filter(|name| name.as_str().starts_with("access-control-"));
        for name in theirs.cloned().collect::<Vec<HeaderName>>() {
            headers.remove(name);
        }
        headers.append(VARY, HeaderValue::from_name(ORIGIN));
        if self.is_preflight {
            headers.append(VARY, HeaderValue::from_name(ACCESS_CONTROL_REQUEST_METHOD));
            headers.append(VARY, HeaderValue::from_name(ACCESS_CONTROL_REQUEST_HEADERS));
        }
        let Some(page) = self.page else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page);
        if self.is_preflight {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            if let Some(wanted) = self.wanted {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
            }
        } else {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// Names of headers with commas between them. They are said back as they came: a wildcard does not
/// cover `Authorization`, and there is none for `Mcp-Param-*`.
fn are_names(names: &HeaderValue) -> bool {
    names.as_bytes().split(|byte| *byte == b',').all(|name| {
        let name = name.trim_ascii();
        !name.is_empty() && name.iter().all(|byte| is_token(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_said_back() {
        for (names, want) in [
            ("content-type", true),
            ("authorization, mcp-session-id,mcp-param-x", true),
            ("*", true),
            ("", false),
            ("a,,b", false),
            ("a b", false),
            ("a\"", false),
            ("a: b", false),
        ] {
            assert_eq!(are_names(&names.parse().unwrap()), want, "{names}");
        }
    }
}
