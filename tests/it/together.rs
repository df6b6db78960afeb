//! Servers of both arms that fail and come back together: no reason to change arms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::health::{modern, text};
use crate::support::server::answer;
use crate::support::{Router, Server, eventually};

/// A server that says 500 as long as one of these is set.
async fn server(broken: [&Arc<AtomicBool>; 2]) -> Server {
    let broken = broken.map(Arc::clone);
    let is_broken = move || broken.iter().any(|it| it.load(Ordering::Relaxed));
    modern(move |_| is_broken().then(|| text(&answer(500, &[], "")))).await
}

async fn decisions(router: &Router) -> Value {
    router.admin("GET", "/v1/rollout", json!({})).await.unwrap()
}

/// Waits until the guard on handshakes stands so.
async fn stands(router: &Router, state: &str) {
    eventually(state, async || {
        let told = decisions(router).await;
        (told["guards"][0]["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_stops_both_arms_at_once_reverts_nothing() {
    let (both, second) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let never = Arc::new(AtomicBool::new(false));
    let servers = [server([&both, &never]).await, server([&both, &second]).await];
    let [one, two] = [&servers[0], &servers[1]].map(|it| [it.address]);
    let router = Router::start(&one, &two, "\n[health]\ninterval = \"300ms\"").await;
    router.split(50, 50).await;
    for _ in 0..5 {
        stands(&router, "armed").await;
        both.store(true, Ordering::Relaxed);
        stands(&router, "common_cause").await;
        both.store(false, Ordering::Relaxed);
    }
    stands(&router, "armed").await;
    assert_eq!(decisions(&router).await["split"]["secondary"], 50);
    second.store(true, Ordering::Relaxed);
    eventually("a revert", async || {
        (decisions(&router).await["closed"] == "secondary").then_some(())
    })
    .await;
}
