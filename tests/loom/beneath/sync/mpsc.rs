//! See `tokio::sync::mpsc`, of which there are unbounded channels only.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::sync::Mutex;

use crate::line::Line;

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    senders: usize,
    is_closed: bool,
    line: Line,
}

#[derive(Debug)]
pub struct UnboundedSender<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
pub struct UnboundedReceiver<T>(Arc<Mutex<State<T>>>);

/// There is nothing, or nobody any more.
#[derive(Debug)]
pub struct Nothing;

pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let state =
        State { queue: VecDeque::new(), senders: 1, is_closed: false, line: Line::default() };
    let state = Arc::new(Mutex::new(state));
    (UnboundedSender(Arc::clone(&state)), UnboundedReceiver(state))
}

impl<T> UnboundedSender<T> {
    pub fn send(&self, value: T) -> Result<(), Nothing> {
        let mut state = self.0.lock().unwrap();
        if state.is_closed {
            return Err(Nothing);
        }
        state.queue.push_back(value);
        state.line.call_all();
        Ok(())
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> UnboundedSender<T> {
        self.0.lock().unwrap().senders += 1;
        UnboundedSender(Arc::clone(&self.0))
    }
}

impl<T> Drop for UnboundedSender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap();
        state.senders -= 1;
        if state.senders == 0 {
            state.line.call_all();
        }
    }
}

impl<T> UnboundedReceiver<T> {
    pub fn try_recv(&mut self) -> Result<T, Nothing> {
        self.0.lock().unwrap().queue.pop_front().ok_or(Nothing)
    }

    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| {
            let mut state = self.0.lock().unwrap();
            if let Some(value) = state.queue.pop_front() {
                return Poll::Ready(Some(value));
            }
            if state.senders == 0 {
                return Poll::Ready(None);
            }
            state.line.join(context.waker());
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for UnboundedReceiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap();
        state.is_closed = true;
        state.queue.clear();
    }
}
