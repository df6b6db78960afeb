//! One line of the journal: what it says, how it is written and read.
//!
//! The chain is over the bytes of a line as they stand, so nothing depends on how JSON is spelt.
//! Does not know: files, or whether a line fits the one before.

use std::time::SystemTime;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::Guard;
use crate::records::state::State;

/// The version of the lines that we write. Lines of version 1 have no `seq`, `state` or `prev`.
pub(super) const VERSION: u8 = 2;

/// The `prev` of the first line of all.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Actor {
    /// Somebody at the admin socket, as the kernel tells it.
    Peer {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Process, where the kernel tells it.
        pid: Option<i32>,
    },
    /// A signal to the process.
    Signal {
        /// Its name.
        name: String,
    },
    /// The router itself, at its start.
    Start,
    /// The configuration file, which asks for something else than before.
    Configuration,
    /// `tidegate demo`, which moves the weights by itself.
    Demo,
    /// Alertmanager, at the webhook receiver.
    Alertmanager,
    /// The running rollout, which goes by its plan.
    Rollout,
    /// A rule that shuts the gate.
    Guard {
        /// Which.
        guard: Guard,
    },
    /// The router itself, which tells what it sees.
    Router,
    /// The journal, which tells of itself.
    Journal,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Actor::Peer { uid, gid, pid: Some(pid) } => write!(f, "uid {uid} gid {gid} pid {pid}"),
            Actor::Peer { uid, gid, pid: None } => write!(f, "uid {uid} gid {gid}"),
            Actor::Signal { name } => f.write_str(name),
            Actor::Start => f.write_str("start"),
            Actor::Configuration => f.write_str("the configuration"),
            Actor::Demo => f.write_str("the demo"),
            Actor::Alertmanager => f.write_str("alertmanager"),
            Actor::Rollout => f.write_str("the rollout"),
            Actor::Guard { guard } => write!(f, "guard {guard}"),
            Actor::Router => f.write_str("the router"),
            Actor::Journal => f.write_str("the journal"),
        }
    }
}

/// One line, as read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this format: 1 or 2.
    pub version: u8,
    /// Counts the lines of version 2 from 1 on, over all files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When it happened: RFC 3339, UTC.
    pub at: String,
    /// What happened, such as `split`.
    pub event: String,
    /// Who did it.
    pub actor: Actor,
    /// What it was before and after, or why it was refused.
    pub detail: Value,
    /// The state after it, as [`State`] is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// SHA-256 of the bytes of the line before, without its line break, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
}

impl Record {
    /// The state after it, if this version can read it.
    pub fn state(&self) -> Option<State> {
        let state = State::deserialize(self.state.as_ref()?).ok()?;
        state.is_known().then_some(state)
    }
}

/// What a line turns out to be.
#[derive(Debug)]
pub(super) enum Reading {
    /// A link of the chain.
    Link { seq: u64, prev: String, record: Record },
    /// A line of version 1.
    Old(Record),
    /// The beginning of a line: a crash or a full disk has cut it.
    Torn,
    /// No line of ours, and why.
    Damaged(String),
}

impl Reading {
    pub(super) fn of(line: &[u8]) -> Reading {
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        match serde_json::from_slice::<Record>(line) {
            Ok(record) if record.version == 1 => Reading::Old(record),
            Ok(mut record) if record.version == VERSION => match (record.seq, &mut record.prev) {
                (Some(seq), Some(prev)) if record.state.is_some() => {
                    Reading::Link { seq, prev: prev.clone(), record }
                }
                _ => Reading::Damaged("seq, state or prev is missing".to_owned()),
            },
            Err(error) if error.is_eof() => Reading::Torn,
            read => Reading::Damaged(match (serde_json::from_slice(line), read) {
                (Ok(Version { version }), _) if version > u64::from(VERSION) => {
                    format!("it is of version {version}, which this version does not know")
                }
                (_, Err(error)) => format!("it is no record: {error}"),
                (_, Ok(record)) => format!("there is no version {}", record.version),
            }),
        }
    }
}

/// What has happened and is to be written: all of a line but its place in the chain.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: String,
    pub(super) event: String,
    pub(super) actor: Actor,
    pub(super) detail: Value,
    pub(super) state: State,
}

impl Entry {
    /// Something that happens now.
    pub(super) fn now(event: &str, actor: &Actor, detail: Value, state: &State) -> Entry {
        tracing::info!(target: "tidegate::audit", event, %actor, %detail, "change");
        Entry {
            at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            event: event.to_owned(),
            actor: actor.clone(),
            detail,
            state: state.clone(),
        }
    }

    /// Its line without the line break, as number `seq` behind the line with the hash `prev`.
    pub(super) fn line(&self, seq: u64, prev: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Line<'a> {
            version: u8,
            seq: u64,
            at: &'a str,
            event: &'a str,
            actor: &'a Actor,
            detail: &'a Value,
            state: &'a State,
            prev: &'a str,
        }
        let Entry { at, event, actor, detail, state } = self;
        let line = Line { version: VERSION, seq, at, event, actor, detail, state, prev };
        serde_json::to_vec(&line).expect("our own types are JSON")
    }
}

/// The hash of a line, as the next one names it.
pub(super) fn digest(line: &[u8]) -> String {
    use std::fmt::Write as _;
    digest::digest(&digest::SHA256, line).as_ref().iter().fold(
        String::with_capacity(64),
        |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        },
    )
}
