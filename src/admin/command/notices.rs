//! The verbs of webhooks.
//!
//! Does not know: connections.

use std::time::SystemTime;

use http::uri::Authority;
use http::{Method, Request, StatusCode};
use hyper::body::Bytes;

use crate::admin::wire::notices::{TestWebhooks, WebhookStatus, WebhookTested};
use crate::mcp::shown::plain;
use crate::notify::{Tested, WebhookStanding};
use crate::plane::Plane;

use super::{Failure, body, json, refused, unknown};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/notify";

/// Answers one request below [`PATHS`].
pub(super) async fn answer(plane: &Plane, request: &Request<Bytes>) -> Result<Bytes, Failure> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, PATHS) => {
            let standings = plane.notices().standings();
            Ok(json(&standings.iter().map(status).collect::<Vec<_>>()))
        }
        (&Method::POST, "/v1/notify/test") => test(plane, body(request)?).await,
        _ => Err(unknown(request)),
    }
}

async fn test(plane: &Plane, asked: TestWebhooks) -> Result<Bytes, Failure> {
    let standings = plane.notices().standings();
    let names: Vec<_> = standings.iter().map(|it| it.settings.name.as_str()).collect();
    if names.is_empty() {
        let why = "no webhook is configured: add one to [notify] webhooks and reload";
        return Err(refused(StatusCode::CONFLICT, why));
    }
    if let Some(unknown) = asked.webhook.as_deref().filter(|name| !names.contains(name)) {
        let (unknown, names) = (plain(unknown), names.join(", "));
        let why = format!("there is no webhook `{unknown}`; there are: {names}");
        return Err(refused(StatusCode::NOT_FOUND, &why));
    }
    let tested = plane.notices().test(asked.webhook.as_deref()).await;
    Ok(json(&tested.iter().map(outcome).collect::<Vec<_>>()))
}

fn outcome(tested: &Tested) -> WebhookTested {
    let Tested { webhook, result, took } = tested;
    let fault = result.as_ref().err();
    let status = result.as_ref().ok().copied().or_else(|| fault?.status());
    WebhookTested {
        webhook: webhook.clone(),
        ok: result.is_ok(),
        status: status.map(|status| status.as_u16()),
        took_ms: took.as_millis() as u64,
        why: fault.map(ToString::to_string),
        advice: fault.map(|fault| fault.advice().to_owned()),
    }
}

fn status(standing: &WebhookStanding) -> WebhookStatus {
    let WebhookStanding { settings, pending, fared } = standing;
    let time = |at: SystemTime| humantime::format_rfc3339_millis(at).to_string();
    WebhookStatus {
        webhook: settings.name.clone(),
        format: settings.format.as_str().to_owned(),
        host: settings.url.authority().map(Authority::to_string).unwrap_or_default(),
        events: settings.events.iter().map(|it| it.as_str().to_owned()).collect(),
        pending: *pending,
        sent: fared.sent,
        failed: fared.failed,
        dropped: fared.dropped,
        given_up: fared.given_up,
        failing: fared.is_failing,
        last_success: fared.last_sent.map(time),
        last_failure: fared.last_fault.as_ref().map(|(at, _)| time(*at)),
        last_error: fared.last_fault.as_ref().map(|(_, why)| why.clone()),
    }
}
