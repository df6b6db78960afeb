//! What changes in a head on its way to the server and back. Everything else passes as it is.
//!
//! Pure. Does not know: connections.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, LOCATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, response};

use crate::config::{Config, HostPolicy};
use crate::mcp::header::SESSION_ID;
use crate::route::Endpoint;
use crate::route::affinity::UpstreamSession;

use super::forwarded::Client;
use super::via;

/// Headers that belong to one connection (RFC 9110 section 7.6.1), besides all `proxy-*`.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("http2-settings"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The head that an endpoint gets.
pub fn request(
    from: &Parts,
    endpoint: &Endpoint,
    session: Option<&UpstreamSession>,
    client: &Client,
    config: &Config,
) -> http::request::Builder {
    let mut headers = from.headers.clone();
    strip_hop_by_hop(&mut headers);
    // The body's own length is what gets written; compressed answers could not be read.
    for name in [CONTENT_LENGTH, EXPECT, ACCEPT_ENCODING] {
        headers.remove(name);
    }
    // Only an id that stood behind a tag of ours reaches a server: any other could be somebody
    // else's session, and modern servers ignore it anyway.
    headers.remove(SESSION_ID);
    if let Some(UpstreamSession::Id(id)) = session
        && let Ok(mut value) = HeaderValue::from_str(id)
    {
        value.set_sensitive(true);
        headers.insert(SESSION_ID, value);
    }
    join_cookies(&mut headers);
    client.write_to(&mut headers);
    via::append(&mut headers, from.version);
    let host = match &config.host {
        HostPolicy::Preserve => from.headers.get(HOST).cloned().or_else(|| client.host.clone()),
        HostPolicy::Upstream => None,
        HostPolicy::Fixed(host) => Some(host.clone()),
    };
    headers.insert(HOST, host.unwrap_or_else(|| endpoint.authority.clone()));
    for (name, value) in &config.arms.get(endpoint.arm).headers {
        headers.insert(name, value.clone());
    }
    let mut request = http::Request::builder()
        .method(from.method.clone())
        .uri(target(&from.uri, endpoint, session, config))
        .version(Version::HTTP_11);
    if let Some(slot) = request.headers_mut() {
        *slot = headers;
    }
    request
}

/// HTTP/2 may send cookies apart; HTTP/1.1 has one line for them (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(mut joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// The path on the server: the MCP path becomes the endpoint's own, every other stays.
fn target(
    uri: &Uri,
    endpoint: &Endpoint,
    session: Option<&UpstreamSession>,
    config: &Config,
) -> PathAndQuery {
    let own = if let Some(UpstreamSession::Uri(uri)) = session {
        uri.clone()
    } else {
        let path = match uri.path().strip_prefix(&config.path) {
            Some(rest @ ("" | "/")) => format!("{}{rest}", endpoint.url.path()),
            _ => uri.path().to_owned(),
        };
        match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        }
    };
    own.parse().unwrap_or_else(|_| PathAndQuery::from_static("/"))
}

/// Changes a server's head into the client's; `asked` is the path that the client asked for. The
/// session id is the caller's to tag.
pub fn response(
    parts: &mut response::Parts,
    endpoint: &Endpoint,
    origin: &str,
    asked: &str,
    config: &Config,
) {
    if has_other_framing(&parts.headers) {
        parts.headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(&mut parts.headers);
    via::append(&mut parts.headers, parts.version);
    if let Some(location) = parts.headers.get(LOCATION).and_then(|value| value.to_str().ok())
        && let Some(public) = public_uri(location, endpoint, origin, asked, config)
        && let Ok(value) = HeaderValue::from_str(&public)
    {
        parts.headers.insert(LOCATION, value);
    }
    parts.version = Version::HTTP_11;
}

/// The public form of a URI in which a server names itself; `None` when it names another.
fn public_uri(
    location: &str,
    endpoint: &Endpoint,
    origin: &str,
    asked: &str,
    config: &Config,
) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let origin = match uri.authority() {
        Some(named) if is_public(named, origin) => origin,
        // On loopback the same address is another one to the client: an OAuth callback there is
        // the client's own, and the code in it nobody else's.
        Some(named)
            if is_own(named, endpoint)
                && (!endpoint.url.is_loopback() || leads_back(uri.path(), asked, endpoint)) =>
        {
            origin
        }
        // A path alone is the server's own; the client knows it by ours.
        None if location.starts_with('/') => "",
        _ => return None,
    };
    let path = match uri.path().strip_prefix(endpoint.url.path()) {
        Some(rest @ ("" | "/")) => format!("{}{rest}", config.path),
        _ => uri.path().to_owned(),
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let fragment = location.split_once('#').map(|(_, it)| format!("#{it}")).unwrap_or_default();
    Some(format!("{origin}{path}{query}{fragment}"))
}

/// Whether an authority is ours: a server that trusts `Host` names it, but with its own scheme.
fn is_public(named: &Authority, origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, public)| public == named.as_str())
}

/// Whether a server that names this authority means itself.
fn is_own(named: &Authority, endpoint: &Endpoint) -> bool {
    named.as_str() == endpoint.url.authority() || named.as_str() == endpoint.url.host_header()
}

/// Whether a path is the MCP endpoint's or the one asked for, but for a slash at its end.
fn leads_back(path: &str, asked: &str, endpoint: &Endpoint) -> bool {
    let bare = |path: &str| path.trim_end_matches('/').to_owned();
    [asked, endpoint.url.path()].into_iter().any(|known| bare(known) == bare(path))
}

/// A length beside chunks is not the answer's (RFC 9112 section 6.3), nor is one that stands twice.
fn has_other_framing(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let plain =
        lengths.next().is_none_or(|length| length.as_bytes().iter().all(u8::is_ascii_digit));
    headers.contains_key(TRANSFER_ENCODING) || !plain || lengths.next().is_some()
}

/// Drops what was meant for one connection only, and what `Connection` names.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let to_proxies: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("proxy-")).cloned().collect();
    for name in named.iter().chain(&to_proxies).chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
