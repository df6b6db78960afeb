//! The verbs of exported states and backups.
//!
//! Does not know: connections, what a state means.

use http::{Method, Request, StatusCode};
use hyper::body::Bytes;

use crate::admin::wire::operate::{MakeBackup, RestoreState, StateRestored};
use crate::mcp::shown::shown;
use crate::plane::Plane;
use crate::records::backups::{self, Backup};
use crate::records::exported::Exported;
use crate::records::journal::Actor;

use super::rollouts::bounded;
use super::{Failure, body, elsewhere, failure, json, refused, unknown};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/state";

/// Answers one request below [`PATHS`].
pub(super) async fn answer(
    plane: &Plane,
    actor: &Actor,
    request: &Request<Bytes>,
) -> Result<Bytes, Failure> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let state_dir = plane.table().config.state_dir.clone();
    let segments: Vec<&str> = path.split('/').skip(2).collect();
    match (&method, segments.as_slice()) {
        (&Method::GET, ["state"]) => Ok(json(&plane.exported())),
        (&Method::POST, ["state"]) => restore(plane, actor, &body(request)?),
        (&Method::GET, ["state", "backups"]) => {
            elsewhere("the backups in the state directory", move || backups::list(&state_dir))
                .await
                .map(|it| json(&it))
        }
        (&Method::POST, ["state", "backups"]) => {
            let MakeBackup { reason } = body(request)?;
            keep(plane, actor, &bounded(&reason), plane.exported()).await.map(|it| json(&it))
        }
        (&Method::GET, ["state", "backups", id]) => {
            let id = (*id).to_owned();
            let none = format!("there is no backup `{}`: see `tidegate backups`", shown(&id, 32));
            let found = elsewhere("the backups in the state directory", move || {
                backups::read(&state_dir, &id)
            })
            .await?;
            found.map(|it| json(&it)).ok_or_else(|| refused(StatusCode::NOT_FOUND, &none))
        }
        _ => Err(unknown(request)),
    }
}

/// Keeps a state, and the configuration file as it is now, as a backup.
pub(super) async fn keep(
    plane: &Plane,
    actor: &Actor,
    reason: &str,
    state: Exported,
) -> Result<Backup, Failure> {
    let state_dir = plane.table().config.state_dir.clone();
    let (reason, by) = (reason.to_owned(), actor.to_string());
    elsewhere("the backups in the state directory", move || {
        backups::make(&state_dir, &reason, &by, &state)
    })
    .await
}

fn restore(plane: &Plane, actor: &Actor, wanted: &RestoreState) -> Result<Bytes, Failure> {
    let bytes = json(&wanted.state);
    let exported = Exported::read(&bytes)
        .map_err(|error| refused(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()))?;
    let done = plane.restore_state(actor, &exported, wanted.allow_raise).map_err(failure)?;
    let control = plane.control();
    let state = control.state();
    Ok(json(&StateRestored {
        before: done.before.split,
        after: state.split,
        stable: state.stable,
        drained: state.drained,
        revision: state.revision,
        not_resumed: done.not_resumed,
    }))
}
