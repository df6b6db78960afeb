//! What shuts the gate, how fast, and what becomes of those who were on the wrong side.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{
    call, decisions, done, intact, plan, records, refused, scene, session, session_on, start,
    until, verb,
};
use crate::support::server::answer;
use crate::support::{INITIALIZE, MODERN, Router, Server, Step, WHOAMI, post, within};

/// Raises a critical alert. When it is answered, whatever it leads to has been done.
async fn alarm(router: &Router) {
    let alert = json!({ "severity": "critical", "source": "me", "reason": "test" });
    router.admin("POST", "/v1/alerts", alert).await.unwrap();
}

/// That no new session goes to the candidate.
async fn all_on(router: &Router, server: &str) {
    for _ in 0..20 {
        assert_eq!(session(router).await.1, server);
    }
    // Nor anybody without one.
    assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), server);
}

/// How long the last revert took, by the router's own clock.
async fn took(router: &Router) -> Duration {
    let line = within(10, "the revert is logged", async || {
        router.log().lines().rev().find(|line| line.contains(" reverted ")).map(str::to_owned)
    })
    .await;
    let took = line.split_once("took=").unwrap().1.trim();
    let unit = took.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let number: f64 = took.strip_suffix(unit).unwrap().parse().unwrap();
    let seconds = match unit {
        "ns" => 1e-9,
        "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => panic!("{line}"),
    };
    Duration::from_secs_f64(number * seconds)
}

/// One guard, as it stands.
async fn guard(router: &Router, name: &str) -> Value {
    let told = decisions(router).await;
    told["guards"].as_array().unwrap().iter().find(|it| it["guard"] == name).unwrap().clone()
}

#[tokio::test]
async fn a_critical_alert_reverts_at_once_and_latches() {
    for (on_revert, old) in [("keep", 200), ("end", 404)] {
        let plan = format!("on_revert = '{on_revert}'\n{}", plan(&[50, 100], "1h"));
        let (router, [_one, two]) = scene(&plan, "").await;
        let id = start(&router).await;
        let (good, bad) = (session_on(&router, "one").await, session_on(&router, "two").await);
        alarm(&router).await;
        let seen = two.seen().len();
        all_on(&router, "one").await;
        assert_eq!(call(&router, &good).await.server(), "one");
        assert_eq!(call(&router, &bad).await.status, old, "{on_revert}");
        let kept = usize::from(on_revert == "keep");
        assert_eq!(two.seen().len(), seen + kept, "only a kept session still gets there");
        assert!(took(&router).await <= Duration::from_millis(10));

        let told = decisions(&router).await;
        let rollout = &told["rollout"];
        assert_eq!((&rollout["state"], &told["closed"]), (&json!("reverted"), &json!("secondary")));
        assert_eq!(rollout["guard"], "security_alert");
        assert_eq!(rollout["why"], "a critical alert is open: me: test");
        assert_eq!(told["split"], json!({ "primary": 100, "secondary": 0 }));
        let last = records(&router, &id).await.pop().unwrap();
        assert_eq!(
            (&last["event"], &last["detail"]["guard"]),
            (&json!("revert"), &json!("security_alert"))
        );
        assert_eq!(last["detail"]["before"], json!({ "primary": 50, "secondary": 50 }));
        let reverts = router.scrape().await.count("tidegate_reverts_total", &["security_alert"]);
        assert_eq!(reverts, 1);

        // Latched, also over a restart, until a person clears it.
        let router = router.restart().await;
        for command in ["rollout start", "set-traffic-split secondary:10"] {
            refused(&router, command, "clear it first, with `tidegate alert clear`");
        }
        assert_eq!(decisions(&router).await["closed"], "secondary");
        done(&router, "alert clear 1 --reason fixed");
        all_on(&router, "one").await;
        start(&router).await;
        session_on(&router, "two").await;
        intact(&router);
    }
}

#[tokio::test]
async fn a_paused_rollout_is_guarded_too() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    start(&router).await;
    verb(&router, "pause", json!({})).await;
    alarm(&router).await;
    assert_eq!(decisions(&router).await["rollout"]["state"], "reverted");
    all_on(&router, "one").await;
}

#[tokio::test]
async fn a_split_by_hand_is_guarded_just_the_same() {
    let (router, _servers) = scene("on_revert = 'end'\n", "").await;
    router.split(50, 50).await;
    let bad = session_on(&router, "two").await;
    alarm(&router).await;
    all_on(&router, "one").await;
    assert_eq!(call(&router, &bad).await.status, 404);
    assert!(took(&router).await <= Duration::from_millis(10));
    let told = decisions(&router).await;
    assert_eq!((&told["closed"], &told["rollout"]), (&json!("secondary"), &json!(null)));
    let past = router.admin("GET", "/v1/history", json!({})).await.unwrap();
    assert_eq!((&past[0]["id"], &past[0]["state"]), (&json!("s3"), &json!("reverted")));
    assert_eq!(
        (&past[0]["guard"], &past[0]["to"]),
        (&json!("security_alert"), &json!("secondary"))
    );
    assert!(done(&router, "rollout show s3").contains("50:50 -> 100:0"));
    refused(&router, "set-traffic-split secondary:1", "clear it first");
    done(&router, "alert clear 1 --reason fixed");
    assert_eq!(decisions(&router).await["closed"], "secondary");
    done(&router, "set-traffic-split secondary:50");
    assert_eq!(decisions(&router).await["closed"], json!(null));
    session_on(&router, "two").await;
    intact(&router);
}

#[tokio::test]
async fn an_alert_below_critical_is_shown_and_no_more() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    start(&router).await;
    done(&router, "alert raise --severity high --source me --reason test");
    router.ages().await;
    assert_eq!(decisions(&router).await["rollout"]["state"], "progressing");
}

/// A server that opens sessions and answers every call in this way, given the call's id.
async fn faulty(name: &'static str, call: fn(&Value) -> String) -> Server {
    let sessions = AtomicUsize::new(0);
    Server::scripted(move |seen| {
        let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
        let text = match seen.rpc().as_str() {
            "initialize" => {
                let result = json!({
                    "protocolVersion": "2025-06-18",
                    "capabilities": { "tools": {} },
                    "serverInfo": { "name": name, "version": "1" },
                });
                let session = format!("{name}-{}", sessions.fetch_add(1, Ordering::Relaxed));
                let body = json!({ "jsonrpc": "2.0", "id": body["id"], "result": result });
                answer(200, &[("mcp-session-id", &session)], &body.to_string())
            }
            "tools/call" => call(&body["id"]),
            _ => answer(202, &[], ""),
        };
        vec![Step::Send(text)]
    })
    .await
}

/// One that fails by its own fault.
async fn broken(name: &'static str) -> Server {
    faulty(name, |id| {
        let error = json!({ "code": -32603, "message": "broken" });
        answer(200, &[], &json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string())
    })
    .await
}

/// Short sessions, one call each, until something is so.
async fn drive<T>(router: &Router, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        for _ in 0..5 {
            let (id, _) = session(router).await;
            call(router, &id).await;
        }
        if let Some(answer) = ask().await {
            return answer;
        }
    }
    panic!("not within a minute: {what}");
}

#[tokio::test]
async fn a_candidate_that_fails_is_reverted_on_evidence() {
    let (one, two) = (Server::mcp("one").await, broken("two").await);
    let settings = format!("\n[rollout]\n{}", plan(&[50, 100], "1h"));
    let router = Router::start(&[one.address], &[two.address], &settings).await;
    let id = start(&router).await;
    drive(&router, "reverted", async || {
        (decisions(&router).await["rollout"]["state"] == "reverted").then_some(())
    })
    .await;
    // What was held against one rollout says nothing of the next.
    start(&router).await;
    assert_eq!(decisions(&router).await["rollout"]["state"], "progressing");
    verb(&router, "abort", json!({})).await;
    all_on(&router, "one").await;
    assert!(took(&router).await <= Duration::from_millis(10));
    let last = records(&router, &id).await.pop().unwrap();
    assert_eq!(last["detail"]["guard"], "sequential");
    let verdicts = last["detail"]["verdicts"].as_array().unwrap();
    let fired = verdicts.iter().find(|it| it["state"] == "fired").unwrap();
    let evidence = &fired["evidence"];
    assert!(evidence["e"].as_f64().unwrap() >= evidence["reverts_at"].as_f64().unwrap(), "{fired}");
    assert!(evidence["faults"]["secondary"].as_u64().unwrap() > 0, "{fired}");
    assert_eq!(evidence["faults"]["primary"], 0);
}

#[tokio::test]
async fn a_split_by_hand_is_reverted_on_evidence_too() {
    let (one, two) = (Server::mcp("one").await, broken("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    router.split(50, 50).await;
    drive(&router, "reverted", async || {
        (decisions(&router).await["closed"] == "secondary").then_some(())
    })
    .await;
    all_on(&router, "one").await;
    let past = router.admin("GET", "/v1/history", json!({})).await.unwrap();
    assert_eq!(past[0]["guard"], "sequential");
    assert!(past[0]["why"].as_str().unwrap().starts_with("e-value "), "{past}");
}

#[tokio::test]
async fn a_fault_of_both_arms_is_an_alarm_and_no_revert() {
    let (one, two) = (broken("one").await, broken("two").await);
    let settings = format!("\n[rollout]\n{}", plan(&[50, 100], "6s"));
    let router = Router::start(&[one.address], &[two.address], &settings).await;
    start(&router).await;
    drive(&router, "it is noticed", async || {
        let told = guard(&router, "sequential").await;
        assert_ne!(told["state"], "fired", "{told}");
        (told["state"] == "common_cause").then_some(())
    })
    .await;
    let labels = ["guard=\"sequential\"", "common_cause"];
    assert_eq!(router.scrape().await.count("tidegate_guard_state", &labels), 1);
    let journal = std::fs::read_to_string(router.dir.path().join("state/audit.jsonl")).unwrap();
    assert_eq!(journal.matches("\"common-cause\"").count(), 1);
    assert!(done(&router, "rollout status").contains("COMMON CAUSE"));
    assert_eq!(router.scrape().await.count("tidegate_reverts_total", &[]), 0);
    // Nor does it go on.
    let told = until(&router, "holding").await;
    let why = told["rollout"]["why"].as_str().unwrap();
    assert!(why.starts_with("both arms have the same fault (sequential): "), "{why}");
    assert_eq!(told["split"]["secondary"], 50);
}

#[tokio::test]
async fn a_candidate_that_refuses_callers_is_reported() {
    let two = faulty("two", |_| answer(403, &[], "")).await;
    let one = Server::mcp("one").await;
    let settings = format!("\n[rollout]\n{}", plan(&[50, 100], "1h"));
    let router = Router::start(&[one.address], &[two.address], &settings).await;
    start(&router).await;
    let alert = drive(&router, "an alert", async || {
        let listed = router.admin("GET", "/v1/alerts", json!({})).await.unwrap();
        listed["alerts"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&alert["source"], &alert["severity"]), (&json!("tidegate"), &json!("warning")));
    let reason = alert["reason"].as_str().unwrap();
    assert!(reason.starts_with("the secondary answers 401 or 403 to far more"), "{reason}");
    assert_eq!(alert["count"], 1);
}

/// Probes often, so that nobody waits.
const QUICK: &str = "[health]\ninterval = '200ms'\ntimeout = '1s'\n";

#[tokio::test]
async fn two_dead_arms_are_an_alarm_and_no_revert() {
    let (router, [one, two]) = scene(&plan(&[50, 100], "1h"), QUICK).await;
    within(10, "it may start", async || {
        router.admin("POST", "/v1/rollout/start", json!({})).await.ok()
    })
    .await;
    drop(one);
    within(10, "the stable arm is down", async || {
        let status = router.status().await.unwrap();
        let health = &status["arms"]["primary"]["endpoints"][0]["health"];
        (health["standing"] == "down").then_some(())
    })
    .await;
    drop(two);
    let told = within(10, "it is noticed", async || {
        Some(guard(&router, "health_failures").await).filter(|it| it["state"] == "common_cause")
    })
    .await;
    assert_eq!(told["why"], "the servers of both arms fail their handshakes");
    let told = decisions(&router).await;
    assert_eq!((&told["rollout"]["state"], &told["closed"]), (&json!("progressing"), &json!(null)));
    // Nothing is proved of a candidate that is down, so nothing goes on either.
    assert!(
        told["doubt"].as_str().unwrap().contains("the servers of both arms fail their handshakes")
    );
}

/// Opens a session as a client of an application: whatever is not one is a failure that it sees.
async fn opens(address: SocketAddr) -> Result<String, String> {
    let reply = post(address, &[], INITIALIZE).await;
    let server = reply.json()["result"]["serverInfo"]["name"].as_str().map(str::to_owned);
    server.ok_or_else(|| reply.text())
}

#[tokio::test]
async fn a_dead_candidate_is_left_within_a_second_and_nobody_sees_it() {
    let (router, [_one, two]) = scene(&plan(&[50, 100], "1h"), "[health]\n").await;
    within(10, "it may start", async || {
        router.admin("POST", "/v1/rollout/start", json!({})).await.ok()
    })
    .await;
    session_on(&router, "two").await;
    let address = two.address;
    drop(two);
    within(10, "nobody listens", async || TcpStream::connect(address).await.err()).await;
    let began = Instant::now();
    let left = loop {
        let server = opens(router.address).await.expect("no client sees a refusal");
        assert_eq!(server, "one");
        // Whoever has no session neither, on whichever arm it was.
        assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
        if decisions(&router).await["closed"] == "secondary" {
            break began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(10), "never left");
        tokio::task::yield_now().await;
    };
    assert!(left <= Duration::from_secs(1), "{left:?}");
    let told = until(&router, "reverted").await;
    assert_eq!(told["rollout"]["guard"], "health_failures");
    assert!(took(&router).await <= Duration::from_millis(10));
    for _ in 0..20 {
        assert_eq!(opens(router.address).await.unwrap(), "one");
    }
}

#[tokio::test]
#[ignore = "takes two minutes"]
async fn the_operators_rule_on_errors_works_alone() {
    let (one, two) = (Server::mcp("one").await, broken("two").await);
    let guards = "[guards]\nsequential = 'off'\nerror_rate = { minutes = 1 }\n";
    let settings = format!("\n[rollout]\n{}{guards}", plan(&[50, 100], "1h"));
    let router = Router::start(&[one.address], &[two.address], &settings).await;
    start(&router).await;
    // Some work in each minute is enough.
    let told = within(150, "reverted", async || {
        let (id, _) = session(&router).await;
        call(&router, &id).await;
        Some(decisions(&router).await).filter(|told| told["rollout"]["state"] == "reverted")
    })
    .await;
    assert_eq!(told["rollout"]["guard"], "error_rate");
    let why = told["rollout"]["why"].as_str().unwrap();
    assert!(why.contains('%'), "{why}");
    all_on(&router, "one").await;
}
