//! Names that stand for several endpoints, and the way to one of several addresses, through the
//! real program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::time::Instant;

use crate::support::hosts::{Hosts, NAME, server};
use crate::support::{INITIALIZE, Router, WHOAMI, eventually, post, said};

/// Handshakes often enough that a test sees what follows from them.
const HEALTH: &str = "[health]\ninterval = \"100ms\"\nslow_start = \"off\"";
const NO_HEALTH: &str = "[health]\ninterval = \"off\"";

/// The last numbers of the addresses of the primary's endpoints, or those that leave.
async fn addresses(router: &Router, kind: &str) -> Vec<u64> {
    let status = router.status().await.unwrap();
    let list = status["arms"]["primary"][kind].as_array().cloned().unwrap_or_default();
    let last = |it: &Value| {
        let url = it["url"].as_str().unwrap();
        let address = url.strip_suffix(')')?.rsplit('.').next()?;
        address.parse().ok()
    };
    list.iter().filter_map(last).collect()
}

/// Waits until the primary is at these addresses.
async fn at(router: &Router, wanted: &[u64]) {
    let is = async || (addresses(router, "endpoints").await == wanted).then_some(());
    eventually("the addresses of the name", is).await;
}

async fn open(router: &Router) -> String {
    let reply = post(router.address, &[], INITIALIZE).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.session()
}

/// The server that a session is on.
async fn whoami(router: &Router, session: &str) -> String {
    let reply = post(router.address, &[("mcp-session-id", session)], WHOAMI).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.server()
}

/// A session on each of these servers.
async fn sessions<const N: usize>(router: &Router, names: [&str; N]) -> [String; N] {
    let mut found: [Option<String>; N] = [const { None }; N];
    for _ in 0..50 {
        let session = open(router).await;
        let name = whoami(router, &session).await;
        let place = names.iter().position(|it| *it == name).expect("one of them");
        found[place] = Some(session);
    }
    found.map(Option::unwrap)
}

/// New sessions and calls on them without end, until it is told to stop; counts both, and those
/// that fail.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Load {
    fn begin(at: SocketAddr) -> Load {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, counted) = (Arc::clone(&stop), Arc::clone(&calls));
        let task = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let opened = post(at, &[], INITIALIZE).await;
                if opened.status != 200 {
                    failed.push(opened.text());
                    continue;
                }
                let called = post(at, &[("mcp-session-id", &opened.session())], WHOAMI).await;
                if called.status != 200 {
                    failed.push(called.text());
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            failed
        });
        Load { stop, calls, task }
    }

    /// Waits for some more calls.
    async fn goes_on(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        let done = async || (self.calls.load(Ordering::Relaxed) > before + 20).then_some(());
        eventually("calls", done).await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.task.await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
#[ignore = "needs tests/run: libnss-wrapper"]
async fn addresses_come_and_go_under_load() {
    let a = server("a", 1, 0).await;
    let port = a.address.port();
    let (b, _c) = (server("b", 2, port).await, server("c", 3, port).await);
    let hosts = Hosts::new(&[2, 1]);
    let url = format!("dns+http://{NAME}:{port}/mcp");
    let router = hosts.router(&[&url], HEALTH).await;
    at(&router, &[1, 2]).await;
    let [on_a, on_b] = sessions(&router, ["a", "b"]).await;
    let shown = format!("{NAME}:{port}");
    assert_eq!(b.last().header("host"), Some(shown.as_str()), "servers see the name");
    let load = Load::begin(router.address);
    load.goes_on().await;
    hosts.set(&[1, 3]);
    at(&router, &[1, 3]).await;
    assert_eq!(addresses(&router, "leaving").await, [2]);
    load.goes_on().await;
    let opened = || {
        b.seen()
            .iter()
            .filter(|seen| seen.rpc() == "initialize" && seen.header("user-agent").is_none())
            .count()
    };
    let before = opened();
    assert!(before > 0, "it had some");
    load.goes_on().await;
    assert_eq!(opened(), before, "no new session on an address that is gone");
    let [_, on_c] = sessions(&router, ["a", "c"]).await;
    for (session, name) in [(&on_a, "a"), (&on_b, "b"), (&on_c, "c")] {
        assert_eq!(whoami(&router, session).await, name);
    }
    let status = said(&router.cli(&["status"]));
    assert!(status.contains(&format!("http://{NAME}:{port}/mcp (127.0.0.2)")), "{status}");
    assert!(status.contains("leaving: sessions only"), "{status}");
    let leaving = router.metric("tidegate_dns_addresses", &[NAME, "leaving"]).await;
    assert!((leaving - 1.0).abs() < 0.5);
    // Nobody answers there any more: the session has to begin anew.
    drop(b);
    let gone = async || addresses(&router, "leaving").await.is_empty().then_some(());
    eventually("the address has left", gone).await;
    let reply = post(router.address, &[("mcp-session-id", &on_b)], WHOAMI).await;
    assert_eq!(reply.status, 404);
    load.end().await;
    // Tags name the same endpoints after a restart, and on another replica.
    let router = hosts.spawn(router.into_dir()).await;
    for (session, name) in [(&on_a, "a"), (&on_c, "c")] {
        assert_eq!(whoami(&router, session).await, name);
    }
}

#[tokio::test]
#[ignore = "needs tests/run: libnss-wrapper"]
async fn a_name_without_an_address_is_an_endpoint_that_cannot_be_reached() {
    let a = server("a", 1, 0).await;
    let hosts = Hosts::new(&[]);
    let url = format!("dns+http://{NAME}:{}/mcp", a.address.port());
    let router = hosts.router(&[&url], HEALTH).await;
    let unreachable = async || {
        let status = router.status().await.unwrap();
        let endpoint = &status["arms"]["primary"]["endpoints"][0];
        assert_eq!(endpoint["url"], url.as_str());
        let why = endpoint["health"]["why"].as_str()?.to_owned();
        why.contains(&format!("{NAME}: no address: ")).then_some(())
    };
    eventually("the reason", unreachable).await;
    let reply = post(router.address, &[], INITIALIZE).await;
    assert!(reply.text().contains("cannot be reached at the moment"), "{}", reply.text());
    hosts.set(&[1]);
    at(&router, &[1]).await;
    let works = async || (post(router.address, &[], INITIALIZE).await.status == 200).then_some(());
    eventually("the name has an address", works).await;
    // What is known outlives the name server.
    hosts.set(&[]);
    let failed = async |labels: &[&str]| router.metric("tidegate_dns_lookups_total", labels).await;
    let before = failed(&["failed"]).await;
    let more = async || (failed(&["failed"]).await > before + 2.0).then_some(());
    eventually("look-ups fail", more).await;
    assert_eq!(addresses(&router, "endpoints").await, [1]);
    let session = open(&router).await;
    assert_eq!(whoami(&router, &session).await, "a");
    let lines = router.log().lines().filter(|line| line.contains("no address found")).count();
    assert_eq!(lines, 2, "one line for each change");
}

#[tokio::test]
#[ignore = "needs tests/run: libnss-wrapper"]
async fn a_reload_finds_its_names_known() {
    let a = server("a", 1, 0).await;
    let port = a.address.port();
    let _b = server("b", 2, port).await;
    let hosts = Hosts::new(&[1, 2]);
    let url = format!("http://{NAME}:{port}/mcp");
    let router = hosts.router(&[&format!("http://127.0.0.1:{port}/mcp")], NO_HEALTH).await;
    router.edit("interval = \"100ms\"", "interval = \"1h\"");
    router.edit(&format!("http://127.0.0.1:{port}/mcp"), &format!("dns+{url}"));
    router.admin("POST", "/v1/reload", serde_json::json!({})).await.unwrap();
    assert_eq!(addresses(&router, "endpoints").await, [1, 2]);
    sessions(&router, ["a", "b"]).await;
    let checked = said(&hosts.check(&router));
    for number in [1, 2] {
        assert!(checked.contains(&format!("{url} (127.0.0.{number})")), "{checked}");
    }
}

#[tokio::test]
#[ignore = "needs tests/run: libnss-wrapper"]
async fn a_reload_brings_the_next_look_up_forward() {
    let hosts = Hosts::new(&[1]);
    // From the start, so that the pause has begun when anybody is answered.
    let name = format!("dns+http://{NAME}:1/mcp");
    let router = hosts.router_every("1h", &[&name], NO_HEALTH).await;
    router.edit("interval = \"1h\"", "interval = \"200ms\"");
    router.admin("POST", "/v1/reload", serde_json::json!({})).await.unwrap();
    hosts.set(&[2]);
    at(&router, &[2]).await;
}

/// An address that takes no connection and does not refuse one either.
fn black_hole(at: SocketAddr) -> Vec<Socket> {
    let stream = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = stream();
    listener.bind(&at.into()).unwrap();
    listener.listen(0).unwrap();
    let mut all = vec![listener];
    for _ in 0..3 {
        let client = stream();
        client.set_nonblocking(true).unwrap();
        // It is on its way for ever.
        let _ = client.connect(&at.into());
        all.push(client);
    }
    all
}

#[tokio::test]
#[ignore = "needs tests/run: libnss-wrapper"]
async fn the_address_that_answers_wins() {
    let a = server("a", 1, 0).await;
    let port = a.address.port();
    let url = format!("http://{NAME}:{port}/mcp");
    // Nobody listens at the first.
    let hosts = Hosts::new(&[9, 1]);
    let router = hosts.router(&[&url], NO_HEALTH).await;
    for _ in 0..5 {
        open(&router).await;
    }
    let _hole = black_hole(SocketAddr::from(([127, 0, 0, 8], port)));
    hosts.set(&[8, 1]);
    let router = hosts.router(&[&url], NO_HEALTH).await;
    let begun = Instant::now();
    open(&router).await;
    let took = begun.elapsed();
    assert!((200..2000).contains(&took.as_millis()), "{took:?}: not after a quarter of a second");
    // Each is told when all fail.
    drop(a);
    hosts.set(&[9, 7]);
    let router = hosts.router(&[&url], NO_HEALTH).await;
    let told = said(&hosts.check(&router));
    for number in [7, 9] {
        assert!(told.contains(&format!("127.0.0.{number}:{port}: Connection refused")), "{told}");
    }
}
