//! The verbs of the admin socket: one request in, one JSON answer out.
//!
//! Does not know: connections, credentials beyond the actor that it is given.

mod alerts;

mod events;

mod drains;

mod states;

mod deploys;

mod validations;

mod baselines;

mod reports;

mod notices;

pub(super) mod rollouts;

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::control::ChangeError;
use crate::names::Split;
use crate::plane::Plane;
use crate::records::journal::Actor;
use crate::route::affinity;
use crate::route::tag::{Bearer, Forged, KeyAge, Tag};

use super::status;
use super::wire::{Explain, Explained, Refused, Reloaded, SetSplit, SplitChanged};

/// Bytes of a request's body.
const BODY_MAX: usize = 256 * 1024;

/// How long it may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(5);

/// Every verb, for whoever asks for another one.
const ALL: &str = "there are GET /v1/status, GET /v1/diff, PUT /v1/split, POST /v1/reload, POST /v1/explain, \
     GET and POST /v1/alerts, POST /v1/alerts/clear, GET /v1/rollout, GET /v1/rollout/confirmation, \
     POST /v1/rollout/{start,pause,resume,promote,confirm,abort,undo}, GET /v1/history, \
     GET /v1/history/ID, GET /v1/events?after=NUMBER, GET and POST /v1/drain, POST /v1/drain/undo, \
     GET and POST /v1/state, GET and POST /v1/state/backups, GET /v1/state/backups/ID, \
     GET and POST /v1/deploys, POST /v1/validations, GET and POST /v1/baselines, \
     GET and DELETE /v1/baselines/NAME, GET /v1/baselines/compare, GET /v1/reports, \
     GET /v1/reports/ID, GET /v1/notify, POST /v1/notify/test";

/// An answer that is no success.
type Failure = (StatusCode, Refused);

/// Answers one request.
pub async fn answer(
    plane: &Plane,
    actor: &Actor,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let result = match (method, path.as_str()) {
        (Method::GET, "/v1/status") => {
            plane.collect().await;
            Ok(json(&status::of(plane)))
        }
        (Method::GET, "/v1/diff") => Ok(json(&status::compared(plane))),
        (Method::PUT, "/v1/split") => match body(request).await {
            Ok(wanted) => set_split(plane, actor, wanted),
            Err(failure) => Err(failure),
        },
        (Method::POST, "/v1/reload") => reload(plane, actor, request.uri().query()),
        (Method::POST, "/v1/explain") => match body(request).await {
            Ok(asked) => Ok(json(&explain(plane, &asked))),
            Err(failure) => Err(failure),
        },
        (_, path) if rollouts::PATHS.iter().any(|it| path.starts_with(it)) => {
            rollouts::answer(plane, actor, request).await
        }
        (_, path) if path.starts_with(alerts::PATHS) => alerts::answer(plane, actor, request).await,
        (_, path) if path.starts_with(events::PATHS) => events::answer(plane, &request),
        (_, path) if path.starts_with(drains::PATHS) => drains::answer(plane, actor, request).await,
        (_, path) if path.starts_with(states::PATHS) => states::answer(plane, actor, request).await,
        (_, path) if path.starts_with(deploys::PATHS) => {
            deploys::answer(plane, actor, request).await
        }
        (_, path) if path.starts_with(validations::PATHS) => {
            validations::answer(plane, actor, request).await
        }
        (_, path) if path.starts_with(baselines::PATHS) => {
            baselines::answer(plane, actor, request).await
        }
        (_, path) if path.starts_with(reports::PATHS) => {
            reports::answer(plane, actor, request).await
        }
        (_, path) if path.starts_with(notices::PATHS) => {
            notices::answer(plane, actor, request).await
        }
        (_, "/v1/status" | "/v1/diff" | "/v1/split" | "/v1/reload" | "/v1/explain") => {
            Err(refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path has another method: GET /v1/status, GET /v1/diff, PUT /v1/split, POST /v1/reload, POST /v1/explain",
            ))
        }
        _ => Err(refused(StatusCode::NOT_FOUND, ALL)),
    };
    let (status, bytes) = match result {
        Ok(bytes) => (StatusCode::OK, bytes),
        Err((status, refused)) => (status, json(&refused)),
    };
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to a peer that may not ask.
pub fn forbidden(actor: &Actor) -> Response<Full<Bytes>> {
    let (status, refused) = refused(
        StatusCode::FORBIDDEN,
        &format!("{actor} may not use this socket: see [admin] users and groups"),
    );
    let mut response = Response::new(Full::new(json(&refused)));
    *response.status_mut() = status;
    response
}

fn set_split(plane: &Plane, actor: &Actor, wanted: SetSplit) -> Result<Bytes, Failure> {
    let after = Split::new(wanted.primary, wanted.secondary)
        .map_err(|error| refused(StatusCode::UNPROCESSABLE_ENTITY, &error.0))?;
    let (before, now) =
        plane.set_split(actor, after, wanted.expected_revision, wanted.abort).map_err(failure)?;
    Ok(json(&SplitChanged {
        before: before.split,
        before_set_by: before.set_by.to_string(),
        before_set_at: before.set_at,
        after: now.split,
        revision: now.revision,
    }))
}

fn reload(plane: &Plane, actor: &Actor, query: Option<&str>) -> Result<Bytes, Failure> {
    let may_raise = match query {
        None => true,
        Some("raise=no") => false,
        Some(_) => {
            return Err(refused(StatusCode::NOT_FOUND, "there is POST /v1/reload?raise=no"));
        }
    };
    let warning = plane.reload(actor, may_raise).map_err(failure)?;
    let table = plane.table();
    let config = table.config.file.as_ref().map(|file| file.display().to_string());
    Ok(json(&Reloaded { config, warning, generation: table.generation }))
}

/// Says where a session lives and why.
fn explain(plane: &Plane, asked: &Explain) -> Explained {
    let table = plane.table();
    let session = asked.session.trim();
    let by_uri = session.parse::<Uri>().ok().filter(|uri| affinity::uri_tag(uri).is_some());
    let read = match by_uri.as_ref().and_then(affinity::uri_tag) {
        Some((tag, rest)) => table.keys.read_uri(tag, &rest).map(|tag| Tag { id: "", ..tag }),
        None => table.keys.read(session),
    };
    let Ok(tag) = read else {
        let Forged = Forged;
        let why = format!(
            "{Forged}: legacy requests with it are answered 404, and the client starts anew"
        );
        return Explained { routed: false, arm: None, endpoint: None, why };
    };
    let key = match tag.key {
        KeyAge::Current => "the current key",
        KeyAge::Previous => "the previous key",
    };
    let Some(endpoint) = table.endpoint(tag.endpoint) else {
        let why = format!(
            "its tag, made with {key}, names an endpoint that the configuration no longer has: its requests are answered 404, and the client starts anew"
        );
        return Explained { routed: false, arm: None, endpoint: None, why };
    };
    let (arm, weight) = (endpoint.arm, table.split.weight(endpoint.arm));
    let bearer = match tag.bearer {
        Bearer::Server => "the id behind it is the server's own",
        Bearer::Minted => "the id behind it was made by the router, since the server gives none",
        Bearer::Uri => "it stands in the message URI of a 2024-11-05 session",
    };
    let why = format!(
        "its tag, made with {key}, names this endpoint; {bearer}; it stays there at any weight (the {arm}'s is {weight} % of new work now)"
    );
    Explained { routed: true, arm: Some(arm), endpoint: Some(endpoint.url.to_string()), why }
}

async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Failure> {
    let read = Limited::new(request.into_body(), BODY_MAX).collect();
    let bytes = tokio::time::timeout(BODY_TIME_MAX, read)
        .await
        .map_err(|_| refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))?
        .map_err(|error| {
            refused(StatusCode::BAD_REQUEST, &format!("cannot read the body: {error}"))
        })?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| {
        refused(StatusCode::BAD_REQUEST, &format!("not what this path takes: {error}"))
    })
}

/// Works with files where it holds up nobody; `what` says which, for people.
async fn elsewhere<T: Send + 'static>(
    what: &str,
    job: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let fail = |error: &dyn std::fmt::Display| {
        refused(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot use {what}: {error}"))
    };
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done.map_err(|error| fail(&error)),
        Err(error) => Err(fail(&error)),
    }
}

fn failure(error: ChangeError) -> Failure {
    let status = match &error {
        ChangeError::Stale(_)
        | ChangeError::Running(_)
        | ChangeError::Refused(_)
        | ChangeError::NoRollout
        | ChangeError::IsStable(_)
        | ChangeError::Gates(_)
        | ChangeError::Drained(_)
        | ChangeError::OtherServers(_)
        | ChangeError::RestoreRaises(_)
        | ChangeError::DrainsStable(_)
        | ChangeError::ArmInUse(..)
        | ChangeError::AlertOpen(_) => StatusCode::CONFLICT,
        ChangeError::Unconditional(_) => StatusCode::PRECONDITION_REQUIRED,
        ChangeError::Config(_)
        | ChangeError::Plan(_)
        | ChangeError::NeedsRestart(_)
        | ChangeError::Keys(_) => StatusCode::UNPROCESSABLE_ENTITY,
        ChangeError::Record(_) | ChangeError::StateDir { .. } | ChangeError::Journal(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    let text = error.to_string();
    let problems = match error {
        ChangeError::Config(problems) | ChangeError::Plan(problems) => Some(problems),
        _ => None,
    };
    (status, Refused { error: text, problems })
}

fn refused(status: StatusCode, error: &str) -> Failure {
    (status, Refused { error: error.to_owned(), problems: None })
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map(Bytes::from).expect("our own types are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_lost_is_told_of_every_verb() {
        let [rollout, history] = rollouts::PATHS;
        for path in [
            rollout,
            history,
            alerts::PATHS,
            events::PATHS,
            drains::PATHS,
            states::PATHS,
            deploys::PATHS,
            validations::PATHS,
            baselines::PATHS,
            reports::PATHS,
            notices::PATHS,
        ] {
            assert!(ALL.contains(path), "{path}");
        }
    }
}
