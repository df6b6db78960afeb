//! `health-check` as a process, and servers for it that are well but for one thing.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::router::PROGRAM;
use super::server::{Seen, answer};
use super::{Server, Step, eventually};

/// What a check said.
pub struct Checked {
    pub code: i32,
    pub body: Value,
}

impl Checked {
    /// That the verdict is this one, for a reason with these words.
    #[track_caller]
    pub fn is(&self, verdict: &str, words: &str) {
        assert_eq!(self.body["verdict"], verdict, "{:#}", self.body);
        let reason = self.body["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{words}: {reason}");
        let code = match verdict {
            "healthy" => 0,
            "unauthenticated" => 2,
            _ => 1,
        };
        assert_eq!(self.code, code, "{:#}", self.body);
    }

    pub fn steps(&self) -> Vec<&str> {
        self.body["steps"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect()
    }
}

/// Starts a check of one server.
pub fn start(at: SocketAddr, settings: &str, arguments: &[&str]) -> (TempDir, Child) {
    start_at(&format!("http://{at}/mcp"), settings, arguments)
}

/// Starts a check of one address; memory is bounded, so that whoever keeps all that comes dies.
pub fn start_at(url: &str, settings: &str, arguments: &[&str]) -> (TempDir, Child) {
    let dir = TempDir::new().unwrap();
    let config = format!("{settings}\n[primary]\nendpoints = [\"{url}\"]\n");
    std::fs::write(dir.path().join("tidegate.toml"), config).unwrap();
    let child = Command::new("/bin/sh")
        .args(["-c", "ulimit -d 65536; exec \"$@\"", "sh", PROGRAM, "health-check", "primary"])
        .args(["--config", "tidegate.toml"])
        .args(arguments)
        .current_dir(dir.path())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    (dir, child)
}

/// Checks a server, with these settings in front of the configuration's sections.
pub async fn check(at: SocketAddr, settings: &str) -> Checked {
    check_with(at, settings, &[]).await
}

pub async fn check_with(at: SocketAddr, settings: &str, arguments: &[&str]) -> Checked {
    check_at(&format!("http://{at}/mcp"), settings, arguments).await
}

pub async fn check_at(url: &str, settings: &str, arguments: &[&str]) -> Checked {
    let (_dir, child) = start_at(url, settings, &[arguments, &["--json"]].concat());
    let output = child.wait_with_output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = || format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", told()));
    Checked { code: output.status.code().unwrap(), body: all["endpoints"][0].clone() }
}

pub fn text(bytes: &str) -> Vec<Step> {
    vec![Step::Send(bytes.to_owned())]
}

/// The answer to a request with this result or this error.
pub fn message(seen: &Seen, key: &str, value: &Value) -> String {
    let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
    json!({ "jsonrpc": "2.0", "id": body["id"], key: value }).to_string()
}

pub fn result(seen: &Seen, value: &Value) -> Vec<Step> {
    text(&answer(200, &[], &message(seen, "result", value)))
}

pub fn error(seen: &Seen, status: u16, code: i64, said: &str) -> Vec<Step> {
    let error = json!({ "code": code, "message": said });
    text(&answer(status, &[], &message(seen, "error", &error)))
}

/// What a well server of both eras answers, but for discovery and `initialize`.
pub fn well(seen: &Seen) -> Vec<Step> {
    match (seen.method.as_str(), seen.rpc().as_str()) {
        ("DELETE", _) => text(&answer(200, &[], "")),
        ("GET", _) => text(&answer(405, &[], "")),
        (_, "tools/list") => {
            result(seen, &json!({ "tools": [{ "name": "add" }, { "name": "echo" }] }))
        }
        (_, "tools/call") => result(
            seen,
            &json!({ "content": [{ "type": "text", "text": "it is ok" }], "structuredContent": { "ok": true } }),
        ),
        (_, "ping") => result(seen, &json!({})),
        (_, "notifications/initialized") => text(&answer(202, &[], "")),
        (_, "server/discover") => error(seen, 400, -32000, "Server not initialized"),
        _ => error(seen, 400, -32022, "Unsupported protocol version"),
    }
}

pub fn discovered() -> Value {
    json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} }, "serverInfo": { "name": "one", "version": "1.5" } })
}

/// A modern server that answers as it should, but for what `change` does.
pub async fn modern(change: impl Fn(&Seen) -> Option<Vec<Step>> + Send + Sync + 'static) -> Server {
    Server::scripted(move |seen| match (change(seen), seen.rpc().as_str()) {
        (Some(changed), _) => changed,
        (None, "server/discover") => result(seen, &discovered()),
        (None, _) => well(seen),
    })
    .await
}

/// The same of the legacy era; its session is called `s-1`.
pub async fn legacy(change: impl Fn(&Seen) -> Option<Vec<Step>> + Send + Sync + 'static) -> Server {
    Server::scripted(move |seen| match (change(seen), seen.rpc().as_str()) {
        (Some(changed), _) => changed,
        (None, "initialize") => opened(seen),
        (None, _) => well(seen),
    })
    .await
}

pub fn opened(seen: &Seen) -> Vec<Step> {
    let result = json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": { "name": "old", "version": "0.9" } });
    text(&answer(200, &[("mcp-session-id", "s-1")], &message(seen, "result", &result)))
}

/// A change of the answer to one method.
pub fn on(
    rpc: &'static str,
    steps: impl Fn(&Seen) -> Vec<Step>,
) -> impl Fn(&Seen) -> Option<Vec<Step>> {
    move |seen| (seen.rpc() == rpc).then(|| steps(seen))
}

pub async fn session_ended(server: &Server) {
    eventually("the session is ended", async || {
        let ended =
            |seen: &Seen| seen.method == "DELETE" && seen.header("mcp-session-id") == Some("s-1");
        server.seen().iter().any(ended).then_some(())
    })
    .await;
}
