//! What `Connection` may not name.
//!
//! A header that it names is taken away on the way to the server, after the router has read it: a
//! client could have the two see different requests. Does not know: which headers are taken away
//! in any case.

use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, HOST,
    ORIGIN, TRANSFER_ENCODING, VIA,
};
use http::{HeaderMap, HeaderName};

use crate::config::Config;
use crate::mcp::header::LAST_EVENT_ID;

use super::callers;

/// Headers that are for the server, besides those of MCP and what proxies say of a client.
const END_TO_END: [HeaderName; 11] = [
    HOST,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    TRANSFER_ENCODING,
    AUTHORIZATION,
    ACCEPT,
    ORIGIN,
    COOKIE,
    FORWARDED,
    VIA,
    LAST_EVENT_ID,
];

/// The first header that `Connection` names and that is not the connection's (nor are those that say
/// who calls); `Connection` itself
/// where its value cannot be read.
pub(super) fn unwilling(headers: &HeaderMap, config: &Config) -> Option<HeaderName> {
    let is_meant = |name: &HeaderName| is_end_to_end(name) || callers(config).any(|it| it == name);
    headers.get_all(CONNECTION).iter().find_map(|value| match value.to_str() {
        Err(_) => Some(CONNECTION),
        Ok(value) => value
            .split(',')
            .filter_map(|name| name.trim().parse::<HeaderName>().ok())
            .find(is_meant),
    })
}

fn is_end_to_end(name: &HeaderName) -> bool {
    END_TO_END.contains(name)
        || ["mcp-", "x-forwarded-"].iter().any(|start| name.as_str().starts_with(start))
}
