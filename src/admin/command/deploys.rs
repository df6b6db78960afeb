//! The verbs of deploys: what is deployed, and each step of changing it.
//!
//! Does not know: connections, how servers are started and stopped.

use http::{Method, Request};
use hyper::body::Bytes;

use crate::admin::wire::deploys::{DeployStep, Deploys};
use crate::control::deploys::Deploy;
use crate::mcp::shown::{plain, shown};
use crate::names::PerArm;
use crate::plane::Plane;
use crate::records::journal::Actor;

use super::{Failure, body, failure, json, unknown};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/deploys";
/// Characters of a reason, or of a failure with what a command said, that are kept.
const DETAIL_MAX: usize = 4096;

/// Answers one request below [`PATHS`].
pub(super) fn answer(
    plane: &Plane,
    actor: &Actor,
    request: &Request<Bytes>,
) -> Result<Bytes, Failure> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, PATHS) => Ok(json(&deploys(plane))),
        (&Method::POST, PATHS) => {
            let step = bounded(body(request)?);
            plane.deploy(actor, &step).map_err(failure)?;
            Ok(json(&deploys(plane)))
        }
        _ => Err(unknown(request)),
    }
}

fn deploys(plane: &Plane) -> Deploys {
    let control = plane.control();
    Deploys {
        deployed: control.state().deployed.clone(),
        in_use: PerArm::from_fn(|arm| control.kept_from(arm)),
    }
}

fn bounded(step: DeployStep) -> Deploy {
    let DeployStep { arm, action, phase, version, previous, detail, force } = step;
    let text = |text: Option<String>| text.map(|text| plain(&text));
    let detail = detail.map(|detail| shown(&detail, DETAIL_MAX));
    let (version, previous) = (text(version), text(previous));
    Deploy { arm, action, phase, version, previous, detail, force }
}
