//! One whole handshake with an endpoint: find the era, open, list, call, each step timed.
//!
//! What decides has one budget of time, `health.timeout`; what is only worth knowing (the other
//! lists, a second era) has another, and never makes an endpoint unhealthy. Does not know: what a
//! row of results means, who asked for one.

pub(super) mod session;

mod found;

pub(super) mod pages;

mod modern;

mod legacy;

mod sse;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{Health, Protocol};
use crate::tls::client::Secured;

use super::caller::Caller;
use super::catalogue::{Catalogue, List};
use super::expect;
use super::subject::Subject;
use super::verdict::{Fault, Verdict};
use session::{About, Opened, Session};

pub use found::{Eras, Probe, Step, days_left};
pub use session::ServerInfo;

/// Why a step has no answer when there is no time left.
const TOO_LATE: &str = "no answer in time";

/// Why a list was not even asked for.
const NO_TIME: &str = "there was no time left to ask for it";
const INITIALIZE: &str = "initialize";
const INITIALIZED: &str = "notifications/initialized";

/// How long it is believed which eras a server speaks: each look costs it a session.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What is remembered from one handshake to the next: which eras there were.
#[derive(Debug, Default)]
pub struct Memory(Option<Known>);

#[derive(Clone, Copy, Debug)]
struct Known {
    protocol: Protocol,
    eras: Eras,
    at: Instant,
}

/// How we name ourselves to servers.
fn client_info() -> Value {
    json!({ "name": "tidegate-health", "version": env!("CARGO_PKG_VERSION") })
}

/// Makes one handshake. Needs a `LocalSet`; a session that it opened is ended also when it is
/// dropped in the middle.
pub async fn probe(subject: &Subject, memory: &mut Memory) -> Probe {
    let health = &subject.settings.health;
    let (at, start) = (SystemTime::now(), Instant::now());
    let mut run = Run::new(subject, memory.0.filter(|known| known.at.elapsed() < LOOK_AGAIN));
    let deciding = tokio::time::timeout(health.timeout, run.decide(health)).await;
    let (session, verdict) = match deciding {
        Ok(Ok(session)) => (Some(session), Verdict::Healthy),
        Ok(Err(verdict)) => (None, verdict),
        Err(_) => {
            let step = run.trace.cut();
            (None, Verdict::Timeout { step, limit: health.timeout })
        }
    };
    let took = start.elapsed();
    memory.0 = None;
    if let Some(mut session) = session {
        let started = Instant::now();
        run.trace.is_decided = true;
        run.look_further(&mut session, started + health.timeout).await;
        let at = run.known.map_or(started, |known| known.at);
        memory.0 = Some(Known { protocol: session.protocol(), eras: run.eras, at });
    }
    let (protocol_version, server) =
        run.about.map_or((None, None), |about| (Some(about.version), about.server));
    let (steps, tls, eras, catalogue) = (run.trace.steps, run.tls, run.eras, run.catalogue);
    Probe { at, took, steps, verdict, tls, eras, protocol_version, server, catalogue }
}

/// Opens a session alone, to hold it.
pub(super) async fn open(subject: &Subject) -> Result<Session, Verdict> {
    let mut run = Run::new(subject, None);
    let limit = subject.settings.health.timeout;
    let opened = tokio::time::timeout(limit, run.open(subject.settings.health.protocol)).await;
    opened.unwrap_or_else(|_| Err(Verdict::Timeout { step: run.trace.cut(), limit }))
}

/// The steps as they are made.
#[derive(Debug, Default)]
struct Trace {
    steps: Vec<Step>,
    /// The step that is being made.
    now: Option<(String, Instant)>,
    /// The verdict is there already.
    is_decided: bool,
}

impl Trace {
    /// Makes a step and notes what came of it.
    async fn step<T>(
        &mut self,
        name: impl Into<String>,
        work: impl Future<Output = Result<(T, String), Fault>>,
    ) -> Result<T, Verdict> {
        let (name, start) = (name.into(), Instant::now());
        self.now = Some((name.clone(), start));
        let result = work.await;
        self.now = None;
        let told = result.as_ref().map(|(_, told)| told.clone()).map_err(ToString::to_string);
        let verdict = result.map(|(value, _)| value).map_err(|fault| fault.at(&name));
        self.note(name, start, told);
        verdict
    }

    /// The same for a step that may not be ended in time, and tells why there is nothing.
    async fn step_until<T>(
        &mut self,
        until: Instant,
        name: &str,
        work: impl Future<Output = Result<(T, String), Fault>>,
    ) -> Result<T, String> {
        match tokio::time::timeout_at(until, self.step(name, work)).await {
            Ok(done) => done.map_err(|verdict| verdict.to_string()),
            Err(_) => Err(format!("{}: {TOO_LATE}", self.cut())),
        }
    }

    /// Notes that time ran out; the answer is the step that was being made.
    fn cut(&mut self) -> String {
        let (name, start) =
            self.now.take().unwrap_or_else(|| ("connect".to_owned(), Instant::now()));
        let result = Err(TOO_LATE.to_owned());
        self.note(name.clone(), start, result);
        name
    }

    fn note(&mut self, name: String, start: Instant, result: Result<String, String>) {
        let (took, decides) = (start.elapsed(), !self.is_decided);
        self.steps.push(Step { name, took, result, decides });
    }

    /// Says that what the last step told was not good enough.
    fn fail_last(&mut self, why: &str) {
        if let Some(step) = self.steps.last_mut() {
            step.result = Err(why.to_owned());
        }
    }
}

/// A handshake being made.
struct Run {
    caller: Rc<Caller>,
    known: Option<Known>,
    trace: Trace,
    tls: Option<Result<Secured, String>>,
    eras: Eras,
    about: Option<About>,
    catalogue: Option<Catalogue>,
}

impl Run {
    fn new(subject: &Subject, known: Option<Known>) -> Run {
        let auto = subject.settings.health.protocol == Protocol::Auto;
        Run {
            caller: Caller::new(subject),
            known: known.filter(|_| auto),
            trace: Trace::default(),
            tls: None,
            eras: Eras::default(),
            about: None,
            catalogue: None,
        }
    }

    /// Everything that the verdict depends on.
    async fn decide(&mut self, health: &Health) -> Result<Session, Verdict> {
        let mut session = self.open(health.protocol).await?;
        self.about = Some(session.about().clone());
        let mut schemas = HashMap::new();
        self.list_tools(&mut session, health, &mut schemas).await?;
        for call in &health.calls {
            let calling = async {
                let schema = schemas.get(&call.tool);
                let result = match session.call(&call.tool, &call.arguments, schema).await {
                    Ok(result) => result,
                    Err(Fault::Rpc(error)) => {
                        let (tool, why) = (call.tool.clone(), error.to_string());
                        return Err(Fault::Call { tool, why });
                    }
                    Err(fault) => return Err(fault),
                };
                expect::check(&call.expect, &result)
                    .map_err(|why| Fault::Call { tool: call.tool.clone(), why })?;
                Ok(((), "as expected".to_owned()))
            };
            self.trace.step(format!("tools/call {}", call.tool), calling).await?;
        }
        Ok(session)
    }

    /// Finds the era and opens a session of it (wire.md 4.4).
    async fn open(&mut self, protocol: Protocol) -> Result<Session, Verdict> {
        let caller = Rc::clone(&self.caller);
        let mut tls = None;
        let connecting = async {
            let connected = caller.connect().await;
            tls = match &connected {
                Ok(secured) => secured.clone().map(Ok),
                Err(Fault::Tls(why)) => Some(Err(why.clone())),
                Err(_) => None,
            };
            let secured = connected?.map(|it| format!(", {}", found::tls_text(&it)));
            Ok(((), caller.endpoint.url.authority() + &secured.unwrap_or_default()))
        };
        let stepped = self.trace.step("connect", connecting).await;
        self.tls = tls;
        stepped?;
        if protocol == Protocol::Auto {
            return self.find().await;
        }
        match self.attempt(protocol).await? {
            Opened::Yes(session) => Ok(session),
            Opened::NotSpoken(why) => {
                self.trace.fail_last(&why);
                Err(Verdict::BadAnswer { step: self.step_of(protocol), why })
            }
        }
    }

    /// The newest era that is spoken; what is known is tried first.
    async fn find(&mut self) -> Result<Session, Verdict> {
        let order = match self.known.map(|known| known.protocol) {
            Some(Protocol::Legacy) => [Protocol::Legacy, Protocol::Modern, Protocol::Sse],
            Some(Protocol::Sse) => [Protocol::Sse, Protocol::Modern, Protocol::Legacy],
            _ => [Protocol::Modern, Protocol::Legacy, Protocol::Sse],
        };
        let mut tried = Vec::new();
        for protocol in order {
            match self.attempt(protocol).await? {
                Opened::Yes(session) => return Ok(session),
                Opened::NotSpoken(why) => tried.push(format!("{}: {why}", self.step_of(protocol))),
            }
            // What was known is so no more.
            self.known = None;
        }
        self.trace.fail_last("nothing else is left to try");
        let step = "every first message".to_owned();
        Err(Verdict::BadAnswer { step, why: tried.join("; ") })
    }

    /// Opens a session of one era, if it is spoken.
    async fn attempt(&mut self, protocol: Protocol) -> Result<Opened<Session>, Verdict> {
        let (caller, step) = (Rc::clone(&self.caller), self.step_of(protocol));
        match protocol {
            Protocol::Auto | Protocol::Modern => {
                let opening =
                    async { Ok(modern::discover(&caller).await?.told(|it| it.about.text())) };
                let opened = self.trace.step(step, opening).await?;
                let known = self.known.map_or(Eras::default(), |known| known.eras);
                Ok(opened.map(|session| {
                    self.eras = Eras { modern: true, ..known };
                    Session::Modern(session)
                }))
            }
            Protocol::Legacy => {
                let opening =
                    async { Ok(legacy::initialize(&caller).await?.told(|it| it.about.text())) };
                let session = match self.trace.step(step, opening).await? {
                    Opened::Yes(session) => session,
                    Opened::NotSpoken(why) => return Ok(Opened::NotSpoken(why)),
                };
                self.eras.legacy = true;
                self.trace.step(INITIALIZED, nothing(session.initialized())).await?;
                Ok(Opened::Yes(Session::Legacy(session)))
            }
            Protocol::Sse => {
                let opening = async { Ok(sse::open(&caller).await?.told(|_| String::new())) };
                let stream = match self.trace.step(step, opening).await? {
                    Opened::Yes(stream) => stream,
                    Opened::NotSpoken(why) => return Ok(Opened::NotSpoken(why)),
                };
                self.eras.sse = true;
                let opening = async {
                    let session = stream.initialize().await?;
                    let told = session.about.text();
                    Ok((session, told))
                };
                let session = self.trace.step(INITIALIZE, opening).await?;
                self.trace.step(INITIALIZED, nothing(session.initialized())).await?;
                Ok(Opened::Yes(Session::Sse(Box::new(session))))
            }
        }
    }

    fn step_of(&self, protocol: Protocol) -> String {
        match protocol {
            Protocol::Auto | Protocol::Modern => "server/discover".to_owned(),
            Protocol::Legacy => INITIALIZE.to_owned(),
            Protocol::Sse => format!("GET {}", self.caller.settings.sse_path),
        }
    }

    /// Lists the tools and looks for the expected ones.
    async fn list_tools(
        &mut self,
        session: &mut Session,
        health: &Health,
        schemas: &mut HashMap<String, Value>,
    ) -> Result<(), Verdict> {
        let catalogue = self.catalogue.insert(Catalogue::default());
        if session.about().offers("tools") {
            let called = |name: &str| health.calls.iter().any(|call| call.tool == name);
            let listing = async {
                let pages = pages::list(session, List::Tools, catalogue, |tool| {
                    if let Some(name) = tool["name"].as_str().filter(|name| called(name)) {
                        schemas.insert(name.to_owned(), tool["inputSchema"].clone());
                    }
                })
                .await?;
                Ok(((), pages::told(catalogue.tools().count(), "tool", pages)))
            };
            self.trace.step("tools/list", listing).await?;
        } else {
            catalogue.not_offered(List::Tools);
        }
        if !health.expected_tools.is_empty() {
            let listed: HashSet<&str> = catalogue.tools().collect();
            let missing = health.expected_tools.iter().filter(|it| !listed.contains(it.as_str()));
            let missing: Vec<String> = missing.cloned().collect();
            let looking = async {
                if missing.is_empty() {
                    Ok(((), format!("all {} are there", health.expected_tools.len())))
                } else {
                    Err(Fault::Missing(missing))
                }
            };
            self.trace.step("expected tools", looking).await?;
        }
        Ok(())
    }

    /// What is worth knowing of a server that works, as long as there is time: its other lists, a
    /// second era.
    async fn look_further(&mut self, session: &mut Session, until: Instant) {
        let lists = [
            (List::Prompts, "prompts"),
            (List::Resources, "resources"),
            (List::Templates, "resources"),
        ];
        for (list, capability) in lists {
            let Some(catalogue) = self.catalogue.as_mut() else { continue };
            if !session.about().offers(capability) {
                catalogue.not_offered(list);
                continue;
            }
            if Instant::now() >= until {
                catalogue.failed(list, NO_TIME);
                continue;
            }
            let mut count = 0;
            let listing = async {
                let pages = pages::list(session, list, catalogue, |_| count += 1).await?;
                Ok(((), pages::told(count, "item", pages)))
            };
            if let Err(why) = self.trace.step_until(until, list.method(), listing).await {
                catalogue.failed(list, &why);
            }
        }
        let look = matches!(session, Session::Modern(_)) && self.known.is_none();
        if look && Instant::now() < until && self.caller.settings.health.protocol == Protocol::Auto
        {
            let caller = Rc::clone(&self.caller);
            let opening =
                async { Ok(legacy::initialize(&caller).await?.told(|it| it.about.text())) };
            let opened = self.trace.step_until(until, "initialize (older)", opening).await;
            self.eras.legacy = matches!(opened, Ok(Opened::Yes(_)));
        }
    }
}

/// A step of which nothing is to be told.
async fn nothing(work: impl Future<Output = Result<(), Fault>>) -> Result<((), String), Fault> {
    work.await.map(|()| ((), String::new()))
}
