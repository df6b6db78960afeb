//! See `tokio::sync::Notify`: one note is kept for who comes later; of several one is left.

use std::pin::Pin;
use std::task::{Context, Poll};

use loom::sync::Mutex;

use crate::line::Line;

#[derive(Debug)]
pub struct Notify(Mutex<State>);

#[derive(Debug)]
struct State {
    noted: bool,
    line: Line,
}

impl Notify {
    pub fn new() -> Notify {
        Notify(Mutex::new(State { noted: false, line: Line::default() }))
    }

    pub fn notify_one(&self) {
        let mut state = self.0.lock().unwrap();
        if !state.line.call() {
            state.noted = true;
        }
    }

    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, number: None }
    }
}

pub struct Notified<'a> {
    notify: &'a Notify,
    number: Option<u64>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        let mut state = notify.0.lock().unwrap();
        let is_over = match self.number {
            Some(number) => state.line.is_called(number, context.waker()),
            None if std::mem::take(&mut state.noted) => true,
            None => {
                self.number = Some(state.line.join(context.waker()));
                false
            }
        };
        if !is_over {
            return Poll::Pending;
        }
        self.number = None;
        Poll::Ready(())
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let is_called = self.notify.0.lock().unwrap().line.leave(number);
        if is_called {
            self.notify.notify_one();
        }
    }
}
