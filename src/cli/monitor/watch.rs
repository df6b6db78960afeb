//! Asks the router again and again, without ever keeping the one who looks from anything.
//!
//! Does not know: what is made of the answers.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

use crate::admin::client::{AskError, ask};
use crate::admin::wire::Status;
use crate::admin::wire::decide::{Decisions, Steer};
use crate::admin::wire::operate::Events;

/// Looks that may wait for the one who looks; more would be old.
const WAITING: usize = 4;

/// One thing that the router said.
pub(super) enum News {
    /// How it stands, and what has happened since the look before; when this one began.
    Seen(Instant, Box<(Status, Events)>),
    /// Nothing, and why; when it was asked.
    Silent(Instant, AskError),
    /// How a verb went.
    Told(&'static str, Result<(), AskError>),
}

/// Takes one look. Of a router that has been started since, everything is new.
pub(super) async fn look(
    socket: &Path,
    after: u64,
    before: Option<&Run>,
) -> Result<(Status, Events), AskError> {
    let status: Status = ask(socket, Method::GET, "/v1/status", &json!({})).await?;
    let is_other = before.is_some_and(|before| *before != Run::of(&status, before.uptime));
    let after = if is_other { 0 } else { after };
    let path = format!("/v1/events?after={after}");
    let events = ask(socket, Method::GET, &path, &json!({})).await?;
    Ok((status, events))
}

/// One run of the router.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pid: u32,
    uptime: u64,
}

impl Run {
    /// That of a status, which is the same one if it is not younger than it was.
    pub(super) fn of(status: &Status, uptime: u64) -> Run {
        Run { pid: status.pid, uptime: status.uptime_seconds.min(uptime) }
    }
}

/// The line to the router: verbs go out, news come in.
pub(super) struct Line {
    socket: PathBuf,
    news: mpsc::Sender<News>,
    heard: mpsc::Receiver<News>,
    hurry: Rc<Notify>,
}

impl Line {
    /// Looks from now on, so often, after the first look that there has been.
    pub(super) fn open(socket: &Path, every: Duration, first: &(Status, Events)) -> Line {
        let (news, heard) = mpsc::channel(WAITING);
        let (status, events) = first;
        let run = Run::of(status, status.uptime_seconds);
        let hurry = Rc::new(Notify::new());
        let ticks = (every, Rc::clone(&hurry));
        let follow = follow(socket.to_owned(), ticks, news.clone(), (events.last, run));
        tokio::task::spawn_local(follow);
        Line { socket: socket.to_owned(), news, heard, hurry }
    }

    /// Looks once more now, or as soon as the look that is under way has ended.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// The next thing that the router says.
    pub(super) async fn next(&mut self) -> News {
        self.heard.recv().await.expect("this end keeps a sender")
    }

    /// Asks for a verb of the rollout; how it goes is news.
    pub(super) fn steer(&self, verb: &'static str) {
        let (socket, news) = (self.socket.clone(), self.news.clone());
        tokio::task::spawn_local(async move {
            let path = format!("/v1/rollout/{verb}");
            // Without a reason the record repeats why the rollout was started.
            let reason = (verb == "abort").then(|| "in the monitor".to_owned());
            let asked = Steer { reason, ..Steer::default() };
            let told = ask::<Decisions>(&socket, Method::POST, &path, &asked).await;
            // Whoever asked may have left.
            let _ = news.send(News::Told(verb, told.map(drop))).await;
        });
    }
}

async fn follow(
    socket: PathBuf,
    (every, hurry): (Duration, Rc<Notify>),
    news: mpsc::Sender<News>,
    (mut after, mut run): (u64, Run),
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = hurry.notified() => {}
        }
        let began = Instant::now();
        let told = match look(&socket, after, Some(&run)).await {
            Ok((status, events)) => {
                (after, run) = (events.last, Run::of(&status, status.uptime_seconds));
                News::Seen(began, Box::new((status, events)))
            }
            Err(error) => News::Silent(began, error),
        };
        if news.send(told).await.is_err() {
            return;
        }
    }
}
