//! The name of a request in the logs of everybody whom it passes: `X-Request-Id`.
//!
//! A client's own is kept if nothing can be hidden in it, else there is a new one: a UUID of
//! version 7 (RFC 9562), whose order is that of time. Does not know: where it is written down.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Its header.
pub const NAME: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of an id that a client may give.
const BYTES_MAX: usize = 64;

/// The id that a client gave, or a new one.
pub fn of(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(NAME).iter();
    match (given.next(), given.next()) {
        (Some(id), None) if is_plain(id.as_bytes()) => id.clone(),
        _ => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let id = uuid(since.as_millis() as u64, rand::random());
            HeaderValue::try_from(id).expect("hexadecimal digits and hyphens")
        }
    }
}

fn is_plain(id: &[u8]) -> bool {
    (1..=BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// The UUID of a time in milliseconds since 1970, and of random bits.
fn uuid(millis: u64, random: u128) -> String {
    let bits = (u128::from(millis & 0xffff_ffff_ffff) << 80)
        | (0x7 << 76)
        | ((random >> 16) & (0xfff << 64))
        | (0b10 << 62)
        | (random & ((1 << 62) - 1));
    let digits = format!("{bits:032x}");
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::headers;

    #[test]
    fn good_ids_are_kept_and_others_replaced() {
        let long = "a".repeat(65);
        for id in
            ["a", "0194f3a2-7c1e-7b9a-8f11-3c2d1e0f9a8b", "Root=1", "a b", "", &long, "a_b.c-d"]
        {
            let kept = of(&headers(&[("x-request-id", id)]));
            let is_kept = matches!(id.len(), 1 | 7 | 36) && !id.contains(' ');
            assert_eq!(kept == id, is_kept, "{id}");
            assert!(is_plain(kept.as_bytes()));
        }
        assert_eq!(of(&headers(&[("x-request-id", "a"), ("x-request-id", "a")])).len(), 36);
        assert_ne!(of(&headers(&[])), of(&headers(&[])));
    }

    #[test]
    fn new_ids_are_of_version_7() {
        // The time of RFC 9562's example (appendix A.6).
        assert_eq!(uuid(0x017F_22E2_79B0, 0), "017f22e2-79b0-7000-8000-000000000000");
        assert_eq!(uuid(0x017F_22E2_79B0, u128::MAX), "017f22e2-79b0-7fff-bfff-ffffffffffff");
    }
}
