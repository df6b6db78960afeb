//! `tidegate run`.

use std::cell::RefCell;
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{self, App, Part, Predecessor, StartError};
use crate::config::{self, Config, Environment};
use crate::listen::inherited::Inherited;
use crate::supervisor::Supervisor;
use crate::telemetry;

use super::{Common, Exit, colour, complain, runtime};

/// How long files that are being written and names that are being looked up have at the end.
const LEFTOVERS_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The part in an upgrade of the router that has started this process
    #[arg(long, hide = true, require_equals = true)]
    take_over: Option<Part>,
}

pub(super) fn run(common: &Common, asked: &Run, environment: Environment) -> Exit {
    // Keys and tokens are in this memory: no core dump, and no debugger but root's.
    let _ = nix::sys::prctl::set_dumpable(false);
    if asked.take_over == Some(Part::Start) {
        return match app::start_again(&std::env::args_os().skip(1).collect::<Vec<_>>()) {
            Ok(()) => Exit::Yes,
            Err(error) => {
                complain(format_args!("cannot start the process that takes over: {error}"));
                Exit::No
            }
        };
    }
    let takes_over = asked.take_over.is_some();
    let given = Inherited::take(environment.get("LISTEN_FDNAMES"), takes_over);
    // A reload reads the same file, wherever the process may stand by then.
    let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let file = common.config.as_ref().map(absolute);
    let loaded = config::load(file.as_deref(), common.profile.as_deref(), &environment);
    let config = match loaded {
        Ok(config) => config,
        Err(problems) => {
            let why = format!("the configuration is refused:\n{problems}");
            complain(&why);
            if takes_over {
                app::refuse(&why);
            }
            return Exit::Usage;
        }
    };
    let _output = telemetry::start(&config.log, colour(&environment));
    let supervisor = Supervisor::find(|name| environment.get(name), std::process::id());
    let served = runtime().map_err(StartError::System).and_then(|(runtime, local)| {
        let served = serve(config, environment, given, asked, supervisor);
        let served = local.block_on(&runtime, served);
        // A name that is still being looked up, which can take minutes, is not worth the wait.
        runtime.shutdown_timeout(LEFTOVERS_MAX);
        served
    });
    match served {
        Ok(()) => Exit::Yes,
        Err(error) => {
            complain(error);
            Exit::No
        }
    }
}

async fn serve(
    config: Config,
    environment: Environment,
    given: Inherited,
    asked: &Run,
    supervisor: Supervisor,
) -> Result<(), StartError> {
    let signals = Signals::new()?;
    // What was just read need not be read again, and is no reason to die.
    let _hangup = signal(SignalKind::hangup())?;
    let app = if asked.take_over.is_some() {
        let taken =
            async { App::take_over(config, environment, given, Predecessor::find()?).await };
        tokio::select! {
            taken = taken => taken.inspect_err(|error| app::refuse(&error.to_string()))?,
            () = signals.next() => return Ok(()),
        }
    } else {
        App::bind(config, environment, given)?
    };
    let arguments = std::env::args_os().skip(1).collect();
    let app = app.supervised(supervisor).upgradable(arguments);
    app.run(signals.next(), signals.next()).await
}

/// SIGTERM and SIGINT: the first asks to stop, the second to do so at once.
pub(super) struct Signals(RefCell<(Signal, Signal)>);

impl Signals {
    /// Listens from now on.
    pub(super) fn new() -> std::io::Result<Signals> {
        Ok(Signals(RefCell::new((
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))))
    }

    /// Returns at the next of the two.
    pub(super) async fn next(&self) {
        std::future::poll_fn(|cx| {
            let (terminate, interrupt) = &mut *self.0.borrow_mut();
            let one = terminate.poll_recv(cx).is_ready();
            // Both are asked, so that both wake us.
            if interrupt.poll_recv(cx).is_ready() || one { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
