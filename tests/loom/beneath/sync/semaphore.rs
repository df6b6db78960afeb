//! See `tokio::sync::Semaphore`: fair, and whoever stops waiting passes on what was meant for it.
//!
//! What is free is an atomic, as there, and orders no more than there: a lock would hide what is
//! missing around it.

use std::pin::Pin;
use std::task::{Context, Poll};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Mutex, MutexGuard};

use crate::line::Line;

#[derive(Debug)]
pub struct Semaphore {
    free: AtomicUsize,
    line: Mutex<Line>,
}

/// Nobody closes one here.
#[derive(Debug)]
pub struct Never;

#[derive(Debug)]
pub struct SemaphorePermit<'a>(&'a Semaphore);

impl Semaphore {
    pub const MAX_PERMITS: usize = usize::MAX >> 3;

    pub fn new(free: usize) -> Semaphore {
        Semaphore { free: AtomicUsize::new(free), line: Mutex::default() }
    }

    pub fn available_permits(&self) -> usize {
        self.free.load(Ordering::SeqCst)
    }

    pub fn add_permits(&self, more: usize) {
        if more > 0 {
            self.give(self.line.lock().unwrap(), more);
        }
    }

    fn give(&self, mut line: MutexGuard<'_, Line>, more: usize) {
        let called = (0..more).take_while(|_| line.call()).count();
        if called < more {
            self.free.fetch_add(more - called, Ordering::Release);
        }
    }

    pub fn forget_permits(&self, most: usize) -> usize {
        if most == 0 {
            return 0;
        }
        let rest = |free: usize| Some(free.saturating_sub(most));
        let before = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, rest);
        before.map_or(0, |free| free.min(most))
    }

    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, Never> {
        let free = |free: usize| free.checked_sub(1);
        match self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, free) {
            Ok(_) => Ok(SemaphorePermit(self)),
            Err(_) => Err(Never),
        }
    }

    pub fn acquire(&self) -> Acquire<'_> {
        Acquire { semaphore: self, number: None }
    }
}

impl SemaphorePermit<'_> {
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

pub struct Acquire<'a> {
    semaphore: &'a Semaphore,
    number: Option<u64>,
}

impl<'a> Future for Acquire<'a> {
    type Output = Result<SemaphorePermit<'a>, Never>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let semaphore = self.semaphore;
        let mut line = semaphore.line.lock().unwrap();
        if let Some(number) = self.number {
            if !line.is_called(number, context.waker()) {
                return Poll::Pending;
            }
            self.number = None;
            return Poll::Ready(Ok(SemaphorePermit(semaphore)));
        }
        // Under the lock, so that nothing comes free between the look and the place in the line.
        let permit = semaphore.try_acquire();
        if permit.is_err() {
            self.number = Some(line.join(context.waker()));
            return Poll::Pending;
        }
        Poll::Ready(permit)
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut line = self.semaphore.line.lock().unwrap();
        if line.leave(number) {
            self.semaphore.give(line, 1);
        }
    }
}
