//! Rollouts between released servers, the second of which falls sick on command: each sickness ends
//! in a revert that says why, a good version is promoted, and clients that make mistakes harm
//! nobody but themselves.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::{decisions, intact, plan, records, start};
use crate::support::client::once;
use crate::support::real::{VERSIONS, pairs_of};
use crate::support::visitors::{Begun, ask, open, visit, visitors};
use crate::support::{INITIALIZE, Process, Router, WHOAMI, post, within};

/// What a router is given besides a plan: nothing of it takes longer than these, unless it hangs.
const SETTINGS: &str =
    "\n[timeouts]\nfirst_byte = \"2s\"\nstream_idle = \"2s\"\n[log]\nlevel = \"warn\"\n";

/// Two processes of one server, the second of which has the file that it is sick by, and a router.
struct Ward {
    router: Router,
    sick: NamedTempFile,
    _processes: [Process; 2],
}

impl Ward {
    async fn new(server: &str, sick: &str, sections: &str, more: &[(&str, &str)]) -> Ward {
        let pair = pairs_of(server).swap_remove(0);
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), sick).unwrap();
        let own = |version, path| {
            let own =
                [("SERVER_VERSION", version), ("SICK_FILE", path), ("FAULTS", "1"), ("JSON", "1")];
            [&own[..], more].concat()
        };
        let [one, two] =
            [own(VERSIONS[0], "/dev/null"), own(VERSIONS[1], file.path().to_str().unwrap())];
        let ((first, primary), (second, secondary)) =
            tokio::join!(pair.start_server(&one), pair.start_server(&two));
        let router =
            Router::start(&[primary], &[secondary], &format!("{SETTINGS}{sections}")).await;
        Ward { router, sick: file, _processes: [first, second] }
    }
}

/// Waits for a state of the rollout, longer than others do.
async fn reaches(router: &Router, state: &str) -> Value {
    within(100, state, async || {
        Some(decisions(router).await).filter(|told| told["rollout"]["state"] == state)
    })
    .await
}

/// Without handshakes it is the visitors alone who find out, but for the death of a process; and
/// times are compared tool by tool, whose names handshakes bring.
fn health_of(sickness: &str) -> &'static str {
    if ["crash", "slow"].contains(&sickness) { "[health]\ninterval = '1s'\n" } else { "" }
}

/// A rollout of a server that suffers from this is reverted by one of these guards.
async fn falls_sick(server: &str, sickness: &str, guards: &[&str]) {
    let health = health_of(sickness);
    let plan = plan(&[50, 100], "1h");
    let is_missing = sickness == "missing";
    let first = if is_missing { sickness } else { "" };
    let ward = Ward::new(server, first, &format!("{health}[rollout]\n{plan}"), &[]).await;
    let ward = Rc::new(ward);
    let router = &ward.router;
    let id = within(20, "it may start", async || {
        let told = router.admin("POST", "/v1/rollout/start", json!({})).await.ok()?;
        Some(told["rollout"]["id"].as_str().unwrap().to_owned())
    })
    .await;
    let kept = within(10, "a session of before", async || {
        open(router.address, &[]).await.filter(|(_, version)| version == VERSIONS[1])
    })
    .await;
    let begun = Begun::default();
    let watched = async {
        std::fs::write(ward.sick.path(), sickness).unwrap();
        let told = reaches(router, "reverted").await;
        let reverted = Instant::now();
        // Those who came before are done with; those who come now meet one arm only.
        tokio::time::sleep_until(reverted + Duration::from_secs(3)).await;
        let before =
            router.scrape().await.count("tidegate_exchanges_total", &["arm=\"secondary\""]);
        tokio::time::sleep_until(reverted + Duration::from_secs(5)).await;
        let after = router.scrape().await.count("tidegate_exchanges_total", &["arm=\"secondary\""]);
        assert_eq!(after, before, "the bad arm is still asked");
        (told, reverted)
    };
    let (told, reverted) = tokio::select! {
        told = watched => told,
        () = visitors(|| visit(router.address, Rc::clone(&begun))) => unreachable!(),
    };
    let all = begun.take();
    let late: Vec<_> = all.iter().filter(|(at, _)| *at > reverted).collect();
    assert!(late.len() > 10, "hardly anybody came afterwards");
    let good = |(_, version): &&(Instant, Option<String>)| version.as_deref() == Some(VERSIONS[0]);
    assert!(late.iter().all(good), "{late:?}");
    if !matches!(sickness, "500" | "crash") {
        let answer = ask(
            router.address,
            &kept.0,
            "tools/call",
            json!({ "name": "whoami", "arguments": {} }),
        );
        assert!(answer.await.text().contains(VERSIONS[1]), "a session of before is kept");
    }
    // What is on record of it.
    let guard = told["rollout"]["guard"].as_str().unwrap();
    assert!(guards.contains(&guard), "{sickness}: {told}");
    let last = records(router, &id).await.pop().unwrap();
    let detail = &last["detail"];
    assert_eq!((&last["event"], &detail["guard"]), (&json!("revert"), &json!(guard)));
    assert_eq!(detail["versions"]["secondary"].is_null(), health.is_empty(), "{detail}");
    let verdicts = detail["verdicts"].as_array().unwrap();
    let fired = verdicts.iter().find(|it| it["state"] == "fired").unwrap();
    assert_eq!((&fired["guard"], &fired["why"]), (&json!(guard), &detail["why"]));
    if guard == "sequential" {
        is_shown_by(&fired["evidence"], sickness);
    }
    intact(router);
}

/// That this is evidence of such a sickness.
fn is_shown_by(evidence: &Value, sickness: &str) {
    let of = |what: &str, arm: &str| evidence[what][arm].as_u64().unwrap();
    assert!(of("calls", "secondary") > 10 && of("calls", "primary") > 10, "{evidence}");
    if sickness == "slow" {
        assert!(evidence["performance"].as_f64().unwrap() < 0.8, "{evidence}");
    } else {
        assert!(of("errors", "secondary") > 5, "{evidence}");
    }
    assert_eq!(of("faults", "primary"), 0, "{evidence}");
}

macro_rules! sicknesses {
    ($($test:ident: $server:literal, $sickness:literal, [$($guard:literal),*];)*) => {
        $(
            #[tokio::test]
            #[ignore = "needs tests/run: real SDKs"]
            async fn $test() {
                LocalSet::new().run_until(falls_sick($server, $sickness, &[$($guard),*])).await;
            }
        )*
    };
}

sicknesses! {
    python_tools_fail: "py2", "error", ["sequential"];
    python_handlers_fail: "py2", "rpc", ["sequential"];
    python_answers_500: "py2", "500", ["sequential"];
    python_is_slow: "py2", "slow", ["sequential"];
    python_hangs: "py2", "hang", ["sequential"];
    python_lacks_a_tool: "py2", "missing", ["sequential"];
    python_crashes: "py2", "crash", ["health_failures", "sequential"];
    typescript_tools_fail: "ts2", "error", ["sequential"];
    typescript_handlers_fail: "ts2", "rpc", ["sequential"];
    typescript_answers_500: "ts2", "500", ["sequential"];
    typescript_is_slow: "ts2", "slow", ["sequential"];
    typescript_hangs: "ts2", "hang", ["sequential"];
    typescript_lacks_a_tool: "ts2", "missing", ["sequential"];
    typescript_crashes: "ts2", "crash", ["health_failures", "sequential"];
}

/// A rollout that is not reverted, whatever these visitors do.
async fn is_promoted(server: &str, visit: fn(Rc<Ward>, Begun) -> Visit, more: &[(&str, &str)]) {
    let steps =
        "[rollout]\nsteps = [{ weight = 50, hold = '6s' }, { weight = 100, hold = '6s' }]\n";
    let ward = Rc::new(Ward::new(server, "", steps, more).await);
    let router = &ward.router;
    start(router).await;
    let told = tokio::select! {
        told = reaches(router, "promoted") => told,
        () = visitors(|| visit(Rc::clone(&ward), Begun::default())) => unreachable!(),
    };
    assert_eq!(told["stable"], "secondary");
    assert_eq!(router.scrape().await.count("tidegate_reverts_total", &[]), 0);
    assert_eq!(router.status().await.unwrap()["alerts"], json!([]));
    intact(router);
}

type Visit = std::pin::Pin<Box<dyn Future<Output = ()>>>;

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn a_good_python_server_is_promoted() {
    let test = is_promoted("py2", |ward, begun| Box::pin(visit(ward.router.address, begun)), &[]);
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn a_good_typescript_server_is_promoted() {
    let test = is_promoted("ts2", |ward, begun| Box::pin(visit(ward.router.address, begun)), &[]);
    LocalSet::new().run_until(test).await;
}

/// A session of a client that does everything wrong, and one thing right.
async fn blunder(ward: Rc<Ward>) {
    let router = &ward.router;
    let token = ("authorization", "Bearer mcp.99999999999");
    let Some((session, _)) = open(router.address, &[token]).await else {
        panic!("nobody opens a session")
    };
    let headers = [("mcp-session-id", session.as_str()), token];
    let ask = async |method: &str, params: Value| {
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        post(router.address, &headers, &message.to_string()).await
    };
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    post(router.address, &headers, &initialized.to_string()).await;
    ask("tools/call", json!({ "name": "work", "arguments": {} })).await;
    ask("tools/call", json!({ "name": "echo", "arguments": { "text": 5 } })).await;
    ask("tools/call", json!({ "name": "nowhere", "arguments": {} })).await;
    ask("made/up", json!({})).await;
    ask("tools/call", json!([])).await;
    post(router.address, &headers, "{").await;
    // Sessions and tokens of nobody.
    assert_eq!(
        post(router.address, &[("mcp-session-id", "made up"), token], WHOAMI).await.status,
        404
    );
    let mut lost = session.clone();
    lost.push('x');
    assert_eq!(post(router.address, &[("mcp-session-id", &lost), token], WHOAMI).await.status, 404);
    assert!(once(router.address, "POST", "/nowhere", &[token], INITIALIZE).await.status >= 400);
    for token in ["Bearer mcp.1", "Bearer other.99999999999", "nonsense"] {
        post(router.address, &[("authorization", token)], INITIALIZE).await;
    }
    once(router.address, "DELETE", "/mcp", &headers, "").await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn mistakes_of_clients_revert_no_python_server() {
    let test = is_promoted("py2", |ward, _| Box::pin(blunder(ward)), &[("AUTH", "1")]);
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn mistakes_of_clients_revert_no_typescript_server() {
    let test = is_promoted("ts2", |ward, _| Box::pin(blunder(ward)), &[]);
    LocalSet::new().run_until(test).await;
}
