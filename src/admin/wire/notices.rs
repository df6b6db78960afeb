//! What is said about webhooks. Never where exactly they are: an address can be a secret.
//!
//! Does not know: sockets.

use serde::{Deserialize, Serialize};

/// `POST /v1/notify/test`: sends a test now, once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestWebhooks {
    /// To this one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

/// How one test went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebhookTested {
    /// Which webhook.
    pub webhook: String,
    /// It has taken the message.
    pub ok: bool,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Milliseconds until then.
    pub took_ms: u64,
    /// What went wrong.
    pub why: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
}

/// `GET /v1/notify`: one webhook, as it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebhookStatus {
    /// Its name.
    pub webhook: String,
    /// `json`, `slack` or `alertmanager`.
    pub format: String,
    /// Host and port.
    pub host: String,
    /// What it is told of.
    pub events: Vec<String>,
    /// Messages that wait, at most 256.
    pub pending: usize,
    /// Messages that arrived since the start of the router.
    pub sent: u64,
    /// Attempts that failed since then.
    pub failed: u64,
    /// Messages that went because too many waited.
    pub dropped: u64,
    /// Messages that were refused for good, or waited for 24 hours.
    pub given_up: u64,
    /// The last attempt failed.
    pub failing: bool,
    /// When a message last arrived: RFC 3339, UTC.
    pub last_success: Option<String>,
    /// When an attempt last failed.
    pub last_failure: Option<String>,
    /// Why it did.
    pub last_error: Option<String>,
}
