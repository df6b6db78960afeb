//! Short sessions without end, as any client has them, with released servers.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{INITIALIZE, Reply, delete, post};

/// Between two sessions that begin.
const RHYTHM: Duration = Duration::from_millis(50);

/// When sessions began, and which version each is on.
pub type Begun = Rc<RefCell<Vec<(Instant, Option<String>)>>>;

/// A request of a session; how it is answered is for the router to judge.
pub async fn ask(at: SocketAddr, session: &str, method: &str, params: Value) -> Reply {
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    post(at, &[("mcp-session-id", session)], &message.to_string()).await
}

/// Opens a session; `None` if no server does.
pub async fn open(at: SocketAddr, headers: &[(&str, &str)]) -> Option<(String, String)> {
    let reply = post(at, headers, INITIALIZE).await;
    let session = reply.header("mcp-session-id")?.to_owned();
    let version = reply.json()["result"]["serverInfo"]["version"].as_str()?.to_owned();
    Some((session, version))
}

/// A short session, as any client has.
pub async fn visit(at: SocketAddr, begun: Begun) {
    let now = Instant::now();
    let opened = open(at, &[]).await;
    begun.borrow_mut().push((now, opened.as_ref().map(|(_, version)| version.clone())));
    let Some((session, _)) = opened else { return };
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    post(at, &[("mcp-session-id", &session)], &initialized.to_string()).await;
    ask(at, &session, "tools/call", json!({ "name": "work", "arguments": {} })).await;
    let prompt = json!({ "type": "ref/prompt", "name": "greet" });
    let argument = json!({ "name": "name", "value": "work" });
    ask(at, &session, "completion/complete", json!({ "ref": prompt, "argument": argument })).await;
    delete(at, &session).await;
}

/// Short sessions, without end; gives up those that are under way when it is dropped.
pub async fn visitors<F: Future<Output = ()> + 'static>(mut visit: impl FnMut() -> F) {
    let mut rhythm = interval(RHYTHM);
    rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    loop {
        rhythm.tick().await;
        under_way.spawn_local(visit());
        while under_way.try_join_next().is_some() {}
    }
}
