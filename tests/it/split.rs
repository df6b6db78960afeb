//! Weights: the share of new work, and what they never move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::client::Connection;
use crate::support::{INITIALIZE, MODERN, Router, Server, WHOAMI, post};

/// The value that chi-square with one degree of freedom exceeds by chance once in 1,000 times.
const CHI_SQUARE_1: f64 = 10.83;

/// Opens so many sessions on a few connections and says on which server each began.
async fn open_sessions(router: &Router, count: usize) -> Vec<(String, String)> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = router.address;
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await;
            let mut sessions = Vec::new();
            for _ in 0..count / 8 {
                connection.request("POST", "/mcp", &[], INITIALIZE).await;
                let reply = connection.answer().await;
                let name =
                    reply.json()["result"]["serverInfo"]["name"].as_str().unwrap().to_owned();
                sessions.push((reply.session(), name));
            }
            sessions
        });
    }
    tasks.join_all().await.concat()
}

#[tokio::test]
async fn new_sessions_follow_the_weights() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    router.split(90, 10).await;
    let sessions = open_sessions(&router, 2000).await;
    let (all, second) = (2000.0, sessions.iter().filter(|(_, name)| name == "two").count() as f64);
    let chi_square = (second - 200.0).powi(2) / 200.0 + (all - second - 1800.0).powi(2) / 1800.0;
    assert!(chi_square < CHI_SQUARE_1, "{second} of {all} on the second: chi-square {chi_square}");
    let counted = router.metric("tidegate_sessions_opened_total", &["arm=\"secondary\""]).await;
    assert!((counted - second).abs() < 0.5, "{counted} counted, {second} seen");
}

#[tokio::test]
async fn a_new_weight_holds_for_the_very_next_session() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "workers = 4").await;
    for secondary in [100, 0, 100, 0] {
        router.split(100 - secondary, secondary).await;
        let name = if secondary == 100 { "two" } else { "one" };
        assert!(open_sessions(&router, 64).await.iter().all(|(_, on)| on == name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_ever_changes_its_server() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Arc::new(Router::start(&[one.address], &[two.address], "").await);
    router.split(50, 50).await;
    let sessions = open_sessions(&router, 504).await;
    let done = Arc::new(AtomicBool::new(false));
    let (changes, changing) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&router));
    let (count, until) = (Arc::clone(&changes), Arc::clone(&done));
    let changer = tokio::spawn(async move {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
        for weight in [0, 100, 10, 90, 50].into_iter().cycle() {
            every.tick().await;
            if until.load(Ordering::Relaxed) {
                return;
            }
            changing.split(100 - weight, weight).await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    for part in sessions.chunks(63) {
        let (part, address) = (part.to_vec(), router.address);
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await;
            for _ in 0..40 {
                for (session, name) in &part {
                    connection
                        .request("POST", "/mcp", &[("mcp-session-id", session)], WHOAMI)
                        .await;
                    let reply = connection.answer().await;
                    assert_eq!((reply.status, &reply.server()), (200, name));
                    assert_eq!(reply.header("mcp-session-id"), Some(session.as_str()));
                }
            }
        });
    }
    tasks.join_all().await;
    done.store(true, Ordering::Relaxed);
    changer.await.unwrap();
    assert!(changes.load(Ordering::Relaxed) > 3, "the weights hardly moved");
}

#[tokio::test]
async fn raising_a_weight_moves_no_caller_back() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let mut before: Vec<String> = Vec::new();
    for weight in [10, 50, 50, 100] {
        router.split(100 - weight, weight).await;
        let mut now = Vec::new();
        let mut connection = Connection::open(router.address).await;
        for caller in 0..200 {
            let token = format!("Bearer {caller}");
            let headers = [MODERN.as_slice(), &[("authorization", token.as_str())]].concat();
            connection.request("POST", "/mcp", &headers, WHOAMI).await;
            now.push(connection.answer().await.server());
        }
        let moved = before.iter().zip(&now).filter(|(old, new)| *old == "two" && *new == "one");
        assert_eq!(moved.count(), 0, "callers went back at {weight}");
        assert!(now.iter().any(|name| name == "two"));
        before = now;
    }
}

#[tokio::test]
async fn persistence_beats_weight_even_at_zero() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    router.split(0, 100).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    router.split(100, 0).await;
    let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!(reply.server(), "two");
}
