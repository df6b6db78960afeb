//! The `[affinity]` section: who calls, whom we believe about it, and the keys for both.
//!
//! Does not know: how a principal is found in a request, how a tag is signed.

use http::HeaderName;

use super::check::{distinct, fresh};
use super::file::{Field, Section};
use super::{Affinity, PrincipalSource, secret};
use crate::names::{BadName, Network};

/// Half of the hash that the key feeds: less would be the weakest part of a tag.
const KEY_BYTES_MIN: usize = 32;

/// Enough that nobody finds the salt by trying.
const SALT_BYTES_MIN: usize = 16;

pub(super) fn affinity(mut section: Section<'_>) -> Affinity {
    let key = section.take("key").and_then(|field| secret::read_long(&field, KEY_BYTES_MIN));
    let previous = section.take("previous_key");
    let previous_key = previous.as_ref().and_then(|field| secret::read_long(field, KEY_BYTES_MIN));
    if let Some(field) = previous.filter(|_| key.is_some() && key == previous_key) {
        field.problem("is the same as `key`: nothing was rotated");
    }
    Affinity {
        principal: principal(section.take("principal")),
        trusted_proxies: trusted_proxies(section.take("trusted_proxies")),
        key,
        previous_key,
        salt: section.take("salt").and_then(|field| secret::read_long(&field, SALT_BYTES_MIN)),
    }
}

fn principal(field: Option<Field<'_>>) -> Vec<PrincipalSource> {
    let Some(field) = field else {
        let api_key = PrincipalSource::Header(HeaderName::from_static("x-api-key"));
        return vec![PrincipalSource::Authorization, api_key, PrincipalSource::ClientAddress];
    };
    distinct(&field, 16, |field, taken| field.parse(|text| fresh(source(text)?, text, taken)))
}

fn source(text: &str) -> Result<PrincipalSource, BadName> {
    match text {
        "authorization" => return Ok(PrincipalSource::Authorization),
        "client-address" => return Ok(PrincipalSource::ClientAddress),
        _ => {}
    }
    let name = text.strip_prefix("header:").and_then(|name| name.parse::<HeaderName>().ok());
    match name {
        Some(http::header::AUTHORIZATION) => Ok(PrincipalSource::Authorization),
        Some(name) => Ok(PrincipalSource::Header(name)),
        None => Err(BadName(format!(
            "`{text}` is none of `authorization`, `header:NAME`, `client-address`"
        ))),
    }
}

fn trusted_proxies(field: Option<Field<'_>>) -> Vec<Network> {
    let items = field.map(|field| field.items()).unwrap_or_default();
    items.iter().filter_map(|field| field.parse(str::parse)).collect()
}
