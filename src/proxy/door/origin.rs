//! Whose pages may call from a browser: the defence against DNS rebinding that MCP asks of every
//! server (2026-07-28, Streamable HTTP, Security & Endpoint).
//!
//! A browser always says whose page it is, and a page cannot lie about it; whoever sends no
//! `Origin` is no browser. Does not know: what a page that may call is told besides the answer.

use std::net::Ipv4Addr;

use http::uri::Authority;
use http::{HeaderMap, header};

use crate::config::Config;

/// Whether a request comes from no page, or from one that may call.
pub fn is_allowed(headers: &HeaderMap, config: &Config) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Some(listed) = &config.http.origins else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let same = |known: &String| bare(known).eq_ignore_ascii_case(bare(origin));
    listed.iter().chain(&config.public_origin).any(same)
        || (config.http.loopback_origins && is_loopback(origin))
}

/// An origin without the port that its scheme has anyway.
fn bare(origin: &str) -> &str {
    let port = if origin.starts_with("https:") { ":443" } else { ":80" };
    origin.strip_suffix(port).unwrap_or(origin)
}

/// A page of this machine, at any port.
fn is_loopback(origin: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let Ok(authority) = rest.parse::<Authority>() else { return false };
    let host = authority.host();
    matches!(scheme, "http" | "https")
        && !rest.contains('@')
        && (host.eq_ignore_ascii_case("localhost")
            || host == "[::1]"
            || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests as fixture;

    #[track_caller]
    fn check(origin: &str, change: impl FnOnce(&mut Config), want: bool) {
        let table = fixture::table(&["http://a/"], &["http://b/"], 0, change);
        let headers = fixture::headers(&[("origin", origin)]);
        assert_eq!(is_allowed(&headers, &table.config), want, "{origin}");
    }

    #[test]
    fn pages_of_this_machine_may_call() {
        for (origin, want) in [
            ("http://localhost", true),
            ("https://LOCALHOST:5173", true),
            ("http://127.0.0.1:6274", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:80", true),
            ("http://localhost.evil.example", false),
            ("http://evil.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://localhost@evil.example", false),
            ("http://evil.example#http://localhost", false),
            ("http://localhost/", false),
            ("http://0.0.0.0", false),
            ("http://[::ffff:127.0.0.1]", false),
            ("http://2130706433", false),
            ("ws://localhost", false),
            ("localhost", false),
            ("null", false),
            ("", false),
            ("http://localhost, http://evil.example", false),
        ] {
            check(origin, |_| {}, want);
            check(origin, |config| config.http.loopback_origins = false, false);
        }
    }

    #[test]
    fn pages_of_others_may_where_the_configuration_says_so() {
        let app = |config: &mut Config| {
            config.http.origins = Some(vec!["https://app.example.com".to_owned()]);
            config.public_origin = Some("http://mcp.example.com:8080".to_owned());
        };
        for (origin, want) in [
            ("https://app.example.com", true),
            ("https://app.example.com:443", true),
            ("https://App.Example.com", true),
            ("http://mcp.example.com:8080", true),
            ("http://localhost", true),
            ("http://app.example.com", false),
            ("https://app.example.com:8443", false),
            ("https://app.example.com.evil.example", false),
            ("https://evil-app.example.com", false),
            ("http://mcp.example.com", false),
            ("null", false),
        ] {
            check(origin, app, want);
            check(origin, |config| config.http.origins = None, true);
        }
    }
}
