//! No secret leaves the process: not in an answer, a log, a record, a figure or a complaint.
//!
//! Secrets are put wherever the configuration takes one and wherever clients send theirs, the router
//! is made to talk as much as it can, and all that it said is searched.

use std::path::Path;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::admin::verbs::{Level, VERBS};
use tokio::net::TcpStream;

use crate::support::client::once;
use crate::support::{INITIALIZE, MODERN, Router, Server, eventually, get, nobody, post, said};

/// In every secret, and nowhere else.
const MARK: &str = "hush";
/// A secret of the environment, which both the router and its commands have.
const VARIABLE: &str = "SECRET=hush-of-the-environment";

/// The configuration, with a secret at each place for one.
fn settings(one: &Server, nowhere: &str, format: &str) -> String {
    let [one, two] = [one.address.to_string(), nowhere.to_owned()];
    format!(
        "listen = '127.0.0.1:0'
state_dir = 'state'
[log]
level = 'trace'
access = 'on'
format = '{format}'
[primary]
endpoints = ['http://{one}/mcp']
[primary.headers]
x-literal = 'hush-in-a-header'
x-filled = 'Basic ${{SECRET}}'
x-file = {{ file = 'file' }}
[secondary]
endpoints = ['http://{two}/mcp']
[secondary.headers]
authorization = 'Bearer hush-for-the-secondary'
[health]
interval = '1s'
token = 'hush-health-token'
[affinity]
key = 'hush-key-of-more-than-thirty-two-bytes'
previous_key = 'hush-old-key-of-more-than-thirty-two-bytes'
salt = 'hush-salt-of-sixteen'
[[notify.webhooks]]
name = 'ops'
url = 'http://{two}/hush-path?token=hush-query'
token = 'hush-webhook-token'
[[notify.webhooks]]
name = 'chat'
url = {{ file = 'url' }}
format = 'slack'
[alerts]
listen = '127.0.0.1:0'
token = 'hush-alerts-token'
[metrics]
listen = '127.0.0.1:0'
token = 'hush-metrics-token'
"
    )
}

/// Files that are wrong, each with a secret near what is wrong.
const WRONG: [(&str, &str); 17] = [
    ("token = 'hush-alerts-token'", "token = 'hush'"),
    ("token = 'hush-alerts-token'", "token = ['hush-in-a-list']"),
    ("token = 'hush-alerts-token'", "token = 'hush-and-no-end"),
    ("token = 'hush-alerts-token'", "token = hush-without-quotes"),
    ("token = 'hush-alerts-token'", "token = { file = 'none', other = 'hush' }"),
    ("token = 'hush-health-token'", "token = \"hush\\u0001\""),
    ("token = 'hush-health-token'", "token = 'Bearer hush-twice'"),
    ("x-literal = 'hush-in-a-header'", "x-literal = \"hush\\nline\""),
    ("x-literal = 'hush-in-a-header'", "host = 'hush-host'"),
    ("/hush-path?token=hush-query", "/hush path?token=hush query"),
    ("url = 'http://", "url = 'hush://me:hush@"),
    ("endpoints = ['http://", "endpoints = ['http://me:hush@"),
    ("state_dir = 'state'", "public_origin = 'https://me:hush@x'"),
    ("state_dir = 'state'", "host = 'me:hush@x'"),
    ("[health]", "[health]\nhost = 'me:hush@x'"),
    ("[metrics]", "[metrics]\ntls = { certificate = 'file', key = \"\"\"hush\nhush\"\"\" }"),
    ("[alerts]", "[http]\norigins = ['https://me:hush@x']\n[alerts]"),
];

#[track_caller]
fn silent(what: impl std::fmt::Display, text: &str, also: &[String]) {
    for secret in also.iter().map(String::as_str).chain([MARK]) {
        for (number, line) in text.lines().enumerate() {
            assert!(!line.contains(secret), "{what}, line {}: {secret} in {line}", number + 1);
        }
    }
}

/// Files that the router has written, but for copies of its configuration.
fn written(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() {
            written(&path, found);
        } else if path.file_name().is_some_and(|name| name != "config.toml") {
            let bytes = std::fs::read(&path).unwrap();
            found.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

/// A client that has secrets of its own, over both versions of HTTP; returns its sessions.
async fn traffic(router: &Router) -> Vec<String> {
    let own = [
        ("authorization", "Bearer hush-of-the-client"),
        ("cookie", "session=hush-cookie"),
        ("x-api-key", "hush-api-key"),
        ("user-agent", "hush-agent"),
    ];
    let call = r#"{"jsonrpc":"2.0","id":"hush-id","method":"tools/call","params":{"name":"whoami","arguments":{"q":"hush-argument"}}}"#;
    let session = post(router.address, &own, INITIALIZE).await.session();
    let in_session = [&own[..], &[("mcp-session-id", &session)]].concat();
    assert_eq!(post(router.address, &in_session, call).await.status, 200);
    assert_eq!(post(router.address, &[&own[..], &MODERN].concat(), call).await.status, 200);
    let forged = "1a.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.hush-session";
    for (method, target, session, body) in [
        ("POST", "/mcp?key=hush-in-a-query", session.as_str(), call),
        ("POST", "/mcp", forged, call),
        ("POST", "/mcp", &session, r#"{"jsonrpc":"2.0","method":"hush-method","id":{"#),
        ("GET", "/hush-path", &session, ""),
        ("TRACE", "/mcp", &session, ""),
        ("DELETE", "/mcp", &session, ""),
    ] {
        let headers = [&own[..], &[("mcp-session-id", session)]].concat();
        once(router.address, method, target, &headers, body).await;
    }
    let stream = TcpStream::connect(router.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::post(format!("http://{}/mcp", router.address))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json");
    for (name, value) in own {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(INITIALIZE))).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let second = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    answer.into_body().collect().await.unwrap();
    vec![session, second]
}

/// Everything that changes something, or tries to.
async fn changes(router: &Router, sessions: &[String]) {
    let told = async |method, path, body: Value| {
        let answer = router.admin(method, path, body).await;
        silent(path, &format!("{answer:?}"), sessions);
    };
    for session in sessions {
        told("POST", "/v1/explain", json!({ "session": session })).await;
    }
    told("POST", "/v1/rollout/start", json!({ "plan": "gate = 'hush" })).await;
    told("POST", "/v1/baselines", json!({ "name": "NAME" })).await;
    told("POST", "/v1/state/backups", json!({ "reason": "me" })).await;
    told("POST", "/v1/notify/test", json!({})).await;
    told("POST", "/v1/alerts", json!({ "severity": "critical", "source": "me", "reason": "x" }))
        .await;
    told("POST", "/v1/alerts/clear", json!({ "id": 1, "reason": "over" })).await;
    router.split(50, 50).await;
    for _ in 0..4 {
        let own = [("authorization", "Bearer hush-of-the-client")];
        let reply = post(router.address, &own, INITIALIZE).await;
        silent("an error of ours", &reply.text(), sessions);
    }
    told("POST", "/v1/rollout/start", json!({})).await;
    for (token, path) in [("hush-wrong-token", "/"), ("hush-alerts-token", "/hush-path")] {
        let status = router.status().await.unwrap();
        let to = status["alerts_listen"].as_str().unwrap().parse().unwrap();
        let shown = [("authorization", &*format!("Bearer {token}"))];
        let reply = once(to, "POST", path, &shown, "{\"hush\": hush}").await;
        silent(path, &reply.text(), sessions);
    }
}

async fn nothing_is_said(format: &str) {
    let (one, nowhere) = (Server::mcp("one").await, nobody().await.to_string());
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("tidegate.toml");
    std::fs::write(dir.path().join("file"), "hush-in-a-file\n").unwrap();
    std::fs::write(dir.path().join("url"), format!("http://{nowhere}/services/hush-url")).unwrap();
    let right = settings(&one, &nowhere, format);
    std::fs::write(&file, &right).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let router = Router::spawn_under(&["env", VARIABLE], dir, log.into()).await;
    eventually("the server is up", async || {
        let status = router.status().await.ok()?;
        (status["arms"]["primary"]["server"]["name"] == "one").then_some(())
    })
    .await;
    let seen = one.seen();
    let headers: Vec<_> = seen.iter().filter_map(|it| it.header("x-file")).collect();
    assert!(headers.contains(&"hush-in-a-file"), "secrets are where they belong");

    let sessions = traffic(&router).await;
    changes(&router, &sessions).await;
    for verb in VERBS.iter().filter(|verb| verb.level == Level::Read) {
        for path in [verb.path.to_owned(), verb.path.replace("ID", "last")] {
            let answer = router.admin(verb.method.as_str(), &path, json!({})).await;
            silent(&path, &format!("{answer:?}"), &sessions);
        }
    }
    let command = |arguments: &[&str]| {
        let (name, value) = VARIABLE.split_once('=').unwrap();
        said(&router.command(arguments).env(name, value).output().unwrap())
    };
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["export-state"],
        &["backups"],
        &["report", "last"],
        &["validate-config", "--config", "tidegate.toml"],
        &["health-check", "--config", "tidegate.toml", "--json"],
        &["validate", "secondary", "--config", "tidegate.toml", "--json"],
    ] {
        silent(words.join(" "), &command(words), &sessions);
    }
    for (from, to) in WRONG {
        assert!(right.contains(from), "{from}");
        std::fs::write(&file, right.replacen(from, to, 1)).unwrap();
        let reload = command(&["reload"]);
        assert!(reload.contains("refused") || reload.contains("tidegate.toml"), "{to}: {reload}");
        let checked = command(&["validate-config", "--config", "tidegate.toml"]);
        for said in [reload, checked] {
            silent(to, &said, &sessions);
        }
    }
    let figures = [("authorization", "Bearer hush-metrics-token")];
    silent("figures", &get(router.metrics, "/metrics", &figures).await.text(), &sessions);
    silent("figures", &get(router.metrics, "/metrics", &[]).await.text(), &sessions);
    let mut files = Vec::new();
    written(&router.dir.path().join("state"), &mut files);
    assert!(files.len() > 4, "{files:?}");
    let log = router.log();
    assert!(log.contains("TRACE"), "it says all that it can");
    files.push(("the log".to_owned(), log));
    for (name, text) in files {
        silent(name, &text, &sessions);
    }
}

#[tokio::test]
async fn no_secret_is_ever_said() {
    nothing_is_said("text").await;
}

#[tokio::test]
async fn nor_in_json() {
    nothing_is_said("json").await;
}
