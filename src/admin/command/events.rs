//! What has happened lately, for those who follow it.
//!
//! Does not know: connections.

use http::{Method, Request, StatusCode};
use hyper::body::Bytes;

use crate::admin::wire::operate::{Event, Events};
use crate::plane::Plane;

use super::{Failure, json, refused};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/events";

/// Answers one request below [`PATHS`].
pub(super) fn answer(plane: &Plane, request: &Request<Bytes>) -> Result<Bytes, Failure> {
    let after = match (request.method(), request.uri().path(), request.uri().query()) {
        (&Method::GET, PATHS, None) => Some(0),
        (&Method::GET, PATHS, Some(query)) => {
            query.strip_prefix("after=").and_then(|number| number.parse().ok())
        }
        _ => None,
    };
    let Some(after) = after else {
        return Err(refused(StatusCode::NOT_FOUND, "there is GET /v1/events?after=NUMBER"));
    };
    let control = plane.control();
    let journal = control.journal();
    let happenings = journal.happenings(after);
    Ok(json(&Events {
        last: journal.last_happening(),
        events: happenings
            .map(|it| Event { by: it.actor.to_string(), happening: it.clone() })
            .collect(),
    }))
}
