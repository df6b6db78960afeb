//! What may not pass: requests that the router and a server could read differently, and more than
//! the limits allow.
//!
//! Refused before anything is read or chosen. Does not know: sessions, arms.

use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, ORIGIN,
    TRANSFER_ENCODING,
};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Version};

use crate::config::Config;
use crate::mcp::{Kind, header};

use super::inbound::Inbound;
use super::reply::Refusal;

/// Headers that a `Connection` header may not name, besides those of MCP: the router would read
/// them, and the server would not get them.
const END_TO_END: [HeaderName; 8] =
    [HOST, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, AUTHORIZATION, ACCEPT, ORIGIN, COOKIE];

/// Lets a request in, or says why not.
pub fn admit(inbound: &Inbound, config: &Config) -> Result<(), Refusal> {
    let head = &inbound.head;
    if matches!(head.method, HttpMethod::CONNECT | HttpMethod::TRACE)
        || inbound.call.kind == Kind::Unsupported
    {
        return Err(Refusal::MethodNotAllowed);
    }
    if head.headers.len() > config.limits.headers
        || header_bytes(&head.headers) > config.limits.header_bytes
    {
        return Err(Refusal::HeadTooLarge);
    }
    if let Some(name) = header::repeated(&head.headers) {
        return Err(Refusal::Repeated(name));
    }
    if !has_one_good_host(head) {
        return Err(Refusal::BadHost);
    }
    if !is_plainly_framed(&head.headers) {
        return Err(Refusal::BadFraming);
    }
    if let Some(name) = unwilling(&head.headers) {
        return Err(Refusal::BadConnection(name));
    }
    if length(&head.headers).is_some_and(|length| length > config.limits.body) {
        return Err(Refusal::Body(crate::upstream::request_body::BodyFault::TooLarge));
    }
    if inbound.call.kind == Kind::Post && !is_json(&head.headers) {
        return Err(Refusal::NotJson);
    }
    Ok(())
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// One host, which is one, and which the target does not contradict (RFC 9112 section 3.2). Only
/// HTTP/1.0 may have none, and HTTP/2 names it in the target.
fn has_one_good_host(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    let named = head.uri.authority();
    match (hosts.next(), hosts.next()) {
        (None, _) => head.version != Version::HTTP_11,
        (Some(_), Some(_)) => false,
        (Some(host), None) => {
            is_host(host)
                && named.is_none_or(|named| {
                    named.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes())
                })
        }
    }
}

fn is_host(host: &HeaderValue) -> bool {
    Authority::try_from(host.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'))
}

/// No transfer coding but `chunked`, once: of others the server would get what is coded, and no
/// word of it.
fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// The first header that `Connection` names and that is not the connection's.
fn unwilling(headers: &HeaderMap) -> Option<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse::<HeaderName>().ok())
        .find(|name| END_TO_END.contains(name) || name.as_str().starts_with("mcp-"))
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `application/json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}
