//! Keeps the stable arm's usual times over a restart, and gives them back to the judge once the
//! servers have said what their tools are called.
//!
//! Does not know: how times are compared.

use std::time::Duration;

use tokio::time::Instant;

use crate::judge::Stratum;
use crate::mcp::Method;
use crate::observe::latency::Moments;
use crate::records::baseline::{self, Entry, Recorded};
use crate::route::Tools;

use super::Plane;

/// How often the times are written down.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// What was recorded before this process began, and when it was last written.
#[derive(Debug)]
pub(super) struct Usual {
    recorded: Option<Recorded>,
    kept: Instant,
}

impl Usual {
    pub(super) fn new(recorded: Option<Recorded>, now: Instant) -> Usual {
        Usual { recorded, kept: now }
    }
}

impl Plane {
    /// Gives the judge what was recorded, as far as the names are known by now.
    pub(super) fn recall(&self) {
        let table = self.table();
        let mut usual = self.usual.borrow_mut();
        let Some(recorded) = &mut usual.recorded else { return };
        if recorded.arm != table.stable {
            return;
        }
        let mut measures = self.measures.borrow_mut();
        recorded.entries.retain(|entry| match stratum(entry, &table.tools) {
            None => true,
            Some(stratum) => {
                let Entry { count, logs, squares, .. } = *entry;
                measures.judge.recall(stratum, Moments { count, logs, squares });
                false
            }
        });
    }

    /// Writes the times down now and then; elsewhere, since nobody waits for it.
    pub(super) fn keep_baseline(&self, now: Instant) {
        let mut usual = self.usual.borrow_mut();
        if now.saturating_duration_since(usual.kept) < KEEP_EVERY {
            return;
        }
        usual.kept = now;
        let table = self.table();
        let measures = self.measures.borrow();
        let entry = |(stratum, times): (Stratum, Moments)| Entry {
            method: stratum.method.as_str().to_owned(),
            tool: table.tools.text(stratum.tool).to_owned(),
            count: times.count,
            logs: times.logs,
            squares: times.squares,
        };
        let entries: Vec<_> = measures.judge.baseline().entries().map(entry).collect();
        if entries.is_empty() {
            return;
        }
        let (dir, recorded) =
            (table.config.state_dir.clone(), Recorded { arm: table.stable, entries });
        tokio::task::spawn_blocking(move || {
            if let Err(error) = baseline::write(&dir, &recorded) {
                tracing::warn!(%error, "the baseline could not be kept");
            }
        });
    }
}

/// The kind of work that an entry is of, if its name is known.
fn stratum(entry: &Entry, tools: &Tools) -> Option<Stratum> {
    let method = Method::named(entry.method.as_bytes());
    let tool = tools.known(&entry.tool)?;
    Some(Stratum { method, tool })
}
