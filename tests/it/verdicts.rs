//! What the handshakes say of real servers in every state: well, locked, under another name, with
//! other tools, slow, frozen, dead and back again; by `health-check`, and by what a router makes
//! of it: who gets new sessions, what `status`, `diff` and the metrics say.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tidegate::demo;
use tokio::net::TcpListener;

use crate::support::health::{check, check_with};
use crate::support::real::Lone;
use crate::support::{INITIALIZE, Router, nobody, post, within};

/// Probes quickly, so that nobody waits for a verdict.
const QUICK: &str = "\n[health]\ninterval = '200ms'\ntimeout = '2s'\nslow_start = '4s'\n";

/// `health.calls` with one call.
fn call(tool: &str, expect: &str) -> String {
    format!("[[health.calls]]\ntool = '{tool}'\nexpect = {expect}")
}

/// A server on the Rust SDK.
async fn rust() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(demo::server::serve(
        listener,
        "3.0.0",
        std::sync::Arc::default(),
        std::future::pending(),
    ));
    address
}

// === health-check

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn every_server_is_healthy_in_its_own_eras() {
    for (server, eras, version) in [
        ("py1", json!(["legacy"]), "2025-11-25"),
        ("py1 stateless", json!(["legacy"]), "2025-11-25"),
        ("py1 sse", json!(["sse"]), "2025-11-25"),
        ("py2", json!(["modern", "legacy"]), "2026-07-28"),
        ("py2 stateless", json!(["modern", "legacy"]), "2026-07-28"),
        ("py2 sse", json!(["sse"]), "2025-11-25"),
        ("ts1", json!(["legacy"]), "2025-11-25"),
        ("ts1 stateless", json!(["legacy"]), "2025-11-25"),
        ("ts1 sse", json!(["sse"]), "2025-11-25"),
        ("ts2", json!(["modern", "legacy"]), "2026-07-28"),
        ("ts2 stateless", json!(["modern", "legacy"]), "2026-07-28"),
    ] {
        let lone = Lone::start(server, &[("SERVER_VERSION", "7.1.0")]).await;
        let name = server.split_once(' ').map_or(server, |(name, _)| name);
        // A session that the check before has left behind would be one more. With sessions, the
        // one that asks is open; Python counts none on HTTP+SSE.
        let has_session = eras[0] != "modern"
            && !server.ends_with("stateless")
            && (name == "ts1" || !server.ends_with("sse"));
        let space = if name.starts_with("py") { " " } else { "" };
        let one = format!("'\"sessions\":{space}{}'", u8::from(has_session));
        let settings = call("stats", &format!("{{ text_contains = {one} }}"));
        for _ in 0..2 {
            let checked = check_with(lone.address, &settings, &["--stability", "300ms"]).await;
            checked.is("healthy", "as it should be");
            let body = &checked.body;
            assert_eq!((&body["eras"], &body["protocol_version"]), (&eras, &json!(version)));
            assert_eq!(body["server"], json!({ "name": name, "version": "7.1.0" }), "{server}");
            assert_eq!(body["tools"], 11, "{server}");
            assert_eq!(
                (&body["stability"]["failed"], &body["stability"]["drops"]),
                (&json!(0), &json!(0))
            );
        }
    }
    let checked = check(rust().await, "").await;
    checked.is("healthy", "as it should be");
    assert_eq!(checked.body["eras"], json!(["modern", "legacy"]));
    assert_eq!(checked.body["server"]["version"], "3.0.0");
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn a_locked_server_is_alive() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = |text: &str| format!("[health]\ntoken = '{text}'");
    for server in ["py1", "py2", "ts1"] {
        let lone = Lone::start(server, &[("AUTH", "1")]).await;
        for (settings, words) in [
            (String::new(), "answers 401, no token is configured"),
            (token(&format!("mcp.{}", now - 1)), "answers 401, the token was refused"),
            // Good, but not for this.
            (token("read.9000000000"), "answers 403, the token was refused"),
        ] {
            check(lone.address, &settings).await.is("unauthenticated", words);
        }
        check(lone.address, &token("mcp.9000000000")).await.is("healthy", "");
        let own = "[primary.headers]\nauthorization = 'Bearer mcp.9000000000'";
        check(lone.address, own).await.is("healthy", "");
    }
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn a_server_refuses_a_name_that_it_does_not_know() {
    let public = "public_origin = 'https://mcp.example.com'";
    let mut servers = vec![(rust().await, 403)];
    let mut lone = Vec::new();
    for (server, status) in
        [("py1", 421), ("py2", 421), ("py1 sse", 421), ("ts1", 403), ("ts2", 403)]
    {
        lone.push(Lone::start(server, &[]).await);
        servers.push((lone.last().unwrap().address, status));
    }
    for (address, status) in servers {
        let words = format!("answers {status} to the Host `mcp.example.com`");
        check(address, public).await.is("wrong_host", &words);
        check(address, &format!("host = 'upstream'\n{public}")).await.is("healthy", "");
    }
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn tools_have_to_be_there_and_to_answer() {
    for (server, unknown) in [
        ("py1", "the tool says isError: Unknown tool: nothing"),
        ("py2", "Unknown tool: nothing"),
        ("ts1", "Tool nothing not found"),
        ("ts2", "Tool nothing not found"),
    ] {
        let lone = Lone::start(server, &[]).await;
        let expected = "[health]\nexpected_tools = ['echo', 'pay']";
        check(lone.address, expected).await.is("missing_tools", "expected tools: pay");
        for (tool, expect, verdict, words) in [
            ("whoami", format!("{{ text_contains = '{server}' }}"), "healthy", ""),
            (
                "whoami",
                "{ text_contains = 'ship' }".into(),
                "call_failed",
                "no text contains `ship`",
            ),
            (
                "whoami",
                "{ structured = { a = 1 } }".into(),
                "call_failed",
                "structuredContent is null",
            ),
            ("fail", "{}".into(), "call_failed", "the call of fail failed: the tool says isError"),
            ("fail", "{ is_error = true }".into(), "healthy", ""),
            ("nothing", "{}".into(), "call_failed", unknown),
        ] {
            check(lone.address, &call(tool, &expect)).await.is(verdict, words);
        }
    }
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs, and 12 s"]
async fn a_handshake_of_six_seconds_is_too_slow() {
    // Three requests decide: initialize, initialized, tools/list.
    let lone = Lone::start("py1", &[("DELAY_MS", "2000")]).await;
    let legacy = "[health]\nprotocol = 'legacy'";
    let (slow, patient) = tokio::join!(
        check(lone.address, legacy),
        check_with(lone.address, legacy, &["--timeout", "30s"])
    );
    slow.is("timeout", "did not end within 5s: it was at tools/list");
    patient.is("healthy", "");
    let took = patient.body["took_ms"].as_f64().unwrap();
    assert!((6000.0..10_000.0).contains(&took), "{took}");
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn a_dead_server_is_told_from_a_frozen_one() {
    let mut lone = Lone::start("py1", &[]).await;
    lone.process.signal(Signal::SIGSTOP);
    let frozen = check_with(lone.address, "", &["--timeout", "1s"]).await;
    // The kernel still takes the connection.
    frozen.is("timeout", "within 1s: it was at server/discover");
    lone.process.signal(Signal::SIGCONT);
    check(lone.address, "").await.is("healthy", "");
    lone.process.kill();
    check(lone.address, "").await.is("unreachable", "Connection refused");
    lone.again().await;
    check(lone.address, "").await.is("healthy", "");
}

// === A running router

/// What the status says of an arm's first endpoint.
fn health(status: &Value, arm: &str) -> (bool, String) {
    let health = &status["arms"][arm]["endpoints"][0]["health"];
    (health["up"] == true, health["verdict"].as_str().unwrap_or_default().to_owned())
}

/// The share of new work that the secondary really gets.
fn share(status: &Value) -> f64 {
    status["arms"]["secondary"]["effective_weight"].as_f64().unwrap()
}

/// Waits for a status that is as it should be.
async fn until(router: &Router, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    within(20, what, async || router.status().await.ok().filter(|status| is_so(status))).await
}

async fn both_up(router: &Router) {
    until(router, "both are healthy", |status| {
        ["primary", "secondary"].iter().all(|arm| health(status, arm) == (true, "healthy".into()))
    })
    .await;
}

/// Opens so many sessions; the answer is how many each version got.
async fn open(router: &Router, sessions: usize) -> [usize; 2] {
    let mut found = [0, 0];
    for _ in 0..sessions {
        let reply = post(router.address, &[], INITIALIZE).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let versions = ["1.0.0", "2.0.0"].map(|version| reply.text().contains(version));
        let at = versions.iter().position(|is| *is).unwrap_or_else(|| panic!("{}", reply.text()));
        found[at] += 1;
    }
    found
}

async fn two(server: &str) -> [Lone; 2] {
    let (one, two) = tokio::join!(
        Lone::start(server, &[("SERVER_VERSION", "1.0.0")]),
        Lone::start(server, &[("SERVER_VERSION", "2.0.0")])
    );
    [one, two]
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn a_killed_version_gets_nothing_until_it_is_back() {
    let [primary, mut secondary] = two("py1").await;
    // With its guard the split would go back for good.
    let settings = format!("{QUICK}\n[guards]\nhealth_failures = 'off'\n");
    let router = Router::start(&[primary.address], &[secondary.address], &settings).await;
    router.split(50, 50).await;
    both_up(&router).await;
    secondary.process.kill();
    let down = until(&router, "it is down", |status| !health(status, "secondary").0).await;
    assert_eq!(health(&down, "secondary").1, "unreachable");
    let unreachable = ["secondary", "verdict=\"unreachable\""];
    assert!(router.metric("tidegate_probes_total", &unreachable).await >= 3.0);
    assert_eq!(open(&router, 20).await, [20, 0]);
    let status = router.status().await.unwrap();
    assert_eq!((&status["arms"]["secondary"]["weight"], share(&status)), (&json!(50), 0.0));
    assert_eq!(status["arms"]["primary"]["effective_weight"], 100.0);
    for (metric, labels, value) in [
        ("tidegate_endpoint_up", &["arm=\"secondary\""][..], 0.0),
        ("tidegate_endpoint_fitness", &["arm=\"secondary\""], 0.0),
        ("tidegate_endpoint_up", &["arm=\"primary\""], 1.0),
        ("tidegate_split_weight", &["arm=\"secondary\"", "configured"], 50.0),
        ("tidegate_split_weight", &["arm=\"secondary\"", "effective"], 0.0),
        ("tidegate_split_weight", &["arm=\"primary\"", "effective"], 100.0),
    ] {
        let found = router.metric(metric, labels).await;
        assert!((found - value).abs() < 1e-9, "{metric} {labels:?}: {found}");
    }
    // Nobody was refused, and nothing but what clients asked is counted.
    let counted = within(10, "all is counted", async || {
        let all = router.metric("tidegate_exchanges_total", &[]).await;
        (all >= 20.0).then_some(all)
    });
    assert_eq!(counted.await as u64, 20);
    assert_eq!(router.metric("tidegate_exchanges_total", &["outcome=\"ok\""]).await as u64, 20);
    secondary.again().await;
    let back = until(&router, "it is up", |status| health(status, "secondary").0).await;
    let healthy = ["secondary", "verdict=\"healthy\""];
    assert!(router.metric("tidegate_probes_total", &healthy).await >= 3.0, "two since it is back");
    assert!((0.1..40.0).contains(&share(&back)), "slowly: {}", share(&back));
    let text = String::from_utf8(router.cli(&["status"]).stdout).unwrap();
    assert!(text.contains("coming back: "), "{text}");
    until(&router, "all of its share", |status| share(status) >= 50.0).await;
    let log = router.log();
    let own = log.lines().filter(|line| line.contains(&secondary.address.to_string()));
    let mut standings: Vec<_> =
        own.filter_map(|line| line.split("standing=\"").nth(1)?.split('"').next()).collect();
    standings.dedup();
    assert_eq!(standings, ["up", "down", "up"], "{log}");
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn when_nothing_is_healthy_the_stable_version_is_tried() {
    let [mut primary, mut secondary] = two("ts1").await;
    // Both serve; neither has all that is expected of it.
    let settings = format!("{QUICK}expected_tools = ['echo', 'pay']\n");
    let router = Router::start(&[primary.address], &[secondary.address], &settings).await;
    router.split(50, 50).await;
    let status = until(&router, "nothing is healthy", |it| it["nothing_healthy"] == true).await;
    for arm in ["primary", "secondary"] {
        assert_eq!(health(&status, arm), (false, "missing_tools".into()));
    }
    assert_eq!(open(&router, 10).await, [10, 0]);
    let text = String::from_utf8(router.cli(&["status"]).stdout).unwrap();
    assert!(text.contains("NOTHING IS HEALTHY: new work goes to the primary anyway"), "{text}");
    assert!(router.log().contains("no endpoint is healthy"), "{}", router.log());
    // And when it is really gone, the client is told so and not kept waiting.
    primary.process.kill();
    secondary.process.kill();
    let reply = post(router.address, &[], INITIALIZE).await;
    assert_eq!(reply.json()["error"]["data"]["origin"], "tidegate", "{}", reply.text());
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn traffic_finds_a_dead_version_before_the_clock_does() {
    let [primary, mut secondary] = two("py1").await;
    let settings = "\n[health]\ninterval = '1h'";
    let router = Router::start(&[primary.address], &[secondary.address], settings).await;
    router.split(50, 50).await;
    both_up(&router).await;
    let probes = async || router.metric("tidegate_probes_total", &["secondary"]).await;
    assert!((probes().await - 1.0).abs() < 1e-9);
    secondary.process.kill();
    let sent = Cell::new(0.0);
    within(20, "it is found out", async || {
        // What meets the dead one is tried on the other.
        post(router.address, &[], INITIALIZE).await;
        sent.set(sent.get() + 1.0);
        let status = router.status().await.unwrap();
        (!health(&status, "secondary").0).then_some(())
    })
    .await;
    assert!((probes().await - 4.0).abs() < 1e-9, "one at the start, and three that condemn it");
    assert_eq!(open(&router, 10).await, [10, 0]);
    within(10, "what clients sent is counted, and no probe", async || {
        let all = router.metric("tidegate_exchanges_total", &[]).await;
        let more = all - sent.get() - 10.0;
        assert!(more < 0.5, "{more} more than clients sent");
        (more > -0.5).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn probes_leave_no_sessions_behind() {
    let [one, two] = two("ts1").await;
    let router = Router::start(&[one.address], &[two.address], QUICK).await;
    within(20, "some probes", async || {
        (router.metric("tidegate_probes_total", &["secondary"]).await >= 10.0).then_some(())
    })
    .await;
    router.edit("interval = '200ms'", "interval = 'off'");
    assert_eq!(router.cli(&["reload"]).status.code(), Some(0));
    let alone = call("stats", "{ text_contains = '\"sessions\":1,' }");
    within(10, "only the session that asks is open", async || {
        let checked = check(two.address, &alone).await;
        (checked.body["verdict"] == "healthy").then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn a_token_that_expires_and_a_server_that_freezes() {
    let locked = Lone::start("py2", &[("AUTH", "1")]).await;
    let frozen = Lone::start("py2", &[]).await;
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(4);
    let settings = format!("{}token = 'mcp.{}'\n", QUICK.replace("'2s'", "'500ms'"), end.as_secs());
    let router = Router::start(&[locked.address], &[frozen.address], &settings).await;
    router.split(50, 50).await;
    both_up(&router).await;
    frozen.process.signal(Signal::SIGSTOP);
    let status = until(&router, "both are in their states", |status| {
        health(status, "primary").1 == "unauthenticated" && !health(status, "secondary").0
    })
    .await;
    // Clients may have better tokens.
    assert!(health(&status, "primary").0);
    assert_eq!(health(&status, "secondary").1, "timeout");
    assert!(share(&status) < 0.01);
    let text = String::from_utf8(router.cli(&["status"]).stdout).unwrap();
    assert!(text.contains("it answers 401, the token was refused"), "{text}");
    frozen.process.signal(Signal::SIGCONT);
    until(&router, "it is up again", |status| health(status, "secondary").0).await;
}

// === diff

/// What `tidegate diff` says and its exit code, asked of the servers themselves.
fn diff(router: &Router, arguments: &[&str]) -> (String, Option<i32>) {
    let output = router.cli(&[&["diff"], arguments].concat());
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.code())
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn what_two_versions_offer_is_compared() {
    let (py1, ts1, same, mut changed) = tokio::join!(
        Lone::start("py1", &[]),
        Lone::start("ts1", &[]),
        Lone::start("py1", &[]),
        Lone::start("py1", &[("CHANGED", "1")])
    );
    let changes = "tool echo\n  + breaking    inputSchema.properties.times: required parameter added\n\
                   tool poll\n  - breaking    is no longer there\n\
                   tool shout\n  + additive    is new\n2 breaking, 1 additive\n";
    for (secondary, code, words) in [
        (same.address, 0, "no difference\n"),
        (changed.address, 1, changes),
        (ts1.address, 1, "inputSchema.properties.prompt.title"),
        (nobody().await, 2, "could not be listed: cannot connect: Connection refused"),
    ] {
        let settings = "\n[health]\ninterval = '200ms'";
        let mut router = Router::start(&[py1.address], &[secondary], settings).await;
        within(10, "the router knows both", async || {
            let status = router.status().await.unwrap();
            let is_gone = health(&status, "secondary").1 == "unreachable";
            (is_gone || status["catalogue"].is_object()).then_some(())
        })
        .await;
        let direct = ["--direct", "--config", "tidegate.toml"];
        let (asked, told) = (diff(&router, &[]), diff(&router, &direct));
        assert_eq!((asked.1, told.1), (Some(code), Some(code)), "{}{}", asked.0, told.0);
        assert!(told.0.contains(words), "{}", told.0);
        if code < 2 {
            assert_eq!(asked.0, told.0);
        }
        // The same without a router.
        router.stop().await;
        let alone = diff(&router, &["--config", "tidegate.toml"]);
        assert_eq!(alone.1, Some(code), "{}", alone.0);
        assert!(
            alone.0.contains("no router answers; asking the servers themselves"),
            "{}",
            alone.0
        );
        assert!(alone.0.contains(words), "{}", alone.0);
    }
    changed.process.kill();
}
