//! Bearer tokens that callers show: RFC 6750, section 2.1.
//!
//! Digests are compared, not tokens, and in constant time: how long it takes tells nothing, not
//! even a length. Does not know: where a token comes from.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::Secret;

/// Whether a request shows this token, in a single `Authorization` header.
pub(super) fn is_shown(headers: &HeaderMap, wanted: &Secret) -> bool {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return false };
    let bytes = only.as_bytes();
    let Some(space) = bytes.iter().position(|byte| *byte == b' ') else { return false };
    let (scheme, token) = (&bytes[..space], bytes[space..].trim_ascii());
    let (shown, own) = (digest(&SHA256, token), digest(&SHA256, wanted.expose()));
    let is_ours = verify_slices_are_equal(shown.as_ref(), own.as_ref()).is_ok();
    scheme.eq_ignore_ascii_case(b"bearer") && is_ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_it() {
        let token = Secret::new("a token of 16 bytes");
        let shown = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            is_shown(&headers, &token)
        };
        for right in ["Bearer a token of 16 bytes", "bearer   a token of 16 bytes "] {
            assert!(shown(&[right]), "{right}");
        }
        for wrong in ["", "Bearer", "Bearer ", "a token of 16 bytes", "Basic a token of 16 bytes"] {
            assert!(!shown(&[wrong]), "{wrong}");
        }
        assert!(!shown(&["Bearer a token of 16 bytes, and more"]) && !shown(&[]));
        assert!(!shown(&["Bearer a token of 16 bytes", "Bearer a token of 16 bytes"]));
    }
}
