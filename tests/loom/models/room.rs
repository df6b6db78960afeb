//! Room on an endpoint: its limit, its queue, and changes of both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::future::block_on;
use loom::thread;
use tidegate_loom::room::Room;

use crate::{in_every_order, join, poll_once};

fn room(limit: usize) -> Arc<Room> {
    let room = Room::default();
    room.resize(limit);
    Arc::new(room)
}

/// Nobody is there, and exactly so many may come.
#[track_caller]
fn is_empty(room: &Room, limit: usize) {
    assert_eq!((room.taken(), room.waiting()), (0, 0));
    let entered = (0..=limit).filter(|_| room.enter()).count();
    assert_eq!(entered, limit);
}

#[test]
fn never_more_inside_than_there_is_room_for() {
    in_every_order(2, || {
        let (room, inside) = (room(1), Arc::new(AtomicUsize::new(0)));
        let visit = {
            let (room, inside) = (Arc::clone(&room), Arc::clone(&inside));
            move |waits: bool| {
                if if waits { block_on(room.queue(9)).is_ok() } else { room.enter() } {
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::Relaxed);
                    room.leave();
                }
            }
        };
        let others = [true, false].map(|waits| {
            let visit = visit.clone();
            thread::spawn(move || visit(waits))
        });
        visit(true);
        join(others);
        is_empty(&room, 1);
    });
}

#[test]
fn whoever_waits_is_woken() {
    in_every_order(3, || {
        let room = room(1);
        assert!(room.enter());
        let others = [(); 2].map(|()| {
            let room = Arc::clone(&room);
            thread::spawn(move || {
                block_on(room.queue(2)).unwrap();
                room.leave();
            })
        });
        room.leave();
        join(others);
        is_empty(&room, 1);
    });
}

#[test]
fn whoever_gives_up_passes_the_place_on() {
    in_every_order(3, || {
        let room = room(1);
        assert!(room.enter());
        let impatient = {
            let room = Arc::clone(&room);
            thread::spawn(move || {
                if poll_once(&mut Box::pin(room.queue(2))).is_ready() {
                    room.leave();
                }
            })
        };
        let patient = {
            let room = Arc::clone(&room);
            thread::spawn(move || {
                block_on(room.queue(2)).unwrap();
                room.leave();
            })
        };
        room.leave();
        impatient.join().unwrap();
        patient.join().unwrap();
        is_empty(&room, 1);
    });
}

#[test]
fn no_more_wait_than_may() {
    in_every_order(3, || {
        let (room, waiting) = (room(1), Arc::new(AtomicUsize::new(0)));
        assert!(room.enter());
        let others = [(); 3].map(|()| {
            let (room, waiting) = (Arc::clone(&room), Arc::clone(&waiting));
            thread::spawn(move || {
                let mut turn = Box::pin(room.queue(1));
                if poll_once(&mut turn).is_pending() {
                    assert_eq!(waiting.fetch_add(1, Ordering::Relaxed), 0);
                    thread::yield_now();
                    waiting.fetch_sub(1, Ordering::Relaxed);
                }
            })
        });
        join(others);
        room.leave();
        is_empty(&room, 1);
    });
}

#[test]
fn nobody_goes_in_above_a_smaller_limit() {
    in_every_order(3, || {
        let room = room(2);
        assert!(room.enter() && room.enter());
        let worker = {
            let room = Arc::clone(&room);
            thread::spawn(move || room.leave())
        };
        room.resize(1);
        worker.join().unwrap();
        assert_eq!(room.taken(), 1);
        assert!(!room.enter());
        room.leave();
        is_empty(&room, 1);
    });
}

#[test]
fn a_smaller_limit_takes_no_place_from_who_waits() {
    in_every_order(2, || {
        let room = room(2);
        assert!(room.enter());
        let other = {
            let room = Arc::clone(&room);
            thread::spawn(move || {
                block_on(room.queue(2)).unwrap();
                room.leave();
            })
        };
        room.resize(1);
        room.leave();
        join([other]);
        is_empty(&room, 1);
    });
}

#[test]
fn a_larger_limit_lets_those_in_who_wait() {
    in_every_order(3, || {
        let room = room(1);
        assert!(room.enter());
        let others = [(); 2].map(|()| {
            let room = Arc::clone(&room);
            thread::spawn(move || block_on(room.queue(2)).unwrap())
        });
        // Nobody leaves.
        room.resize(3);
        join(others);
        assert_eq!((room.taken(), room.waiting(), room.enter()), (3, 0, false));
    });
}

#[test]
fn limits_that_come_and_go_lose_no_place() {
    in_every_order(2, || {
        let room = room(2);
        assert!(room.enter() && room.enter());
        let leaves = {
            let room = Arc::clone(&room);
            thread::spawn(move || room.leave())
        };
        let visits = {
            let room = Arc::clone(&room);
            thread::spawn(move || {
                block_on(room.queue(1)).unwrap();
                room.leave();
            })
        };
        room.resize(1);
        room.resize(3);
        join([leaves]);
        join([visits]);
        room.leave();
        is_empty(&room, 3);
    });
}
