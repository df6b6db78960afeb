//! Tells other programs what has happened: webhooks, each with a queue and a task of its own.
//!
//! A decision never waits for them: whatever happens is put into a bounded queue, and who does not
//! take it in time misses the oldest of it. A message may arrive twice, never out of order. Does
//! not know: how a decision is come by, who follows the journal.

pub mod message;

mod format;

mod line;

mod post;

mod deliver;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use hyper::body::Bytes;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{Webhook, WebhookFormat};
use crate::records::journal::Happening;

use deliver::{Sent, deliver};
use line::Line;
use message::{Message, Standing};

pub use line::{Fared, Turn};
pub use post::Fault;

/// What one attempt of a test may take: whoever has asked waits for it.
const TEST_MAX: Duration = Duration::from_secs(8);

/// How long what waits has at the stop of the router.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Everybody who is told, and what waits for them.
#[derive(Debug, Default)]
pub struct Notices {
    lines: RefCell<Vec<Told>>,
    /// What the router is called in messages.
    router: Rc<RefCell<String>>,
    /// The number of the last happening that was told.
    heard: Cell<u64>,
    standing: RefCell<Standing>,
}

#[derive(Debug)]
struct Told {
    line: Rc<Line>,
    task: JoinHandle<()>,
}

/// One webhook, as it stands.
#[derive(Clone, Debug)]
pub struct WebhookStanding {
    /// Its settings.
    pub settings: Rc<Webhook>,
    /// Messages that wait.
    pub pending: usize,
    /// How it has fared.
    pub fared: Fared,
}

/// How a test went.
#[derive(Clone, Debug)]
pub struct Tested {
    /// Which webhook.
    pub webhook: String,
    /// What it answered.
    pub result: Result<StatusCode, Fault>,
    /// How long that took.
    pub took: Duration,
}

impl Notices {
    /// Takes over the webhooks of a configuration and what the router is called. What waits for
    /// those that keep their name stays, and goes by their new settings. Needs a `LocalSet`.
    pub fn sync(&self, webhooks: &[Webhook], router: &str) {
        router.clone_into(&mut self.router.borrow_mut());
        let mut lines = self.lines.borrow_mut();
        lines.retain(|told| {
            let settings = told.line.settings.borrow();
            let stays = webhooks.iter().any(|webhook| webhook.name == settings.name);
            if !stays {
                told.task.abort();
                lost(&settings.name, told.line.len(), "it is not configured any more");
            }
            stays
        });
        for webhook in webhooks {
            let known = lines.iter().find(|it| it.line.settings.borrow().name == webhook.name);
            if let Some(told) = known {
                told.line.set(webhook);
                continue;
            }
            let line = Line::new(webhook.clone());
            let (own, router) = (Rc::clone(&line), Rc::clone(&self.router));
            let task = tokio::task::spawn_local(deliver(Rc::clone(&line), move |waiting| {
                let settings = Rc::clone(&own.settings.borrow());
                let body = format::body(&waiting.message, settings.format, &router.borrow());
                send(settings, body)
            }));
            lines.push(Told { line, task });
        }
    }

    /// The number of the last happening that was told.
    pub fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// Tells what has happened, to those who want to know; nobody is waited for.
    pub fn tell(&self, happening: &Happening) {
        self.heard.set(happening.number);
        for message in self.standing.borrow_mut().follow(happening) {
            for Told { line, .. } in self.lines.borrow().iter() {
                let settings = Rc::clone(&line.settings.borrow());
                let wants = message.notice.is_none_or(|it| settings.events.contains(&it));
                // To all others an end is no news, and takes no room.
                let fits = !message.is_over || settings.format == WebhookFormat::Alertmanager;
                if wants && fits {
                    line.push(message.clone());
                }
            }
        }
    }

    /// Which webhooks have begun to fail or work again, since the last time.
    pub fn turns(&self) -> Vec<Turn> {
        self.lines.borrow().iter().filter_map(|told| told.line.take_turn()).collect()
    }

    /// Every webhook, as configured.
    pub fn standings(&self) -> Vec<WebhookStanding> {
        let standing = |Told { line, .. }: &Told| WebhookStanding {
            settings: Rc::clone(&line.settings.borrow()),
            pending: line.len(),
            fared: line.fared(),
        };
        self.lines.borrow().iter().map(standing).collect()
    }

    /// Sends a test to the webhook of this name, or to all, now and once, past what waits.
    pub async fn test(&self, only: Option<&str>) -> Vec<Tested> {
        let message = Message::test(SystemTime::now());
        let router = self.router.borrow().clone();
        let testing: Vec<_> = self
            .standings()
            .into_iter()
            .map(|it| it.settings)
            .filter(|it| only.is_none_or(|only| it.name == only))
            .map(|settings| {
                let body = format::body(&message, settings.format, &router);
                tokio::task::spawn_local(async move {
                    let (began, limit) = (Instant::now(), settings.timeout.min(TEST_MAX));
                    let body = body.expect("a test is for everybody");
                    let result = post::post(&settings, body, limit).await;
                    Tested { webhook: settings.name.clone(), result, took: began.elapsed() }
                })
            })
            .collect();
        let mut tested = Vec::new();
        for task in testing {
            tested.extend(task.await);
        }
        tested
    }

    /// The router stops: what waits is tried once more, for 2 seconds; what is left is lost.
    pub async fn close(&self) {
        let lines = self.lines.take();
        for told in &lines {
            told.line.close();
        }
        let until = Instant::now() + FAREWELL_MAX;
        for Told { line, mut task } in lines {
            if tokio::time::timeout_at(until, &mut task).await.is_err() {
                task.abort();
            }
            lost(&line.settings.borrow().name, line.len(), "the router stops");
        }
    }
}

async fn send(settings: Rc<Webhook>, body: Option<Bytes>) -> Sent {
    let Some(body) = body else { return Sent::Nothing };
    match post::post(&settings, body, settings.timeout).await {
        Ok(_) => Sent::Yes,
        Err(fault) => Sent::No(fault),
    }
}

fn lost(webhook: &str, count: usize, why: &str) {
    if count > 0 {
        tracing::warn!(webhook, count, "messages are lost, {why}");
    }
}
