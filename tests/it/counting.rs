//! What must not be counted wrong: whose fault it was when a server cannot list its tools, answers
//! on another exchange, or is blamed for its clients; and what is over, as over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Notify;

use crate::support::client::Connection;
use crate::support::health::{discovered, legacy, modern, on, result, session_ended, well};
use crate::support::server::{answer, chunk, stream_head};
use crate::support::{
    INITIALIZE, MODERN, Router, Server, Step, WHOAMI, delete, eventually, nobody, post,
};

const EXCHANGES: &str = "tidegate_exchanges_total";

/// Waits for this many samples of a metric.
async fn comes_to(router: &Router, name: &str, labels: &[&str], count: f64) {
    let what = format!("{name}{labels:?} is {count}");
    eventually(&what, async || {
        let found = router.metric(name, labels).await;
        (found.to_bits() == count.to_bits()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_to_list_its_tools_still_has_them() {
    let works = || on("tools/call", |seen| result(seen, &json!({ "isError": true })));
    let (one, broken) = (modern(works()).await, Arc::new(AtomicBool::new(false)));
    let is_broken = Arc::clone(&broken);
    let other = modern(move |seen| match seen.rpc().as_str() {
        "tools/list" if is_broken.load(Ordering::Relaxed) => Some(vec![Step::Close]),
        _ => works()(seen),
    })
    .await;
    let settings = "\n[health]\ninterval = '100ms'\nunhealthy_after = 100";
    let router = Router::start(&[one.address], &[other.address], settings).await;
    router.split(0, 100).await;
    eventually("both have been compared", async || {
        let status = router.status().await.unwrap();
        status["catalogue"].is_object().then_some(())
    })
    .await;
    broken.store(true, Ordering::Relaxed);
    eventually("several handshakes fail", async || {
        let closed = [r#"arm="secondary""#, r#"verdict="closed""#];
        (router.metric("tidegate_probes_total", &closed).await > 2.0).then_some(())
    })
    .await;
    let call = WHOAMI.replace("whoami", "echo");
    let headers = [MODERN[0], MODERN[1], ("mcp-name", "echo")];
    assert_eq!(post(router.address, &headers, &call).await.status, 200);
    let labels = [r#"arm="secondary""#, r#"tool="echo""#, r#"outcome="tool_error""#];
    comes_to(&router, EXCHANGES, &labels, 1.0).await;
    let changes = router.cli(&["diff"]);
    assert_eq!(changes.status.code(), Some(0), "{changes:?}");
}

#[tokio::test]
async fn what_a_server_offered_goes_with_it() {
    let (one, other) = (modern(|_| None).await, modern(|_| None).await);
    let settings = "\n[health]\ninterval = '20ms'";
    let router = Router::start(&[one.address], &[other.address], settings).await;
    let is_compared = async || router.status().await.unwrap()["catalogue"].is_object();
    eventually("both are compared", async || is_compared().await.then_some(())).await;
    router.edit(&other.address.to_string(), &nobody().await.to_string());
    router.admin("POST", "/v1/reload", json!({})).await.unwrap();
    eventually("one is not known", async || (!is_compared().await).then_some(())).await;
}

#[tokio::test]
async fn a_message_that_is_accepted_with_200_is_answered_on_the_stream() {
    for status in [200, 202, 204] {
        let go = Arc::new(Notify::new());
        let until = Arc::clone(&go);
        let server = Server::scripted(move |seen| {
            if seen.method == "POST" {
                return vec![Step::Send(answer(status, &[], ""))];
            }
            let response = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;
            vec![
                Step::Send(stream_head(&[]) + &chunk("event: endpoint\ndata: /message?a=1\n\n")),
                Step::Wait(Arc::clone(&until)),
                Step::Send(chunk(&format!("data: {response}\n\n"))),
                Step::Wait(Arc::clone(&until)),
            ]
        })
        .await;
        let router = Router::start(&[server.address], &[nobody().await], "").await;
        let mut stream = Connection::open(router.address).await;
        stream.request("GET", "/sse", &[], "").await;
        stream.head().await;
        let first = stream.until("\n\n").await;
        let uri = first.trim().rsplit_once("data: ").unwrap().1.to_owned();
        let posted = crate::support::client::once(router.address, "POST", &uri, &[], WHOAMI).await;
        assert_eq!(posted.status, status);
        go.notify_one();
        stream.until("\"id\":7").await;
        comes_to(&router, EXCHANGES, &[r#"method="tools/call""#, r#"outcome="ok""#], 1.0).await;
    }
}

#[tokio::test]
async fn a_session_that_only_the_router_knows_is_over_when_its_client_ends_it() {
    let server = Server::scripted(|seen| {
        vec![Step::Send(answer(
            200,
            &[],
            &crate::support::health::message(seen, "result", &json!({})),
        ))]
    })
    .await;
    let router = Router::start(&[server.address], &[nobody().await], "").await;
    let opened = post(router.address, &[], INITIALIZE).await;
    let session = opened.header("mcp-session-id").unwrap();
    comes_to(&router, "tidegate_sessions_active", &[r#"arm="primary""#], 1.0).await;
    assert_eq!(delete(router.address, session).await.status, 200);
    comes_to(&router, "tidegate_sessions_active", &[r#"arm="primary""#], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_leaves_no_session_behind() {
    let (one, other) = (legacy(|_| None).await, legacy(|_| None).await);
    let router = Router::start(&[one.address], &[other.address], "").await;
    let compared = router.cli(&["diff", "--direct", "--config", "tidegate.toml"]);
    assert_eq!(compared.status.code(), Some(0), "{compared:?}");
    session_ended(&one).await;
    session_ended(&other).await;
}

#[tokio::test]
async fn a_server_cannot_fill_prometheus_with_names() {
    let count = AtomicUsize::new(0);
    let server = modern(move |seen| {
        let version = count.fetch_add(1, Ordering::Relaxed).to_string();
        let mut about = discovered();
        about["serverInfo"]["version"] = json!(version);
        match seen.rpc().as_str() {
            "server/discover" => Some(result(seen, &about)),
            _ => Some(well(seen)),
        }
    })
    .await;
    let settings = "\n[health]\ninterval = '1ms'\nprotocol = 'modern'";
    let router = Router::start(&[server.address], &[nobody().await], settings).await;
    comes_to(&router, "tidegate_server_info", &[r#"version="_other""#], 1.0).await;
    comes_to(&router, "tidegate_server_info", &[], 1.0).await;
}
