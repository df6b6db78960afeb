//! When event streams end, once the router does.
//!
//! Streams on which nobody waits for an answer end soon, so that their clients come back to whoever
//! serves next; answers have all the time there is. Until then a stream costs one waker here, and
//! only event streams do. Does not know: what is on them, why the router ends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::observe::join::Awaiting;
use crate::observe::stream::SessionStream;

/// When streams end.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The first that carries no call.
    pub from: Instant,
    /// The last of those.
    pub by: Instant,
    /// All that can.
    pub over: Instant,
}

/// What a stream carries, and so how it may end.
#[derive(Debug)]
pub enum Carries {
    /// What the server has to say by itself: it ends as if the server had ended it, since clients
    /// ask for the next one then.
    News,
    /// What a client of 2026-07-28 has subscribed to: it is cut, since clients take an end in good
    /// order for the end of the subscription.
    Subscription,
    /// The answers of its session too, since it is that of HTTP+SSE or was resumed: it ends when none is
    /// awaited.
    Session(Option<Rc<SessionStream>>),
    /// The answer to a call: it ends early only if its client can resume it.
    Answer,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// In good order.
    End,
    /// By a cut.
    Cut,
}

/// When the event streams of a worker end.
#[derive(Debug, Default)]
pub struct Parting {
    times: Cell<Option<Times>>,
    /// `None`: nobody has said yet.
    awaiting: RefCell<Option<Awaiting>>,
    /// Streams that wait, by number.
    asleep: RefCell<HashMap<u64, Waker>>,
    streams: Cell<u64>,
}

impl Parting {
    /// The end has begun.
    pub fn begin(&self, times: Times) {
        self.times.set(Some(times));
        self.wake();
    }

    /// These sessions wait for answers, and no others.
    pub fn hear(&self, sessions: Awaiting) {
        self.awaiting.replace(Some(sessions));
        self.wake();
    }

    fn wake(&self) {
        for (_, waker) in self.asleep.take() {
            waker.wake();
        }
    }

    /// Whether a stream may still bring an answer of its session.
    fn is_awaited(&self, stream: Option<&SessionStream>) -> bool {
        match (&*self.awaiting.borrow(), stream.map(SessionStream::session)) {
            (_, Some(None)) => false,
            (Some(awaiting), Some(Some(session))) => awaiting.contains(&session),
            _ => true,
        }
    }
}

/// The stay of one event stream.
#[derive(Debug)]
pub struct Stay {
    parting: Rc<Parting>,
    number: u64,
    carries: Carries,
    /// An event with an id has passed.
    resumable: bool,
    /// When its turn is.
    turn: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stay {
    /// A stream that has just been opened.
    pub fn new(parting: &Rc<Parting>, carries: Carries) -> Stay {
        let number = parting.streams.get() + 1;
        parting.streams.set(number);
        let parting = Rc::clone(parting);
        Stay { parting, number, carries, resumable: false, turn: None, timer: None }
    }

    /// An event with an id has passed.
    pub fn is_resumable(&mut self) {
        self.resumable = true;
    }

    /// Whether the stream is to end now, if it stands between two events.
    pub fn last(&mut self) -> Option<Last> {
        let times = self.parting.times.get()?;
        let (now, turn) = (Instant::now(), self.turn(times));
        let is_over = now >= times.over;
        match &self.carries {
            Carries::News => (now >= turn).then_some(Last::End),
            Carries::Subscription => (now >= turn).then_some(Last::Cut),
            Carries::Session(stream) => {
                let waits = || self.parting.is_awaited(stream.as_deref());
                (is_over || now >= turn && !waits()).then_some(Last::End)
            }
            Carries::Answer => (is_over && self.resumable).then_some(Last::End),
        }
    }

    /// Returns when it is worth asking again.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut asleep = self.parting.asleep.borrow_mut();
        let known = asleep.get(&self.number).is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            asleep.insert(self.number, cx.waker().clone());
        }
        drop(asleep);
        let Some(times) = self.parting.times.get() else { return Poll::Pending };
        let turn = self.turn(times);
        let now = Instant::now();
        let Some(next) = [turn, times.over].into_iter().find(|at| *at > now) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
        if timer.deadline() != next {
            timer.as_mut().reset(next);
        }
        timer.as_mut().poll(cx)
    }

    /// Its own time between the first and the last.
    fn turn(&mut self, times: Times) -> Instant {
        let Times { from, by, over } = times;
        let any = || from + Duration::mul_f64(by - from, rand::random());
        match self.carries {
            Carries::Answer => over,
            _ => *self.turn.get_or_insert_with(any),
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.parting.asleep.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
