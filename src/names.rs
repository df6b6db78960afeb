//! The validated vocabulary: arms, weights, splits, endpoints, outcomes.
//!
//! Every value here is true by construction, so no later stage checks it again.
//! Does not know: configuration files, HTTP, metrics.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One of the two versions of the MCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The version on port 3000 by default; stable until a rollout says otherwise.
    Primary,
    /// The version on port 3001 by default.
    Secondary,
}

impl Arm {
    /// Both arms, in the order in which people are shown them.
    pub const ALL: [Arm; 2] = [Arm::Primary, Arm::Secondary];

    /// The word for configuration, labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Arm::Primary => "primary",
            Arm::Secondary => "secondary",
        }
    }

    /// The arm that this one is compared with.
    #[must_use]
    pub const fn other(self) -> Arm {
        match self {
            Arm::Primary => Arm::Secondary,
            Arm::Secondary => Arm::Primary,
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Arm {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Arm::ALL
            .into_iter()
            .find(|arm| arm.as_str() == text)
            .ok_or_else(|| BadName(format!("`{text}` is no arm: say `primary` or `secondary`")))
    }
}

/// A value for each arm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerArm<T> {
    /// The primary's.
    pub primary: T,
    /// The secondary's.
    pub secondary: T,
}

impl<T> PerArm<T> {
    /// Makes the value of each arm.
    pub fn from_fn(mut make: impl FnMut(Arm) -> T) -> Self {
        PerArm { primary: make(Arm::Primary), secondary: make(Arm::Secondary) }
    }

    /// The value of one arm.
    pub fn get(&self, arm: Arm) -> &T {
        match arm {
            Arm::Primary => &self.primary,
            Arm::Secondary => &self.secondary,
        }
    }

    /// The value of one arm, to change.
    pub fn get_mut(&mut self, arm: Arm) -> &mut T {
        match arm {
            Arm::Primary => &mut self.primary,
            Arm::Secondary => &mut self.secondary,
        }
    }
}

/// Tells values apart in records: the first 64 bits of their SHA-256, in hexadecimal digits.
pub fn fingerprint(bytes: &[u8]) -> String {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(bytes)[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

/// The share of new work that each arm gets: whole percents that add up to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSplit", into = "RawSplit")]
pub struct Split {
    secondary: u8,
}

/// The shape of a [`Split`] on the wire and on disk.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct RawSplit {
    primary: u8,
    secondary: u8,
}

impl Split {
    /// Everything to the primary: what a router without instructions does.
    pub const PRIMARY_ONLY: Split = Split { secondary: 0 };

    /// Everything to one arm.
    pub const fn all(arm: Arm) -> Split {
        match arm {
            Arm::Primary => Split { secondary: 0 },
            Arm::Secondary => Split { secondary: 100 },
        }
    }

    /// The same with the arms exchanged.
    #[must_use]
    pub const fn mirrored(self) -> Split {
        Split { secondary: 100 - self.secondary }
    }

    /// A split of whole percents.
    ///
    /// # Errors
    /// When the two do not add up to 100.
    pub fn new(primary: u8, secondary: u8) -> Result<Split, BadName> {
        if u16::from(primary) + u16::from(secondary) == 100 {
            return Ok(Split { secondary });
        }
        Err(BadName(format!(
            "primary:{primary} and secondary:{secondary} add up to {}, not to 100",
            u16::from(primary) + u16::from(secondary)
        )))
    }

    /// The weight of an arm in percent, 0 to 100.
    pub const fn weight(self, arm: Arm) -> u8 {
        match arm {
            Arm::Primary => 100 - self.secondary,
            Arm::Secondary => self.secondary,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "primary:{} secondary:{}", 100 - self.secondary, self.secondary)
    }
}

impl TryFrom<RawSplit> for Split {
    type Error = BadName;

    fn try_from(raw: RawSplit) -> Result<Self, BadName> {
        Split::new(raw.primary, raw.secondary)
    }
}

impl From<Split> for RawSplit {
    fn from(split: Split) -> Self {
        RawSplit { primary: split.weight(Arm::Primary), secondary: split.secondary }
    }
}

/// The place where an endpoint of an arm listens: `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    host: String,
    port: u16,
    path: String,
}

impl EndpointUrl {
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
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

impl FromStr for EndpointUrl {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = |why: &str| BadName(format!("`{text}` {why}"));
        let uri: http::Uri =
            text.parse().map_err(|_| bad("is no http URL, such as http://127.0.0.1:3000/mcp"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(bad("needs TLS to the server, which is not there yet: use http://"));
            }
            _ => return Err(bad("is no http URL, such as http://127.0.0.1:3000/mcp")),
        }
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
            (None, false) => 80,
        };
        Ok(EndpointUrl {
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
        let digest = Sha256::digest(format!("tidegate-endpoint/1 {arm} {url}").as_bytes());
        let mut id = [0; 6];
        id.copy_from_slice(&digest[..6]);
        EndpointId(id)
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered with a result, or as it should be where nothing is to be answered.
    Ok,
    /// Answered with a result that says `isError`, or a task that failed.
    ToolError,
    /// The JSON-RPC layer failed: an error that is not the client's, or no valid JSON-RPC at all.
    RpcError,
    /// The server refused what the client asked: HTTP 4xx, or a JSON-RPC code of that kind.
    ClientError,
    /// The client holds something that the other version gave it.
    Skew,
    /// The server answered 5xx, or a status that cannot be.
    HttpError,
    /// No connection, or it ended before the answer did.
    Transport,
    /// The server was silent for too long.
    Timeout,
    /// The client went away before the answer.
    Cancelled,
    /// We refused it.
    Rejected,
    /// The server closed a kept connection in the moment when the request was sent on it.
    Race,
    /// Passed on without being read: compressed, or nested too deeply.
    Unclassified,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 12] = [
        Outcome::Ok,
        Outcome::ToolError,
        Outcome::RpcError,
        Outcome::ClientError,
        Outcome::Skew,
        Outcome::HttpError,
        Outcome::Transport,
        Outcome::Timeout,
        Outcome::Cancelled,
        Outcome::Rejected,
        Outcome::Race,
        Outcome::Unclassified,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ToolError => "tool_error",
            Outcome::RpcError => "rpc_error",
            Outcome::ClientError => "client_error",
            Outcome::Skew => "skew",
            Outcome::HttpError => "http_error",
            Outcome::Transport => "transport",
            Outcome::Timeout => "timeout",
            Outcome::Cancelled => "cancelled",
            Outcome::Rejected => "rejected",
            Outcome::Race => "race",
            Outcome::Unclassified => "unclassified",
        }
    }
}

/// Whose fault an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Blame {
    /// The arm's, whatever the other one does.
    Arm,
    /// The arm's only if the other one does better with the same kind of callers.
    Relative,
    /// The change of version's: neither arm is worse for it.
    Skew,
    /// Nobody's.
    Nobody,
}

impl Blame {
    /// All of them.
    pub const ALL: [Blame; 4] = [Blame::Arm, Blame::Relative, Blame::Skew, Blame::Nobody];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Blame::Arm => "arm",
            Blame::Relative => "relative",
            Blame::Skew => "skew",
            Blame::Nobody => "nobody",
        }
    }
}

/// A name or number that cannot be what it should be; the text says why and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadName(pub String);

/// A rule that can shut the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// Its servers fail their handshakes.
    HealthFailures,
    /// Too many of its exchanges are its own fault.
    ErrorRate,
    /// It takes longer than the stable arm for the same.
    Performance,
    /// Somebody says that it is dangerous.
    SecurityAlert,
    /// Taken together, the evidence says that it is worse.
    Sequential,
}

impl Guard {
    /// All of them.
    pub const ALL: [Guard; 5] = [
        Guard::HealthFailures,
        Guard::ErrorRate,
        Guard::Performance,
        Guard::SecurityAlert,
        Guard::Sequential,
    ];

    /// The word for configuration, labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Guard::HealthFailures => "health_failures",
            Guard::ErrorRate => "error_rate",
            Guard::Performance => "performance",
            Guard::SecurityAlert => "security_alert",
            Guard::Sequential => "sequential",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_must_add_up() {
        assert_eq!(Split::new(90, 10).unwrap().weight(Arm::Secondary), 10);
        assert!(Split::new(90, 20).unwrap_err().0.contains("110"));
        assert!(Split::new(255, 101).is_err());
    }

    #[test]
    fn endpoint_urls() {
        let ok = |text: &str| text.parse::<EndpointUrl>().unwrap().to_string();
        assert_eq!(ok("http://127.0.0.1:3000/mcp"), "http://127.0.0.1:3000/mcp");
        assert_eq!(ok("http://mcp.internal"), "http://mcp.internal:80/");
        assert_eq!(ok("http://[::1]:3000/x"), "http://[::1]:3000/x");
        for bad in [
            "127.0.0.1:3000",
            "ftp://x/",
            "http://",
            "http://u:p@h/",
            "http://h/?q=1",
            "http://h/mcp#f",
            "http://h:0/",
            "https://h/",
            "",
        ] {
            assert!(bad.parse::<EndpointUrl>().is_err(), "{bad}");
        }
    }
}
