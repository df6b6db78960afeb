//! What has to be true when all is over.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::world::World;
use crate::support::{Router, said, within};

/// What a router may hold more than before, in KiB, all of it bounded: the last two minutes and the
/// last hour by kind of work, of which there are some thirty here (2.1 KiB x 36 slots x 30: 2.3 MiB);
/// the judge's units, some thousands (24 bytes each), and who called in each of 15 minutes; and
/// pages that the allocator keeps for each of the threads, a MiB or two. Ten minutes leave 5 MiB.
const MEMORY_MORE: usize = 16 * 1024;

/// The name of threads that read and write files.
const POOL: &str = "tokio-rt-worker";
/// Those live for ten seconds after their last work, and any of them may get the next: a look at the
/// certificates every two seconds, and now and then two files that are written each minute.
const POOL_MAX: usize = 7;
/// How long it may take.
const REST: Duration = Duration::from_secs(30);

/// What a router holds.
#[derive(Clone, Debug)]
pub struct Held {
    pub descriptors: usize,
    /// By name.
    pub threads: Vec<String>,
    /// Resident, in KiB.
    pub memory: usize,
}

impl Held {
    pub fn by(router: &Router) -> Held {
        let of = |what: &str| format!("/proc/{}/{what}", router.pid());
        let each = |what: &str| std::fs::read_dir(of(what)).unwrap().map(|it| it.unwrap().path());
        let name = |task: PathBuf| std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        let mut threads: Vec<_> = each("task").map(name).map(|it| it.trim().to_owned()).collect();
        threads.sort();
        let status = std::fs::read_to_string(of("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Held {
            descriptors: each("fd").count(),
            threads,
            memory: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }

    fn own_threads(&self) -> Vec<&str> {
        self.threads.iter().map(String::as_str).filter(|it| *it != POOL).collect()
    }
}

/// What it holds without clients, once their connections have gone.
pub async fn at_rest(world: &World) -> Held {
    within(60, "no connection is left but for handshakes", async || {
        let scrape = world.router.read().await.scrape().await;
        let of = |name: &str| scrape.count(name, &[]);
        let open = of("tidegate_client_connections") + of("tidegate_streams_open");
        let passed = of("tidegate_upstream_connections") + of("tidegate_endpoint_in_flight");
        (open + passed == 0).then_some(())
    })
    .await;
    Held::by(&*world.router.read().await)
}

/// Nothing is left behind, or not for long.
pub async fn nothing_left(world: &World, before: &Held) -> Held {
    let until = Instant::now() + REST;
    loop {
        let after = at_rest(world).await;
        // A handshake may be under way, but not at every look.
        let left = [
            (after.descriptors > before.descriptors, "descriptors"),
            (after.own_threads() != before.own_threads(), "threads"),
            (after.threads.len() > after.own_threads().len() + POOL_MAX, "threads for files"),
            (after.memory > before.memory + MEMORY_MORE, "memory"),
        ];
        let left = left.iter().filter(|(is_left, _)| *is_left).map(|(_, what)| *what);
        let left: Vec<_> = left.collect();
        if left.is_empty() {
            return after;
        }
        if Instant::now() > until {
            world.ledger.wrong(format!("{left:?} are left: {before:?}, then {after:?}"));
            return after;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// All that was done is told: in the journal, and in metrics over all lives of the router.
pub async fn all_told(world: &Rc<World>) {
    let ledger = &world.ledger;
    for event in [
        "split",
        "rollout-start",
        "pause",
        "resume",
        "abort",
        "alert-raise",
        "alert-clear",
        "drain",
        "undrain",
    ] {
        let (done, told) =
            (ledger.counted(&format!("accepted {event}")), world.journalled(event).await);
        if told < done {
            ledger.wrong(format!("{event} was accepted {done} times and recorded {told} times"));
        }
    }
    let of = async |outcome: &str| {
        let label = format!("outcome=\"{outcome}\"");
        world.total("tidegate_exchanges_total", &[&label]).await as u64
    };
    let all = world.total("tidegate_exchanges_total", &[]).await as u64;
    let (failed, seen) = (all - of("ok").await - of("cancelled").await, ledger.failed_behind());
    ledger.tell(format!("{failed} of {all} exchanges counted as failed; clients saw {seen}"));
    if failed < seen {
        ledger.wrong(format!("clients saw {seen} failures, the router counted {failed}"));
    }
    let (lives, starts) = (u64::from(world.lives.get()), world.journalled("start").await);
    if starts < lives {
        ledger.wrong(format!("{lives} starts, {starts} of them in the journal"));
    }
    let verified = world.router.read().await.cli(&["records", "verify", "--state-dir", "state"]);
    if verified.status.code() != Some(0) {
        ledger.wrong(format!("records verify: {}", said(&verified)));
    }
}

/// No call has run twice.
pub fn nothing_twice(world: &World) {
    for (text, times) in world.ran.lock().unwrap().iter().filter(|(_, times)| **times > 1) {
        world.ledger.wrong(format!("the call {text} has run {times} times"));
    }
}
