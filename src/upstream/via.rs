//! `Via` (RFC 9110 section 7.6.3): what passes says that it did, and what comes round again is
//! known.
//!
//! The name has a random part, so that two routers in a row are not taken for a loop. Does not
//! know: what is done about a loop.

use std::sync::LazyLock;

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};

/// This process among all that a message may pass.
static NAME: LazyLock<Name> = LazyLock::new(|| Name::new(rand::random()));

struct Name {
    name: String,
    /// By the version in which a message came: 1.0, 1.1, 2.
    entries: [HeaderValue; 3],
}

impl Name {
    fn new(instance: u64) -> Name {
        let name = format!("tidegate-{instance:016x}");
        let entries = ["1.0", "1.1", "2.0"].map(|version| {
            HeaderValue::try_from(format!("{version} {name}")).expect("letters and digits")
        });
        Name { name, entries }
    }
}

/// Adds us to those through whom a message has come; `version` is the one in which we got it.
pub fn append(headers: &mut HeaderMap, version: Version) {
    let [old, usual, new] = &NAME.entries;
    let entry = match version {
        Version::HTTP_10 => old,
        Version::HTTP_2 => new,
        _ => usual,
    };
    headers.append(VIA, entry.clone());
}

/// Whether a message has come through this process before.
pub fn is_loop(headers: &HeaderMap) -> bool {
    let name = NAME.name.as_bytes();
    headers
        .get_all(VIA)
        .iter()
        .any(|value| value.as_bytes().windows(name.len()).any(|part| part == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_name_is_a_loop() {
        let mut headers = HeaderMap::new();
        headers.append(VIA, "1.1 tidegate-0, 1.0 other".parse().unwrap());
        assert!(!is_loop(&headers));
        append(&mut headers, Version::HTTP_2);
        assert!(is_loop(&headers));
        let own = headers.get_all(VIA).iter().next_back().unwrap().to_str().unwrap();
        assert!(own.starts_with("2.0 tidegate-"), "{own}");
        let mut joined = HeaderMap::new();
        joined.insert(VIA, format!("1.1 a, {own} (comment), 1.1 b").parse().unwrap());
        assert!(is_loop(&joined));
    }
}
