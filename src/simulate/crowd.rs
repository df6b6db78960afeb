//! Many rollouts on all cores.
//!
//! Each has a seed of its own by its number, so that the result does not depend on how many
//! threads there are. Does not know: what the results mean, how much time there is.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use super::traffic::Change;
use super::{Course, Setting, rollout};

/// Spreads seeds, so that the numbers of two of them do not overlap.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Whether there is time.
#[derive(Clone, Copy, Debug)]
pub struct Time<Begin, GoOn> {
    /// For another rollout to begin.
    pub to_begin: Begin,
    /// For one that has begun to go on.
    pub to_go_on: GoOn,
}

/// So many rollouts, or as many as there is time for. `each` is called after each one.
pub fn rollouts<Begin: Fn() -> bool + Sync, GoOn: Fn() -> bool + Sync>(
    setting: &Setting,
    change: Change,
    seed: u64,
    runs: u64,
    time: &Time<Begin, GoOn>,
    mut each: impl FnMut(),
) -> Vec<Course> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicU64::new(0);
    let work = |done: mpsc::Sender<Course>| {
        while (time.to_begin)() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= runs {
                return;
            }
            let seed = seed.wrapping_mul(SPREAD).wrapping_add(number);
            let Some(course) = rollout(setting, change, seed, &time.to_go_on) else { return };
            if done.send(course).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        let (done, courses) = mpsc::channel();
        for _ in 0..threads {
            let (work, done) = (&work, done.clone());
            scope.spawn(move || work(done));
        }
        drop(done);
        courses.into_iter().inspect(|_| each()).collect()
    })
}
