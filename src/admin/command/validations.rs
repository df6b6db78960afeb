//! The verbs of results of validations: they go into the journal, and change nothing.
//!
//! Does not know: connections, how a version is validated.

use http::{Method, Request};
use hyper::body::Bytes;
use serde_json::json;

use crate::admin::wire::validations::{Recorded, Validation};
use crate::plane::Plane;
use crate::records::journal::Actor;

use super::{Failure, body, json as bytes, unknown};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/validations";

/// Answers one request below [`PATHS`].
pub(super) fn answer(
    plane: &Plane,
    actor: &Actor,
    request: &Request<Bytes>,
) -> Result<Bytes, Failure> {
    if (request.method(), request.uri().path()) != (&Method::POST, PATHS) {
        return Err(unknown(request));
    }
    let validation: Validation = body(request)?;
    let (at, pending) = plane.note_validation(actor, json!(validation.bounded()));
    Ok(bytes(&Recorded { at, pending }))
}
