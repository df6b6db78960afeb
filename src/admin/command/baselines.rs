//! The verbs of baselines.
//!
//! Files are read and written on a thread where nobody waits for them. Does not know: connections,
//! how figures are compared.

use std::time::{Duration, SystemTime};

use http::{Method, Request, StatusCode};
use hyper::body::Bytes;

use crate::admin::wire::baselines::{Baselines, Headline, Removed, SaveBaseline};
use crate::names::{Arm, BadName};
use crate::plane::Plane;
use crate::plane::baselines::SPAN_MAX;
use crate::records::baselines::{self, Baseline, KeepError, Name};
use crate::records::journal::Actor;

use super::{Failure, body, elsewhere, json, refused, unknown};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/baselines";
/// What is asked cannot be.
const UNFIT: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

/// Answers one request below [`PATHS`].
pub(super) async fn answer(
    plane: &Plane,
    actor: &Actor,
    request: &Request<Bytes>,
) -> Result<Bytes, Failure> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let dir = plane.table().config.state_dir.clone();
    match (&method, segments.as_slice()) {
        (&Method::GET, ["v1", "baselines"]) => {
            let listed =
                elsewhere("the baselines in the state directory", move || baselines::list(&dir))
                    .await?;
            let baselines = listed.baselines.iter().map(Headline::from).collect();
            Ok(json(&Baselines { baselines, skipped: listed.skipped }))
        }
        (&Method::POST, ["v1", "baselines"]) => {
            let wanted = body(request)?;
            save(plane, actor, wanted).await
        }
        (&Method::GET, ["v1", "baselines", "compare"]) => compare(plane, &query).await,
        (&Method::GET, ["v1", "baselines", name]) => Ok(json(&one(plane, parse(name)?).await?)),
        (&Method::DELETE, ["v1", "baselines", name]) => {
            let name = parse(name)?;
            let (gone, of) = (name.clone(), dir);
            if !elsewhere("the baselines in the state directory", move || {
                baselines::remove(&of, &gone)
            })
            .await?
            {
                return Err(none(&name));
            }
            tracing::info!(%name, %actor, "baseline removed");
            Ok(json(&Removed { removed: name.into() }))
        }
        _ => Err(unknown(request)),
    }
}

/// The newest baseline of an arm; `None` without one.
pub(super) async fn newest(plane: &Plane, arm: Option<Arm>) -> Result<Option<Baseline>, Failure> {
    let dir = plane.table().config.state_dir.clone();
    let listed =
        elsewhere("the baselines in the state directory", move || baselines::list(&dir)).await?;
    let is_meant = |it: &Baseline| arm.is_none_or(|arm| it.arm == arm);
    Ok(listed.baselines.into_iter().find(is_meant))
}

async fn save(plane: &Plane, actor: &Actor, wanted: SaveBaseline) -> Result<Bytes, Failure> {
    let span = Duration::from_secs(wanted.span_seconds.unwrap_or(SPAN_MAX.as_secs()));
    if span.is_zero() || span > SPAN_MAX {
        let why = "span_seconds must be from 1 to 3600: the router keeps the figures of an hour";
        return Err(refused(UNFIT, why));
    }
    let name = match &wanted.name {
        Some(name) => parse(name)?,
        None => by_time(SystemTime::now())?,
    };
    if name.is_automatic() {
        let why = format!("`{name}` is a name that the router gives by itself: take another one");
        return Err(refused(UNFIT, &why));
    }
    plane.collect().await;
    let stable = plane.table().stable;
    let Some(baseline) = plane.baseline(name, stable, span) else {
        let why = format!(
            "the {stable} has done nothing in the last {}: nothing to keep; save again after some traffic",
            humantime::format_duration(span)
        );
        return Err(refused(StatusCode::CONFLICT, &why));
    };
    let (dir, headline) = (plane.table().config.state_dir.clone(), Headline::from(&baseline));
    elsewhere("the baselines in the state directory", move || Ok(baselines::keep(&dir, &baseline)))
        .await?
        .map_err(|error| {
            let status = match &error {
                KeepError::Exists(_) | KeepError::Full => StatusCode::CONFLICT,
                KeepError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refused(status, &error.to_string())
        })?;
    tracing::info!(name = headline.name, %actor, "baseline kept");
    Ok(json(&headline))
}

async fn compare(plane: &Plane, query: &str) -> Result<Bytes, Failure> {
    let (mut name, mut arm) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("name", text)) => name = Some(parse(text)?),
            Some(("arm", text)) => {
                let wrong = |error: BadName| refused(UNFIT, &error.0);
                arm = Some(text.parse::<Arm>().map_err(wrong)?);
            }
            _ => return Err(refused(StatusCode::NOT_FOUND, "compare takes name=NAME and arm=ARM")),
        }
    }
    let baseline = match name {
        Some(name) => one(plane, name).await?,
        None => newest(plane, None).await?.ok_or_else(|| {
            let why = "there is no baseline yet: keep one with `tidegate baseline save`";
            refused(StatusCode::NOT_FOUND, why)
        })?,
    };
    plane.collect().await;
    let arm = arm.unwrap_or_else(|| plane.of_interest());
    Ok(json(&plane.compare_with(&baseline, arm)))
}

fn parse(name: &str) -> Result<Name, Failure> {
    name.parse().map_err(|error: BadName| refused(UNFIT, &error.0))
}

/// What a baseline is called that nobody has named, such as `2026-11-23-140501`.
fn by_time(at: SystemTime) -> Result<Name, Failure> {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    parse(&text.trim_end_matches('Z').replace('T', "-").replace(':', ""))
}

async fn one(plane: &Plane, name: Name) -> Result<Baseline, Failure> {
    let (dir, wanted) = (plane.table().config.state_dir.clone(), name.clone());
    let found = elsewhere("the baselines in the state directory", move || {
        Ok(baselines::read(&dir, &wanted))
    })
    .await?;
    found.map_err(|why| refused(StatusCode::CONFLICT, &why))?.ok_or_else(|| none(&name))
}

fn none(name: &Name) -> Failure {
    let why = format!("there is no baseline `{name}`: see `tidegate baseline list`");
    refused(StatusCode::NOT_FOUND, &why)
}
