//! What may not pass: requests that the router and a server could read differently, and more than
//! the limits allow.
//!
//! Refused before anything is read or chosen; what is let in is put in order. Does not know:
//! sessions, arms.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Version};

use crate::config::{Config, GetBody, PrincipalSource, Underscores};
use crate::listen::law::{Framing, Verdict};
use crate::mcp::header::{TRACEPARENT, TRACESTATE};
use crate::mcp::trace::TraceId;
use crate::mcp::{Kind, header};
use crate::upstream::request_body::BodyFault;
use crate::upstream::via;

use super::inbound::Inbound;
use super::reply::Refusal;
use super::request_id;

mod connection;

pub mod origin;

mod target;

/// Lets a request in, or says why not.
pub fn admit(inbound: &mut Inbound, config: &Config) -> Result<(), Refusal> {
    check_framing(inbound)?;
    check_head(inbound, config)?;
    check_body(inbound, config)?;
    put_in_order(inbound, config.http.underscores);
    Ok(())
}

/// What the bytes of an HTTP/1 head said, and whether the body that we were given is the one that
/// they announced.
fn check_framing(inbound: &Inbound) -> Result<(), Refusal> {
    if inbound.head.version > Version::HTTP_11 {
        return Ok(());
    }
    match inbound.head.extensions.get::<Verdict>() {
        Some(Verdict(Err(fault))) => Err(Refusal::Unlawful(*fault)),
        Some(Verdict(Ok(Framing::Length(length)))) if inbound.length == Some(*length) => Ok(()),
        Some(Verdict(Ok(Framing::Chunked))) if inbound.length.is_none() => Ok(()),
        _ => Err(Refusal::Unaccounted),
    }
}

fn check_head(inbound: &Inbound, config: &Config) -> Result<(), Refusal> {
    let (head, limits) = (&inbound.head, &config.limits);
    if matches!(head.method, HttpMethod::CONNECT | HttpMethod::TRACE)
        || inbound.call.kind == Kind::Unsupported
    {
        return Err(Refusal::MethodNotAllowed);
    }
    target::check(head, limits.target)?;
    if head.headers.len() > limits.headers || header_bytes(&head.headers) > limits.header_bytes {
        return Err(Refusal::HeadTooLarge);
    }
    if let Some(name) = header::repeated(&head.headers) {
        return Err(Refusal::Repeated(name));
    }
    // Whoever has two names, of which the server reads another than we, can choose an arm.
    let repeated = |name: &&HeaderName| head.headers.get_all(*name).iter().nth(1).is_some();
    if let Some(name) = callers(config).filter(|name| **name != COOKIE).find(repeated) {
        return Err(Refusal::Repeated(name.clone()));
    }
    if !target::has_one_good_host(head) {
        return Err(Refusal::BadHost);
    }
    if let Some(name) = connection::unwilling(&head.headers, config) {
        return Err(Refusal::BadConnection(name));
    }
    if config.http.underscores == Underscores::Reject
        && let Some(name) = head.headers.keys().find(|name| has_underscore(name))
    {
        return Err(Refusal::BadName(name.clone()));
    }
    if let Some((name, _)) = head.headers.iter().find(|(_, value)| has_outer_space(value)) {
        return Err(Refusal::BadValue(name.clone()));
    }
    if !expects_the_usual(&head.headers) {
        return Err(Refusal::Expectation);
    }
    if via::is_loop(&head.headers) {
        return Err(Refusal::Loop);
    }
    if !origin::is_allowed(&head.headers, config) {
        return Err(Refusal::Origin);
    }
    Ok(())
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// The headers of the operator's choice that say who calls.
fn callers(config: &Config) -> impl Iterator<Item = &HeaderName> {
    config.affinity.principal.iter().filter_map(|source| match source {
        PrincipalSource::Header(name) => Some(name),
        PrincipalSource::Authorization | PrincipalSource::ClientAddress => None,
    })
}

fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

/// HTTP/2 forbids it (RFC 9113 section 8.2.1) and its library lets it through; in HTTP/1 it is no part
/// of the value, so that the server would read another one than the router.
fn has_outer_space(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().len() < value.len()
}

/// Nothing but `100-continue` can be expected (RFC 9110 section 10.1.1).
fn expects_the_usual(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(EXPECT).iter();
    all.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn check_body(inbound: &Inbound, config: &Config) -> Result<(), Refusal> {
    let head = &inbound.head;
    let is_bare = matches!(head.method, HttpMethod::GET | HttpMethod::HEAD | HttpMethod::DELETE);
    if is_bare && inbound.length != Some(0) && config.http.get_body == GetBody::Reject {
        return Err(Refusal::UnexpectedBody);
    }
    // Its body would end where the connection does, which no request's may.
    if head.version < Version::HTTP_11
        && head.method == HttpMethod::POST
        && !head.headers.contains_key(CONTENT_LENGTH)
    {
        return Err(Refusal::LengthRequired);
    }
    if announced(&head.headers).is_some_and(|length| length > config.limits.body) {
        return Err(Refusal::Body(BodyFault::TooLarge));
    }
    if inbound.call.kind == Kind::Post && !is_json(&head.headers) {
        return Err(Refusal::NotJson);
    }
    Ok(())
}

fn announced(headers: &HeaderMap) -> Option<u64> {
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

/// Drops what must not reach a server, and names the request.
fn put_in_order(inbound: &mut Inbound, underscores: Underscores) {
    let Parts { headers, .. } = &mut inbound.head;
    if underscores == Underscores::Drop {
        let odd: Vec<_> = headers.keys().filter(|name| has_underscore(name)).cloned().collect();
        for name in odd {
            headers.remove(name);
        }
    }
    if !has_good_trace(headers) {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
    headers.insert(request_id::NAME, inbound.request_id.clone());
}

/// One valid `traceparent`: any other is ignored, and the state that goes with it as well (W3C
/// Trace Context, section 3.2.2.5).
fn has_good_trace(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(TRACEPARENT).iter().map(HeaderValue::to_str);
    match (all.next(), all.next()) {
        (Some(Ok(text)), None) => TraceId::of(text).is_some(),
        _ => false,
    }
}
