//! The verb of upgrades.
//!
//! Does not know: what is done for one.

use http::{Method, Request, StatusCode};
use hyper::body::Bytes;
use nix::unistd::Uid;

use crate::admin::wire::operate::{Upgrade, Upgraded};
use crate::plane::Plane;
use crate::records::journal::Actor;

use super::{Failure, body, json, refused, unknown};

/// Where it is.
pub(super) const PATHS: &str = "/v1/upgrade";

/// Answers one request at [`PATHS`].
pub(super) async fn answer(
    plane: &Plane,
    actor: &Actor,
    request: &Request<Bytes>,
) -> Result<Bytes, Failure> {
    if request.method() != Method::POST || request.uri().path() != PATHS {
        return Err(unknown(request));
    }
    let Upgrade { binary } = body(request)?;
    if let Some(binary) = &binary {
        if !may_name(actor) {
            let why = format!(
                "{actor} may not name a program, which would run with all that the router may: \
                 only root and the router's own user may; without one, the file that the router \
                 was started from is taken"
            );
            return Err(refused(StatusCode::FORBIDDEN, &why));
        }
        if !binary.is_absolute() {
            return Err(refused(StatusCode::UNPROCESSABLE_ENTITY, "binary: no absolute path"));
        }
    }
    let done = plane.upgrade(actor, binary).await;
    let done = done.map_err(|why| {
        refused(
            StatusCode::CONFLICT,
            &format!("not upgraded, the running router carries on: {why}"),
        )
    })?;
    Ok(json(&Upgraded {
        pid: done.pid,
        version: done.version,
        from_pid: done.from_pid,
        from_version: done.from_version,
        drain_ms: u64::try_from(plane.table().config.timeouts.drain.as_millis())
            .unwrap_or(u64::MAX),
    }))
}

/// Whether this one could run any program as the router's user anyway.
fn may_name(actor: &Actor) -> bool {
    let Actor::Peer { uid, .. } = actor else { return false };
    *uid == 0 || *uid == Uid::effective().as_raw()
}
