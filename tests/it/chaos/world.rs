//! All that takes part in a run: servers behind wires, a router with TLS and guards, the wire of
//! the clients that are far away, and the ledger.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::admin::client::AskError;
use tidegate::names::Arm;
use tokio::sync::{RwLock, watch};
use tokio::time::sleep;

use super::ledger::{Ledger, Place};
use super::link::{Link, steady};
use super::member::Member;
use super::script::Ran;
use crate::support::certificates::Authority;
use crate::support::secure::Visitor;
use crate::support::{Router, Scrape, within};

/// What the router is given. It is impatient, so that a run is short; steps of a rollout take
/// seconds and need no evidence.
const SETTINGS: &str = r#"
[timeouts]
idle = "60s"
connect = "1s"
first_byte = "4s"
stream_idle = "4s"
keep_alive = "500ms"
drain = "6s"
drain_streams = "1s"
pool_idle = "1s"
[health]
interval = "500ms"
timeout = "2s"
unhealthy_after = 2
slow_start = "1s"
[rollout]
gate = "time"
steps = [{ weight = 20, hold = "3s" }, { weight = 60, hold = "3s" }, { weight = 100, hold = "3s" }]
[log]
access = "on"
format = "json"
"#;

pub struct World {
    pub ledger: Ledger,
    pub members: Vec<Member>,
    pub router: RwLock<Router>,
    /// Where clients connect, whichever process answers.
    pub address: std::net::SocketAddr,
    /// The wire of those who are far away.
    pub clients: Link,
    pub visitor: Visitor,
    pub is_closing: Cell<bool>,
    /// How often the router has been started.
    pub lives: Cell<u32>,
    /// What its former lives have counted, last of all.
    pub past: RefCell<Vec<Scrape>>,
    pub ran: Ran,
    requests: Cell<u64>,
    authority: Authority,
    closing: watch::Sender<bool>,
}

impl World {
    pub async fn new(members: Vec<Member>, ran: Ran) -> Rc<World> {
        let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
        let ca = authority.file(dir.path());
        let own = authority.issue(dir.path(), "own", &["127.0.0.1"]).settings();
        let (address, free) = steady().await;
        drop(free);
        let urls = |arm: Arm| -> Vec<String> {
            let own = members.iter().filter(|it| it.arm == arm);
            own.map(|it| format!("http://{}/mcp", it.link.address)).collect()
        };
        let (primary, secondary) = (urls(Arm::Primary), urls(Arm::Secondary));
        let config = format!(
            "listen = \"{address}\"\nstate_dir = \"state\"\n[tls]\n{own}\
             [metrics]\nlisten = \"127.0.0.1:0\"\n[split]\nsecondary = 50\n\
             [primary]\nendpoints = {primary:?}\n[secondary]\nendpoints = {secondary:?}\n{SETTINGS}"
        );
        std::fs::write(dir.path().join("tidegate.toml"), config).unwrap();
        let visitor = Visitor::new(&ca, "127.0.0.1");
        let world = World {
            ledger: Ledger::new(members.iter().map(|it| it.name).collect()),
            members,
            router: RwLock::new(start(dir).await),
            address,
            clients: Link::to(address).await,
            visitor,
            is_closing: Cell::new(false),
            lives: Cell::new(1),
            past: RefCell::default(),
            ran,
            requests: Cell::new(0),
            authority,
            closing: watch::channel(false).0,
        };
        world.all_up().await;
        Rc::new(world)
    }

    pub fn named(&self, name: &str) -> Option<&'static str> {
        self.members.iter().find(|it| it.name == name).map(|it| it.name)
    }

    pub fn is_real(&self, name: Option<&str>) -> bool {
        self.members.iter().any(|it| Some(it.name) == name && it.is_real())
    }

    pub fn has_real(&self) -> bool {
        self.members.iter().any(Member::is_real)
    }

    /// A number that no other request has.
    pub fn next(&self) -> u64 {
        self.requests.update(|it| it + 1);
        self.requests.get()
    }

    /// Whether every client comes to an end.
    pub fn close(&self, is_closing: bool) {
        self.is_closing.set(is_closing);
        self.closing.send_replace(is_closing);
    }

    /// Returns when they shall.
    pub async fn closing(&self) {
        let mut closing = self.closing.subscribe();
        let _ = closing.wait_for(|it| *it).await;
    }

    /// Waits until every handshake succeeds.
    pub async fn all_up(&self) {
        within(60, "every endpoint is up", async || {
            let up = self.router.read().await.metric("tidegate_endpoint_up", &[]).await;
            (up as usize == self.members.len()).then_some(())
        })
        .await;
    }

    /// A verb of an operator; whether it was accepted. It may be refused, but it is answered.
    pub async fn verb(&self, method: &str, path: &str, body: Value) -> bool {
        let answer = self.router.read().await.admin(method, path, body).await;
        let told = match &answer {
            Ok(_) => "done".to_owned(),
            Err(AskError::Refused(refused)) => format!("refused: {refused:?}"),
            Err(error) => {
                self.ledger.wrong(format!("{method} {path}: {error}"));
                return false;
            }
        };
        self.ledger.tell(format!("{method} {path}: {told}"));
        answer.is_ok()
    }

    pub async fn status(&self) -> Value {
        let router = self.router.read().await;
        router.admin("GET", "/v1/status", json!({})).await.unwrap()
    }

    /// Another router with the same files, after the end of the one before, which `end` makes.
    pub async fn replace(&self, end: impl AsyncFnOnce(&mut Router)) {
        let mut router = self.router.write().await;
        let last = router.scrape().await;
        self.past.borrow_mut().push(last);
        end(&mut router).await;
        // What stands in its place meanwhile is nobody's.
        let nobody = TempDir::new().unwrap();
        let dir = std::mem::replace(&mut router.dir, nobody);
        std::fs::write(router.dir.path().join("log"), "").unwrap();
        *router = start(dir).await;
        self.lives.set(self.lives.get() + 1);
    }

    /// Another process takes over, if it finds no server down that this one finds up.
    pub async fn upgrade(&self) {
        let mut router = self.router.write().await;
        let last = router.scrape().await;
        match router.try_upgrade().await {
            Ok(_) => {
                self.past.borrow_mut().push(last);
                self.lives.set(self.lives.get() + 1);
                self.ledger.count("upgraded");
            }
            Err(AskError::Refused(why)) => self.ledger.tell(format!("refused: {why:?}")),
            Err(error) => self.ledger.wrong(format!("upgrade: {error}")),
        }
    }

    /// Notes which servers the router says that it gives no new work by its own decision.
    pub async fn watch(self: Rc<World>) {
        let mut since = vec![None; self.members.len()];
        loop {
            let scrape = self.router.read().await.scrape().await;
            for (member, since) in self.members.iter().zip(&mut since) {
                let endpoint = member.link.address.to_string();
                let arm = format!("arm=\"{}\"", member.arm);
                let is_out = scrape.count("tidegate_endpoint_ejected", &[&endpoint]) > 0
                    || scrape.count("tidegate_arm_closed", &[&arm]) > 0;
                match *since {
                    None if is_out => *since = Some(self.ledger.begin(Place::LeftOut(member.name))),
                    Some(trouble) if !is_out => {
                        self.ledger.end(trouble);
                        *since = None;
                    }
                    _ => {}
                }
            }
            sleep(LOOK).await;
        }
    }

    /// A metric summed over all lives of the router.
    pub async fn total(&self, name: &str, labels: &[&str]) -> f64 {
        let now = self.router.read().await.metric(name, labels).await;
        now + self.past.borrow().iter().map(|it| it.sum(name, labels)).sum::<f64>()
    }

    /// Puts another certificate into the router's files; gives what its clients see from then on.
    pub async fn renew(&self) -> Vec<u8> {
        use tokio_rustls::rustls::pki_types::CertificateDer;
        use tokio_rustls::rustls::pki_types::pem::PemObject as _;
        let router = self.router.read().await;
        let files = self.authority.issue(router.dir.path(), "own", &["127.0.0.1"]);
        CertificateDer::from_pem_file(&files.certificate).unwrap().to_vec()
    }

    /// Changes the configuration's text.
    pub async fn edit(&self, change: impl FnOnce(String) -> String) {
        let file = self.router.read().await.dir.path().join("tidegate.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, change(text)).unwrap();
    }

    /// How often this is in the journal.
    pub async fn journalled(&self, event: &str) -> u64 {
        let state = self.router.read().await.dir.path().join("state");
        let files = std::fs::read_dir(state).unwrap().map(|it| it.unwrap().path());
        let journal = files.filter(|it| it.extension().is_some_and(|end| end == "jsonl"));
        let event = format!("\"event\":\"{event}\"");
        journal.map(|it| std::fs::read_to_string(it).unwrap().matches(&event).count() as u64).sum()
    }

    /// Who a request was for, as the access log has it.
    pub async fn logged(&self) -> HashMap<String, &'static str> {
        let wanted = self.ledger.unknown();
        let by_url: HashMap<_, _> =
            self.members.iter().map(|it| (it.link.address.to_string(), it.name)).collect();
        let log = self.router.read().await.log();
        let lines = log.lines().filter(|line| line.contains("tidegate::access"));
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter_map(|line| {
                let id = line["request_id"].as_str().filter(|id| wanted.contains(*id))?;
                let endpoint = line["endpoint"].as_str()?;
                let server = by_url.iter().find(|(url, _)| endpoint.contains(*url))?;
                Some((id.to_owned(), *server.1))
            })
            .collect()
    }
}

/// Leaves of a router's log what a person would look at.
pub fn shorten(log: &std::path::Path) {
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().rev().filter(|line| !line.contains("tidegate::access")).take(100);
    let last: Vec<_> = lines.collect();
    std::fs::write(log, last.into_iter().rev().collect::<Vec<_>>().join("\n")).unwrap();
}

/// Starts a router in this directory; its log goes on.
async fn start(dir: TempDir) -> Router {
    let log = OpenOptions::new().create(true).append(true).open(dir.path().join("log")).unwrap();
    Router::spawn_logging(dir, log.into()).await
}

/// How long something is held at most until it shows.
pub const SHOWS_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked whom the router gives no new work.
pub const LOOK: Duration = Duration::from_millis(200);
