//! Log output: one place that sets it up, text for people or JSON for machines, on standard error.
//!
//! Does not know: what is logged.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Log, LogFormat};

/// Starts logging. A second call, as tests and the demo make, changes nothing.
pub fn start(log: &Log, ansi: bool) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let output = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    let started = match log.format {
        LogFormat::Text => output.with_ansi(ansi).with_target(false).try_init(),
        LogFormat::Json => output.json().flatten_event(true).try_init(),
    };
    drop(started);
}
