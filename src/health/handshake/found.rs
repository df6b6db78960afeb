//! What a handshake found out, for whoever wants to know: people, machines, the router.
//!
//! Does not know: how it was found out.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::catalogue::Catalogue;
use super::super::verdict::Verdict;
use super::session::ServerInfo;
use crate::tls::client::Secured;

/// What a handshake found out.
#[derive(Clone, Debug)]
pub struct Probe {
    /// When it began.
    pub at: SystemTime,
    /// How long it took, up to the verdict.
    pub took: Duration,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What it showed.
    pub verdict: Verdict,
    /// The TLS of its first connection, or why there was none; nothing where none is spoken.
    pub tls: Option<Result<Secured, String>>,
    /// What the server speaks, as far as was looked.
    pub eras: Eras,
    /// The version that was spoken.
    pub protocol_version: Option<String>,
    /// Who the server says it is.
    pub server: Option<ServerInfo>,
    /// What it offers, if its tools were listed.
    pub catalogue: Option<Catalogue>,
}

/// One request, or a few that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was asked, such as `server/discover`.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// What came of it, or why nothing did.
    pub result: Result<String, String>,
    /// Whether the verdict depends on it; else it is only worth knowing.
    pub decides: bool,
}

/// The ways in which a server was seen to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eras {
    /// 2026-07-28.
    pub modern: bool,
    /// Streamable HTTP with `initialize`.
    pub legacy: bool,
    /// HTTP+SSE of 2024-11-05.
    pub sse: bool,
}

impl Probe {
    /// The whole of it as JSON, but for the catalogue, of which it has the number of tools.
    pub fn to_json(&self) -> Value {
        let millis = |took: Duration| took.as_micros() as f64 / 1000.0;
        let steps = self.steps.iter().map(|step| {
            json!({
                "name": step.name,
                "took_ms": millis(step.took),
                "ok": step.result.is_ok(),
                "decides": step.decides,
                "detail": step.result.as_ref().unwrap_or_else(|why| why),
            })
        });
        let server = self.server.as_ref();
        let tls = self.tls.as_ref().map(|tls| match tls {
            Ok(it) => json!({
                "version": it.version,
                "name": it.name,
                "not_after": it.not_after().map(|at| humantime::format_rfc3339_seconds(at).to_string()),
                "days_left": days_left(it, self.at),
            }),
            Err(why) => json!({ "error": why }),
        });
        json!({
            "at": humantime::format_rfc3339_millis(self.at).to_string(),
            "took_ms": millis(self.took),
            "verdict": self.verdict.label(),
            "up": self.verdict.is_up(),
            "reason": self.verdict.to_string(),
            "tls": tls,
            "eras": self.eras.names(),
            "protocol_version": self.protocol_version,
            "server": server.map(|it| json!({ "name": it.name, "version": it.version })),
            "tools": self.catalogue.as_ref().map(|it| it.tools().count()),
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}

/// Whole days for which the certificate of a server is still valid at a moment.
pub fn days_left(secured: &Secured, at: SystemTime) -> Option<u64> {
    const DAY: u64 = 24 * 60 * 60;
    let left = secured.not_after()?.duration_since(at).unwrap_or_default();
    Some(left.as_secs() / DAY)
}

/// The TLS of a connection in a few words.
pub(super) fn tls_text(secured: &Secured) -> String {
    match days_left(secured, SystemTime::now()) {
        Some(days) => format!("{}, certificate good for {days} days", secured.version),
        None => secured.version.to_owned(),
    }
}

impl Eras {
    /// The words for those that are there.
    pub fn names(self) -> Vec<&'static str> {
        let all = [("modern", self.modern), ("legacy", self.legacy), ("sse", self.sse)];
        all.into_iter().filter(|(_, spoken)| *spoken).map(|(name, _)| name).collect()
    }
}
