//! The verbs of draining an arm.
//!
//! Does not know: connections, what is done with an arm that is drained.

use std::time::Duration;

use http::{Method, Request};
use hyper::body::Bytes;

use crate::admin::wire::operate::{Drain, DrainStatus, Drains};
use crate::names::PerArm;
use crate::observe::join::LEFT_AFTER;
use crate::plane::Plane;
use crate::records::journal::Actor;

use super::rollouts::bounded;
use super::{Failure, body, failure, json, unknown};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/drain";

/// Answers one request below [`PATHS`].
pub(super) async fn answer(
    plane: &Plane,
    actor: &Actor,
    request: &Request<Bytes>,
) -> Result<Bytes, Failure> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let asked = request.uri().query().and_then(|query| query.strip_prefix("idle_ms="));
    let asked = asked.and_then(|number| number.parse().ok());
    let idle_ms = match (&method, path.strip_prefix(PATHS)) {
        (&Method::GET, Some("")) => asked,
        (&Method::POST, Some("")) => {
            let Drain { arm, reason, idle_ms } = body(request)?;
            let reason = reason.map(|reason| bounded(&reason));
            plane.drain(actor, arm, reason.as_deref()).map_err(failure)?;
            idle_ms
        }
        (&Method::POST, Some("/undo")) => {
            let Drain { arm, idle_ms, .. } = body(request)?;
            plane.undrain(actor, arm).map_err(failure)?;
            idle_ms
        }
        _ => return Err(unknown(request)),
    };
    plane.collect().await;
    Ok(json(&drains(plane, idle_ms.map_or(LEFT_AFTER, Duration::from_millis))))
}

fn drains(plane: &Plane, idle: Duration) -> Drains {
    PerArm::from_fn(|arm| {
        let it = plane.draining(arm, idle);
        DrainStatus {
            drained: it.drained,
            weight: it.weight,
            sessions: it.sessions,
            sessions_idle: it.idle,
            streams: it.streams,
            in_flight: it.in_flight,
            last_activity: it
                .last_activity
                .map(|at| humantime::format_rfc3339_seconds(at).to_string()),
            safe: it.why.is_empty(),
            why: it.why,
        }
    })
}
