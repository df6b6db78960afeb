//! What a script can do, and how each shows: an action is drawn from a seed, done, looked for in
//! what the router tells, and undone.

use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{Rng, RngExt as _};
use serde_json::json;
use tidegate::names::Arm;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::ledger::Place;
use super::link::{Break, Wire};
use super::member::{Fault, Member, Shows};
use super::script::Manner;
use super::world::{SHOWS_WITHIN, World};
use crate::support::Router;
use crate::support::secure::shown;

/// One thing to do. What takes its time goes on while others are done.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Something is wrong with a server for a time.
    Harm(usize, Fault, Duration),
    /// No server of the candidate is there.
    Lonely(Duration),
    /// Something is wrong between far clients and the router.
    Far(Wire, Duration),
    Reload(Reload),
    /// Other files of the router's certificate.
    Certificate,
    /// The secondary's share in percent.
    Split(u8),
    Verb(Verb),
    /// SIGKILL, and a start with the same files.
    Kill,
    /// SIGTERM, and a start with the same files.
    Restart,
    /// Another process takes over.
    Upgrade,
}

#[derive(Clone, Copy, Debug)]
pub enum Reload {
    Same,
    Changed,
    Invalid,
}

/// What an operator may say; it may not fit, and is refused then.
#[derive(Clone, Copy, Debug)]
pub enum Verb {
    Start,
    Pause,
    Resume,
    Abort,
    Raise,
    Clear,
    Drain,
    Undrain,
}

/// What shuts the gate is taken back soon, or nothing else would happen.
const VERBS: [Verb; 16] = [
    Verb::Start,
    Verb::Start,
    Verb::Start,
    Verb::Pause,
    Verb::Resume,
    Verb::Abort,
    Verb::Raise,
    Verb::Clear,
    Verb::Clear,
    Verb::Clear,
    Verb::Clear,
    Verb::Drain,
    Verb::Undrain,
    Verb::Undrain,
    Verb::Undrain,
    Verb::Undrain,
];

/// For how long something is wrong, in milliseconds.
const HARM: std::ops::Range<u64> = 300..6000;

/// Bytes of the shortest answer to a handshake, or a little less.
const ANSWER: usize = 200;

/// A wire that is made worse.
fn wire(random: &mut impl Rng) -> Wire {
    let ends = [Break::Close, Break::Reset, Break::HalfClose];
    match random.random_range(0..8) {
        0 => Wire::Down,
        1 => Wire::Silent,
        2 => Wire::Late(Duration::from_millis(random.random_range(50..400))),
        3 => Wire::Narrow(random.random_range(2_000..50_000)),
        // Before a head, within it, and behind it.
        number => {
            let after = if number == 4 { 0 } else { random.random_range(1..ANSWER) };
            Wire::Broken(after, ends[random.random_range(0..3)])
        }
    }
}

fn manner(random: &mut impl Rng) -> Manner {
    let all = [
        Manner::Slow(Duration::from_millis(random.random_range(100..500))),
        Manner::Fails,
        Manner::NoHttp,
        Manner::TooShort,
        Manner::BrokenChunks,
        Manner::HalfMessage,
        Manner::Endless,
        Manner::HalfClosed,
        Manner::Reset,
    ];
    all[random.random_range(0..all.len())]
}

impl Action {
    /// Draws one for so many servers; a router that is to be looked at afterwards does not die.
    pub fn draw(random: &mut StdRng, servers: usize, may_die: bool) -> Action {
        let held = Duration::from_millis(random.random_range(HARM));
        let server = random.random_range(0..servers);
        match random.random_range(0..100) {
            0..10 => Action::Harm(server, Fault::Dead, held),
            10..18 => Action::Harm(server, Fault::Frozen, held),
            18..34 => Action::Harm(server, Fault::Wire(wire(random)), held),
            34..50 => Action::Harm(server, Fault::Manner(manner(random)), held),
            50..54 => Action::Lonely(held),
            54..60 => Action::Far(wire(random), held),
            60..63 => Action::Reload(Reload::Same),
            63..66 => Action::Reload(Reload::Changed),
            66..68 => Action::Reload(Reload::Invalid),
            68..71 => Action::Certificate,
            71..79 => Action::Split(random.random_range(0..=100)),
            79..82 if may_die => Action::Kill,
            82..85 if may_die => Action::Restart,
            85..88 if may_die => Action::Upgrade,
            _ => Action::Verb(VERBS[random.random_range(0..VERBS.len())]),
        }
    }

    /// Its words without numbers.
    fn kind(self) -> String {
        let whole = format!("{self:?}");
        let words = whole.split(|letter: char| !letter.is_ascii_alphabetic());
        let own = words.filter(|word| word.len() > 2 && !["Wire", "Manner"].contains(word));
        own.collect::<Vec<_>>().join(" ")
    }

    /// Does it. What lasts goes on by itself; who is told waits for the end of it.
    pub async fn apply(self, world: &Rc<World>) {
        match self {
            Action::Harm(first, fault, held) => {
                let all = world.members.len();
                let fits = |it: &usize| may_be_harmed(world, *it, fault);
                let Some(server) = (first..first + all).map(|it| it % all).find(fits) else {
                    return;
                };
                world.members[server].is_faulty.set(true);
                spawn_local(harm(Rc::clone(world), server, fault, held));
            }
            Action::Lonely(held) => lonely(world, held).await,
            Action::Far(wire, held) => {
                let trouble = world.ledger.begin(Place::Clients);
                world.ledger.tell(format!("{wire:?}"));
                world.clients.set(wire);
                sleep(held).await;
                world.clients.set(Wire::Good);
                world.ledger.end(trouble);
            }
            Action::Reload(kind) => reload(world, kind).await,
            Action::Certificate => certificate(world).await,
            Action::Split(secondary) => split(world, secondary).await,
            Action::Verb(verb) => verb.say(world).await,
            Action::Kill => {
                let trouble = world.ledger.begin(Place::Killed);
                let end = async |router: &mut Router| {
                    signal(router.pid(), Signal::SIGKILL);
                    router.ended().await;
                };
                world.replace(end).await;
                world.ledger.end(trouble);
            }
            Action::Restart => {
                let trouble = world.ledger.begin(Place::Stopped);
                world.replace(async |router: &mut Router| router.stop().await).await;
                world.ledger.end(trouble);
            }
            Action::Upgrade => {
                let trouble = world.ledger.begin(Place::Upgraded);
                world.upgrade().await;
                world.ledger.end(trouble);
            }
        }
        world.ledger.count(&self.kind());
    }
}

fn signal(process: i32, signal: Signal) {
    kill(Pid::from_raw(process), signal).unwrap();
}

/// One of each arm stays well, and a real server cannot be told how to behave.
fn may_be_harmed(world: &World, server: usize, fault: Fault) -> bool {
    let member = &world.members[server];
    let is_well = |it: &&Member| it.arm == member.arm && !it.is_faulty.get();
    let fits = !(member.is_real() && matches!(fault, Fault::Manner(_)));
    fits && !member.is_faulty.get() && world.members.iter().filter(is_well).count() > 1
}

/// What is wrong with a server stays so for its time, and until it has shown.
async fn harm(world: Rc<World>, server: usize, fault: Fault, held: Duration) {
    let member = &world.members[server];
    let (life, before) = (world.lives.get(), bad_handshakes(&world, member).await);
    let trouble = world.ledger.begin(Place::Server(member.name, fault));
    let began = Instant::now();
    member.begin(fault);
    sleep(held).await;
    let shown = loop {
        let is_shown = match fault.shows() {
            Shows::Verdict => bad_handshakes(&world, member).await > before,
            Shows::Time(least) => slowest(&world, member).await >= least.as_secs_f64(),
            Shows::Nothing => true,
        };
        // A router that has been started meanwhile counts anew.
        let is_shown = is_shown || world.lives.get() != life;
        if is_shown || began.elapsed() > SHOWS_WITHIN {
            break is_shown;
        }
        sleep(Duration::from_millis(100)).await;
    };
    if !shown {
        world.ledger.wrong(format!("{}: {fault:?} does not show in metrics", member.name));
    }
    member.end(fault).await;
    world.ledger.end(trouble);
    member.is_faulty.set(false);
}

/// Handshakes of a server that have failed.
async fn bad_handshakes(world: &World, member: &Member) -> u64 {
    let endpoint = member.link.address.to_string();
    let scrape = world.router.read().await.scrape().await;
    let all = scrape.count("tidegate_probes_total", &[&endpoint]);
    all - scrape.count("tidegate_probes_total", &[&endpoint, "verdict=\"healthy\""])
}

/// What the last handshake of a server took, in seconds.
async fn slowest(world: &World, member: &Member) -> f64 {
    let endpoint = member.link.address.to_string();
    world.router.read().await.metric("tidegate_probe_duration_seconds", &[&endpoint]).await
}

/// The stable arm has to serve everybody; nothing else happens meanwhile.
async fn lonely(world: &Rc<World>, held: Duration) {
    let stable = world.status().await["decisions"]["stable"].clone();
    let candidate = if stable == Arm::Primary.as_str() { Arm::Secondary } else { Arm::Primary };
    let own: Vec<_> = (0..world.members.len())
        .filter(|it| world.members[*it].arm == candidate && !world.members[*it].is_faulty.get())
        .collect();
    let mut harms = tokio::task::JoinSet::new();
    for server in own {
        world.members[server].is_faulty.set(true);
        harms.spawn_local(harm(Rc::clone(world), server, Fault::Wire(Wire::Down), held));
    }
    while let Some(ended) = harms.join_next().await {
        ended.unwrap();
    }
}

/// Waits for what an action has to lead to.
async fn comes<F: Future<Output = bool>>(world: &World, what: &str, ask: impl Fn() -> F) {
    let until = Instant::now() + SHOWS_WITHIN;
    while !ask().await {
        if Instant::now() > until {
            return world.ledger.wrong(format!("{what}: does not show"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn reload(world: &World, kind: Reload) {
    let is_good = async |wanted: bool| {
        let router = world.router.read().await;
        let good = router.metric("tidegate_config_last_reload_successful", &[]).await > 0.5;
        good == wanted
    };
    let reloads = async || world.journalled("reload").await;
    let (pid, before) = (world.router.read().await.pid(), reloads().await);
    match kind {
        Reload::Same => {}
        Reload::Changed => {
            let drawn = format!("idle = \"{}s\"", rand::random_range(30..90));
            world.edit(|text| text.replace(&idle(&text), &drawn)).await;
        }
        Reload::Invalid => world.edit(|text| format!("{text}\nnonsense = 1\n")).await,
    }
    signal(pid, Signal::SIGHUP);
    match kind {
        Reload::Same => sleep(Duration::from_millis(200)).await,
        Reload::Changed => comes(world, "a reload", async || reloads().await > before).await,
        Reload::Invalid => {
            comes(world, "an invalid reload", async || is_good(false).await).await;
            world.edit(|text| text.replace("\nnonsense = 1\n", "")).await;
            signal(pid, Signal::SIGHUP);
        }
    }
    comes(world, "a good reload", async || is_good(true).await).await;
}

fn idle(text: &str) -> String {
    text.lines().find(|line| line.starts_with("idle = ")).unwrap().to_owned()
}

async fn certificate(world: &World) {
    let wanted = world.renew().await;
    if rand::random() {
        signal(world.router.read().await.pid(), Signal::SIGHUP);
    }
    comes(world, "a certificate", async || {
        let connected = world.visitor.connect(world.address).await;
        connected.is_ok_and(|stream| shown(&stream) == wanted)
    })
    .await;
}

async fn split(world: &World, secondary: u8) {
    let revision = world.status().await["revision"].clone();
    let wanted = json!({
        "primary": 100 - secondary, "secondary": secondary, "expected_revision": revision,
    });
    if world.verb("PUT", "/v1/split", wanted).await {
        world.ledger.count("accepted split");
    }
}

impl Verb {
    async fn say(self, world: &World) {
        let said = "part of the run";
        let (path, body, event) = match self {
            Verb::Start => (
                "/v1/rollout/start",
                json!({ "reason": said, "allow_breaking": true }),
                "rollout-start",
            ),
            Verb::Pause => ("/v1/rollout/pause", json!({}), "pause"),
            Verb::Resume => ("/v1/rollout/resume", json!({}), "resume"),
            Verb::Abort => ("/v1/rollout/abort", json!({ "reason": said }), "abort"),
            Verb::Raise => (
                "/v1/alerts",
                json!({ "severity": "critical", "source": "chaos", "reason": said }),
                "alert-raise",
            ),
            Verb::Clear => return clear(world).await,
            Verb::Drain => ("/v1/drain", json!({ "arm": candidate(world).await }), "drain"),
            Verb::Undrain => {
                ("/v1/drain/undo", json!({ "arm": candidate(world).await }), "undrain")
            }
        };
        // To drain what is drained changes nothing, and is accepted.
        let is_drained = !world.status().await["decisions"]["drained"].is_null();
        let is_known = event == "drain" && is_drained;
        if world.verb("POST", path, body).await && !is_known {
            world.ledger.count(&format!("accepted {event}"));
        }
    }
}

async fn candidate(world: &World) -> &'static str {
    let stable = world.status().await["decisions"]["stable"].clone();
    if stable == "primary" { "secondary" } else { "primary" }
}

/// Clears every alert, so that rollouts can go on.
async fn clear(world: &World) {
    let listed = world.router.read().await.admin("GET", "/v1/alerts", json!({})).await.unwrap();
    for alert in listed["alerts"].as_array().unwrap() {
        let wanted = json!({ "id": alert["id"], "reason": "part of the run" });
        if world.verb("POST", "/v1/alerts/clear", wanted).await {
            world.ledger.count("accepted alert-clear");
        }
    }
}
