//! Who is really at the other end: `X-Forwarded-*` and `Forwarded`, believed only from proxies
//! that the operator trusts.
//!
//! From anybody else they are dropped and written anew (RFC 7239 section 8.1 and the habit of
//! every proxy that was ever fooled). Does not know: what the address is used for.

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::names::Network;

/// `Forwarded` of RFC 7239.
const FORWARDED: HeaderName = http::header::FORWARDED;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// All that a client could lie with.
const CLAIMS: [HeaderName; 6] = [
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// It came with TLS.
    pub secure: bool,
}

/// The client of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The peer of the connection.
    pub peer: IpAddr,
    /// The client itself: the peer, or the nearest address that no trusted proxy has.
    pub address: IpAddr,
    /// `http` or `https`, as the client sees it.
    pub scheme: &'static str,
    /// The authority that the client asked for.
    pub host: Option<HeaderValue>,
    /// The peer is a trusted proxy, so its claims were believed.
    pub trusted: bool,
}

impl Client {
    /// Reads a request's claims.
    pub fn of(peer: Peer, uri: &Uri, headers: &HeaderMap, trusted: &[Network]) -> Client {
        let own_scheme = if peer.secure { "https" } else { "http" };
        let peer = peer.address.ip().to_canonical();
        let trusts = |address: IpAddr| trusted.iter().any(|net| net.contains(address));
        let own_host = headers.get(HOST).cloned().or_else(|| {
            uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        });
        if !trusts(peer) {
            let (address, scheme) = (peer, own_scheme);
            return Client { peer, address, scheme, host: own_host, trusted: false };
        }
        let claims = Claims::of(headers);
        let address = claims
            .hops
            .iter()
            .rev()
            .map_while(|hop| address_of(hop))
            .map(|address| address.to_canonical())
            .scan(true, |through, address| {
                std::mem::replace(through, trusts(address)).then_some(address)
            })
            .last()
            .unwrap_or(peer);
        let scheme = match claims.proto.as_deref() {
            Some("https") => "https",
            Some(_) => "http",
            None => own_scheme,
        };
        Client {
            peer,
            address,
            scheme,
            host: claims.host.and_then(|host| HeaderValue::try_from(host).ok()).or(own_host),
            trusted: true,
        }
    }

    /// `scheme://authority`, as the client sees it.
    pub fn origin(&self) -> Option<String> {
        Some(format!("{}://{}", self.scheme, self.host.as_ref()?.to_str().ok()?))
    }

    /// Writes down what is known, in place of what was claimed.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        let chain = if self.trusted { Claims::of(headers).hops.join(", ") } else { String::new() };
        let chain = (!chain.is_empty()).then_some(chain);
        let forwarded = self.trusted.then(|| joined(headers, &FORWARDED)).flatten();
        for claim in CLAIMS {
            headers.remove(claim);
        }
        let append = |before: Option<String>, own: String| match before {
            Some(before) => format!("{before}, {own}"),
            None => own,
        };
        let node = match self.peer {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let mut element = format!("for={node};proto={}", self.scheme);
        if let Some(host) = self.host.as_ref().and_then(|host| host.to_str().ok())
            && !host.contains(['"', '\\'])
        {
            element = format!("{element};host=\"{host}\"");
        }
        for (name, value) in [
            (X_FORWARDED_FOR, append(chain, self.peer.to_string())),
            (FORWARDED, append(forwarded, element)),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme));
        if let Some(host) = &self.host {
            headers.insert(X_FORWARDED_HOST, host.clone());
        }
    }
}

/// What a trusted proxy says of its client.
#[derive(Debug, Default)]
struct Claims {
    /// The hops, nearest last.
    hops: Vec<String>,
    proto: Option<String>,
    host: Option<String>,
}

impl Claims {
    /// The `X-Forwarded-*` headers where there are any, else `Forwarded`: a proxy that writes both
    /// says the same in them.
    fn of(headers: &HeaderMap) -> Claims {
        let by_x = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST];
        if !by_x.iter().any(|name| headers.contains_key(name)) {
            return Claims::forwarded(&joined(headers, &FORWARDED).unwrap_or_default());
        }
        let hops = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            // What cannot be read ends the walk, as any other hop that is no address.
            .flat_map(|value| value.to_str().unwrap_or("?").split(','))
            .map(|hop| hop.trim().to_owned())
            .collect();
        Claims {
            hops,
            proto: last_of(headers, &X_FORWARDED_PROTO),
            host: last_of(headers, &X_FORWARDED_HOST),
        }
    }

    /// RFC 7239, section 4. The last element is the nearest proxy's.
    fn forwarded(text: &str) -> Claims {
        let mut claims = Claims::default();
        for element in parts(text, ',') {
            (claims.proto, claims.host) = (None, None);
            for pair in parts(element, ';') {
                let Some((name, value)) = pair.split_once('=') else { continue };
                let value = value.trim().trim_matches('"').to_owned();
                match name.trim().to_ascii_lowercase().as_str() {
                    "for" => claims.hops.push(value),
                    "proto" => claims.proto = Some(value),
                    "host" => claims.host = Some(value),
                    _ => {}
                }
            }
        }
        claims
    }
}

/// Parts of a text between separators that stand outside of quotes.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |letter| {
        quoted ^= letter == '"';
        letter == separator && !quoted
    })
}

/// The address of a hop, which some proxies give with a port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip())).ok()
}

fn last_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(HeaderName, &str)], trusted: &[&str]) -> (Client, HeaderMap) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        let nets: Vec<Network> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let peer = Peer { address: SocketAddr::new(peer.parse().unwrap(), 1), secure: false };
        let client = Client::of(peer, &Uri::from_static("/mcp"), &map, &nets);
        client.write_to(&mut map);
        (client, map)
    }

    #[track_caller]
    fn check(peer: &str, chain: &str, trusted: &[&str], address: &str, sent: &str) {
        let (client, headers) = client(peer, &[(X_FORWARDED_FOR, chain)], trusted);
        assert_eq!(client.address, address.parse::<IpAddr>().unwrap());
        assert_eq!(headers[X_FORWARDED_FOR], sent);
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        check("1.2.3.4", "9.9.9.9", &[], "1.2.3.4", "1.2.3.4");
        check("10.0.0.1", "9.9.9.9", &["10.0.0.0/8"], "9.9.9.9", "9.9.9.9, 10.0.0.1");
        check(
            "10.0.0.1",
            "6.6.6.6, 9.9.9.9, 10.0.0.2",
            &["10.0.0.0/8"],
            "9.9.9.9",
            "6.6.6.6, 9.9.9.9, 10.0.0.2, 10.0.0.1",
        );
        check("10.0.0.1", "garbage", &["10.0.0.0/8"], "10.0.0.1", "garbage, 10.0.0.1");
        check("::ffff:10.0.0.1", "9.9.9.9", &["10.0.0.0/8"], "9.9.9.9", "9.9.9.9, 10.0.0.1");
    }

    #[test]
    fn the_standard_header_is_read_where_the_others_are_missing() {
        let standard =
            "for=6.6.6.6;proto=http, for=\"[2001:db8::1]:99\";proto=https;host=\"a,b.example\"";
        let (known, headers) = client("10.0.0.1", &[(FORWARDED, standard)], &["10.0.0.0/8"]);
        assert_eq!(known.address, "2001:db8::1".parse::<IpAddr>().unwrap());
        assert_eq!(known.origin().unwrap(), "https://a,b.example");
        assert_eq!(headers[X_FORWARDED_FOR], "6.6.6.6, [2001:db8::1]:99, 10.0.0.1");
        assert_eq!(headers[X_FORWARDED_PROTO], "https");
        let (stranger, _) = client("1.2.3.4", &[(FORWARDED, standard)], &["10.0.0.0/8"]);
        assert_eq!(stranger.address, stranger.peer);
    }

    #[test]
    fn tls_is_seen_unless_a_trusted_proxy_says_otherwise() {
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let all: Network = "10.0.0.0/8".parse().unwrap();
        for (claim, trusted, want) in [
            (None, [].as_slice(), "https"),
            (Some("http"), &[], "https"),
            (None, &[all], "https"),
            (Some("http"), &[all], "http"),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(claim.map(|it| (X_FORWARDED_PROTO, HeaderValue::from_static(it))));
            let peer = Peer { address, secure: true };
            let client = Client::of(peer, &Uri::from_static("/mcp"), &headers, trusted);
            assert_eq!(client.scheme, want, "{claim:?} {trusted:?}");
        }
    }

    #[test]
    fn claims_of_strangers_are_replaced() {
        let claims =
            [(HOST, "mcp.example.com"), (X_FORWARDED_PROTO, "https"), (FORWARDED, "for=6.6.6.6")];
        let (stranger, headers) = client("1.2.3.4", &claims, &[]);
        assert_eq!(stranger.origin().unwrap(), "http://mcp.example.com");
        assert_eq!(headers[X_FORWARDED_PROTO], "http");
        assert_eq!(headers[FORWARDED], "for=1.2.3.4;proto=http;host=\"mcp.example.com\"");
        let (known, headers) = client("1.2.3.4", &claims, &["1.2.3.4/32"]);
        assert_eq!(known.origin().unwrap(), "https://mcp.example.com");
        assert_eq!(
            headers[FORWARDED],
            "for=6.6.6.6, for=1.2.3.4;proto=https;host=\"mcp.example.com\""
        );
    }
}
