//! `tidegate demo`: the router in front of two small servers of its own.

use std::io::{IsTerminal as _, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::app::{App, StartError};
use crate::config::{self, Config, Environment, Log, LogFormat, Metrics, RolloutConfig, Step};
use crate::control::rollouts::Start;
use crate::demo::score::Phase;
use crate::demo::{self, DemoError, Stage, Summary};
use crate::listen::inherited::Inherited;
use crate::names::{Arm, PerArm, Split};
use crate::plane::Plane;
use crate::records::journal::Actor;
use crate::rollout::{Plan, RolloutState};
use crate::telemetry;

use super::{Common, Exit, colour, complain, runtime, say_json, serve};

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Leave after the rollout instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
    /// Seconds for each split
    #[arg(long, default_value_t = 6, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Port of the router
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    port: u16,
    /// Port of the first server, version 1.0.0
    #[arg(long, default_value_t = 3000, value_name = "PORT")]
    primary_port: u16,
    /// Port of the second server, version 2.0.0
    #[arg(long, default_value_t = 3001, value_name = "PORT")]
    secondary_port: u16,
    /// Port of the metrics
    #[arg(long, default_value_t = 9464, value_name = "PORT")]
    metrics_port: u16,
}

pub(super) fn run(common: &Common, asked: &Demo, environment: Environment) -> Exit {
    // What the broken version says of itself, and the revert, are part of the play.
    let level = "warn,rmcp=off,tidegate::plane::decide=off".to_owned();
    let log = Log { format: LogFormat::Text, level, access: false };
    let _output = telemetry::start(&log, colour(&environment));
    let played = runtime()
        .map_err(|error| error.to_string())
        .and_then(|(runtime, local)| local.block_on(&runtime, play(common, asked, environment)));
    match played {
        Ok(summary) => {
            if common.json {
                say_json(&json(&summary));
            }
            if summary.is_good() { Exit::Yes } else { Exit::No }
        }
        Err(error) => {
            if common.json {
                say_json(&json!({ "error": error }));
            } else {
                complain(error);
            }
            Exit::No
        }
    }
}

fn json(summary: &Summary) -> Value {
    let phase = |phase: &Phase| json!({ "split": phase.asked, "new_sessions": phase.sessions });
    json!({
        "sessions_that_changed_version": summary.violations,
        "sessions_that_failed": summary.errors,
        "phases": summary.phases.iter().map(phase).collect::<Vec<_>>(),
        "rollout_reverted": summary.reverted,
    })
}

async fn play(common: &Common, asked: &Demo, environment: Environment) -> Result<Summary, String> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let servers = PerArm {
        primary: demo::bind(at(asked.primary_port), "--primary-port")?,
        secondary: demo::bind(at(asked.secondary_port), "--secondary-port")?,
    };
    // The router binds its own; this only makes the sentence about a taken port a good one.
    drop(demo::bind(at(asked.port), "--port")?);
    drop(demo::bind(at(asked.metrics_port), "--metrics-port")?);
    let scratch = tempdir()?;
    let config = configure(asked, &environment, &servers, &scratch)?;
    let (app, admin_socket) = bind(config, common, &environment, &scratch)?;
    let stage = Stage {
        router: app.listen()[0],
        servers,
        metrics: app.plane().metrics_listen,
        program: std::env::current_exe()
            .map_or("tidegate".into(), |path| path.display().to_string()),
        admin_socket,
        seconds_per_phase: asked.seconds,
        once: asked.once,
        look: demo::show::Look::new(std::io::stdout().is_terminal(), &environment),
    };
    let plane = app.plane();
    let signals = serve::Signals::new().map_err(|error| error.to_string())?;
    let (over, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = async {
        let _ = wait.await;
    };
    let router = tokio::task::spawn_local(app.run(wait, std::future::pending()));
    let mut out: Box<dyn Write> =
        if common.json { Box::new(std::io::sink()) } else { Box::new(std::io::stdout()) };
    let played = demo::run(stage, &mut *out, &Operator(plane), signals.next()).await;
    // The clients are gone, so the router has nothing to wait for.
    drop(over);
    let _ = router.await;
    match played {
        // A reader that has gone away has seen enough.
        Err(DemoError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Ok(Summary { violations: 0, errors: 0, phases: Vec::new(), reverted: None })
        }
        played => played.map_err(|error| error.to_string()),
    }
}

/// What the demo does with the router.
struct Operator(Rc<Plane>);

impl demo::Router for Operator {
    fn set_split(&self, split: Split) -> Result<(), String> {
        let revision = self.0.control().state().revision;
        let set = self.0.set_split(&Actor::Demo, split, Some(revision), true);
        set.map(drop).map_err(|error| error.to_string())
    }

    fn start_rollout(&self) -> Result<(), String> {
        let step = |weight| Step { weight, hold: Duration::from_secs(600) };
        let plan = Plan {
            steps: vec![step(demo::ROLLOUT), step(100)],
            ..Plan::from_config(&RolloutConfig::default())
        };
        let reason = Some("the demo".to_owned());
        let start = Start { to: Arm::Secondary, plan, reason, allow_breaking: false };
        self.0.start_rollout(&Actor::Demo, start).map_err(|error| error.to_string())
    }

    fn reverted(&self) -> Option<String> {
        let control = self.0.control();
        let rollout = control.rollout()?;
        (rollout.state == RolloutState::Reverted).then(|| rollout.why.clone().unwrap_or_default())
    }
}

/// The router's configuration: the defaults, between the demo's servers.
fn configure(
    asked: &Demo,
    environment: &Environment,
    servers: &PerArm<TcpListener>,
    scratch: &Scratch,
) -> Result<Config, String> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut config =
        config::load(None, None, environment).map_err(|problems| problems.to_string())?;
    config.listen = vec![at(asked.port)];
    config.metrics = Some(Metrics { listen: at(asked.metrics_port), token: None, tls: None });
    config.state_dir.clone_from(&scratch.0);
    for arm in Arm::ALL {
        let address = servers.get(arm).local_addr().map_err(|error| error.to_string())?;
        let url = format!("http://{address}/mcp").parse().map_err(|error| format!("{error}"))?;
        config.arms.get_mut(arm).endpoints = vec![url];
    }
    Ok(config)
}

/// Binds the router, with an admin socket of its own where the default one is not to be had: a
/// router may be running, or this user may have no place for it. Returns the socket to name in
/// commands, unless they find it by themselves.
fn bind(
    mut config: Config,
    common: &Common,
    environment: &Environment,
    scratch: &Scratch,
) -> Result<(App, Option<PathBuf>), String> {
    match App::bind(config.clone(), environment.clone(), Inherited::default()) {
        Err(StartError::Socket(_)) if common.socket.is_none() => {
            let socket = scratch.0.join("admin.sock");
            config.admin.socket.clone_from(&socket);
            App::bind(config, environment.clone(), Inherited::default())
                .map(|app| (app, Some(socket)))
        }
        bound => bound.map(|app| (app, common.socket.clone())),
    }
    .map_err(|error| error.to_string())
}

/// A state directory that goes when the demo goes.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempdir() -> Result<Rc<Scratch>, String> {
    use std::os::unix::fs::DirBuilderExt as _;
    let name = format!("tidegate-demo-{:016x}", rand::random::<u64>());
    let path = std::env::temp_dir().join(name);
    // Not recursive: a folder that is there already is somebody else's.
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    Ok(Rc::new(Scratch(path)))
}
