//! What waits for one webhook, in order, and how it has fared.
//!
//! Bounded: of too many messages the oldest go, and are counted. Does not know: how a message is
//! sent, or when it is tried again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::message::Message;
use super::post::Fault;
use crate::config::Webhook;

/// Messages that wait.
pub(super) const WAITING_MAX: usize = 256;

/// A message that has waited for so long is given up.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: Message,
    since: Instant,
}

/// How a webhook has fared since the start of the router.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fared {
    /// Messages that arrived.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Messages that went because too many waited.
    pub dropped: u64,
    /// Messages that were refused for good, or waited for 24 hours.
    pub given_up: u64,
    /// When the last one arrived.
    pub last_sent: Option<SystemTime>,
    /// When an attempt last failed, and why.
    pub last_fault: Option<(SystemTime, String)>,
    /// The last attempt failed.
    pub is_failing: bool,
}

/// A webhook begins to fail, or works again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its name.
    pub webhook: String,
    /// Why it fails and what to do; `None`: it works again.
    pub fault: Option<(String, &'static str)>,
}

/// A webhook, and what waits for it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) settings: RefCell<Rc<Webhook>>,
    waiting: RefCell<VecDeque<Rc<Waiting>>>,
    fared: RefCell<Fared>,
    turn: RefCell<Option<Turn>>,
    closing: Cell<bool>,
    /// There is something to send.
    filled: Notify,
    /// It may be otherwise now: to be tried without further waiting.
    hurry: Notify,
}

impl Line {
    pub(super) fn new(webhook: Webhook) -> Rc<Line> {
        Rc::new(Line {
            settings: RefCell::new(Rc::new(webhook)),
            waiting: RefCell::default(),
            fared: RefCell::default(),
            turn: RefCell::default(),
            closing: Cell::new(false),
            filled: Notify::new(),
            hurry: Notify::new(),
        })
    }

    /// Takes over settings; what waits goes by them.
    pub(super) fn set(&self, webhook: &Webhook) {
        if **self.settings.borrow() != *webhook {
            *self.settings.borrow_mut() = Rc::new(webhook.clone());
            self.hurry.notify_one();
        }
    }

    /// Lets a message wait, without waiting itself.
    pub(super) fn push(&self, message: Message) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back(Rc::new(Waiting { message, since: Instant::now() }));
        if waiting.len() > WAITING_MAX {
            waiting.pop_front();
            self.fared.borrow_mut().dropped += 1;
        }
        self.filled.notify_one();
    }

    /// What comes next: at once, or when there is something. `None`: nothing more will come.
    pub(super) async fn next(&self) -> Option<Rc<Waiting>> {
        loop {
            let front = self.waiting.borrow().front().map(Rc::clone);
            match front {
                Some(old) if old.since.elapsed() >= AGE_MAX => {
                    self.fared.borrow_mut().given_up += 1;
                    self.remove(&old);
                }
                Some(next) => return Some(next),
                None if self.closing.get() => return None,
                None => self.filled.notified().await,
            }
        }
    }

    /// The message has arrived.
    pub(super) fn sent(&self, waiting: &Rc<Waiting>) {
        self.remove(waiting);
        let mut fared = self.fared.borrow_mut();
        fared.sent += 1;
        fared.last_sent = Some(SystemTime::now());
        if std::mem::take(&mut fared.is_failing) {
            self.turned(None);
        }
    }

    /// There is nothing in it for this webhook.
    pub(super) fn remove(&self, waiting: &Rc<Waiting>) {
        let mut all = self.waiting.borrow_mut();
        // Too many others may have come meanwhile.
        if all.front().is_some_and(|front| Rc::ptr_eq(front, waiting)) {
            all.pop_front();
        }
    }

    /// The message has not arrived.
    pub(super) fn failed(&self, waiting: &Rc<Waiting>, fault: &Fault) {
        let mut fared = self.fared.borrow_mut();
        fared.failed += 1;
        fared.last_fault = Some((SystemTime::now(), fault.to_string()));
        if fault.is_final() {
            fared.given_up += 1;
            self.remove(waiting);
        }
        if !std::mem::replace(&mut fared.is_failing, true) {
            self.turned(Some((fault.to_string(), fault.advice())));
        }
    }

    fn turned(&self, fault: Option<(String, &'static str)>) {
        let webhook = self.settings.borrow().name.clone();
        if let Some((why, advice)) = &fault {
            tracing::warn!(webhook, "messages do not arrive: {why}; {advice}");
        } else {
            tracing::info!(webhook, "messages arrive again");
        }
        *self.turn.borrow_mut() = Some(Turn { webhook, fault });
    }

    /// The last turn that nobody has asked for yet.
    pub(super) fn take_turn(&self) -> Option<Turn> {
        self.turn.borrow_mut().take()
    }

    /// Waits before the next attempt, unless there is a reason not to.
    pub(super) async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.hurry.notified() => {}
        }
    }

    /// Nothing more will come: one more attempt, and no other.
    pub(super) fn close(&self) {
        self.closing.set(true);
        self.filled.notify_one();
        self.hurry.notify_one();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    pub(super) fn fared(&self) -> Fared {
        self.fared.borrow().clone()
    }
}
