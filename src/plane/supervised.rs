//! What the service manager wants to know of the control plane: reloads, and who is alive.
//!
//! Does not know: when the router is ready, what is done about a worker that is not alive.

use std::sync::Arc;

use tokio::time::Instant;

use crate::observe::collect::Sample;
use crate::route::Endpoint;
use crate::supervisor::{Message, Supervisor};

use super::Plane;

impl Plane {
    /// Whom to tell from now on. Without this, nobody is told anything.
    pub fn tell_from_now_on(&self, supervisor: Supervisor) {
        // A second one would be somebody else's.
        let _ = self.supervisor.set(supervisor);
    }

    /// Who is told.
    pub fn supervisor(&self) -> &Supervisor {
        self.supervisor.get_or_init(Supervisor::none)
    }

    /// Endpoints of which nothing is known although somebody asks them: no handshake with them has
    /// ended, well or badly.
    pub fn unheard(&self) -> Vec<String> {
        let table = self.table();
        if table.config.health.interval.is_none() {
            return Vec::new();
        }
        let is_unheard =
            |it: &&Arc<Endpoint>| self.board.view(it.id).is_none_or(|view| view.last.is_none());
        table.endpoints().filter(is_unheard).map(|it| it.url.to_string()).collect()
    }

    /// The numbers of the workers that have handed over no counts since then.
    pub fn silent_workers(&self, since: Instant) -> Vec<usize> {
        let heard = self.heard.borrow();
        let is_silent = |at: &Option<Instant>| at.is_none_or(|at| at < since);
        heard.iter().enumerate().filter(|(_, at)| is_silent(at)).map(|(worker, _)| worker).collect()
    }

    pub(super) fn note_heard(&self, samples: &[Sample]) {
        let now = Instant::now();
        let mut heard = self.heard.borrow_mut();
        for sample in samples {
            heard[sample.worker] = Some(now);
        }
    }

    /// Says that a reload begins, and that it is over when what is returned is dropped: also where
    /// whoever has asked for it does not wait for its end.
    pub(super) fn reloading(&self) -> Reloading<'_> {
        // A start is not over because a reload is, and an end goes on.
        let supervisor = self.supervisor.get().filter(|_| self.ready.get());
        if let Some(supervisor) = supervisor {
            supervisor.tell(&[Message::reloading()]);
        }
        Reloading(supervisor)
    }
}

/// A reload that has been told of.
pub(super) struct Reloading<'a>(Option<&'a Supervisor>);

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        if let Some(supervisor) = self.0 {
            supervisor.tell(&[Message::Ready]);
        }
    }
}
