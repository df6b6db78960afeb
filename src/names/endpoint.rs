//! Where the servers are.
//!
//! Does not know: whether they are there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use aws_lc_rs::digest;

use super::{Arm, BadName};

/// The place where an endpoint of an arm listens: `http://host:port/path`, or `https`; or, with
/// `dns+` in front, a name that stands for as many places as it has addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    secure: bool,
    host: String,
    port: u16,
    path: String,
    means: Means,
}

/// What the host of an endpoint stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Means {
    /// One place, wherever the system finds it at each connect.
    Place,
    /// A place for each of its addresses.
    Places,
    /// One of these.
    At(IpAddr),
}

/// In front of a URL whose host stands for a place for each of its addresses.
const EVERY: &str = "dns+";

impl EndpointUrl {
    /// Whether it is spoken to with TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The scheme.
    pub const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The port that a URL of this scheme need not name.
    pub const fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }

    /// The host without brackets, to be resolved or parsed as an address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it stands for as many places as its host has addresses.
    pub fn is_name(&self) -> bool {
        self.means == Means::Places
    }

    /// The place at one of the addresses of its host.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> EndpointUrl {
        EndpointUrl { means: Means::At(address), ..self.clone() }
    }

    /// Its address, where that is known without a look-up.
    pub fn address(&self) -> Option<IpAddr> {
        match self.means {
            Means::At(address) => Some(address),
            Means::Place => self.host.parse().ok(),
            Means::Places => None,
        }
    }

    /// What is left of an endpoint as people are shown it without the address of the moment.
    pub fn without_address(shown: &str) -> &str {
        let shown = shown.strip_prefix(EVERY).unwrap_or(shown);
        shown.split_once(" (").map_or(shown, |(url, _)| url)
    }

    /// Whether it is on the router's own machine.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|it| it.is_loopback())
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of the MCP endpoint on that server, always with a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    /// What a `Host` header says: the port only where a URL would need it, as clients do. Many TLS
    /// servers know no host with a `:443`.
    pub fn host_header(&self) -> String {
        if self.port == self.default_port() { self.bracketed() } else { self.authority() }
    }

    /// The host as it stands in a URL.
    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.means == Means::Places {
            f.write_str(EVERY)?;
        }
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path)?;
        match self.means {
            Means::At(address) => write!(f, " ({address})"),
            Means::Place | Means::Places => Ok(()),
        }
    }
}

impl FromStr for EndpointUrl {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        // A password in it is not repeated.
        let shown = if text.contains(['@', '?']) { "this URL" } else { &format!("`{text}`") };
        let bad = |why: &str| BadName(format!("{shown} {why}"));
        let (url, means) = match text.strip_prefix(EVERY) {
            Some(url) => (url, Means::Places),
            None => (text, Means::Place),
        };
        let uri: http::Uri =
            url.parse().map_err(|_| bad("is no http URL, such as http://127.0.0.1:3000/mcp"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("is no http URL, such as http://127.0.0.1:3000/mcp")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("has no host"))?;
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if authority.contains('@') {
            return Err(bad("has credentials in it: use `headers` for a token"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(bad("has a query or a fragment, which an endpoint cannot have"));
        }
        let port = match (uri.port_u16(), authority.ends_with(':')) {
            (Some(0), _) | (None, true) => return Err(bad("has no usable port")),
            (Some(port), _) => port,
            (None, false) if secure => 443,
            (None, false) => 80,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if means == Means::Places && host.parse::<IpAddr>().is_ok() {
            return Err(bad("has an address where `dns+` needs a name"));
        }
        Ok(EndpointUrl { secure, host, port, path: uri.path().to_owned(), means })
    }
}

/// What a tag remembers of an endpoint: 48 bits of a hash over arm and URL, so that every replica
/// of the router, and the same router after a restart, finds the same endpoint by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub [u8; 6]);

impl EndpointId {
    /// The id of an arm's endpoint.
    pub fn of(arm: Arm, url: &EndpointUrl) -> EndpointId {
        let text = format!("tidegate-endpoint/1 {arm} {url}");
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let mut id = [0; 6];
        id.copy_from_slice(&digest.as_ref()[..6]);
        EndpointId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_urls() {
        let ok = |text: &str| text.parse::<EndpointUrl>().unwrap().to_string();
        assert_eq!(ok("http://127.0.0.1:3000/mcp"), "http://127.0.0.1:3000/mcp");
        assert_eq!(ok("http://mcp.internal"), "http://mcp.internal:80/");
        assert_eq!(ok("http://[::1]:3000/x"), "http://[::1]:3000/x");
        assert_eq!(ok("https://mcp.internal/x"), "https://mcp.internal:443/x");
        let host = |text: &str| text.parse::<EndpointUrl>().unwrap().host_header();
        assert_eq!(host("http://h:80/x"), "h");
        assert_eq!(host("http://h:443/x"), "h:443");
        assert_eq!(host("https://[::1]/x"), "[::1]");
        assert_eq!(host("https://h:80/x"), "h:80");
        assert_eq!(ok("dns+http://mcp.internal/x"), "dns+http://mcp.internal:80/x");
        assert_eq!(ok("dns+https://mcp.internal"), "dns+https://mcp.internal:443/");
        for bad in [
            "127.0.0.1:3000",
            "ftp://x/",
            "http://",
            "http://u:p@h/",
            "http://h/?q=1",
            "http://h/mcp#f",
            "http://h:0/",
            "",
            "dns+ftp://x/",
            "dns+mcp.internal:3000",
            "dns+dns+http://h/",
            "dns+http://127.0.0.1:3000/mcp",
            "dns+http://[::1]/",
        ] {
            assert!(bad.parse::<EndpointUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_stands_for_places() {
        let name: EndpointUrl = "dns+https://mcp.internal/x".parse().unwrap();
        let place = name.at("10.0.0.1".parse().unwrap());
        assert_eq!(place.to_string(), "https://mcp.internal:443/x (10.0.0.1)");
        assert_eq!(place.authority(), "mcp.internal:443");
        assert_eq!((name.is_name(), place.is_name()), (true, false));
        assert_eq!((name.address(), place.address()), (None, "10.0.0.1".parse().ok()));
        for shown in [&name, &place].map(ToString::to_string) {
            assert_eq!(EndpointUrl::without_address(&shown), "https://mcp.internal:443/x");
        }
        // Tags of every version and replica name it so.
        assert_eq!(EndpointId::of(Arm::Primary, &place).0, [50, 49, 196, 172, 195, 73]);
    }
}
