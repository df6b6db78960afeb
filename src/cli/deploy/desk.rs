//! What the three commands work with: the router, the configuration that it runs, an arm, and
//! somebody at the keyboard.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::{Instant, interval};

use crate::admin::client::AskError;
use crate::admin::wire::Status;
use crate::admin::wire::deploys::{DeployStep, Deploys};
use crate::admin::wire::operate::{DrainStatus, Drains, MakeBackup};
use crate::cli::ask::{Router, another, failed};
use crate::cli::health::FAREWELLS_MAX;
use crate::cli::signals::Signals;
use crate::cli::{Common, Exit, complain, refuse, runtime};
use crate::config::{self, Config, Environment, Lifecycle};
use crate::control::deploys::{Action, Phase};
use crate::names::Arm;
use crate::records::backups::Backup;

use super::steps::{Failure, Mark, Steps};

/// How often a person is told that something still lasts.
const TELL_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Desk<'a> {
    /// The options, with the configuration that the router has.
    pub(super) common: Common,
    pub(super) environment: &'a Environment,
    pub(super) router: Router,
    pub(super) config: Config,
    pub(super) arm: Arm,
    /// For each command, and for the servers to answer.
    pub(super) limit: Duration,
    pub(super) action: Action,
    pub(super) steps: Steps,
    pub(super) signals: Signals,
    runtime: Runtime,
    local: LocalSet,
}

impl<'a> Desk<'a> {
    /// The desk for an arm of the router that answers.
    pub(super) fn open(
        common: &Common,
        environment: &'a Environment,
        action: Action,
        named: Option<Arm>,
        limit: Option<Duration>,
    ) -> Result<(Desk<'a>, Status), Exit> {
        let router = Router::find(common, environment)?;
        let status = ask_status(&router).map_err(|error| failed(common, &error))?;
        let arm = common.arm(named)?.unwrap_or(status.stable.other());
        let config = config_of(common, environment, &status)
            .map_err(|failure| refuse(common, format_args!("nothing done: {}", failure.why)))?;
        let limit = limit.unwrap_or(config.arms.get(arm).lifecycle.timeout);
        let steps = Steps::new(common.json);
        Desk::with(common, environment, router, config, (arm, action, limit), steps)
            .map(|desk| (desk, status))
    }

    /// The same for whoever has asked the router already.
    pub(super) fn with(
        common: &Common,
        environment: &'a Environment,
        router: Router,
        config: Config,
        (arm, action, limit): (Arm, Action, Duration),
        steps: Steps,
    ) -> Result<Desk<'a>, Exit> {
        let fail = |error: std::io::Error| {
            complain(error);
            Exit::Unknown
        };
        let (runtime, local) = runtime().map_err(fail)?;
        let signals = local.block_on(&runtime, async { Signals::new() }).map_err(fail)?;
        let common = Common {
            config: config.file.clone(),
            profile: config.profile.clone(),
            socket: common.socket.clone(),
            json: common.json,
            arm: None,
        };
        Ok(Desk {
            common,
            environment,
            router,
            config,
            arm,
            limit,
            action,
            steps,
            signals,
            runtime,
            local,
        })
    }

    /// What starts and stops the servers.
    pub(super) fn lifecycle(&self) -> &Lifecycle {
        &self.config.arms.get(self.arm).lifecycle
    }

    /// Does work that may last, and tells a person so.
    pub(super) fn wait<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let is_watched = !self.common.json && std::io::stderr().is_terminal();
        let began = Instant::now();
        self.local.block_on(&self.runtime, async {
            tokio::pin!(work);
            let mut each = interval(TELL_EVERY);
            loop {
                tokio::select! {
                    done = &mut work => {
                        if is_watched {
                            let _ = write!(std::io::stderr(), "\r\x1b[K");
                        }
                        return done;
                    }
                    _ = each.tick() => if is_watched {
                        let gone = began.elapsed().as_secs();
                        let whole = humantime::format_duration(self.limit);
                        let _ = write!(std::io::stderr(), "\r\x1b[K  {what}: {gone}s of {whole}");
                    },
                }
            }
        })
    }

    /// The same for work that a person may break off, or that may take too long.
    pub(super) fn wait_or_stop<T>(
        &self,
        step: &'static str,
        what: &str,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, Failure> {
        self.wait(what, async {
            tokio::select! {
                done = tokio::time::timeout(self.limit, work) => Ok(done.ok()),
                () = self.signals.next() => Err(Failure::unknown(step, "interrupted")),
            }
        })
    }

    pub(super) fn status(&self) -> Result<Status, AskError> {
        ask_status(&self.router)
    }

    /// That nobody would notice if the arm's servers were touched; a step of its own.
    pub(super) fn may_touch(&mut self, force: bool) -> Result<Deploys, Failure> {
        let began = Instant::now();
        let deploys: Deploys = self
            .router
            .ask(Method::GET, "/v1/deploys", &json!({}))
            .map_err(|error| of_router("router", &error))?;
        let (arm, why) = (self.arm, deploys.in_use.get(self.arm).join("; "));
        let detail = match (why.is_empty(), force) {
            (true, _) => (Mark::Ok, format!("it answers, and the {arm} may be touched")),
            (false, true) => {
                (Mark::Warning, format!("the {arm} is touched, by --force, though {why}"))
            }
            (false, false) => {
                return Err(Failure::no(
                    "router",
                    format!("the servers of the {arm} are not touched: {why} (or --force)"),
                ));
            }
        };
        self.steps.ended("router", began.elapsed(), detail.0, &detail.1);
        Ok(deploys)
    }

    /// What the arm still has to do; sessions that were idle for so long count as left.
    pub(super) fn draining(&self, idle: Duration) -> Result<DrainStatus, Failure> {
        let path = format!("/v1/drain?idle_ms={}", idle.as_millis());
        let drains = self.router.ask::<Drains>(Method::GET, &path, &json!({}));
        let drains = drains.map_err(|error| of_router("users", &error))?;
        Ok(drains.get(self.arm).clone())
    }

    /// Keeps configuration and state as they are; a step of its own.
    pub(super) fn back_up(&mut self, reason: &str) {
        let began = Instant::now();
        let asked = MakeBackup { reason: reason.to_owned() };
        let kept = self.router.ask::<Backup>(Method::POST, "/v1/state/backups", &asked);
        let (mark, detail) = match kept {
            Ok(backup) => (Mark::Ok, format!("{} is kept: see `tidegate backups`", backup.id)),
            // Nothing is lost by it: the journal has the state, too.
            Err(error) => {
                (Mark::Warning, format!("there is NO backup of configuration and state: {error}"))
            }
        };
        self.steps.ended("backup", began.elapsed(), mark, &detail);
    }

    /// Tells the router what is about to be done, or what has become of it.
    pub(super) fn record(&self, phase: Phase, told: Told<'_>) -> Result<Deploys, AskError> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let step = DeployStep {
            arm: self.arm,
            action: self.action,
            phase,
            version: text(told.version),
            previous: text(told.previous),
            detail: text(told.detail),
            force: told.force,
        };
        self.router.ask(Method::POST, "/v1/deploys", &step)
    }

    /// The same at the beginning; not to be able to is a reason not to begin.
    pub(super) fn begin(&self, told: Told<'_>) -> Result<(), Failure> {
        self.record(Phase::Begin, told).map(drop).map_err(|error| of_router("begin", &error))
    }

    /// The same at the end, which is so whether or not the router knows.
    pub(super) fn end(&self, phase: Phase, told: Told<'_>) {
        if let Err(error) = self.record(phase, told) {
            complain(format_args!("warning: the journal does not have the end of this: {error}"));
        }
    }

    /// Ends what was opened on the servers.
    pub(super) fn close(self) {
        let _ =
            self.runtime.block_on(async { tokio::time::timeout(FAREWELLS_MAX, self.local).await });
        // A name that is still being looked up is waited for by nobody.
        self.runtime.shutdown_background();
    }
}

/// What a record says besides the arm.
#[derive(Clone, Copy, Default)]
pub(super) struct Told<'a> {
    pub(super) version: Option<&'a str>,
    pub(super) previous: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
    pub(super) force: bool,
}

pub(super) fn ask_status(router: &Router) -> Result<Status, AskError> {
    router.ask(Method::GET, "/v1/status", &json!({}))
}

/// A step that the router does not let go on.
pub(super) fn of_router(step: &'static str, error: &AskError) -> Failure {
    match error {
        AskError::Refused(refused) => Failure::no(step, refused.error.clone()),
        other => Failure::unknown(step, other.to_string()),
    }
}

/// The configuration that the router runs: commands of another one would touch other servers.
pub(super) fn config_of(
    common: &Common,
    environment: &Environment,
    status: &Status,
) -> Result<Config, Failure> {
    let refused = |why: String| Failure { exit: Exit::Usage, ..Failure::no("configuration", why) };
    if let Some(other) = another(common, status) {
        return Err(refused(other));
    }
    let file = common.config.clone().or_else(|| status.config.as_ref().map(PathBuf::from));
    config::load(file.as_deref(), status.profile.as_deref(), environment).map_err(|problems| {
        refused(format!("the router's configuration is refused by now:\n{problems}"))
    })
}
