//! The demo's clients: a modest stream of sessions, some short, some that stay all the time.
//!
//! Short ones draw the split anew again and again; the ones that stay are there when the weights
//! move, which is when a router could lose them. Every answer says which version gave it, so a
//! session that changed its version cannot go unseen.
//! Does not know: the weights, how it is shown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::client::{CallError, Client};
use super::score::Score;

/// How a client uses its session.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// Calls before it ends the session; `None`: it stays.
    pub calls: Option<u64>,
    /// Between two calls.
    pub pause: Duration,
    /// From one session's start to the next one's, at least.
    pub every: Duration,
}

/// Sixteen of these, one session each 400 ms at most: 40 new sessions a second.
const VISITOR: Habit =
    Habit { calls: Some(5), pause: Duration::from_millis(70), every: Duration::from_millis(400) };
const VISITORS: u32 = 16;

/// Four of these: enough for both versions to have some.
const RESIDENT: Habit =
    Habit { calls: None, pause: Duration::from_millis(250), every: Duration::from_secs(1) };
const RESIDENTS: u32 = 4;

/// Runs the whole stream until it is dropped.
pub async fn run(router: SocketAddr, score: Arc<Score>) {
    let mut clients = JoinSet::new();
    for n in 0..VISITORS {
        // Spread out over one period, so that they do not all call in the same moment.
        let first = VISITOR.every * n / VISITORS;
        clients.spawn(again_and_again(first, VISITOR, router, score.clone()));
    }
    for n in 0..RESIDENTS {
        let first = RESIDENT.pause * n / RESIDENTS;
        clients.spawn(again_and_again(first, RESIDENT, router, score.clone()));
    }
    while clients.join_next().await.is_some() {}
}

/// Twelve more, which use the tool that breaks.
const WORKERS: u32 = 12;
const WORK_CALLS: u32 = 3;

/// Runs sessions that work with the tool `echo`, until it is dropped. That it fails is told apart
/// from everything else that may go wrong.
pub async fn work(router: SocketAddr, score: Arc<Score>) {
    let mut clients = JoinSet::new();
    for n in 0..WORKERS {
        let (first, score) = (VISITOR.every * n / WORKERS, score.clone());
        clients.spawn(async move {
            sleep(first).await;
            let mut starts = interval(VISITOR.every);
            loop {
                starts.tick().await;
                if let Err(error) = try_work(router, &score).await {
                    score.failed(error.to_string());
                }
            }
        });
    }
    while clients.join_next().await.is_some() {}
}

async fn try_work(router: SocketAddr, score: &Score) -> Result<(), CallError> {
    let born = score.phase();
    let (mut client, version) = Client::open(router).await?;
    let Some(arm) = super::arm_of(&version) else { return Err(CallError::Stranger(version)) };
    score.opened(born, arm);
    for _ in 0..WORK_CALLS {
        sleep(VISITOR.pause).await;
        match client.echo().await {
            Ok(()) => score.called(),
            Err(CallError::Rpc(_)) => score.broke(),
            Err(error) => return Err(error),
        }
    }
    client.close().await
}

/// Waits until a session can be opened, so that the first phase counts no start-up errors.
pub async fn first_answer(router: SocketAddr) -> Result<(), CallError> {
    const TRIES: u32 = 50;
    let mut tried = 0;
    loop {
        tried += 1;
        match Client::open(router).await {
            Ok((client, _)) => return client.close().await,
            Err(error) if tried == TRIES => return Err(error),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn again_and_again(first: Duration, habit: Habit, router: SocketAddr, score: Arc<Score>) {
    sleep(first).await;
    let mut starts = interval(habit.every);
    starts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        starts.tick().await;
        visit(router, &score, habit).await;
    }
}

/// One session from its beginning to its end, recorded.
pub async fn visit(router: SocketAddr, score: &Score, habit: Habit) {
    if let Err(error) = try_visit(router, score, habit).await {
        score.failed(error.to_string());
    }
}

async fn try_visit(router: SocketAddr, score: &Score, habit: Habit) -> Result<(), CallError> {
    let born = score.phase();
    let (mut client, version) = Client::open(router).await?;
    let Some(arm) = super::arm_of(&version) else { return Err(CallError::Stranger(version)) };
    score.opened(born, arm);
    let (mut changed, mut outlived) = (false, false);
    let mut call = 0;
    while habit.calls.is_none_or(|calls| call < calls) {
        call += 1;
        sleep(habit.pause).await;
        let later = score.phase() > born;
        let answered_by = client.version().await?;
        score.called();
        if answered_by != version && !changed {
            changed = true;
            score.changed();
        }
        if later && !outlived {
            outlived = true;
            score.outlived();
        }
        if call == 2 {
            client.tools().await?;
            score.called();
        }
    }
    client.close().await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::net::TcpListener;

    use super::*;
    use crate::demo::server;
    use crate::names::{PerArm, Split};

    const HASTY: Habit = Habit { calls: Some(5), pause: Duration::ZERO, every: Duration::ZERO };

    /// Runs `sessions` sessions at once against one server, and gives what they saw.
    async fn against(version: &'static str, sessions: u64) -> crate::demo::score::Tally {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let score = Arc::new(Score::default());
        score.begin(Split::PRIMARY_ONLY);
        let mut all = JoinSet::new();
        for _ in 0..sessions {
            let score = score.clone();
            all.spawn(async move { visit(addr, &score, HASTY).await });
        }
        tokio::select! {
            () = server::serve(listener, version, Arc::default(), pending()) => {}
            _ = all.join_all() => {}
        }
        score.tally()
    }

    #[tokio::test]
    async fn sessions_keep_the_version_of_their_server() {
        let tally = against("2.0.0", 20).await;
        assert_eq!((tally.errors, tally.last_error.as_deref()), (0, None));
        assert_eq!(tally.sessions(), PerArm { primary: 0, secondary: 20 });
        assert_eq!((tally.calls, tally.violations), (20 * 6, 0));
    }

    #[tokio::test]
    async fn a_server_of_another_version_is_an_error() {
        let tally = against("7.0.0", 1).await;
        assert_eq!(tally.errors, 1);
        assert!(tally.last_error.unwrap().contains("7.0.0"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let score = Score::default();
        visit(gone, &score, HASTY).await;
        assert!(score.tally().last_error.unwrap().contains("cannot connect"));
    }
}
