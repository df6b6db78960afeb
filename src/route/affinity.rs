//! What a request belongs to: a session, a caller, or nothing yet.
//!
//! Persistence beats weight: whatever carries a valid tag goes where the tag says, even at weight
//! 0. Does not know: how an endpoint of an arm is picked, HTTP answers.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Uri};

use crate::config::OnRevert;
use crate::mcp::header::SESSION_ID;
use crate::mcp::{Call, Era, Kind};

use super::endpoint::Endpoint;
use super::table::{Closed, RoutingTable};
use super::tag::{Bearer, Tag};

/// The parameter of ours in the message URI of a 2024-11-05 session.
pub const URI_PARAMETER: &str = "tidegate";

/// Where a request belongs.
#[derive(Debug)]
pub enum Place {
    /// To a session that lives on this endpoint, and nowhere else.
    Session(Session),
    /// To no session yet: the weights decide.
    New,
    /// To a caller, at this point of the threshold hash.
    Caller(f64),
    /// To the stable arm.
    Stable,
}

impl Place {
    /// How the server knows the session, if there is one.
    pub fn upstream_session(&self) -> Option<&UpstreamSession> {
        match self {
            Place::Session(session) => Some(&session.upstream),
            Place::New | Place::Caller(_) | Place::Stable => None,
        }
    }
}

/// A session that a tag names.
#[derive(Debug)]
pub struct Session {
    /// Where it lives.
    pub endpoint: Arc<Endpoint>,
    /// What the server is told.
    pub upstream: UpstreamSession,
}

/// How the server knows a session.
#[derive(Debug, PartialEq, Eq)]
pub enum UpstreamSession {
    /// By this id.
    Id(String),
    /// Not at all: the id is ours.
    Unknown,
    /// By this path and query.
    Uri(String),
}

/// Why a session id leads nowhere. All but one are the spec's 404: the client starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    /// Not ours, or changed.
    #[error("session not found: the id was not made by this router, or was changed")]
    Forged,
    /// The configuration has no such endpoint any more.
    #[error("session not found: the server that held it was removed")]
    Gone,
    /// Its server may be at an address of a name that none is known of yet.
    #[error("the server that holds the session cannot be found: its name has no address")]
    Nameless,
    /// Its arm was reverted, and the sessions there with it.
    #[error("session not found: it has ended, since the version that held it was withdrawn")]
    Ended,
}

/// Finds where a request belongs.
///
/// # Errors
/// When it names a session that cannot be.
pub fn place(
    table: &RoutingTable,
    call: &Call,
    headers: &HeaderMap,
    uri: &Uri,
    client: IpAddr,
) -> Result<Place, NoSession> {
    if call.by_uri
        && let Some((tag, rest)) = uri_tag(uri)
    {
        let tag = table.keys.read_uri(tag, &rest).map_err(|_| NoSession::Forged)?;
        return session(table, tag).map(Place::Session);
    }
    if call.opens_session() {
        return Ok(Place::New);
    }
    if let Some(id) = headers.get(SESSION_ID) {
        match table.keys.read(id.to_str().unwrap_or_default()) {
            Ok(tag) => return session(table, tag).map(Place::Session),
            // Modern servers ignore a session id, so it is theirs to ignore.
            Err(_) if call.era == Era::Modern => {}
            Err(_) if matches!(call.kind, Kind::Other | Kind::Preflight) => {}
            Err(_) => return Err(NoSession::Forged),
        }
    }
    Ok(match call.kind {
        Kind::Preflight | Kind::Unsupported | Kind::Other => Place::Stable,
        Kind::Post | Kind::Stream | Kind::Delete | Kind::LegacyStream => table
            .salt
            .point(&table.config.affinity.principal, headers, client)
            .map_or(Place::New, Place::Caller),
    })
}

fn session(table: &RoutingTable, tag: Tag<'_>) -> Result<Session, NoSession> {
    // A name server that fails at the start must not cost every session.
    let missing = || if table.awaits_address() { NoSession::Nameless } else { NoSession::Gone };
    let endpoint = table.endpoint(tag.endpoint).ok_or_else(missing)?;
    let ends = |closed: Closed| closed.arm == endpoint.arm && closed.sessions == OnRevert::End;
    if table.closed.is_some_and(ends) {
        return Err(NoSession::Ended);
    }
    let upstream = match tag.bearer {
        Bearer::Server => UpstreamSession::Id(tag.id.to_owned()),
        Bearer::Minted => UpstreamSession::Unknown,
        Bearer::Uri => UpstreamSession::Uri(tag.id.to_owned()),
    };
    Ok(Session { endpoint: Arc::clone(endpoint), upstream })
}

/// The tag in a URI, and the URI without it.
pub fn uri_tag(uri: &Uri) -> Option<(&str, String)> {
    let query = uri.query()?;
    let own = |part: &str| part.split_once('=').is_some_and(|(name, _)| name == URI_PARAMETER);
    let tag = query.split('&').find(|part| own(part))?;
    let rest: Vec<&str> = query.split('&').filter(|part| !own(part)).collect();
    let path = uri.path();
    let rest = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    Some((&tag[URI_PARAMETER.len() + 1..], rest))
}

/// The message URI that a client of the 2024-11-05 transport gets for a server's own, given as
/// path and query.
pub fn tagged_uri(table: &RoutingTable, endpoint: &Endpoint, uri: &str) -> String {
    // The tag is made over what will be left when the parameter is taken out again.
    let (uri, fragment) = uri.split_once('#').map_or((uri, ""), |(uri, rest)| (uri, rest));
    let canonical = uri.strip_suffix('?').unwrap_or(uri);
    let tag = table.keys.attach_uri(endpoint.id, canonical);
    let separator = if canonical.contains('?') { '&' } else { '?' };
    let hash = if fragment.is_empty() { "" } else { "#" };
    format!("{canonical}{separator}{URI_PARAMETER}={tag}{hash}{fragment}")
}

#[cfg(test)]
mod tests;
