//! See `tokio::sync::watch`.

use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;
use std::task::Poll;

use loom::sync::Mutex;

use crate::line::Line;

#[derive(Debug)]
struct State<T> {
    value: T,
    version: u64,
    is_closed: bool,
    line: Line,
}

#[derive(Debug)]
pub struct Sender<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
pub struct Receiver<T> {
    state: Arc<Mutex<State<T>>>,
    seen: u64,
}

/// The sender is gone.
#[derive(Debug)]
pub struct RecvError;

/// The value; here a copy of it.
pub struct Ref<T>(T);

impl<T> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let state = State { value, version: 0, is_closed: false, line: Line::default() };
    let state = Arc::new(Mutex::new(state));
    (Sender(Arc::clone(&state)), Receiver { state, seen: 0 })
}

impl<T> Sender<T> {
    pub fn send_replace(&self, value: T) -> T {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        state.line.call_all();
        std::mem::replace(&mut state.value, value)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap();
        state.is_closed = true;
        state.line.call_all();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver { state: Arc::clone(&self.state), seen: self.seen }
    }
}

impl<T: Clone> Receiver<T> {
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        let state = self.state.lock().unwrap();
        if state.is_closed { Err(RecvError) } else { Ok(state.version != self.seen) }
    }

    pub async fn wait_for(
        &mut self,
        mut is_it: impl FnMut(&T) -> bool,
    ) -> Result<Ref<T>, RecvError> {
        poll_fn(|context| {
            let mut state = self.state.lock().unwrap();
            self.seen = state.version;
            if is_it(&state.value) {
                return Poll::Ready(Ok(Ref(state.value.clone())));
            }
            if state.is_closed {
                return Poll::Ready(Err(RecvError));
            }
            state.line.join(context.waker());
            Poll::Pending
        })
        .await
    }
}
