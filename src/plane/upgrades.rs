//! Requests for another process to take over, and what becomes of the state meanwhile.
//!
//! Does not know: processes, sockets.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::sync::{Notify, oneshot};

use crate::records::journal::Actor;

use super::Plane;

/// An upgrade that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// The process that takes in clients now.
    pub pid: u32,
    /// What it is.
    pub version: String,
    /// The process that finishes what it has.
    pub from_pid: u32,
    /// What that is.
    pub from_version: String,
}

/// Somebody wants another program to take over.
#[derive(Debug)]
pub struct Request {
    /// Who.
    pub actor: Actor,
    /// Which program; `None`: the one that runs, as it is on the disk now.
    pub binary: Option<PathBuf>,
    answer: oneshot::Sender<Result<Upgraded, String>>,
}

impl Request {
    /// Tells what has become of it.
    pub fn answer(self, answer: Result<Upgraded, String>) {
        // Whoever has asked may have gone.
        let _ = self.answer.send(answer);
    }
}

/// The request that waits, or is being carried out.
#[derive(Debug, Default)]
pub struct Upgrades {
    waiting: RefCell<Option<Request>>,
    is_busy: Cell<bool>,
    /// Nobody asks for requests any more.
    is_closed: Cell<bool>,
    /// Another process has the state, or is about to: what is changed here could be lost.
    is_moving: Cell<bool>,
    news: Notify,
}

impl Upgrades {
    /// The next request; whoever asks has done with the one before.
    pub async fn next(&self) -> Request {
        self.is_busy.set(false);
        loop {
            if let Some(request) = self.waiting.take() {
                return request;
            }
            self.news.notified().await;
        }
    }

    /// The router stops: there is no next request, and one that waits is refused.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.waiting.take();
    }

    fn ask(&self, actor: Actor, binary: Option<PathBuf>) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        if self.is_closed.get() {
            return answered;
        }
        if self.is_busy.replace(true) {
            let _ = answer.send(Err("another upgrade is under way".to_owned()));
        } else {
            self.waiting.replace(Some(Request { actor, binary, answer }));
            self.news.notify_one();
        }
        answered
    }
}

/// What became of a request, or why nothing.
type Answer = Result<Upgraded, String>;

impl Plane {
    /// Requests for an upgrade.
    pub fn upgrades(&self) -> &Upgrades {
        &self.upgrades
    }

    /// Has another process take over.
    ///
    /// # Errors
    /// Why it has not; this one carries on.
    pub async fn upgrade(&self, actor: &Actor, binary: Option<PathBuf>) -> Answer {
        let answered = self.upgrades.ask(actor.clone(), binary).await;
        answered.unwrap_or_else(|_| Err("this router is stopping".to_owned()))
    }

    /// Lets another process have the state: nothing is decided here from now on.
    ///
    /// # Errors
    /// When it cannot be let go of.
    pub fn hand_over(
        &self,
        actor: &Actor,
        binary: &Path,
        version: &str,
        pid: u32,
    ) -> Result<(), String> {
        let detail = json!({
            "binary": binary.display().to_string(),
            "version": version,
            "pid": pid,
            "from_version": env!("CARGO_PKG_VERSION"),
            "from_pid": std::process::id(),
        });
        let handed = self.control.borrow_mut().hand_over(actor, detail);
        handed.map_err(|error| error.to_string())?;
        self.upgrades.is_moving.set(true);
        Ok(())
    }

    /// Whether whoever wants a change is to ask again in a moment: what this process promised now,
    /// the one that takes over would not know.
    pub fn is_moving(&self) -> bool {
        self.upgrades.is_moving.get()
    }

    /// Goes on deciding here. Does nothing if this process has the state.
    ///
    /// # Errors
    /// When the state cannot be had back: then nothing is decided, or recorded, until it can.
    pub fn take_back(&self) -> Result<(), String> {
        self.upgrades.is_moving.set(false);
        if !self.control.borrow().is_handed_over() {
            return Ok(());
        }
        self.control.borrow_mut().take_back().map_err(|error| error.to_string())
    }

    /// Takes these endpoints for down, as the process before did, so that they get no work until
    /// handshakes say otherwise. Needs a `LocalSet`.
    pub fn know_down(&self, urls: &[String]) {
        let table = self.table();
        let of = |url: &String| table.endpoints().find(|it| it.url.to_string() == *url);
        self.board.presume_down(urls.iter().filter_map(of).map(|it| it.id).collect());
        self.board.sync(&table);
        self.follow_health();
    }

    /// Counts that this process has taken over.
    pub fn upgraded(&self) {
        self.measures.borrow().metrics.count_upgrade(true);
    }

    /// Records that nobody has taken over.
    pub fn not_upgraded(&self, actor: &Actor, why: &str) {
        self.control.borrow_mut().not_handed_over(actor, why);
        self.measures.borrow().metrics.count_upgrade(false);
    }
}
