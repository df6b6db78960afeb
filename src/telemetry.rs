//! Log output: one place that sets it up, text for people or JSON for machines, on standard error.
//!
//! Lines go through a bounded queue to a thread of their own, so that whoever reads them slowly
//! slows no request; what does not fit is dropped and counted. Does not know: what is logged.

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Lines that wait to be written; some megabytes.
const LINES_MAX: usize = 16 * 1024;

/// Writes what still waits when it is dropped.
#[must_use]
pub struct Output {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

impl Drop for Output {
    fn drop(&mut self) {
        let dropped = self.dropped.dropped_lines();
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were dropped: nobody read them in time");
        }
    }
}

/// Starts logging. A second call, as tests and the demo make, changes nothing.
pub fn start(log: &Log, ansi: bool) -> Output {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_MAX)
        .thread_name("log")
        .finish(std::io::stderr());
    let dropped = writer.error_counter();
    let output = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match log.format {
        LogFormat::Text => output.with_ansi(ansi).with_target(false).try_init(),
        LogFormat::Json => output.json().flatten_event(true).try_init(),
    };
    drop(started);
    Output { dropped, _writer: guard }
}
