//! What is said about baselines.
//!
//! Does not know: sockets, how they are compared.

use serde::{Deserialize, Serialize};

use crate::names::Arm;
use crate::records::baselines::{Baseline, Skipped};

/// `GET /v1/baselines`: those that are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Baselines {
    /// The newest first.
    pub baselines: Vec<Headline>,
    /// Files that cannot be used.
    pub skipped: Vec<Skipped>,
}

/// What a baseline is of, without its figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Headline {
    /// What it is called.
    pub name: String,
    /// When it was taken, as RFC 3339.
    pub at: String,
    /// Whose work it is of.
    pub arm: Arm,
    /// Name and version of the server, if it was known.
    pub server: Option<String>,
    /// How much time before that it is of.
    pub span_seconds: u64,
    /// Exchanges in it.
    pub exchanges: u64,
    /// Kinds of work in it.
    pub kinds: usize,
    /// The router keeps it by itself, and removes it when there are too many.
    pub automatic: bool,
}

impl From<&Baseline> for Headline {
    fn from(baseline: &Baseline) -> Headline {
        Headline {
            name: baseline.name.to_string(),
            at: baseline.at.clone(),
            arm: baseline.arm,
            server: baseline.server.clone(),
            span_seconds: baseline.span_seconds,
            exchanges: baseline.exchanges(),
            kinds: baseline.kinds.len(),
            automatic: baseline.name.is_automatic(),
        }
    }
}

/// `POST /v1/baselines`: keep what the stable arm has done of late.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaveBaseline {
    /// What to call it; left out, it is called by the time.
    #[serde(default)]
    pub name: Option<String>,
    /// How much time up to now, 1 to 3600; left out, an hour.
    #[serde(default)]
    pub span_seconds: Option<u64>,
}

/// `DELETE /v1/baselines/NAME`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removed {
    /// What is gone.
    pub removed: String,
}
