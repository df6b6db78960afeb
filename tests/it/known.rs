//! What a router makes of handshakes with scripted servers: what it keeps of them, forgets, and
//! shows, also where a server means harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::health::{check, discovered, error, modern, on, result};
use crate::support::{Router, Server, Step, eventually, get, nobody};

const QUICK: &str = "\n[health]\ninterval = '100ms'";

/// What a server may put where people look.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}evil\u{200b}\r\n";

fn said(output: std::process::Output) -> String {
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

async fn until(router: &Router, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || router.status().await.ok().filter(|status| is_so(status))).await
}

fn verdict(status: &Value, arm: &str, endpoint: usize) -> String {
    status["arms"][arm]["endpoints"][endpoint]["health"]["verdict"].to_string()
}

#[tokio::test]
async fn what_was_listed_is_not_forgotten_with_the_next_failure() {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    let one = modern(move |seen| {
        let fails = seen.rpc() == "tools/list" && is_broken.load(Ordering::Relaxed);
        fails.then(|| error(seen, 200, -32603, "broken"))
    })
    .await;
    let two = modern(on("tools/list", |seen| result(seen, &json!({ "tools": [] })))).await;
    let router = Router::start(&[one.address], &[two.address], QUICK).await;
    until(&router, "both are compared", |status| status["catalogue"].is_object()).await;
    let before = said(router.cli(&["diff"]));
    assert!(before.contains("2 breaking"), "{before}");
    broken.store(true, Ordering::Relaxed);
    let status = until(&router, "it is down", |status| {
        status["arms"]["primary"]["endpoints"][0]["health"]["up"] == false
    })
    .await;
    assert_eq!(status["catalogue"]["worst"], "breaking");
    assert_eq!(said(router.cli(&["diff"])), before);
}

// The command line asks the servers, which must not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_can_tell_speaks_for_its_arm() {
    let well = modern(|_| None).await;
    let broken = modern(on("tools/list", |seen| error(seen, 200, -32603, "broken"))).await;
    let arm = [nobody().await, broken.address, well.address];
    let router = Router::start(&arm, &[well.address], QUICK).await;
    until(&router, "both are compared", |status| status["catalogue"].is_object()).await;
    for arguments in [&["diff"][..], &["diff", "--direct", "--config", "tidegate.toml"]] {
        let output = router.cli(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(said(output), "no difference\n");
    }
    router.edit(&format!(", \"http://{}/mcp\"]\n[secondary]", well.address), "]\n[secondary]");
    let output = router.cli(&["diff", "--direct", "--config", "tidegate.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let words = "the primary could not be listed: cannot connect: Connection refused";
    assert!(said(output).contains(words));
}

#[tokio::test]
async fn an_endpoint_that_is_gone_leaves_no_series() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let gone = nobody().await;
    let router = Router::start(&[one.address, gone], &[two.address], QUICK).await;
    let metrics = async || get(router.metrics, "/metrics", &[]).await.text();
    let of_gone = format!("endpoint=\"http://{gone}/mcp\"");
    eventually("it is counted", async || {
        let text = metrics().await;
        let line =
            |name: &str| text.lines().any(|it| it.starts_with(name) && it.contains(&of_gone));
        (line("tidegate_probes_total") && line("tidegate_endpoint_up")).then_some(())
    })
    .await;
    router.edit(&format!(", \"http://{gone}/mcp\""), "");
    assert_eq!(router.cli(&["reload"]).status.code(), Some(0));
    let text = metrics().await;
    assert!(!text.contains(&of_gone), "{text}");
    assert!(text.contains(&format!("endpoint=\"http://{}/mcp\"", one.address)));
}

#[tokio::test]
async fn a_failure_that_decides_nothing_yet_is_shown_as_such() {
    let two = Server::mcp("two").await;
    let settings = format!("{QUICK}\nunhealthy_after = 100");
    let router = Router::start(&[nobody().await], &[two.address], &settings).await;
    until(&router, "a handshake", |it| verdict(it, "primary", 0).contains("unreachable")).await;
    let text = said(router.cli(&["status"]));
    assert!(text.contains("up, last handshake: unreachable (cannot connect"), "{text}");
}

// The command line asks the servers, which must not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_server_says_acts_on_a_terminal() {
    let evil = modern(|seen| {
        let item =
            |key: &str| json!({ key: EVIL, "name": EVIL, "title": EVIL, "description": EVIL });
        Some(match seen.rpc().as_str() {
            "server/discover" => {
                let mut found = discovered();
                found["serverInfo"] = json!({ "name": EVIL.repeat(99), "version": EVIL });
                found["capabilities"] = json!({ "tools": {}, "prompts": {}, "resources": {} });
                result(seen, &found)
            }
            "tools/list" => {
                let many = (0..10_000).map(|at| json!({ "name": format!("{EVIL}{at}") }));
                let schema = json!({ "properties": { EVIL: { "type": EVIL, "enum": [EVIL] } } });
                let mut tools: Vec<_> = many.collect();
                tools[0]["inputSchema"] = schema;
                result(seen, &json!({ "tools": tools }))
            }
            "prompts/list" => result(seen, &json!({ "prompts": [item("name")] })),
            "resources/list" => result(seen, &json!({ "resources": [item("uri")] })),
            "resources/templates/list" => {
                result(seen, &json!({ "resourceTemplates": [item("uriTemplate")] }))
            }
            _ => error(seen, 400, -32022, EVIL),
        })
    })
    .await;
    let two = Server::mcp("two").await;
    let router = Router::start(&[two.address], &[evil.address], QUICK).await;
    until(&router, "both are compared", |status| status["catalogue"].is_object()).await;
    let config = ["--config", "tidegate.toml"];
    for command in ["status", "diff", "health-check"] {
        for json in [&[][..], &["--json"]] {
            let output = router.cli(&[&[command], &config[..], json].concat());
            let text = said(output);
            assert!(text.contains("evil"), "{command}: {text}");
            let acts =
                |it: char| (it.is_control() && it != '\n') || "\u{202e}\u{200b}".contains(it);
            assert!(!text.contains(acts), "{command} {json:?}");
            assert!(text.len() < 2 << 20, "{command}: {} bytes", text.len());
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest < 500, "{command}: a line of {longest}");
        }
    }
    assert!(!router.log().contains(|it: char| it.is_control() && it != '\n'), "{}", router.log());
    assert!(router.peak_memory() < 200 << 10, "{} KiB", router.peak_memory());
}

#[tokio::test]
async fn what_decides_nothing_may_fail() {
    let silent = modern(|seen| match seen.rpc().as_str() {
        "server/discover" => {
            let mut found = discovered();
            found["capabilities"] = json!({ "tools": {}, "prompts": {}, "resources": {} });
            Some(result(seen, &found))
        }
        "prompts/list" => Some(vec![Step::Wait(Arc::new(Notify::new()))]),
        _ => None,
    })
    .await;
    let checked = check(silent.address, "[health]\ntimeout = '300ms'").await;
    checked.is("healthy", "all that decides");
    // No time was left to ask for more.
    assert_eq!(checked.steps(), ["connect", "server/discover", "tools/list", "prompts/list"]);
    let last = &checked.body["steps"][3];
    assert_eq!((&last["ok"], &last["decides"]), (&json!(false), &json!(false)));
    assert_eq!(last["detail"], "no answer in time");
}

#[tokio::test]
async fn an_answer_that_grows_in_memory_is_refused() {
    // 4 MiB of text would be 800 MiB of objects.
    let numbers: Vec<_> = (0..400_000).map(|_| json!({ "": 0 })).collect();
    let schema = json!([{ "name": "a", "inputSchema": { "enum": numbers } }]);
    let server =
        modern(on("tools/list", move |seen| result(seen, &json!({ "tools": schema })))).await;
    // It is the memory that this is about: a busy machine takes its time to write so much.
    let patient = "[health]\ntimeout = '60s'";
    check(server.address, patient).await.is("bad_answer", "no JSON: it takes more than 32 MiB");
}
