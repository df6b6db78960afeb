//! What is noted on an endpoint by workers and taken by the control plane, and what is in flight.

use std::sync::Arc;

use loom::future::block_on;
use loom::thread;
use tidegate_loom::endpoint::Endpoint;
use tidegate_loom::names::{Arm, EndpointUrl};
use tidegate_loom::tls::client::Client;

use crate::{in_every_order, join, poll_once};

fn endpoint() -> Arc<Endpoint> {
    Arc::new(Endpoint::new(Arm::Primary, &EndpointUrl, &Arc::new(Client(0))))
}

/// Does it on so many threads at once.
fn at_once<const N: usize>(
    endpoint: &Arc<Endpoint>,
    what: impl Fn(&Arc<Endpoint>) + Copy + 'static,
) {
    let all = [(); N].map(|()| {
        let endpoint = Arc::clone(endpoint);
        thread::spawn(move || what(&endpoint))
    });
    join(all);
}

fn is_suspect(endpoint: &Endpoint) -> bool {
    poll_once(&mut Box::pin(endpoint.suspected())).is_ready()
}

#[test]
fn a_refusal_is_heard() {
    in_every_order(3, || {
        let endpoint = endpoint();
        let hears = {
            let endpoint = Arc::clone(&endpoint);
            thread::spawn(move || block_on(endpoint.suspected()))
        };
        at_once::<2>(&endpoint, |it| it.note_refusal());
        hears.join().unwrap();
    });
}

#[test]
fn faults_in_a_row_are_heard_whoever_has_them() {
    in_every_order(3, || {
        let endpoint = endpoint();
        let hears = {
            let endpoint = Arc::clone(&endpoint);
            thread::spawn(move || block_on(endpoint.suspected()))
        };
        at_once::<2>(&endpoint, |it| it.note_fault(2));
        hears.join().unwrap();
        // They begin anew: one more is not yet a row, a second is.
        endpoint.note_fault(2);
        assert!(!is_suspect(&endpoint));
        endpoint.note_fault(2);
        assert!(is_suspect(&endpoint));
    });
}

#[test]
fn more_faults_than_a_row_has_are_heard_too() {
    in_every_order(3, || {
        let endpoint = endpoint();
        at_once::<3>(&endpoint, |it| it.note_fault(2));
        assert!(is_suspect(&endpoint));
        // At most one of the three was the first of another row.
        endpoint.note_fault(2);
        endpoint.note_fault(2);
        assert!(is_suspect(&endpoint));
    });
}

#[test]
fn failed_calls_in_a_row_are_taken_once() {
    in_every_order(3, || {
        let endpoint = endpoint();
        let takes = {
            let endpoint = Arc::clone(&endpoint);
            thread::spawn(move || endpoint.take_failing())
        };
        at_once::<2>(&endpoint, |it| it.note_failed_call(Some(2)));
        let (early, late) = (takes.join().unwrap(), endpoint.take_failing());
        assert!(early ^ late, "{early} {late}");
        assert!(!endpoint.take_failing());
    });
}

#[test]
fn a_failure_is_never_lost_to_who_looks_at_that_moment() {
    in_every_order(3, || {
        let endpoint = endpoint();
        let takes = {
            let endpoint = Arc::clone(&endpoint);
            thread::spawn(move || endpoint.take_failing())
        };
        endpoint.note_failed_call(Some(1));
        assert!(takes.join().unwrap() ^ endpoint.take_failing());
    });
}

#[test]
fn what_got_through_ends_a_row() {
    in_every_order(3, || {
        let endpoint = endpoint();
        at_once::<2>(&endpoint, |it| {
            it.note_fault(3);
            it.note_failed_call(Some(3));
        });
        endpoint.note_success();
        endpoint.note_call();
        endpoint.note_fault(3);
        endpoint.note_failed_call(Some(3));
        assert!(!is_suspect(&endpoint) && !endpoint.take_failing());
    });
}

#[test]
fn what_is_in_flight_is_counted_once() {
    in_every_order(2, || {
        let endpoint = endpoint();
        endpoint.room().resize(1);
        let sees = {
            let endpoint = Arc::clone(&endpoint);
            thread::spawn(move || assert!(endpoint.in_flight() <= 3))
        };
        let works = {
            let endpoint = Arc::clone(&endpoint);
            thread::spawn(move || {
                let _stream = endpoint.enter();
                let call = block_on(endpoint.enter_in_turn(9)).unwrap();
                assert!(call.takes_room() && call.is_on(&endpoint));
            })
        };
        drop(endpoint.enter_if_room());
        works.join().unwrap();
        sees.join().unwrap();
        assert_eq!((endpoint.in_flight(), endpoint.room().taken()), (0, 0));
        let last = endpoint.enter_if_room();
        assert!(last.is_some() && endpoint.enter_if_room().is_none());
    });
}
