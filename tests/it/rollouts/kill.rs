//! A thousand deaths of the router at random moments of rollouts: nothing that was answered is
//! lost, nothing that was recorded is damaged, and nobody ever gets more than was on record.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::admin::client::ask;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::{plan, said};
use crate::support::router::PROGRAM;
use crate::support::{Router, nobody};

const KILLS: usize = 1000;
/// As many at once: the machine's cores, or a little more, as a router that starts mostly waits.
const LANES: usize = 4;
/// How long a router lives at most, after it has answered first.
const LIFE: Duration = Duration::from_millis(60);

/// Bytes of the journal that are looked at after a life.
const TAIL: u64 = 512 * 1024;

/// What a person or a program may ask of the router.
fn verb(random: &mut StdRng) -> (&'static str, &'static str, Value) {
    let alert = |severity| json!({ "severity": severity, "source": "me", "reason": "test" });
    match random.random_range(0..20) {
        0..6 => ("POST", "/v1/rollout/start", json!({})),
        6..10 => ("POST", "/v1/rollout/promote", json!({})),
        10 => ("POST", "/v1/rollout/promote", json!({ "full": true })),
        11 => ("POST", "/v1/rollout/pause", json!({})),
        12 => ("POST", "/v1/rollout/resume", json!({})),
        13 => ("POST", "/v1/rollout/abort", json!({})),
        14 => ("POST", "/v1/rollout/undo", json!({})),
        15 => ("POST", "/v1/alerts", alert("critical")),
        16 => ("POST", "/v1/alerts/clear", json!({ "id": 1, "reason": "test" })),
        // These make the router look, and so go on in the plan.
        _ => ("POST", "/v1/alerts", alert("info")),
    }
}

/// Clears every alert, so that rollouts can go on.
async fn clear(router: &Router) {
    let listed = router.admin("GET", "/v1/alerts", json!({})).await.unwrap();
    for alert in listed["alerts"].as_array().unwrap() {
        let wanted = json!({ "id": alert["id"], "reason": "test" });
        // It may have been cleared before.
        let _ = router.admin("POST", "/v1/alerts/clear", wanted).await;
    }
}

/// The last whole lines of the journal, more than one life leaves, oldest first.
fn lines(dir: &Path) -> Vec<String> {
    let mut file = File::open(dir.join("state/audit.jsonl")).unwrap();
    let start = file.metadata().unwrap().len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(str::to_owned).collect()
}

/// The state in a line.
fn state(line: &str) -> Value {
    let line: Value = serde_json::from_str(line).unwrap();
    line["state"].clone()
}

/// The state in the last one.
fn last_state(dir: &Path) -> Value {
    state(lines(dir).last().unwrap())
}

/// The states from the last start of the router on.
fn states_since_start(dir: &Path) -> Vec<Value> {
    let lines = lines(dir);
    let start = lines.iter().rposition(|line| line.contains("\"event\":\"start\"")).unwrap();
    lines[start..].iter().map(|line| state(line)).collect()
}

fn verify(dir: &Path) {
    let output = Command::new(PROGRAM)
        .args(["records", "verify", "--state-dir", "state"])
        .current_dir(dir)
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// The share of whoever is not the stable arm.
fn share(told: &Value) -> u64 {
    let candidate = if told["stable"] == "primary" { "secondary" } else { "primary" };
    told["split"][candidate].as_u64().unwrap()
}

/// Starts the router in this directory, asks it for things, and kills it in the middle of that.
/// `answered` is the highest revision that was answered before.
async fn die(dir: TempDir, random: &mut StdRng, answered: &mut u64) -> TempDir {
    let recorded = last_state(dir.path());
    let router = Router::spawn(dir).await;
    let status = router.status().await.unwrap();
    let states = states_since_start(router.dir.path());
    let first = &states[0];
    assert!(share(first) <= share(&recorded), "{first}\n{recorded}");
    assert_eq!(first["stable"], recorded["stable"]);
    // It goes on at once, as its steps are short; but only as far as the journal has it.
    let told = &status["decisions"];
    let is_told = |it: &Value| it["split"] == told["split"] && it["stable"] == told["stable"];
    assert!(states.iter().any(is_told), "{told}\n{states:?}");
    let revision = status["revision"].as_u64().unwrap();
    assert!(revision >= *answered, "{revision} after {answered}");
    if random.random_bool(0.5) {
        clear(&router).await;
    }
    let end = Instant::now() + LIFE.mul_f64(random.random());
    let socket = router.socket();
    let ask_on = async {
        loop {
            let (method, path, body) = verb(random);
            let _ = ask::<Value>(&socket, method.parse().unwrap(), path, &body).await;
            if let Ok(status) = router.status().await {
                *answered = status["revision"].as_u64().unwrap().max(*answered);
            }
        }
    };
    // Not a wait for anything: the moment of death is what is drawn.
    let _ = tokio::time::timeout_at(end, ask_on).await;
    router.into_dir()
}

async fn lane(seed: u64) -> Vec<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    let nobody = nobody().await;
    let settings = format!("workers = 1\n[rollout]\n{}", plan(&[1, 10, 50, 100], "1ms"));
    let mut dir = Router::start(&[nobody], &[nobody], &settings).await.into_dir();
    let (mut answered, mut shares) = (0, Vec::new());
    for life in 0..KILLS / LANES {
        dir = die(dir, &mut random, &mut answered).await;
        shares.push(share(&last_state(dir.path())));
        if life % 50 == 0 {
            verify(dir.path());
        }
    }
    verify(dir.path());
    shares
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_thousand_deaths_lose_nothing_and_raise_nothing() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let local = LocalSet::new();
    let lanes: Vec<_> = (0..LANES as u64)
        .map(|number| local.spawn_local(lane(seed.wrapping_add(number))))
        .collect();
    local.await;
    let mut shares = Vec::new();
    for lane in lanes {
        shares.extend(lane.await.unwrap());
    }
    // It has died everywhere: shut, and on each step.
    for wanted in [0, 1, 10, 50, 100] {
        assert!(shares.contains(&wanted), "never died at {wanted} %: seed {seed}");
    }
}
