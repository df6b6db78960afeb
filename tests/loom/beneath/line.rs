//! Tasks that wait in the order in which they came, under somebody's lock.

use std::collections::{BTreeSet, VecDeque};
use std::task::Waker;

#[derive(Debug, Default)]
pub struct Line {
    next: u64,
    waiting: VecDeque<(u64, Waker)>,
    called: BTreeSet<u64>,
}

impl Line {
    pub fn join(&mut self, waker: &Waker) -> u64 {
        self.next += 1;
        self.waiting.push_back((self.next, waker.clone()));
        self.next
    }

    /// Whether it has been called; from now on it is woken by `waker`.
    pub fn is_called(&mut self, number: u64, waker: &Waker) -> bool {
        if let Some((_, old)) = self.waiting.iter_mut().find(|(it, _)| *it == number) {
            old.clone_from(waker);
        }
        self.called.remove(&number)
    }

    /// Calls the first; `false`: nobody waits.
    pub fn call(&mut self) -> bool {
        let Some((number, waker)) = self.waiting.pop_front() else { return false };
        self.called.insert(number);
        waker.wake();
        true
    }

    pub fn call_all(&mut self) {
        while self.call() {}
    }

    /// Somebody stops waiting; `true`: after the call, which is for somebody else then.
    pub fn leave(&mut self, number: u64) -> bool {
        self.waiting.retain(|(it, _)| *it != number);
        self.called.remove(&number)
    }
}
