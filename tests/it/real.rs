//! Released SDKs on both sides: each client says through the router, line by line, what it says
//! when it talks to the server itself, while the weights change and other sessions come and go.
//!
//! A server stands in two versions behind one router, and its clients run through it two at a
//! time. What differs from pair to pair is only who may be moved by a change of the weights:
//!
//! - Who has a session stays where it began, whatever the weights; so for legacy clients they
//!   jump, to 100:0 and 0:100 as well.
//! - A modern client is known by its principal, here its address, and the weights move it at one
//!   point of its own: that is the design. The state that a server seals for a second round of a
//!   call, and the stream of changes, are worth nothing in another process, so a direct run is no
//!   measure for a client that was moved. The test therefore finds the point, and then changes
//!   the weights on one side of it, and then on the other: every change is a new table, every
//!   client has to stay, and both arms have had all of them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::MissedTickBehavior;

use crate::support::real::{NODE, Pair, Stand, VERSIONS, pairs, pairs_of, scenarios};
use crate::support::{MODERN, Process, post};

/// Between two changes of the weights.
const CHANGE: Duration = Duration::from_millis(150);

/// Weights of the secondary for those who have sessions.
const JUMPS: [u8; 6] = [50, 0, 90, 10, 100, 50];

/// A call of `whoami` as a modern client sends it.
const MODERN_WHOAMI: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"test","version":"0"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// Whether sessions of other clients come and go beside a pair.
#[derive(Clone, Copy, PartialEq)]
enum Others {
    /// 20 for each client.
    Churn,
    /// None but the pairs themselves: `churn.mjs` speaks Streamable HTTP and needs `whoami`.
    OnlyPairs,
}

/// Runs these clients, two at a time, under weights that change; gives what went wrong.
async fn under_changing_weights(
    stand: &Stand,
    pairs: &[Pair],
    weights: &[u8],
    others: Others,
) -> Vec<String> {
    let queue: Mutex<VecDeque<&Pair>> = Mutex::new(pairs.iter().collect());
    let wrong = Mutex::new(Vec::new());
    let lane = async || {
        loop {
            let next = queue.lock().unwrap().pop_front();
            let Some(pair) = next else { return };
            if let Err(why) = run_both_ways(stand, pair, others).await {
                wrong.lock().unwrap().push(format!("{}: {why}", pair.name));
            }
        }
    };
    let changes = AtomicUsize::new(0);
    tokio::select! {
        _ = async { tokio::join!(lane(), lane()) } => {}
        () = change(stand, weights, &changes) => {}
    }
    assert!(pairs.is_empty() || changes.into_inner() > 3, "the weights hardly changed");
    wrong.into_inner().unwrap()
}

/// Sets one split after the other, without end.
async fn change(stand: &Stand, weights: &[u8], changes: &AtomicUsize) {
    let mut rhythm = tokio::time::interval(CHANGE);
    // A busy machine shall not make up for what it missed with a burst.
    rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for &secondary in weights.iter().cycle() {
        rhythm.tick().await;
        stand.router.split(100 - secondary, secondary).await;
        changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs a client directly, then through the router among others, and compares.
async fn run_both_ways(stand: &Stand, pair: &Pair, others: Others) -> Result<(), String> {
    let direct = pair.run_client(stand.servers[0]).await?;
    let (routed, churned) = tokio::join!(pair.run_client(stand.router.address), async {
        if others == Others::Churn { churn(stand).await } else { Ok(()) }
    });
    let routed = routed.map_err(|said| format!("fails only through the router: {said}"))?;
    churned?;
    if routed != direct {
        return Err(format!("routed:\n{routed}direct:\n{direct}"));
    }
    let seen = scenarios(&routed);
    if seen == pair.expected() {
        Ok(())
    } else {
        Err(format!("not as pairs.json has it: {seen:?}"))
    }
}

/// 20 sessions that come and go, five at a time: each is answered by one server throughout.
async fn churn(stand: &Stand) -> Result<(), String> {
    let url = format!("http://{}/mcp", stand.router.address);
    let words = [NODE, "target/sdk/npm/churn.mjs", &url].into_iter().chain([
        "--seconds",
        "120",
        "--sessions",
        "20",
        "--concurrency",
        "5",
    ]);
    let words: Vec<String> = words.map(str::to_owned).collect();
    let ended = Process::start(&words, &[]).ended(150).await;
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
    let whole = summary["sessions"] == 20 && summary["violations"] == 0;
    if ended.good && whole {
        return Ok(());
    }
    Err(format!("other sessions: {}{}", ended.stdout, ended.stderr))
}

/// The highest weight of the secondary at which this machine's modern calls still go to the
/// primary.
async fn point(stand: &Stand) -> u8 {
    // By definition nobody is on the secondary at 0, and everybody at 100.
    let (mut low, mut high) = (0, 100);
    while high - low > 1 {
        let middle = u8::midpoint(low, high);
        stand.router.split(100 - middle, middle).await;
        let answer = post(stand.router.address, &MODERN, MODERN_WHOAMI).await.text();
        let [primary, secondary] = VERSIONS.map(|version| answer.contains(version));
        assert!(primary != secondary, "{answer}");
        *(if primary { &mut low } else { &mut high }) = middle;
    }
    low
}

/// All pairs of a server.
async fn matrix(server: &str, others: Others) {
    let pairs = pairs_of(server);
    let stand = Stand::of(&pairs[0]).await;
    let (modern, legacy): (Vec<_>, Vec<_>) = pairs.into_iter().partition(Pair::is_modern);
    let mut wrong = under_changing_weights(&stand, &legacy, &JUMPS, others).await;
    if !modern.is_empty() {
        let low = point(&stand).await;
        let high = low + 1;
        for weights in [[low, 0, low / 2], [high, 100, u8::midpoint(high, 100)]] {
            wrong.extend(under_changing_weights(&stand, &modern, &weights, others).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! matrices {
    ($($test:ident: $server:literal, $others:ident;)*) => {
        $(
            #[tokio::test]
            #[ignore = "needs tests/run: real SDKs"]
            async fn $test() {
                matrix($server, Others::$others).await;
            }
        )*

        #[test]
        fn no_pair_is_left_out() {
            let named: usize = [$($server),*].iter().map(|server| pairs_of(server).len()).sum();
            assert_eq!(named, pairs().len());
        }
    };
}

matrices! {
    python_1: "py1", Churn;
    python_2: "py2", Churn;
    typescript_1: "ts1", Churn;
    typescript_2: "ts2", Churn;
    everything: "everything", OnlyPairs;
    python_1_without_sessions: "py1 stateless", Churn;
    python_2_without_sessions: "py2 stateless", Churn;
    typescript_1_without_sessions: "ts1 stateless", Churn;
    typescript_2_without_sessions: "ts2 stateless", Churn;
    python_1_over_http_sse: "py1 sse", OnlyPairs;
    python_2_over_http_sse: "py2 sse", OnlyPairs;
    typescript_1_over_http_sse: "ts1 sse", OnlyPairs;
    everything_over_http_sse: "everything sse", OnlyPairs;
}
