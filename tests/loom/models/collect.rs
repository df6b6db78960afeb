//! The counts of workers on their way to the control plane.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;

use beneath::time::{Duration, advance};
use loom::future::block_on;
use loom::thread;
use tidegate_loom::collect::{Answering, Collector, Sample};
use tidegate_loom::tally::Tally;

use crate::{in_every_order, join, poll_once};

/// A worker that counts as many as its number says, and returns what it has kept.
fn worker(end: Answering, counts: u64) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let tally = Rc::new(RefCell::new(Tally(counts)));
        block_on(end.run(Rc::clone(&tally), Rc::default()));
        tally.take().0
    })
}

fn sum(samples: &[Sample]) -> u64 {
    samples.iter().map(|it| it.tally.0).sum()
}

/// Two of them, who count 11 together.
fn two() -> (Collector, [thread::JoinHandle<u64>; 2]) {
    let (collector, ends) = Collector::new(2);
    let ends: [Answering; 2] = ends.try_into().unwrap();
    let mut counts = [1, 10].into_iter();
    (collector, ends.map(|end| worker(end, counts.next().unwrap())))
}

#[test]
fn every_count_arrives_once() {
    in_every_order(2, || {
        let (mut collector, workers) = two();
        assert_eq!(sum(&block_on(collector.collect())), 11);
        drop(collector);
        assert_eq!(join(workers), [0, 0]);
    });
}

#[test]
fn whoever_is_late_is_counted_later() {
    in_every_order(2, || {
        let (mut collector, mut ends) = Collector::new(1);
        let slow = worker(ends.remove(0), 1);
        // The wait may end at any moment.
        let clock = thread::spawn(|| advance(Duration::from_millis(250)));
        let early = sum(&block_on(collector.collect()));
        clock.join().unwrap();
        let late = sum(&block_on(collector.collect()));
        assert_eq!(early + late, 1);
        drop(collector);
        assert_eq!(slow.join().unwrap(), 0);
    });
}

#[test]
fn whoever_gives_up_loses_nothing() {
    in_every_order(1, || {
        let (mut collector, workers) = two();
        let first = poll_once(&mut Box::pin(collector.collect()));
        let early = if let Poll::Ready(samples) = first { sum(&samples) } else { 0 };
        // A worker that was asked twice may answer in place of the other.
        let [next, last] = [(); 2].map(|()| sum(&block_on(collector.collect())));
        assert_eq!(early + next + last, 11);
        drop(collector);
        assert_eq!(join(workers), [0, 0]);
    });
}
