//! Real servers and clients, as `tests/sdk/pairs.json` lists them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Process, Router};

/// The versions that the two arms tell, primary first.
pub const VERSIONS: [&str; 2] = ["1.0.0", "2.0.0"];

/// Node as the fixtures have it.
pub const NODE: &str = "target/sdk/npm/node_modules/.bin/node";

/// A client and the server that it was made for; the file's own words.
#[derive(Clone, Debug, Deserialize)]
pub struct Pair {
    pub name: String,
    client: Vec<String>,
    args: Vec<String>,
    server: Vec<String>,
    env: BTreeMap<String, String>,
    ready: String,
    path: String,
    /// Each scenario's `ok`.
    expected: BTreeMap<String, Option<bool>>,
}

impl Pair {
    /// The client speaks the modern era to this server, so that it has no session.
    pub fn is_modern(&self) -> bool {
        // A client that may choose is modern if the modern scenario applies to it; the inspector
        // has no such scenario.
        let told = self.args.iter().any(|word| word == "modern");
        told || self.expected.get("modern") == Some(&Some(true))
    }

    /// What the client is expected to say.
    ///
    /// A server without sessions gets some from the router, so that its clients stay where they
    /// are. Clients then take it for one that can ask back, and fail where they would have skipped
    /// the scenario; so only those that apply are run, both ways.
    pub fn expected(&self) -> BTreeMap<String, Option<bool>> {
        let mut expected = self.expected.clone();
        if self.has_router_sessions() {
            expected.retain(|_, ok| ok.is_some());
        }
        expected
    }

    fn has_router_sessions(&self) -> bool {
        self.env.contains_key("STATELESS")
    }

    /// Runs the client against the server or the router at this address.
    pub async fn run_client(&self, at: SocketAddr) -> Result<String, String> {
        let apply = self.expected().into_keys().collect::<Vec<_>>().join(",");
        self.run(at, self.has_router_sessions().then_some(apply.as_str())).await
    }

    /// The same with these scenarios only, separated by commas, all of which have to be well.
    pub async fn run_some(&self, at: SocketAddr, only: &str) {
        let said = self.run(at, Some(only)).await.unwrap_or_else(|said| panic!("{said}"));
        let well = scenarios(&said);
        let is_well = |name: &str| well.get(name) == Some(&Some(true));
        assert!(only.split(',').all(is_well), "{}: {said}", self.name);
    }

    async fn run(&self, at: SocketAddr, only: Option<&str>) -> Result<String, String> {
        let url = format!("http://{at}{}", self.path);
        let mut words = [self.client.as_slice(), &[url], &self.args].concat();
        words.extend(only.into_iter().flat_map(|only| ["--only".to_owned(), only.to_owned()]));
        let ended = Process::start(&words, &[]).ended(240).await;
        if ended.good { Ok(ended.stdout) } else { Err(ended.stdout + &ended.stderr) }
    }

    /// Starts the server, with this in its environment as well.
    pub async fn start_server(&self, more: &[(&str, &str)]) -> (Process, SocketAddr) {
        let port = if self.ready == "line" { 0 } else { free_port() };
        self.start_server_at(port, more).await
    }

    /// `changes` to the environment that the file has.
    async fn start_server_at(&self, port: u16, changes: &[(&str, &str)]) -> (Process, SocketAddr) {
        let fill = |text: &String| text.replace("{port}", &port.to_string());
        let words: Vec<String> = self.server.iter().map(fill).collect();
        let mut environment: BTreeMap<_, _> =
            self.env.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
        environment.extend(changes.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let mut process = Process::start(&words, &environment.into_iter().collect::<Vec<_>>());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if self.ready == "line" {
            let address = process.listens().await;
            return (process, address);
        }
        process.accepts(address).await;
        (process, address)
    }
}

/// All pairs.
pub fn pairs() -> Vec<Pair> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/pairs.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The pairs of one server, by the name that comes after the arrow.
pub fn pairs_of(server: &str) -> Vec<Pair> {
    let own = |pair: &Pair| pair.name.split_once(" -> ").unwrap().1 == server;
    let pairs: Vec<Pair> = pairs().into_iter().filter(own).collect();
    assert!(!pairs.is_empty(), "no pair has the server {server}");
    pairs
}

/// One server in two versions, and the router in front.
pub struct Stand {
    pub router: Router,
    /// Where the two are reached without the router.
    pub servers: [SocketAddr; 2],
    _processes: [Process; 2],
}

impl Stand {
    /// Two processes of the server of these pairs, at 50:50.
    pub async fn of(pair: &Pair) -> Stand {
        let [one, two] = VERSIONS.map(|version| [("SERVER_VERSION", version)]);
        let ((first, primary), (second, secondary)) =
            tokio::join!(pair.start_server(&one), pair.start_server(&two));
        Stand::with([first, second], [primary, secondary]).await
    }

    /// These two, at 50:50.
    pub async fn with(processes: [Process; 2], servers: [SocketAddr; 2]) -> Stand {
        let [primary, secondary] = servers;
        // Every change of the weights is a line; without them a failed test shows what matters.
        let quiet = "\n[log]\nlevel = \"warn\"";
        let router = Router::start(&[primary], &[secondary], quiet).await;
        router.split(50, 50).await;
        Stand { router, servers, _processes: processes }
    }
}

/// A server alone.
pub struct Lone {
    pub process: Process,
    pub address: SocketAddr,
    pair: Pair,
    changes: &'static [(&'static str, &'static str)],
}

impl Lone {
    /// The server of this name, its environment changed.
    pub async fn start(server: &str, changes: &'static [(&'static str, &'static str)]) -> Lone {
        let pair = pairs_of(server).swap_remove(0);
        let (process, address) = pair.start_server_at(0, changes).await;
        Lone { process, address, pair, changes }
    }

    /// Another process of the same at the same address, after the end of the one before.
    pub async fn again(&mut self) {
        (self.process, _) = self.pair.start_server_at(self.address.port(), self.changes).await;
    }

    /// The same at another address.
    pub async fn anew(&mut self) {
        (self.process, self.address) = self.pair.start_server_at(0, self.changes).await;
    }
}

/// What a client said, scenario by scenario.
pub fn scenarios(lines: &str) -> BTreeMap<String, Option<bool>> {
    let said = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    said.filter(|line| line["done"] != true)
        .map(|line| (line["scenario"].as_str().unwrap().to_owned(), line["ok"].as_bool()))
        .collect()
}

/// A port that was free a moment ago, for a program that cannot pick one itself.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
