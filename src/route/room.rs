//! Room on an endpoint: for so many exchanges at once, and a queue for those beyond.
//!
//! Shared by all workers; where there is room it costs one atomic operation. The queue is fair, and
//! whoever stops waiting leaves it. Does not know: whose exchanges these are, how long they may wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Room for exchanges; without a limit until one is set.
#[derive(Debug)]
pub struct Room {
    free: Semaphore,
    limit: AtomicUsize,
    /// Places to be given up as they come free, since the limit was lowered below what was taken.
    owed: AtomicUsize,
    waiting: AtomicUsize,
}

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

impl Default for Room {
    fn default() -> Room {
        Room {
            free: Semaphore::new(Semaphore::MAX_PERMITS),
            limit: AtomicUsize::new(Semaphore::MAX_PERMITS),
            owed: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Room {
    /// Makes it so large. Whoever waits may go on at once if it became larger; nobody who is inside
    /// is sent away if it became smaller.
    pub fn resize(&self, limit: usize) {
        let before = self.limit.swap(limit, Ordering::Relaxed);
        if limit < before {
            self.owed.fetch_add(before - limit, Ordering::AcqRel);
            self.settle();
        } else {
            let more = limit - before;
            self.free.add_permits(more - self.pay(more));
        }
    }

    /// How many it is for.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// How many are inside; more than the limit for a while after that was lowered.
    pub fn taken(&self) -> usize {
        let all = self.limit() + self.owed.load(Ordering::Relaxed);
        all.saturating_sub(self.free.available_permits())
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Goes in if there is room and nobody waits for it. Who is inside has to [`leave`](Room::leave).
    pub fn enter(&self) -> bool {
        self.free.try_acquire().map(SemaphorePermit::forget).is_ok()
    }

    /// Waits for room behind at most `longest - 1` others, and goes in.
    ///
    /// # Errors
    /// At once, when as many wait as may.
    pub async fn queue(&self, longest: usize) -> Result<(), QueueFull> {
        let waiting = Waiting(&self.waiting);
        if waiting.0.fetch_add(1, Ordering::Relaxed) >= longest {
            return Err(QueueFull);
        }
        let permit = self.free.acquire().await.expect("nobody closes it");
        permit.forget();
        Ok(())
    }

    /// Leaves: the place goes to who has waited longest.
    pub fn leave(&self) {
        if self.pay(1) == 0 {
            self.free.add_permits(1);
            // The limit may have been lowered since there was nothing to pay.
            self.settle();
        }
    }

    /// Takes at most so many off what is owed; returns how many.
    fn pay(&self, most: usize) -> usize {
        let rest = |owed: usize| (owed > 0).then(|| owed.saturating_sub(most));
        self.owed
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, rest)
            .map_or(0, |owed| owed.min(most))
    }

    /// Gives up places that are free while some are owed. Who lowers the limit owes first and looks
    /// for free places then, who leaves frees its own first and looks for debts then: one of the two
    /// finds both.
    fn settle(&self) {
        loop {
            // Unlike a load it is never behind.
            let owed = self.owed.fetch_add(0, Ordering::AcqRel);
            let gone = self.free.forget_permits(owed);
            if gone == 0 {
                return;
            }
            // Others may have paid meanwhile.
            self.free.add_permits(gone - self.pay(gone));
        }
    }
}

/// Keeps somebody who waits counted.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;

    type Turn<'a> = Pin<Box<dyn Future<Output = Result<(), QueueFull>> + 'a>>;

    fn poll(turn: &mut Turn<'_>) -> Poll<Result<(), QueueFull>> {
        turn.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_queue_ends() {
        let room = Room::default();
        room.resize(1);
        assert!(room.enter() && !room.enter());
        let (mut one, mut two): (Turn<'_>, Turn<'_>) =
            (Box::pin(room.queue(1)), Box::pin(room.queue(1)));
        assert!(poll(&mut one).is_pending());
        assert_eq!(poll(&mut two), Poll::Ready(Err(QueueFull)));
        assert_eq!((room.taken(), room.waiting()), (1, 1));
        drop(one);
        assert_eq!((room.taken(), room.waiting()), (1, 0));
        room.leave();
        assert_eq!(room.taken(), 0);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Resize(usize),
        Enter,
        Queue,
        /// Somebody who waits gives up.
        GiveUp(prop::sample::Index),
        Leave,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (1_usize..6).prop_map(Act::Resize),
            Just(Act::Enter),
            Just(Act::Queue),
            any::<prop::sample::Index>().prop_map(Act::GiveUp),
            Just(Act::Leave),
        ]
    }

    proptest! {
        #[test]
        fn nobody_waits_where_there_is_room(acts in prop::collection::vec(act(), 0..80)) {
            let room = Room::default();
            let (mut limit, mut inside, mut waiting) = (3_usize, 0_usize, Vec::<Turn<'_>>::new());
            room.resize(limit);
            for act in acts {
                let before = inside;
                match act {
                    Act::Resize(to) => {
                        limit = to;
                        room.resize(to);
                    }
                    Act::Enter => {
                        let goes_in = room.enter();
                        prop_assert_eq!(goes_in, inside < limit);
                        inside += usize::from(goes_in);
                    }
                    Act::Queue => {
                        let mut turn: Turn<'_> = Box::pin(room.queue(100));
                        match poll(&mut turn) {
                            Poll::Ready(_) => inside += 1,
                            Poll::Pending => waiting.push(turn),
                        }
                    }
                    Act::GiveUp(index) if !waiting.is_empty() => {
                        drop(waiting.remove(index.index(waiting.len())));
                    }
                    Act::Leave if inside > 0 => {
                        room.leave();
                        inside -= 1;
                    }
                    _ => {}
                }
                // In the order in which they came.
                while waiting.first_mut().is_some_and(|first| poll(first).is_ready()) {
                    drop(waiting.remove(0));
                    inside += 1;
                }
                prop_assert!(waiting.iter_mut().all(|turn| poll(turn).is_pending()));
                prop_assert!(inside <= limit.max(before));
                prop_assert!(waiting.is_empty() || inside >= limit);
                prop_assert_eq!((room.taken(), room.waiting()), (inside, waiting.len()));
            }
        }
    }
}
