//! Brings the tallies of all workers to the control plane, once a second and before each scrape.
//!
//! A worker answers between two requests; nobody waits for a worker that does not. Does not know:
//! what becomes of the numbers.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::upstream::pool::{Pool, PoolCounts};

use super::tally::Tally;

/// How long a collection waits for a worker. What comes later is in the next one.
const ANSWER_MAX: Duration = Duration::from_millis(250);

/// What one worker hands over.
#[derive(Debug)]
pub struct Sample {
    /// The worker's number.
    pub worker: usize,
    /// Its counts.
    pub tally: Tally,
    /// Its connections to the servers.
    pub pool: PoolCounts,
}

/// The collecting end.
#[derive(Debug)]
pub struct Collector {
    workers: Vec<mpsc::UnboundedSender<()>>,
    samples: mpsc::UnboundedReceiver<Sample>,
    /// What has come; a collection that is given up, as by a scrape that hangs up, leaves it to
    /// the next one.
    come: Vec<Sample>,
}

/// The end that a worker answers on.
#[derive(Debug)]
pub struct Answering {
    worker: usize,
    asked: mpsc::UnboundedReceiver<()>,
    sample: mpsc::UnboundedSender<Sample>,
}

impl Collector {
    /// A collector, and an end for each of so many workers.
    pub fn new(workers: usize) -> (Collector, Vec<Answering>) {
        let (sample, samples) = mpsc::unbounded_channel();
        let (askers, ends) = (0..workers)
            .map(|worker| {
                let (asker, asked) = mpsc::unbounded_channel();
                (asker, Answering { worker, asked, sample: sample.clone() })
            })
            .unzip();
        (Collector { workers: askers, samples, come: Vec::new() }, ends)
    }

    /// Asks every worker and returns what came, late samples of earlier rounds included.
    pub async fn collect(&mut self) -> Vec<Sample> {
        // What came too late for the round before belongs to nobody's count of this one.
        while let Ok(late) = self.samples.try_recv() {
            self.come.push(late);
        }
        let mut waiting = self.workers.iter().filter(|worker| worker.send(()).is_ok()).count();
        let until = Instant::now() + ANSWER_MAX;
        while waiting > 0 {
            match tokio::time::timeout_at(until, self.samples.recv()).await {
                Ok(Some(sample)) => self.come.push(sample),
                Ok(None) | Err(_) => break,
            }
            waiting -= 1;
        }
        std::mem::take(&mut self.come)
    }
}

impl Answering {
    /// Answers until the collector is gone.
    pub async fn run(mut self, tally: Rc<RefCell<Tally>>, pool: Rc<Pool>) {
        while self.asked.recv().await.is_some() {
            let (tally, pool) = (tally.borrow_mut().take(), pool.take_counts());
            if self.sample.send(Sample { worker: self.worker, tally, pool }).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::tally::Tally;

    #[tokio::test(start_paused = true)]
    async fn what_has_come_is_not_lost_with_whoever_asked() {
        let (mut collector, ends) = Collector::new(2);
        let tally = Tally { accepted: 7, ..Tally::default() };
        let sample = Sample { worker: 0, tally, pool: PoolCounts::default() };
        ends[0].sample.send(sample).unwrap();
        // A scrape that hangs up while the other worker is busy.
        let gone = tokio::time::timeout(ANSWER_MAX / 2, collector.collect()).await;
        assert!(gone.is_err());
        let accepted: u64 = collector.collect().await.iter().map(|it| it.tally.accepted).sum();
        assert_eq!(accepted, 7);
    }
}
