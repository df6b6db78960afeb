//! The verbs of results of validations: they go into the journal, and change nothing.
//!
//! Does not know: connections, how a version is validated.

use http::{Method, Request, StatusCode};
use hyper::body::Bytes;
use hyper::body::Incoming;
use serde_json::json;

use crate::admin::wire::validations::{Recorded, Validation};
use crate::plane::Plane;
use crate::records::journal::Actor;

use super::{Failure, body, json as bytes, refused};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/validations";

/// Answers one request below [`PATHS`].
pub(super) async fn answer(
    plane: &Plane,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Bytes, Failure> {
    if (request.method(), request.uri().path()) != (&Method::POST, PATHS) {
        return Err(refused(StatusCode::NOT_FOUND, "there is POST /v1/validations"));
    }
    let validation: Validation = body(request).await?;
    let (at, pending) = plane.note_validation(actor, json!(validation.bounded()));
    Ok(bytes(&Recorded { at, pending }))
}
