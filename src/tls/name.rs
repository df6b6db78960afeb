//! Names in certificates: hosts, addresses, URIs such as SPIFFE ids.
//!
//! Kept apart by kind, so that a host that looks like an address is not taken for one. Does not
//! know: who has to have which.

use std::fmt;
use std::net::IpAddr;

use x509_parser::prelude::GeneralName;

/// A subject's alternative name (RFC 5280 section 4.2.1.6), or what is asked of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A host, in small letters; `*.` in front stands for one label (RFC 9525 section 6.3).
    Host(String),
    /// An address.
    Address(IpAddr),
    /// A URI; compared as it is written.
    Uri(String),
}

impl Name {
    /// Reads a name: what has `://` in it is a URI.
    ///
    /// # Errors
    /// When it is nothing of the kind, in words.
    pub fn parse(text: &str) -> Result<Name, String> {
        if let Ok(address) = text.parse() {
            return Ok(Name::Address(address));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let fits = !scheme.is_empty() && !rest.is_empty() && text.bytes().all(is_visible);
            return if fits { Ok(Name::Uri(text.to_owned())) } else { Err(bad(text)) };
        }
        let labels = text.strip_prefix("*.").unwrap_or(text);
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
        if labels.len() > 253 || !labels.split('.').all(fits) {
            return Err(bad(text));
        }
        Ok(Name::Host(text.to_ascii_lowercase()))
    }

    pub(super) fn of(name: &GeneralName<'_>) -> Option<Name> {
        match name {
            GeneralName::DNSName(name) => Some(Name::Host(name.to_ascii_lowercase())),
            GeneralName::URI(uri) => Some(Name::Uri((*uri).to_owned())),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                v4.or_else(|_| v6()).ok().map(Name::Address)
            }
            _ => None,
        }
    }

    /// Whether this name is meant by the other; a star stands for one label.
    pub fn covers(&self, other: &Name) -> bool {
        match (self, other) {
            (Name::Host(own), Name::Host(other)) => match own.strip_prefix("*.") {
                Some(rest) => other.split_once('.').is_some_and(|(_, behind)| behind == rest),
                None => own == other,
            },
            _ => self == other,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Host(text) | Name::Uri(text) => f.write_str(text),
            Name::Address(address) => address.fmt(f),
        }
    }
}

fn is_visible(byte: u8) -> bool {
    (0x21..=0x7e).contains(&byte)
}

fn bad(text: &str) -> String {
    format!(
        "`{text}` is no name of a certificate: write a host, `*.` and a host, an address, or a URI \
         such as spiffe://example.org/agent"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_covers_whom() {
        for (own, other, want) in [
            ("mcp.example", "MCP.example", true),
            ("mcp.example", "a.mcp.example", false),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("::1", "0:0::1", true),
            ("spiffe://x/a", "spiffe://x/a", true),
            ("spiffe://x/a", "spiffe://x/A", false),
        ] {
            let covers = Name::parse(own).unwrap().covers(&Name::parse(other).unwrap());
            assert_eq!(covers, want, "{own} {other}");
        }
        let host = Name::Host("10.0.0.1".to_owned());
        assert!(!Name::parse("10.0.0.1").unwrap().covers(&host), "a host is no address");
    }

    #[test]
    fn what_is_no_name() {
        for text in ["", "*", "*.", "a..b", "a b", "*.*.a", "a.*", "://x", "a://", "ü.example"] {
            assert!(Name::parse(text).is_err(), "{text}");
        }
    }
}
