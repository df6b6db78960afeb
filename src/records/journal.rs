//! The audit log: one JSON line for each change, written and synced before the change is answered.
//!
//! Append-only; a line that a crash cut in half is followed by a line break at the next start, so
//! that every other line stays readable. Does not know: how a change is carried out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this format.
    pub version: u8,
    /// RFC 3339, UTC.
    pub at: String,
    /// What happened, such as `split`.
    pub event: String,
    /// Who did it.
    pub actor: Actor,
    /// What it was before and after, or why it was refused.
    pub detail: Value,
}

/// The log, open for appending.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the log in the state directory, readable by its owner only.
    ///
    /// # Errors
    /// When it cannot be opened or read.
    pub fn open(state_dir: &Path) -> io::Result<Journal> {
        let path = state_dir.join("audit.jsonl");
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Journal { file, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one line and waits until it is on the disk.
    ///
    /// # Errors
    /// When the disk does not take it; the caller decides whether the change may go on.
    pub fn write(&mut self, event: &str, actor: &Actor, detail: Value) -> io::Result<()> {
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        tracing::info!(target: "tidegate::audit", event, %actor, %detail, "change");
        let record =
            Record { version: 1, at, event: event.to_owned(), actor: actor.clone(), detail };
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Half a line would spoil the next one, and a whole one would tell what did not happen.
            self.file.set_len(before)?;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.write("one", &Actor::Start, Value::Null).unwrap();
        // The same file, where nothing can be written.
        let full = File::open(journal.path()).unwrap();
        let good = std::mem::replace(&mut journal.file, full);
        assert!(journal.write("two", &Actor::Start, Value::Null).is_err());
        journal.file = good;
        journal.write("three", &Actor::Start, Value::Null).unwrap();
        let text = std::fs::read_to_string(journal.path()).unwrap();
        assert!(text.lines().all(|line| serde_json::from_str::<Record>(line).is_ok()));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_torn_line_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        Journal::open(dir.path()).unwrap().write("one", &Actor::Start, Value::Null).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"ver").unwrap();
        Journal::open(dir.path()).unwrap().write("two", &Actor::Start, Value::Null).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let events: Vec<_> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Record>(line).ok())
            .map(|record| record.event)
            .collect();
        assert_eq!(events, ["one", "two"]);
    }
}
