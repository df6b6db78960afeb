//! The verbs of alerts: raise, list, clear.
//!
//! Does not know: what an alert stops.

use http::{Method, Request, StatusCode};
use hyper::body::Bytes;

use crate::admin::wire::alerts::{AlertChanged, AlertList, ClearAlert, RaiseAlert};
use crate::alerts::{ClearError, KEPT_MAX, Raised, Report};
use crate::plane::Plane;
use crate::records::journal::Actor;

use super::{Failure, body, json, refused, unknown};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/alerts";

/// Answers one request below [`PATHS`].
pub(super) fn answer(
    plane: &Plane,
    actor: &Actor,
    request: &Request<Bytes>,
) -> Result<Bytes, Failure> {
    let (method, path) = (request.method(), request.uri().path().strip_prefix(PATHS));
    match (method, path) {
        (&Method::GET, Some("")) => Ok(json(&list(plane))),
        (&Method::POST, Some("")) => raise(plane, actor, &body(request)?),
        (&Method::POST, Some("/clear")) => clear(plane, actor, &body(request)?),
        _ => Err(unknown(request)),
    }
}

fn list(plane: &Plane) -> AlertList {
    let control = plane.control();
    let alerts = &control.state().alerts;
    AlertList { alerts: alerts.all().to_vec(), left_out: alerts.left_out() }
}

fn raise(plane: &Plane, actor: &Actor, wanted: &RaiseAlert) -> Result<Bytes, Failure> {
    let report = Report::new(wanted.severity, &wanted.source, &wanted.reason)
        .map_err(|error| refused(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()))?;
    let noted = plane.raise_alert(actor, report);
    let (Raised::New(id) | Raised::Again(id)) = noted.outcome else {
        let why = format!(
            "not taken: {KEPT_MAX} alerts are open, and more are not kept; clear some first"
        );
        return Err(refused(StatusCode::CONFLICT, &why));
    };
    let alert = plane.control().state().alerts.get(id).cloned();
    let alert = alert.expect("what was just raised is kept");
    Ok(json(&AlertChanged { alert, recorded: noted.recorded }))
}

fn clear(plane: &Plane, actor: &Actor, wanted: &ClearAlert) -> Result<Bytes, Failure> {
    match plane.clear_alert(actor, wanted.id, &wanted.reason) {
        Ok(noted) => Ok(json(&AlertChanged { alert: noted.outcome, recorded: noted.recorded })),
        Err(error) => {
            let status = match &error {
                ClearError::Unknown(_) => StatusCode::NOT_FOUND,
                ClearError::Already { .. } => StatusCode::CONFLICT,
                ClearError::NoReason => StatusCode::UNPROCESSABLE_ENTITY,
            };
            Err(refused(status, &error.to_string()))
        }
    }
}
