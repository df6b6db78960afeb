//! Reports through the real program: of a rollout that was reverted, of some days, and as a browser
//! shows them.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::health::{error, modern, result};
use crate::support::{MODERN, Router, Seen, Server, post, within};

/// Steps that nobody waits for, and servers that are looked at often.
const SETTINGS: &str = "\n[health]\ninterval = '200ms'\n[guards]\nsequential = 'off'\n[rollout]\ngate = 'time'\nsteps = [{ weight = 50, hold = '2s' }, { weight = 100, hold = '1h' }]\n";

const TOOLS: [&str; 2] = ["whoami", "<script>alert(1)</script>"];

/// A server of this version, which may fail each call of the second tool.
async fn server(version: &'static str, fails: bool) -> Server {
    modern(move |seen: &Seen| match seen.rpc().as_str() {
        "server/discover" => Some(result(
            seen,
            &json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} }, "serverInfo": { "name": "tides", "version": version } }),
        )),
        "tools/list" => {
            Some(result(seen, &json!({ "tools": TOOLS.map(|name| json!({ "name": name })) })))
        }
        "tools/call" if fails && seen.body.contains("script") => {
            Some(error(seen, 500, -32603, "no"))
        }
        _ => None,
    })
    .await
}

/// Calls every tool of the servers some times.
async fn calls(router: &Router, times: usize) {
    for name in TOOLS.iter().cycle().take(times * TOOLS.len()) {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": {} } });
        let mut headers = MODERN;
        headers[2].1 = name;
        post(router.address, &headers, &call.to_string()).await;
    }
}

async fn rollout(router: &Router) -> Value {
    router.admin("GET", "/v1/rollout", json!({})).await.unwrap()["rollout"].clone()
}

/// A router whose rollout has come to its last step and was reverted by an alert; its id.
async fn reverted() -> (Router, [Server; 2], String) {
    let servers = [server("1.5", false).await, server("1.6", true).await];
    let [one, two] = [&servers[0], &servers[1]].map(|server| [server.address]);
    let router = Router::start(&one, &two, SETTINGS).await;
    within(10, "the servers are known", async || {
        let status = router.status().await.unwrap();
        status["catalogue"].is_object().then_some(())
    })
    .await;
    calls(&router, 5).await;
    let told = router.admin("POST", "/v1/rollout/start", json!({ "reason": "try <1.6>" })).await;
    let id = told.unwrap()["rollout"]["id"].as_str().unwrap().to_owned();
    within(20, "the last step", async || {
        calls(&router, 5).await;
        (rollout(&router).await["state"] == "baking").then_some(())
    })
    .await;
    calls(&router, 5).await;
    router.admin("POST", "/v1/reload", json!({})).await.unwrap();
    let alert = json!({ "severity": "critical", "source": "me", "reason": "a | leak" });
    router.admin("POST", "/v1/alerts", alert).await.unwrap();
    assert_eq!(rollout(&router).await["state"], "reverted");
    (router, servers, id)
}

/// What a command says; it must be done.
#[track_caller]
fn said(router: &Router, command: &str) -> String {
    let output = router.cli(&command.split(' ').collect::<Vec<_>>());
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{command}: {text}");
    text
}

fn calls_of(arm: &str, report: &Value) -> u64 {
    let tools = report["tools"].as_array().unwrap().iter().filter(|it| it["is_tool"] == true);
    tools.map(|it| it["arms"][arm]["calls"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn a_reverted_rollout_is_told_in_three_formats() {
    let (mut router, servers, id) = reverted().await;
    let report: Value =
        serde_json::from_str(&said(&router, &format!("report {id} --json"))).unwrap();
    assert_eq!((&report["id"], &report["state"]), (&json!(id), &json!("reverted")));
    assert_eq!((&report["ending"], &report["guard"]), (&json!("over"), &json!("security_alert")));
    assert_eq!(report["versions"], json!({ "primary": "tides 1.5", "secondary": "tides 1.6" }));
    let shares: Vec<_> =
        report["weights"].as_array().unwrap().iter().map(|it| &it["split"]["secondary"]).collect();
    assert_eq!(shares, [0, 50, 100, 0]);
    let events: Vec<_> =
        report["decisions"].as_array().unwrap().iter().map(|it| &it["event"]).collect();
    assert_eq!(events, ["rollout-start", "step", "revert"]);
    assert_eq!(report["reloads"].as_array().unwrap().len(), 1);
    assert_eq!(report["alerts"].as_array().unwrap().len(), 1);
    // One measurement for all: what the servers have seen less what came before the rollout. An
    // answer may be with its client a moment before it is counted.
    let seen = |server: &Server| server.seen().iter().filter(|it| it.rpc() == "tools/call").count();
    let [one, two] = [&servers[0], &servers[1]].map(|server| seen(server) as u64);
    let told = ["primary", "secondary"].map(|arm| calls_of(arm, &report));
    assert!(told[0].abs_diff(one - 10) <= 1 && told[1].abs_diff(two) <= 1, "{told:?} {one} {two}");
    let failed =
        report["tools"].as_array().unwrap().iter().find(|it| it["name"] == TOOLS[1]).unwrap();
    let failed = &failed["arms"]["secondary"];
    assert_eq!((&failed["errors"], &failed["faults"]), (&failed["calls"], &failed["calls"]));
    assert!(report["points"].as_array().unwrap().len() >= 2, "{report}");

    let markdown = said(&router, &format!("report {id}"));
    assert!(markdown.starts_with(&format!("# Rollout {id}: reverted\n")), "{markdown}");
    assert!(markdown.contains("try &lt;1.6&gt;") && !markdown.contains("<script"), "{markdown}");
    assert!(said(&router, "report last").starts_with(&format!("# Rollout {id}: ")));
    let wrote = said(&router, &format!("report {id} --output r.html"));
    assert!(wrote.starts_with("wrote r.html ("), "{wrote}");
    let html = std::fs::read_to_string(router.dir.path().join("r.html")).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && !html.contains("<script"), "{html}");
    said(&router, "report --period 2d --output days.json");
    let days = std::fs::read_to_string(router.dir.path().join("days.json")).unwrap();
    let days: Value = serde_json::from_str(&days).unwrap();
    assert_eq!(
        (&days["rollouts"][0]["id"], &days["incidents"][0]["event"]),
        (&json!(id), &json!("revert"))
    );
    assert_eq!(days["trends"].as_array().unwrap().len(), 2);
    assert!(said(&router, "report --period 1d").starts_with("# The last 1 day: "));

    // After a restart it is the same but for when it was made.
    router.stop().await;
    let router = router.restart().await;
    let mut again: Value = serde_json::from_str(&said(&router, "report last --json")).unwrap();
    again["made"] = report["made"].clone();
    assert_eq!(again, report);
}

#[tokio::test]
async fn what_cannot_be_reported_is_said_with_what_to_do() {
    let (router, _servers) = {
        let one = server("1.5", false).await;
        (Router::start(&[one.address], &[one.address], "").await, one)
    };
    for (command, code, words) in [
        ("report r99", 1, "tidegate rollout history"),
        ("report last", 1, "no rollout has been started yet"),
        ("report ../../x", 64, "tidegate rollout history"),
        ("report", 64, "--period"),
        ("report r1 --period 2d", 64, "cannot be used with"),
        ("report --period 90d", 64, "say 1d to 35d"),
        ("report --period soon", 64, "soon"),
        ("report --period 1d --format pdf", 64, "possible values"),
        ("report --period 1d --output .", 64, "is a directory"),
        ("report --period 1d --output nowhere/x.md", 2, "choose another --output"),
        ("report --period 1d --output x.md", 0, "wrote x.md"),
    ] {
        let output = router.cli(&command.split(' ').collect::<Vec<_>>());
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{command}: {text}");
        assert!(text.contains(words), "{command}: {text}");
    }
    // What is no file is written to, and a link goes where it went.
    let at = |name: &str| router.dir.path().join(name);
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    std::os::unix::fs::symlink("x.md", at("link.md")).unwrap();
    let read = Command::new("cat").arg(at("pipe")).stdout(Stdio::piped()).spawn().unwrap();
    assert!(said(&router, "report --period 1d --output pipe").starts_with("wrote pipe"));
    let read = String::from_utf8(read.wait_with_output().unwrap().stdout).unwrap();
    assert!(read.starts_with("# The last 1 day"), "{read}");
    said(&router, "report --period 1d --output link.md --format json");
    assert!(std::fs::symlink_metadata(at("link.md")).unwrap().is_symlink());
    assert!(std::fs::read_to_string(at("x.md")).unwrap().starts_with('{'));
    let json = said(&router, "report --period 1d --output - --json");
    assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
    for path in ["/v1/reports?days=0", "/v1/reports?days=99", "/v1/reports?day=1"] {
        let refused = router.admin("GET", path, json!({})).await.unwrap_err();
        assert!(refused.to_string().contains("days=35"), "{path}: {refused}");
    }
    let left: Vec<_> = std::fs::read_dir(router.dir.path()).unwrap().collect();
    assert!(
        !left.iter().any(|it| it.as_ref().unwrap().file_name().to_string_lossy().ends_with(".new"))
    );
}

/// What a browser makes of a file: its document, what it logs, and the bytes of its picture.
fn browse(file: &Path, picture: &Path) -> (String, String, u64) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"])
        .args(["--hide-scrollbars", "--window-size=1000,3600", "--virtual-time-budget=2000"])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pixels = std::fs::metadata(picture).unwrap().len();
    (text(&output.stdout), text(&output.stderr), pixels)
}

#[tokio::test]
#[ignore = "needs chromium: tests/run installs it"]
async fn a_browser_shows_it_without_complaint() {
    let (router, _servers, id) = reverted().await;
    for (what, plots) in [(id.as_str(), 4), ("--period 1d", 5)] {
        said(&router, &format!("report {what} --output r.html"));
        let file = router.dir.path().join("r.html");
        let picture = router.dir.path().join("r.png");
        let browsed = tokio::task::spawn_blocking(move || browse(&file, &picture));
        let (document, log, pixels) = browsed.await.unwrap();
        let complaints: Vec<_> = log.lines().filter(|it| it.contains("CONSOLE")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(document.matches("<svg class=\"plot\"").count(), plots, "{document}");
        let drawn = document.split("<svg class=\"plot\"").skip(1);
        let values = drawn.map(|it| it.split("data-values=\"").nth(1).unwrap());
        let values: Vec<u32> =
            values.map(|it| it.split('"').next().unwrap().parse().unwrap()).collect();
        assert!(values.len() == plots && values.iter().all(|it| *it > 0), "{values:?}");
        assert!(!document.contains("<script"), "{document}");
        assert!(pixels > 20_000, "{pixels}");
    }
}
