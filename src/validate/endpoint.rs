//! The checks of one endpoint, in order.
//!
//! Whatever needs a session opens one of its own, so that no check depends on what another has
//! left behind. Does not know: other endpoints, how results are shown.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::check::{Check, Kind, Outcome};
use super::{Asked, Told, pace, refusals, versions};
use crate::config::{ProbeCall, Protocol};
use crate::health::handshake::{self, Eras, Memory, Probe};
use crate::health::hold::{Held, hold};
use crate::health::trial::Trial;
use crate::health::{Subject, Verdict};
use crate::tls::client::Secured;

/// A certificate that is valid for fewer days is to be renewed: those of 90 days are by then.
const RENEW_DAYS: u64 = 21;

/// What was found out about an endpoint.
#[derive(Debug)]
pub struct Found {
    /// In the order of [`Kind::OF_ENDPOINT`].
    pub checks: Vec<Check>,
    /// What the first handshake showed.
    pub probe: Probe,
}

/// Makes every check of an endpoint. Needs a `LocalSet`; sessions are ended also when this is
/// dropped.
pub async fn validate(asked: &Asked<'_>, tell: &mut dyn FnMut(Told<'_>)) -> Found {
    let mut run = Run { subject: asked.subject, checks: Vec::new(), tell };
    (run.tell)(Told::Begins(Kind::Connectivity));
    let probe = handshake::probe(&versions::bare(asked.subject), &mut Memory::default()).await;
    for (kind, took, outcome) in opening(asked.subject, &probe) {
        run.done(kind, took, outcome);
    }
    let pinned = pinned(asked.subject, probe.eras);
    let pinned = Asked { subject: &pinned, ..*asked };
    for kind in asked.kinds().skip(run.checks.len()) {
        (run.tell)(Told::Begins(kind));
        let start = Instant::now();
        let outcome = match &probe.verdict {
            Verdict::Healthy => further(kind, &pinned, &probe, run.tell).await,
            _ => Outcome::skipped("there is no session to check it in"),
        };
        run.done(kind, start.elapsed(), outcome);
    }
    Found { checks: run.checks, probe }
}

struct Run<'a, 'b> {
    subject: &'a Subject,
    checks: Vec<Check>,
    tell: &'b mut dyn FnMut(Told<'_>),
}

impl Run<'_, '_> {
    fn done(&mut self, kind: Kind, took: Duration, outcome: Outcome) {
        let endpoint = &self.subject.endpoint;
        let check = Check {
            arm: Some(endpoint.arm),
            endpoint: Some(endpoint.url.to_string()),
            ..Check::new(kind, took, outcome)
        };
        (self.tell)(Told::Done(&check));
        self.checks.push(check);
    }
}

/// What the first handshake says of all that comes before a session.
fn opening(subject: &Subject, probe: &Probe) -> [(Kind, Duration, Outcome); 4] {
    let connect = probe.steps.iter().find(|step| step.name == "connect");
    let connected = connect.map_or(Duration::ZERO, |step| step.took);
    let is_connected = connect.is_some_and(|step| step.result.is_ok());
    // Where TLS fails, there was a connection.
    let connection = match (&probe.verdict, is_connected || probe.tls.is_some()) {
        (_, true) => Outcome::ok(subject.endpoint.url.authority()),
        (verdict, false) => Outcome::failed(verdict.to_string()),
    };
    let none = || Outcome::skipped("there is no connection");
    let tls = match &probe.tls {
        Some(Ok(secured)) => certificate(secured, probe.at),
        Some(Err(why)) => Outcome::failed(why.clone()),
        None if subject.endpoint.url.is_secure() => none(),
        None => Outcome::skipped("its address is http, which has none"),
    };
    let sends = subject.settings.sends_token();
    let token = match &probe.verdict {
        _ if !is_connected => none(),
        verdict @ Verdict::Unauthenticated { token_sent: true, .. } => {
            Outcome::failed(verdict.to_string())
        }
        verdict @ Verdict::Unauthenticated { .. } => Outcome::unknown(verdict.to_string()),
        _ if !sends => Outcome::skipped("no token is configured (health.token)"),
        Verdict::Healthy => Outcome::ok("the one that is configured"),
        _ => Outcome::skipped("the handshake did not come to that"),
    };
    let limit = humantime::format_duration(subject.settings.health.timeout);
    let whole = match &probe.verdict {
        _ if !is_connected => none(),
        Verdict::Healthy => {
            let version = probe.protocol_version.as_deref().unwrap_or("?");
            let eras = probe.eras.names().join(", ");
            Outcome::ok(format!("{version}; speaks {eras}; limit {limit}"))
        }
        Verdict::Unauthenticated { .. } => Outcome::skipped("the door is locked: see the token"),
        verdict => Outcome::failed(verdict.to_string()),
    };
    let answered = probe.steps.get(1).map_or(Duration::ZERO, |step| step.took);
    let answered = if sends { answered } else { Duration::ZERO };
    [
        (Kind::Connectivity, connected, connection),
        (Kind::Tls, Duration::ZERO, tls),
        (Kind::Token, answered, token),
        (Kind::Handshake, probe.took, whole),
    ]
}

/// What is to be said of TLS that works.
fn certificate(secured: &Secured, now: SystemTime) -> Outcome {
    let Secured { version, name, .. } = secured;
    let good = format!("{version}, a trusted certificate for {name}");
    match handshake::days_left(secured, now) {
        Some(days) if days < RENEW_DAYS => {
            Outcome::ok(format!("{good}, but only for {days} more days: renew it"))
        }
        Some(days) => Outcome::ok(format!("{good} for {days} more days")),
        None => Outcome::unknown(format!("{good}, the end of which cannot be read")),
    }
}

/// The same endpoint asked in the newest era that it was found to speak, so that nobody has to
/// find it again.
fn pinned(subject: &Subject, eras: Eras) -> Subject {
    subject.with(|settings| {
        if settings.health.protocol == Protocol::Auto {
            settings.health.protocol = match eras {
                Eras { modern: true, .. } => Protocol::Modern,
                Eras { legacy: true, .. } => Protocol::Legacy,
                _ => Protocol::Sse,
            };
        }
    })
}

/// The checks of a server that lets us in.
async fn further(
    kind: Kind,
    asked: &Asked<'_>,
    probe: &Probe,
    tell: &mut dyn FnMut(Told<'_>),
) -> Outcome {
    match kind {
        Kind::Versions => versions::check(asked, probe).await,
        Kind::Tools => tools(asked.subject, probe),
        Kind::Calls => calls(asked.subject).await,
        Kind::Sla => pace::check(asked).await,
        Kind::Stability => stability(asked, tell).await,
        Kind::BadArguments => refusals::bad_arguments(asked).await,
        Kind::UnknownTool => refusals::unknown_tool(asked, probe.catalogue.as_ref()).await,
        Kind::BadToken => refusals::token(asked, true).await,
        Kind::NoToken => refusals::token(asked, false).await,
        Kind::DeadSession => refusals::dead_session(asked.subject, probe.eras).await,
        Kind::Malformed => refusals::malformed(asked).await,
        Kind::Permissions => refusals::denied(asked).await,
        Kind::Configuration
        | Kind::Connectivity
        | Kind::Tls
        | Kind::Token
        | Kind::Handshake
        | Kind::RouterJournal
        | Kind::RouterMetrics
        | Kind::RouterLog => unreachable!("it is no check of an open session"),
    }
}

fn tools(subject: &Subject, probe: &Probe) -> Outcome {
    let expected = &subject.settings.health.expected_tools;
    if expected.is_empty() {
        return Outcome::skipped("health.expected_tools names none");
    }
    let lists = |name: &str| probe.catalogue.as_ref().is_some_and(|it| it.lists(name));
    let missing: Vec<String> = expected.iter().filter(|it| !lists(it)).cloned().collect();
    if missing.is_empty() {
        Outcome::ok(format!("all {} are there", expected.len()))
    } else {
        Outcome::failed(Verdict::MissingTools(missing).to_string())
    }
}

/// The tools of these calls.
pub(super) fn called(calls: &[ProbeCall]) -> Vec<&str> {
    calls.iter().map(|call| call.tool.as_str()).collect()
}

async fn calls(subject: &Subject) -> Outcome {
    let calls = &subject.settings.health.calls;
    if calls.is_empty() {
        return Outcome::skipped("health.calls names none");
    }
    let mut trial = match Trial::open(subject, &called(calls)).await {
        Ok(trial) => trial,
        Err(verdict) => return Outcome::failed(verdict.to_string()),
    };
    for call in calls {
        if let Err(why) = trial.probe(call).await {
            let tool = call.tool.clone();
            return Outcome::failed(Verdict::CallFailed { tool, why }.to_string());
        }
    }
    Outcome::ok(format!("all {} as expected", calls.len()))
}

async fn stability(asked: &Asked<'_>, tell: &mut dyn FnMut(Told<'_>)) -> Outcome {
    let period = asked.rules.stability;
    let whole = humantime::format_duration(period);
    let start = Instant::now();
    let counts =
        |held: &Held| format!("{} calls, {} failed, {} drops", held.beats, held.failed, held.drops);
    let held = hold(asked.subject, period, |held| {
        let gone = start.elapsed().as_secs();
        tell(Told::Progress(&format!("{gone}s of {whole}, {}", counts(held))));
    })
    .await;
    match held {
        Err(verdict) => Outcome::failed(verdict.to_string()),
        Ok(held) if held.is_stable() => Outcome::ok(format!("for {whole}: {}", counts(&held))),
        Ok(held) => {
            let why = held.last_fault.as_deref().unwrap_or("its stream ended");
            Outcome::failed(format!("within {whole}: {}; {why}", counts(&held)))
        }
    }
}
