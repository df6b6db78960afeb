//! The validated vocabulary: arms, weights, splits, endpoints, outcomes.
//!
//! Every value here is true by construction, so no later stage checks it again.
//! Does not know: configuration files, HTTP, metrics.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

mod door;

mod endpoint;

mod network;

pub use door::{Cut, Shed};
pub use endpoint::{EndpointId, EndpointUrl};
pub use network::Network;

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
    first.copy_from_slice(&digest::digest(&digest::SHA256, bytes).as_ref()[..8]);
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
}
