//! `tidegate run`.

use std::cell::RefCell;
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, StartError};
use crate::config::{self, Environment};
use crate::telemetry;

use super::{Common, Exit, colour, complain, runtime};

/// How long files that are being written and names that are being looked up have at the end.
const LEFTOVERS_MAX: Duration = Duration::from_secs(2);

pub(super) fn run(common: &Common, environment: Environment) -> Exit {
    // Keys and tokens are in this memory: no core dump, and no debugger but root's.
    let _ = nix::sys::prctl::set_dumpable(false);
    // A reload reads the same file, wherever the process may stand by then.
    let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let file = common.config.as_ref().map(absolute);
    let loaded = config::load(file.as_deref(), common.profile.as_deref(), &environment);
    let config = match loaded {
        Ok(config) => config,
        Err(problems) => {
            complain(format_args!("the configuration is refused:\n{problems}"));
            return Exit::Usage;
        }
    };
    let _output = telemetry::start(&config.log, colour(&environment));
    let served = runtime().map_err(StartError::System).and_then(|(runtime, local)| {
        let served = local.block_on(&runtime, async {
            let signals = Signals::new()?;
            App::bind(config, environment)?.run(signals.next(), signals.next()).await
        });
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
