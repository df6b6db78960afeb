//! The verbs of the admin sockets: one request in, one JSON answer out.
//!
//! What is no verb, or not for this caller, is refused before any of its body is read. Does not
//! know: connections, credentials beyond the caller that it is given.

mod alerts;

mod events;

mod drains;

mod states;

mod deploys;

mod validations;

mod baselines;

mod reports;

mod notices;

mod upgrades;

pub(super) mod rollouts;

use std::rc::Rc;

use http::request::Parts;
use http::{Method, Request, StatusCode, Uri};
use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::control::ChangeError;
use crate::names::Split;
use crate::plane::Plane;
use crate::records::journal::Actor;
use crate::route::affinity;
use crate::route::tag::{Bearer, Forged, KeyAge, Tag};

use super::answers::{self, Answer, Answers, whole};
use super::status;
use super::verbs::{self, Level};
use super::wire::{Explain, Explained, Figures, Ready, Refused, Reloaded, SetSplit, SplitChanged};

/// An answer that is no success.
type Failure = (StatusCode, Refused);

/// Who asks, and what may be asked.
pub(super) struct Caller {
    /// For the journal.
    pub(super) actor: Actor,
    /// What the caller may do.
    pub(super) level: Level,
    /// What anybody may do on this socket.
    pub(super) most: Level,
}

/// Why nothing is changed while another process takes over.
pub(super) const MOVING: &str =
    "not changed: another process is just taking over this router; repeat it in a few seconds";

/// Where a caller is answered.
pub(super) struct Desk {
    plane: Rc<Plane>,
    caller: Caller,
}

impl Desk {
    /// Answers this caller.
    pub(super) fn new(plane: Rc<Plane>, caller: Caller) -> Desk {
        Desk { plane, caller }
    }

    fn forbid(&self) -> String {
        let Caller { actor, most, .. } = &self.caller;
        if *most == Level::Read {
            let table = self.plane.table();
            let other = table.config.admin.socket.display();
            return format!("nothing can be changed on this socket, by anybody: use {other}");
        }
        format!("{actor} may look and change nothing: [admin] users and groups may")
    }
}

impl Answers for Desk {
    fn admit(&self, head: &Parts) -> Result<usize, Box<Answer>> {
        let verb = verbs::find(&head.method, head.uri.path())
            .map_err(|(status, why)| self.refuse(status, why))?;
        if verb.level > self.caller.level.min(self.caller.most) {
            let actor = &self.caller.actor;
            tracing::warn!(%actor, path = verb.path, "admin socket: this one may not");
            return Err(self.refuse(StatusCode::FORBIDDEN, self.forbid()).into());
        }
        Ok(verb.body_max)
    }

    fn refuse(&self, status: StatusCode, why: String) -> Answer {
        answers::json(status, &Refused { error: why, problems: None })
    }

    async fn answer(&self, request: Request<Bytes>) -> Answer {
        let verb = verbs::find(request.method(), request.uri().path());
        if self.plane.is_moving() && verb.is_ok_and(|verb| verb.level > Level::Read) {
            return self.refuse(StatusCode::SERVICE_UNAVAILABLE, MOVING.to_owned());
        }
        match answer(&self.plane, &self.caller.actor, request).await {
            Ok(bytes) => whole(StatusCode::OK, "application/json", bytes),
            Err((status, refused)) => answers::json(status, &refused),
        }
    }
}

/// What a peer is told that may not use the socket at all.
pub(super) struct Stranger {
    why: String,
}

impl Stranger {
    /// A peer without rights; `late` says why nobody knows of any.
    pub(super) fn new(actor: &Actor, late: Option<String>) -> Stranger {
        let none = || {
            format!(
                "{actor} may not use this socket: see [admin] users and groups, and \
                 [admin.read_only] for those who only look"
            )
        };
        Stranger { why: late.unwrap_or_else(none) }
    }
}

impl Answers for Stranger {
    fn admit(&self, _: &Parts) -> Result<usize, Box<Answer>> {
        Err(self.refuse(StatusCode::FORBIDDEN, self.why.clone()).into())
    }

    fn refuse(&self, status: StatusCode, why: String) -> Answer {
        answers::json(status, &Refused { error: why, problems: None })
    }

    async fn answer(&self, _: Request<Bytes>) -> Answer {
        self.refuse(StatusCode::FORBIDDEN, self.why.clone())
    }
}

/// Answers one request for a verb that there is.
async fn answer(plane: &Plane, actor: &Actor, request: Request<Bytes>) -> Result<Bytes, Failure> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_in =
        |own: &str| path == own || path.strip_prefix(own).is_some_and(|it| it.starts_with('/'));
    match (method, path.as_str()) {
        (Method::GET, "/v1/status") => {
            plane.collect().await;
            Ok(json(&status::of(plane)))
        }
        // Whoever asks every few seconds costs the workers nothing.
        (Method::GET, "/v1/ready") => Ok(json(&Ready { ready: plane.is_ready() })),
        (Method::GET, "/v1/diff") => Ok(json(&status::compared(plane))),
        (Method::GET, "/v1/metrics") => Ok(json(&figures(plane).await)),
        (Method::PUT, "/v1/split") => set_split(plane, actor, body(&request)?),
        (Method::POST, "/v1/reload") => reload(plane, actor, request.uri().query()).await,
        (Method::POST, "/v1/explain") => Ok(json(&explain(plane, &body(&request)?))),
        _ if rollouts::PATHS.into_iter().any(is_in) => {
            rollouts::answer(plane, actor, &request).await
        }
        _ if is_in(alerts::PATHS) => alerts::answer(plane, actor, &request),
        _ if is_in(events::PATHS) => events::answer(plane, &request),
        _ if is_in(drains::PATHS) => drains::answer(plane, actor, &request).await,
        _ if is_in(states::PATHS) => states::answer(plane, actor, &request).await,
        _ if is_in(deploys::PATHS) => deploys::answer(plane, actor, &request),
        _ if is_in(validations::PATHS) => validations::answer(plane, actor, &request),
        _ if is_in(baselines::PATHS) => baselines::answer(plane, actor, &request).await,
        _ if is_in(reports::PATHS) => reports::answer(plane, &request).await,
        _ if is_in(notices::PATHS) => notices::answer(plane, &request).await,
        _ if is_in(upgrades::PATHS) => upgrades::answer(plane, actor, &request).await,
        _ => Err(unknown(&request)),
    }
}

/// That there is no such verb, as the table of verbs tells it.
fn unknown(request: &Request<Bytes>) -> Failure {
    let there_is = verbs::find(request.method(), request.uri().path()).err();
    let (status, why) = there_is.unwrap_or_else(|| {
        let why = format!("{} takes other parameters", request.uri().path());
        (StatusCode::NOT_FOUND, why)
    });
    refused(status, &why)
}

async fn figures(plane: &Plane) -> Figures {
    plane.collect().await;
    let text = plane.measures().metrics.render();
    Figures { text: String::from_utf8_lossy(&text).into_owned() }
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

async fn reload(plane: &Plane, actor: &Actor, query: Option<&str>) -> Result<Bytes, Failure> {
    let may_raise = match query {
        None => true,
        Some("raise=no") => false,
        Some(_) => {
            return Err(refused(StatusCode::NOT_FOUND, "there is POST /v1/reload?raise=no"));
        }
    };
    let warning = plane.reload(actor, may_raise).await.map_err(failure)?;
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

fn body<T: DeserializeOwned>(request: &Request<Bytes>) -> Result<T, Failure> {
    serde_json::from_slice(request.body()).map_err(|error| {
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
