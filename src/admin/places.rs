//! Room for so many connections at once: when all places are taken, whoever has kept us waiting for
//! longest goes, so that nobody keeps others out by being slow.
//!
//! A connection that waits for us is never sent away. Does not know: what is said on them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;

/// Who waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// We for the peer's request.
    Asking,
    /// We for the peer to take its answer.
    Taking,
    /// The peer for us.
    Working,
}

#[derive(Debug)]
struct Seat {
    phase: Cell<Phase>,
    /// When the phase began, on a clock that counts changes.
    since: Cell<u64>,
    leave: Notify,
}

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    clock: Cell<u64>,
    taken: RefCell<Vec<Rc<Seat>>>,
    changed: Notify,
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Rc<Places>,
    seat: Rc<Seat>,
}

impl Places {
    /// So many.
    pub(super) fn new(max: usize) -> Rc<Places> {
        let (taken, changed) = (RefCell::default(), Notify::new());
        Rc::new(Places { max, clock: Cell::default(), taken, changed })
    }

    /// A place for a newcomer, whose request we wait for. It takes somebody else's, unless all the
    /// others wait for us.
    pub(super) async fn take(self: &Rc<Self>) -> Place {
        while self.taken.borrow().len() >= self.max && !self.make_room() {
            self.changed.notified().await;
        }
        let (phase, since) = (Cell::new(Phase::Asking), Cell::new(self.tick()));
        let seat = Rc::new(Seat { phase, since, leave: Notify::new() });
        self.taken.borrow_mut().push(Rc::clone(&seat));
        Place { places: Rc::clone(self), seat }
    }

    /// Sends one away; `false` if all wait for us.
    fn make_room(&self) -> bool {
        let mut taken = self.taken.borrow_mut();
        let idle = taken.iter().enumerate().filter(|(_, it)| it.phase.get() != Phase::Working);
        let oldest = idle.min_by_key(|(_, it)| (it.phase.get(), it.since.get()));
        let Some(at) = oldest.map(|(at, _)| at) else { return false };
        taken.remove(at).leave.notify_one();
        true
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }
}

impl Place {
    /// The request is there: the peer waits for us.
    pub(super) fn works(&self) {
        self.enter(Phase::Working);
    }

    /// The answer is there: we wait for the peer.
    pub(super) fn answers(&self) {
        self.enter(Phase::Taking);
        self.places.changed.notify_one();
    }

    /// Returns when the place is given to somebody else.
    pub(super) async fn lost(&self) {
        self.seat.leave.notified().await;
    }

    fn enter(&self, phase: Phase) {
        self.seat.phase.set(phase);
        self.seat.since.set(self.places.tick());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.borrow_mut().retain(|it| !Rc::ptr_eq(it, &self.seat));
        self.places.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether something has happened already.
    async fn now(it: impl Future) -> bool {
        tokio::time::timeout(Duration::from_millis(1), it).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_waited_for_longest_goes() {
        let places = Places::new(3);
        let (slow, busy, reader) = (places.take().await, places.take().await, places.take().await);
        busy.works();
        reader.works();
        reader.answers();
        let first = places.take().await;
        assert!(now(slow.lost()).await);
        let second = places.take().await;
        assert!(now(first.lost()).await, "before those who have asked something");
        second.works();
        let third = places.take().await;
        assert!(now(reader.lost()).await);
        third.works();
        assert!(!now(places.take()).await, "all wait for us");
        busy.answers();
        let fourth = places.take().await;
        assert!(now(busy.lost()).await && !now(fourth.lost()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_when_its_connection_ends() {
        let places = Places::new(1);
        let first = places.take().await;
        first.works();
        let ((), second) = tokio::join!(async { drop(first) }, places.take());
        assert!(!now(second.lost()).await);
    }
}
