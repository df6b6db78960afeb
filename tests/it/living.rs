//! A hundred upgrades and a hundred restarts under load: no client loses anything. And a long time
//! at half load: nothing grows.
//!
//! Every client here is without mercy: it asks once, takes nothing but the right answer, and a
//! refused connection or a closed one is the end of the test.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tidegate::listen::bequest::Bequest;
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::interval;

use crate::support::client::Connection;
use crate::support::server::{answer, chunk, mcp, stream_head};
use crate::support::{
    INITIALIZE, MODERN, Router, Seen, Server, Step, WHOAMI, delete, eventually, given, post,
};

/// A call that takes until the test says so.
const SLOW: &str = r#"{"jsonrpc":"2.0","id":"slow","method":"tools/call","params":{"name":"slow","arguments":{}}}"#;

/// A pause of a client, so that it leaves room for others.
const PAUSE: Duration = Duration::from_millis(10);

const SETTINGS: &str = "workers = 2\n[split]\nprimary = 50\nsecondary = 50\n\
    [timeouts]\ndrain = \"10s\"\ndrain_streams = \"300ms\"";

/// A server with event streams and slow calls.
fn serving(name: &'static str, go: &Arc<Notify>) -> impl Fn(&Seen) -> Vec<Step> + use<> {
    let (others, go) = (mcp(name), Arc::clone(go));
    move |seen| {
        let event = chunk("id: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n");
        let slow = r#"{"jsonrpc":"2.0","id":"slow","result":{"done":true}}"#;
        match seen.method.as_str() {
            "GET" => vec![
                Step::Send(stream_head(&[])),
                Step::Send(event),
                Step::UntilGone(Arc::default()),
            ],
            _ if seen.body == SLOW => {
                vec![Step::Wait(Arc::clone(&go)), Step::Send(answer(200, &[], slow))]
            }
            _ => others(seen),
        }
    }
}

/// What the clients have done so far.
struct Load {
    /// Between two requests of one client.
    pause: Duration,
    is_over: AtomicBool,
    calls: AtomicUsize,
    connections: AtomicUsize,
    streams: AtomicUsize,
}

impl Load {
    fn new(pause: Duration) -> Rc<Load> {
        let none = AtomicUsize::default;
        let is_over = AtomicBool::default();
        Rc::new(Load { pause, is_over, calls: none(), connections: none(), streams: none() })
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    async fn open(&self, at: SocketAddr) -> Connection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connection::open(at).await
    }

    /// A session on kept-alive connections, each used until it is told to be the last.
    async fn session(self: Rc<Self>, at: SocketAddr) {
        let session = post(at, &[], INITIALIZE).await.session();
        let mut home = None;
        let mut connection = self.open(at).await;
        let mut pause = interval(self.pause);
        while self.goes_on() {
            pause.tick().await;
            let headers = [("mcp-session-id", session.as_str())];
            connection.request("POST", "/mcp", &headers, WHOAMI).await;
            let reply = connection.answer().await;
            let server = reply.server();
            assert_eq!(*home.get_or_insert(server.clone()), server, "a session stays");
            self.calls.fetch_add(1, Ordering::Relaxed);
            if reply.header("connection") == Some("close") {
                connection = self.open(at).await;
            }
        }
    }

    /// Short sessions and calls without one, each request on a connection of its own.
    async fn newcomers(self: Rc<Self>, at: SocketAddr) {
        let mut pause = interval(self.pause);
        while self.goes_on() {
            pause.tick().await;
            let session = post(at, &[], INITIALIZE).await.session();
            post(at, &[("mcp-session-id", &session)], WHOAMI).await.server();
            post(at, &MODERN, WHOAMI).await.server();
            delete(at, &session).await;
            self.calls.fetch_add(4, Ordering::Relaxed);
            self.connections.fetch_add(4, Ordering::Relaxed);
        }
    }

    /// Sessions that are opened and ended at once, as fast as that is answered.
    async fn visits(self: Rc<Self>, at: SocketAddr) {
        let mut connection = self.open(at).await;
        while self.goes_on() {
            connection.request("POST", "/mcp", &[], INITIALIZE).await;
            let session = connection.answer().await.session();
            connection.request("DELETE", "/mcp", &[("mcp-session-id", &session)], "").await;
            connection.answer().await;
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A session whose event stream is opened again whenever it ends, which it does in order.
    async fn stream(self: Rc<Self>, at: SocketAddr) {
        let session = post(at, &[], INITIALIZE).await.session();
        while self.goes_on() {
            let mut connection = self.open(at).await;
            let accept = ("accept", "text/event-stream");
            let headers = [("mcp-session-id", session.as_str()), accept];
            connection.request("GET", "/mcp", &headers, "").await;
            let reply = connection.answer().await;
            assert!(reply.status == 200 && reply.complete, "{reply:?}");
            assert!(reply.text().ends_with("\n\n"), "whole events: {}", reply.text());
            self.streams.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Starts all of them.
    fn start(self: &Rc<Self>, at: SocketAddr) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for _ in 0..8 {
            clients.spawn_local(Rc::clone(self).session(at));
            clients.spawn_local(Rc::clone(self).stream(at));
        }
        for _ in 0..2 {
            clients.spawn_local(Rc::clone(self).newcomers(at));
        }
        clients
    }
}

/// The servers, and what makes their slow calls end.
async fn servers() -> (Server, Server, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let one = Server::scripted(serving("one", &go)).await;
    (one, Server::scripted(serving("two", &go)).await, go)
}

/// A slow call that has reached its server.
async fn slow_call(router: &Router, one: &Server, two: &Server) -> Connection {
    let count = || one.count(SLOW) + two.count(SLOW);
    let before = count();
    let mut connection = Connection::open(router.address).await;
    connection.request("POST", "/mcp", &MODERN, SLOW).await;
    eventually("the slow call arrives", || async { (count() > before).then_some(()) }).await;
    connection
}

/// Ends the load, any failure of which is one of the test.
async fn settle(load: &Load, clients: JoinSet<()>, rounds: usize) {
    load.is_over.store(true, Ordering::Relaxed);
    // Streams end with their router, which is still there.
    let mut clients = clients;
    let finished = async {
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), finished).await;
    let [calls, connections, streams] =
        [&load.calls, &load.connections, &load.streams].map(|it| it.load(Ordering::Relaxed));
    eprintln!("{rounds} rounds: {calls} calls, {connections} connections, {streams} streams");
    // How many streams there are is a matter of time, and not of rounds: each lasts 0.3 s or more.
    assert!(calls > 20 * rounds && streams > rounds, "there was no load");
}

#[tokio::test]
#[ignore = "needs tests/run: a hundred upgrades take a minute"]
async fn a_hundred_upgrades_are_noticed_by_nobody() {
    let (one, two, go) = servers().await;
    let mut router = Router::start(&[one.address], &[two.address], SETTINGS).await;
    router.split(100, 0).await;
    let plan = "steps = [{ weight = 50, hold = \"1h\" }, { weight = 100, hold = \"1h\" }]";
    router.admin("POST", "/v1/rollout/start", json!({ "plan": plan })).await.unwrap();
    let rollout = async |router: &Router| {
        let it = router.admin("GET", "/v1/rollout", json!({})).await.unwrap();
        (it["rollout"]["id"].clone(), it["rollout"]["elapsed_ms"].as_u64().unwrap())
    };
    let (id, before) = rollout(&router).await;
    let (load, local) = (Load::new(PAUSE), LocalSet::new());
    local
        .run_until(async {
            let clients = load.start(router.address);
            for _ in 0..100 {
                let mut slow = slow_call(&router, &one, &two).await;
                router.upgrade().await;
                go.notify_one();
                assert!(slow.answer().await.text().contains("done"));
            }
            settle(&load, clients, 100).await;
        })
        .await;
    let (same, after) = rollout(&router).await;
    assert!(same == id && after > before, "the rollout goes on: {before} {after}");
    router.ages().await;
    assert!(rollout(&router).await.1 > after, "and so does its clock");
}

#[tokio::test]
#[ignore = "needs tests/run: a hundred restarts take two minutes"]
async fn a_hundred_restarts_are_noticed_by_nobody() {
    let (one, two, go) = servers().await;
    // Its port is the test's, as it is systemd's elsewhere.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let urls = |server: &Server| vec![format!("http://{}/mcp", server.address)];
    let dir = Router::prepare(&urls(&one), &urls(&two), SETTINGS);
    let file = dir.path().join("tidegate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("127.0.0.1:0", &at.to_string(), 1)).unwrap();
    let mut router = activated(dir, &socket).await;
    let (load, local) = (Load::new(PAUSE), LocalSet::new());
    local
        .run_until(async {
            let clients = load.start(at);
            for _ in 0..100 {
                let mut slow = slow_call(&router, &one, &two).await;
                let ending = router.stop();
                let release = async {
                    go.notify_one();
                    assert!(slow.answer().await.text().contains("done"));
                };
                tokio::join!(ending, release);
                router = activated(router.into_dir(), &socket).await;
            }
            settle(&load, clients, 100).await;
        })
        .await;
}

/// A router that gets its client's socket from us.
async fn activated(dir: TempDir, socket: &TcpListener) -> Router {
    let bequest = Bequest::of(&[(String::new(), socket.as_fd())]).unwrap();
    let variables = bequest.variables().map(|(name, value)| format!("{name}={value}"));
    let before: Vec<_> = ["env"].into_iter().chain(variables.iter().map(String::as_str)).collect();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    Router::spawn_under(&before, dir, log.into()).await
}

/// Calls a second of these clients, over some time.
async fn rate(load: &Load, seconds: u64) -> f64 {
    let before = load.calls.load(Ordering::Relaxed);
    let mut time = interval(Duration::from_secs(seconds));
    time.tick().await;
    time.tick().await;
    (load.calls.load(Ordering::Relaxed) - before) as f64 / seconds as f64
}

/// The slope of the line that fits best, a step of one at a time.
fn slope(values: &[f64]) -> f64 {
    let middle = (values.len() - 1) as f64 / 2.0;
    let spread: f64 = (0..values.len()).map(|at| (at as f64 - middle).powi(2)).sum();
    let lean: f64 = values.iter().enumerate().map(|(at, it)| (at as f64 - middle) * it).sum();
    lean / spread
}

/// Sessions that the judge gathers evidence of (`judge::at_risk`, 24 bytes each): when it has so
/// many, its table has grown for the last time.
const SESSIONS: usize = 200_000;
/// Minutes in which it is kept who called (`judge::minutes`, 33 bytes each), and the running one:
/// after them, each new minute takes the place of an old one.
const MINUTES: u64 = 16;

/// Fills what has an end.
async fn fill(at: SocketAddr) {
    let load = Load::new(PAUSE);
    let mut clients = JoinSet::new();
    (0..8).for_each(|_| _ = clients.spawn_local(Rc::clone(&load).visits(at)));
    let mut second = interval(Duration::from_secs(1));
    while load.calls.load(Ordering::Relaxed) < SESSIONS {
        second.tick().await;
    }
    load.is_over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

/// What is left to grow afterwards are the counts of the last hour, by kind of work: 12 slots of ten
/// cells of 2.1 KiB, so 4 KiB a minute for an hour.
#[tokio::test]
#[ignore = "by hand, since it is only worth something if it is long"]
async fn nothing_grows_at_half_load() {
    let seconds = given("SOAK_SECONDS", 1800);
    let go = Arc::new(Notify::new());
    let one = Server::forgetful(serving("one", &go)).await;
    let two = Server::forgetful(serving("two", &go)).await;
    let settings = SETTINGS.replace("workers = 2", "workers = 1");
    let router = Router::start(&[one.address], &[two.address], &settings).await;
    LocalSet::new()
        .run_until(async {
            fill(router.address).await;
            let most = Load::new(Duration::from_millis(1));
            let clients = most.start(router.address);
            let full = rate(&most, 10).await;
            most.is_over.store(true, Ordering::Relaxed);
            drop(clients);
            // Twice the time that each of the ten that call takes now.
            let load = Load::new(Duration::from_secs_f64(2.0 * 16.0 / full));
            let _clients = load.start(router.address);
            let half = rate(&load, MINUTES * 60).await;
            let (mut memory, mut held) = (Vec::new(), Vec::new());
            let mut second = interval(Duration::from_secs(1));
            for _ in 0..seconds {
                second.tick().await;
                memory.push(router.memory() as f64);
                held.push((router.descriptors(), router.threads()));
            }
            let grows = slope(&memory) * 60.0;
            let (first, last) = (memory[0], memory[memory.len() - 1]);
            eprintln!(
                "{full:.0} calls/s at most, {half:.0} calls/s for {seconds} s: {first:.0} KiB, \
                 then {last:.0} KiB, {grows:+.1} KiB a minute",
            );
            assert!(grows < first / 1000.0, "more than a thousandth a minute is growth");
            // Connections come and go, some twenty more or less, and threads that write files once a
            // minute: what counts is the least in a minute.
            let minute = held.len().min(60);
            let least = |part: &[(usize, usize)]| {
                let (descriptors, threads) =
                    (part.iter().map(|it| it.0), part.iter().map(|it| it.1));
                (descriptors.min().unwrap(), threads.min().unwrap())
            };
            let (before, after) = (least(&held[..minute]), least(&held[held.len() - minute..]));
            assert!(after.0 < before.0 + 20 && after.1 <= before.1, "{before:?} {after:?}");
        })
        .await;
}
