//! One name, asked for by several workers.

use std::time::Duration;

use beneath::net::asked;
use beneath::task::lose_one;
use loom::future::block_on;
use loom::thread;
use tidegate_loom::lookup::{Lookup, NoAddress};

use crate::{in_every_order, join};

#[test]
fn there_is_one_look_up_at_a_time_and_everybody_gets_an_answer() {
    in_every_order(2, || {
        let lookup = Lookup::new("somewhere");
        let others = [(); 1].map(|()| {
            let lookup = lookup.clone();
            thread::spawn(move || assert_eq!(block_on(lookup.addresses()).unwrap().len(), 1))
        });
        assert_eq!(block_on(lookup.addresses()).unwrap().len(), 1);
        join(others);
        let asked = asked();
        assert_eq!((asked.now, asked.most_at_once), (0, 1));
        assert!((1..=2).contains(&asked.times));
    });
}

#[test]
fn a_failure_is_the_answer_for_a_second() {
    in_every_order(2, || {
        let lookup = Lookup::new("nowhere");
        let others = [(); 1].map(|()| {
            let lookup = lookup.clone();
            thread::spawn(move || block_on(lookup.addresses()).unwrap_err())
        });
        let own = block_on(lookup.addresses()).unwrap_err();
        let theirs = join(others);
        assert_eq!(theirs, [own]);
        assert_eq!(asked().times, 1);
        beneath::time::advance(Duration::from_secs(1));
        assert!(block_on(lookup.addresses()).is_err());
        assert_eq!(asked().times, 2);
    });
}

#[test]
fn a_look_up_that_ends_with_its_worker_holds_nobody_up() {
    in_every_order(2, || {
        let lookup = Lookup::new("somewhere");
        let other = {
            let lookup = lookup.clone();
            thread::spawn(move || {
                lose_one();
                block_on(lookup.addresses())
            })
        };
        let own = block_on(lookup.addresses());
        let [theirs] = join([other]);
        let is_lost = [&own, &theirs].map(|it| {
            assert!(matches!(it, Ok(_) | Err(NoAddress::NotYet)), "{it:?}");
            it.is_err()
        });
        // Whoever comes after it begins anew.
        assert!(block_on(lookup.addresses()).is_ok() || is_lost == [false; 2]);
    });
}
