//! The harness: a router process, scripted servers, a plain client.

pub mod certificates;

pub mod client;

pub mod frames;

pub mod health;

pub mod hosts;

pub mod process;

pub mod real;

pub mod router;

pub mod scrape;

pub mod secure;

pub mod server;

pub mod supervisor;

pub mod visitors;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use client::{Reply, delete, get, post};
pub use process::Process;
pub use router::Router;
pub use scrape::Scrape;
pub use server::{Seen, Server, Step};
pub use supervisor::Supervisor;

/// Asks again and again until the answer is there.
pub fn eventually<T, F>(what: &str, ask: impl FnMut() -> F) -> impl Future<Output = T>
where
    F: Future<Output = Option<T>>,
{
    within(10, what, ask)
}

/// The same for what may take longer; where tests sleep, so that they need not.
pub fn within<T, F>(seconds: u32, what: &str, mut ask: impl FnMut() -> F) -> impl Future<Output = T>
where
    F: Future<Output = Option<T>>,
{
    let what = what.to_owned();
    async move {
        for _ in 0..seconds * 40 {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("not within {seconds} s: {what}");
    }
}

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "this is the program, and not what it tests")]
pub fn given(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// What a command has printed: its answer, then its complaints.
pub fn said(output: &std::process::Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// That an answer is ours, for this reason; returns the id that it names.
#[track_caller]
pub fn ours(reply: &Reply, status: u16, reason: &str) -> Value {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let body = reply.json();
    let data = &body["error"]["data"];
    assert_eq!((&data["origin"], &data["reason"]), (&json!("tidegate"), &json!(reason)));
    assert_eq!(body["jsonrpc"], "2.0");
    body["id"].clone()
}

/// `initialize` as a legacy client sends it.
pub const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"0"}}}"#;

/// A call of the tool `whoami`, which answers with the server's name.
pub const WHOAMI: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;

/// The headers of a modern call.
pub const MODERN: [(&str, &str); 3] =
    [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "whoami")];
