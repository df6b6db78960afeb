//! Where the servers are.
//!
//! Does not know: whether they are there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use aws_lc_rs::digest;

use super::{Arm, BadName};

/// The place where an endpoint of an arm listens: `http://host:port/path`, or `https`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

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

    /// `host:port`, as a `Host` header says it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path)
    }
}

impl FromStr for EndpointUrl {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = |why: &str| BadName(format!("`{text}` {why}"));
        let uri: http::Uri =
            text.parse().map_err(|_| bad("is no http URL, such as http://127.0.0.1:3000/mcp"))?;
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
        Ok(EndpointUrl {
            secure,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            path: uri.path().to_owned(),
        })
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
        for bad in [
            "127.0.0.1:3000",
            "ftp://x/",
            "http://",
            "http://u:p@h/",
            "http://h/?q=1",
            "http://h/mcp#f",
            "http://h:0/",
            "",
        ] {
            assert!(bad.parse::<EndpointUrl>().is_err(), "{bad}");
        }
    }
}
