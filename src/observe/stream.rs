//! Streams while they are open: counted, and those of a session known to whoever waits for an
//! answer on them.
//!
//! Does not know: what is on them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::time::Instant;

use crate::mcp::answer::Content;
use crate::mcp::message::RequestId;
use crate::names::Arm;

use super::join::{Brings, Crossing, StreamEnd, What};
use super::session::{CallKey, SessionKey};
use super::tally::Tally;

/// Keeps an exchange counted while it is under way.
#[derive(Debug)]
pub struct UnderWay {
    tally: Rc<RefCell<Tally>>,
    is_endless: bool,
}

impl UnderWay {
    /// Counts an exchange until the guard is dropped.
    pub fn new(tally: &Rc<RefCell<Tally>>) -> UnderWay {
        tally.borrow_mut().now.calls += 1;
        UnderWay { tally: Rc::clone(tally), is_endless: false }
    }

    /// It has become a stream without an end of its own.
    pub fn set_endless(&mut self) {
        if !std::mem::replace(&mut self.is_endless, true) {
            let now = &mut self.tally.borrow_mut().now;
            now.calls -= 1;
            now.endless += 1;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let now = &mut self.tally.borrow_mut().now;
        *(if self.is_endless { &mut now.endless } else { &mut now.calls }) -= 1;
    }
}

/// Keeps a stream counted as open.
#[derive(Debug)]
pub struct OpenStream {
    tally: Rc<RefCell<Tally>>,
    arm: Arm,
}

impl OpenStream {
    /// Counts a stream from this arm until the guard is dropped.
    pub fn new(tally: &Rc<RefCell<Tally>>, arm: Arm) -> OpenStream {
        *tally.borrow_mut().now.streams.get_mut(arm) += 1;
        OpenStream { tally: Rc::clone(tally), arm }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        *self.tally.borrow_mut().now.streams.get_mut(self.arm) -= 1;
    }
}

/// A stream of a session that is not the answer to a POST; its end is told when it is dropped.
#[derive(Debug)]
pub struct SessionStream {
    tally: Rc<RefCell<Tally>>,
    arm: Arm,
    session: Cell<Option<SessionKey>>,
    brings: Brings,
    /// The session lives as long as the stream does, as that of HTTP+SSE.
    is_session: bool,
    end: Cell<StreamEnd>,
}

impl SessionStream {
    /// A stream of a session that was there before.
    pub fn of(
        tally: &Rc<RefCell<Tally>>,
        arm: Arm,
        session: SessionKey,
        brings: Brings,
    ) -> Rc<SessionStream> {
        let stream = SessionStream::new(tally, arm, brings, false);
        stream.begin(session);
        Rc::new(stream)
    }

    /// The stream of an HTTP+SSE session; [`SessionStream::open_session`] follows when the server
    /// has named it.
    pub fn of_legacy(tally: &Rc<RefCell<Tally>>, arm: Arm) -> Rc<SessionStream> {
        Rc::new(SessionStream::new(tally, arm, Brings::Answers, true))
    }

    fn new(
        tally: &Rc<RefCell<Tally>>,
        arm: Arm,
        brings: Brings,
        is_session: bool,
    ) -> SessionStream {
        SessionStream {
            tally: Rc::clone(tally),
            arm,
            session: Cell::new(None),
            brings,
            is_session,
            end: Cell::new(StreamEnd::ByClient),
        }
    }

    /// The session that it belongs to, once that is known.
    pub fn session(&self) -> Option<SessionKey> {
        self.session.get()
    }

    /// The server has opened a session on it.
    pub fn open_session(&self, session: SessionKey) {
        *self.tally.borrow_mut().sessions.get_mut(self.arm) += 1;
        self.begin(session);
    }

    /// An answer has come on it.
    pub fn answer(&self, id: &RequestId, content: Content) {
        if let Some(session) = self.session.get() {
            self.cross(What::Answer(CallKey::of(session, id), content));
        }
    }

    /// The server asks its client something.
    pub fn ask(&self, id: &RequestId) {
        if let Some(session) = self.session.get() {
            self.cross(What::Ask(CallKey::of(session, id)));
        }
    }

    /// It has ended in another way than by the client's leaving.
    pub fn end(&self, end: StreamEnd) {
        self.end.set(end);
    }

    fn begin(&self, session: SessionKey) {
        self.session.set(Some(session));
        self.tally.borrow_mut().use_session(session, self.arm, Instant::now());
        self.cross(What::StreamOpened(session, self.brings));
    }

    fn cross(&self, what: What) {
        // Without room the answer stays unmatched, and its call is counted when the stream ends.
        let _ = self.tally.borrow_mut().cross(Crossing { at: Instant::now(), what });
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        if let Some(session) = self.session.get() {
            self.cross(What::StreamEnded(session, self.brings, self.end.get()));
            if self.is_session {
                self.cross(What::Closed(session));
            }
        }
    }
}
