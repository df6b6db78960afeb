//! Applications on released SDKs that work all the time, and what they say of it.

use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::Instant;

use super::ledger::{Failed, Failure, Work};
use super::world::World;
use crate::support::Process;
use crate::support::real::NODE;

/// How each is started; what trusts the router's certificate is named in the environment.
const PROGRAMS: [[&str; 2]; 2] =
    [["target/sdk/py2/bin/python", "tests/sdk/py/steady.py"], [NODE, "target/sdk/npm/steady.mjs"]];

/// Seconds until one that is asked to has ended.
const END: u32 = 60;

/// Starts so many of each.
pub async fn start(world: &World, each: usize) -> Vec<Process> {
    let ca = world.router.read().await.dir.path().join("ca.pem").display().to_string();
    let trust = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"].map(|name| (name.to_owned(), ca.clone()));
    let url = format!("https://{}/mcp", world.address);
    let all = PROGRAMS.iter().flat_map(|words| std::iter::repeat_n(words, each));
    all.map(|words| {
        let words = [words[0], words[1], &url].map(str::to_owned);
        Process::start(&words, &trust)
    })
    .collect()
}

/// Asks them to end, and takes over what they say.
pub async fn end(world: &World, all: Vec<Process>) {
    for process in all {
        process.signal(Signal::SIGTERM);
        let ended = process.ended(END).await;
        let lines = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        for line in lines {
            if line["done"] == true {
                for wrong in line["wrong"].as_array().unwrap() {
                    world.ledger.wrong(format!("an application: {wrong}"));
                }
                (0..line["calls"].as_u64().unwrap())
                    .for_each(|_| world.ledger.answered(Work::Real));
            } else {
                world.ledger.failed(failure(world, &line));
            }
        }
        if !ended.good {
            world.ledger.wrong(format!("an application: {}", ended.stderr));
        }
    }
}

fn failure(world: &World, line: &Value) -> Failure {
    let began = instant(&line["from"]);
    Failure {
        work: Work::Real,
        request: String::new(),
        server: line["server"].as_str().and_then(|name| world.named(name)),
        since: began,
        is_far: false,
        failed: Failed::Told(line["error"].to_string()),
        began,
        ended: instant(&line["to"]),
    }
}

/// Milliseconds since 1970 by the clock here.
fn instant(millis: &Value) -> Instant {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.as_u64().unwrap());
    Instant::now() - at.elapsed().unwrap_or_default()
}
