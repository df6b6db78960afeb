//! The router's part in a validation: what is in force, the record, and its own checks.

use std::collections::BTreeSet;

use super::{
    Arm, AskError, Check, Common, Duration, Environment, Instant, Kind, Method, Outcome, Router,
    Validation, json, wire,
};
use crate::admin::wire::validations::Recorded;
use crate::names::EndpointUrl;

/// What every scrape has.
const OWN_METRIC: &str = "tidegate_build_info";

/// Why nothing is recorded.
const NO_ROUTER: &str = "no router answers";

/// What is in force, if a router answers.
pub(super) fn status(common: &Common, environment: &Environment) -> Option<wire::Status> {
    let router = Router::find(common, environment).ok()?;
    router.ask(Method::GET, "/v1/status", &json!({})).ok()
}

/// Why it is not in the journal.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRecorded {
    #[error("{NO_ROUTER}")]
    NoRouter,
    #[error(
        "the router that answers has other servers on its {0}: `tidegate reload` if they are new, \
         or name its socket with --socket"
    )]
    OtherServers(Arm),
    #[error("{0}")]
    Refused(#[from] AskError),
}

/// The last record.
pub(super) type Record = Result<Recorded, NotRecorded>;

/// Has each arm's result written into the journal.
pub(super) fn record(
    common: &Common,
    environment: &Environment,
    status: Option<&wire::Status>,
    validations: &[Validation],
) -> Record {
    let router = status.and_then(|_| Router::find(common, environment).ok());
    let router = router.ok_or(NotRecorded::NoRouter)?;
    let mut last = Err(NotRecorded::NoRouter);
    for validation in validations {
        // It would count for servers that nobody has looked at.
        if !status.is_some_and(|status| is_of(status, validation)) {
            return Err(NotRecorded::OtherServers(validation.arm));
        }
        let bounded = validation.clone().bounded();
        last = Ok(router.ask(Method::POST, "/v1/validations", &bounded)?);
    }
    last
}

/// Whether the servers that were looked at are those of the router; a name may have had other
/// addresses when the router asked.
fn is_of(status: &wire::Status, validation: &Validation) -> bool {
    let own = status.arms.get(validation.arm).endpoints.iter().map(|it| it.url.as_str());
    let own = own.map(EndpointUrl::without_address);
    let seen = validation.versions.iter().map(|it| EndpointUrl::without_address(&it.endpoint));
    own.collect::<BTreeSet<_>>() == seen.collect()
}

/// The checks of the router itself; `recording` is how long the record took.
pub(super) fn checks(
    common: &Common,
    environment: &Environment,
    status: Option<&wire::Status>,
    recorded: &Record,
    recording: Duration,
) -> Vec<Check> {
    let Some(status) = status else {
        let kinds = [Kind::RouterJournal, Kind::RouterMetrics, Kind::RouterLog];
        let none = |kind| Check::new(kind, Duration::ZERO, Outcome::skipped(NO_ROUTER));
        return kinds.map(none).into();
    };
    let journal = match recorded {
        Ok(Recorded { at, pending: 0 }) => Outcome::ok(format!("this is in it, at {at}")),
        Ok(Recorded { pending, .. }) => {
            let log = &status.audit_log;
            Outcome::failed(format!("the disk has not taken it: {pending} behind in {log}"))
        }
        Err(error @ NotRecorded::OtherServers(_)) => Outcome::skipped(error.to_string()),
        Err(error) => Outcome::failed(error.to_string()),
    };
    let start = Instant::now();
    let metrics = match Router::find(common, environment) {
        Ok(router) => metrics(status, &router),
        Err(_) => Outcome::skipped(NO_ROUTER),
    };
    let log = "it goes to its standard error, which cannot be seen from here";
    vec![
        Check::new(Kind::RouterJournal, recording, journal),
        Check::new(Kind::RouterMetrics, start.elapsed(), metrics),
        Check::new(Kind::RouterLog, Duration::ZERO, Outcome::skipped(log)),
    ]
}

/// The figures, from the socket that answers anyway: the listener may want a token or a certificate
/// that is not to be had here.
fn metrics(status: &wire::Status, router: &Router) -> Outcome {
    let Some(listener) = &status.metrics else { return Outcome::skipped("metrics.listen is off") };
    match router.ask::<wire::Figures>(Method::GET, "/v1/metrics", &json!({})) {
        Ok(wire::Figures { text }) if text.contains(OWN_METRIC) => {
            Outcome::ok(format!("{} lines at {listener}", text.lines().count()))
        }
        Ok(_) => Outcome::failed(format!("{listener} answers without {OWN_METRIC}")),
        Err(error) => Outcome::failed(format!("{listener}: {error}")),
    }
}
