//! The target of a request and the host that it is for (RFC 9112 section 3.2).
//!
//! Does not know: which paths are MCP's.

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Version};

use crate::proxy::reply::Refusal;

/// Whether a target is one that a server may be asked for: a path, with or without our own scheme
/// and host, or the asterisk of OPTIONS; of at most this many bytes.
pub(super) fn check(head: &Parts, limit: usize) -> Result<(), Refusal> {
    let uri = &head.uri;
    let Some(asked) = uri.path_and_query().map(http::uri::PathAndQuery::as_str) else {
        return Err(Refusal::BadTarget);
    };
    if asked.len() > limit {
        return Err(Refusal::TargetTooLong);
    }
    let is_http = uri.scheme_str().is_none_or(|it| matches!(it, "http" | "https"));
    let is_plain = asked.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'\\');
    let is_path = asked.starts_with('/') || (asked == "*" && head.method == Method::OPTIONS);
    if is_http && is_plain && is_path { Ok(()) } else { Err(Refusal::BadTarget) }
}

/// One host, which is one, and which the target does not contradict. Only HTTP/1.0 may have none,
/// and HTTP/2 names it in the target.
pub(super) fn has_one_good_host(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    let named = head.uri.authority();
    if named.is_some_and(|named| !is_host(named)) {
        return false;
    }
    match (hosts.next(), hosts.next()) {
        (None, _) if head.version == Version::HTTP_11 => false,
        (None, _) => head.version < Version::HTTP_11 || named.is_some(),
        (Some(_), Some(_)) => false,
        (Some(host), None) => {
            names_a_host(host)
                && named.is_none_or(|named| {
                    named.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes())
                })
        }
    }
}

fn names_a_host(host: &HeaderValue) -> bool {
    Authority::try_from(host.as_bytes()).is_ok_and(|host| is_host(&host))
}

/// A name or an address, and perhaps a port. A registered name could have more characters in it
/// (RFC 3986 section 3.2.2), but no host in use does.
fn is_host(authority: &Authority) -> bool {
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host);
    let has_good_port = port.is_some_and(|port| {
        port.is_empty()
            || port.strip_prefix(':').is_some_and(|digits| {
                digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
            })
    });
    let is_name = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        }
    };
    has_good_port && is_name
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[track_caller]
    fn check_host(version: Version, target: &str, hosts: &[&str], want: bool) {
        let (mut head, ()) = Request::get(target).version(version).body(()).unwrap().into_parts();
        for host in hosts {
            head.headers.append(HOST, host.parse().unwrap());
        }
        assert_eq!(has_one_good_host(&head), want, "{version:?} {target} {hosts:?}");
    }

    #[test]
    fn hosts() {
        for host in ["a", "A.example:80", "127.0.0.1:8080", "[::1]", "[::1]:8080", "a_b", "a:"] {
            check_host(Version::HTTP_11, "/", &[host], host != "a:");
        }
        for host in [
            "",
            ":80",
            "a b",
            "a/b",
            "u@a",
            "a:b",
            "a:99999",
            "a:+80",
            "a,b",
            "[::1",
            "[v1.a]",
            "a%41",
            "a:80:80",
            "[::1%25eth0]",
        ] {
            check_host(Version::HTTP_11, "/", &[host], false);
        }
        check_host(Version::HTTP_11, "/", &[], false);
        check_host(Version::HTTP_10, "/", &[], true);
        check_host(Version::HTTP_2, "/", &[], false);
        check_host(Version::HTTP_2, "http://a/", &[], true);
        check_host(Version::HTTP_2, "http://u@a/", &[], false);
        check_host(Version::HTTP_2, "http://a/", &["b"], false);
        check_host(Version::HTTP_11, "http://a/", &["A"], true);
        check_host(Version::HTTP_11, "http://a:80/", &["a"], false);
        check_host(Version::HTTP_10, "http://u@a/", &[], false);
        check_host(Version::HTTP_11, "/", &["a", "a"], false);
    }

    #[test]
    fn targets() {
        for (method, target, want) in [
            ("GET", "/", true),
            ("GET", "http://a", true),
            ("GET", "/a%23b?c=%5c", true),
            ("OPTIONS", "*", true),
            ("GET", "*", false),
            ("GET", "a:80", false),
            ("GET", "ftp://a/", false),
            ("GET", "/a\\b", false),
            ("GET", "/\u{e9}", false),
            ("GET", "/a/too/long/path", false),
        ] {
            let (head, ()) =
                Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
            assert_eq!(check(&head, 13).is_ok(), want, "{method} {target}");
        }
    }
}
