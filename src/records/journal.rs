//! The journal: one line for each change, with the state after it, written and synced before the
//! change takes effect. The only thing that a restart goes by.
//!
//! One file and not two, so that what happened and what holds cannot differ. Each line has the
//! hash of the one before, so that no line can be changed unseen. A full disk takes nothing from
//! a decision that is made anyway: its line waits. Does not know: how a change is carried out.

mod files;

mod handover;

mod lock;

mod read;

mod recent;

mod record;

mod reserve;

mod restore;

mod verify;

mod walk;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::state::{self, State};

use files::CURRENT;
use lock::Lock;
use recent::Recent;
use record::{Entry, digest};
use reserve::{Reserve, is_full};
use restore::Tail;

pub use read::{Order, read};
pub use recent::Happening;
pub use record::{Actor, Record};
pub use restore::Restored;
pub use verify::{Verified, verify};
pub use walk::{Link, Problem};

/// A file with more bytes than this gets no further line.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How many full files are kept; older ones are removed.
const KEPT: usize = 16;

/// Lines that wait for the disk.
const PENDING_MAX: usize = 1000;

/// Of those, how many are written at once, and how many bytes their details have: fewer than fit
/// into the reserve, but for one that is longer.
const BATCH: usize = 32;
const BATCH_BYTES: usize = 16 * 1024;

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another router has it.
    #[error("another tidegate{} uses the state directory {}: each needs one of its own", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The other one.
        pid: Option<u32>,
    },
    /// The file system refused the lock.
    #[error("cannot lock {path}: {source}; see that the file system of state_dir has locks")]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system refused the journal itself.
    #[error(
        "cannot open the journal in {dir}: {source}; let this user write there, or name another state_dir"
    )]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// When a line has to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before anything else: a decision.
    Now,
    /// With the next decision, or when the system sees fit: progress, which may be lost.
    Later,
}

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    /// How much of the file is lines; what is behind them is left of a failure.
    len: u64,
    tail: Tail,
    /// Whether there may be something behind the lines.
    is_dirty: bool,
    bytes_max: u64,
    reserve: Reserve,
    /// Whether the state file of an earlier version may still be there.
    has_beside: bool,
    pending: VecDeque<Entry>,
    /// Stands for lines before those that were given up.
    gap: Option<Entry>,
    failures: u64,
    dropped: u64,
    recent: Recent,
    /// `None` while another process has the journal.
    lock: Option<Lock>,
}

impl Journal {
    /// Takes the state directory for this process and opens its journal, readable by its owner
    /// only. Nothing is written to it yet.
    ///
    /// # Errors
    /// When another router has the directory, or the file system refuses. What the files say is
    /// never an error.
    pub fn open(dir: &Path) -> Result<(Journal, Restored), JournalError> {
        Journal::open_with(dir, BYTES_MAX)
    }

    /// The same with shorter files.
    fn open_with(dir: &Path, bytes_max: u64) -> Result<(Journal, Restored), JournalError> {
        let lock = Lock::take(dir)?;
        let fail = |source| JournalError::Io { dir: dir.to_owned(), source };
        let (mut restored, tail) = restore::restore(dir).map_err(fail)?;
        let mut reserve = Reserve::new(dir);
        if tail.seq == 0 {
            reserve.make();
        } else if restored.holds && !reserve.exists() {
            // What was done anyway, such as a revert, may be among them.
            restored.holds = false;
            let lost = "the disk did not take every line when the router last ran";
            restored.damaged.get_or_insert_with(|| lost.to_owned());
        }
        let file = files::open_current(dir).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        files::sync_dir(dir).map_err(fail)?;
        let tail = Tail { is_ended: tail.is_ended || len == 0, ..tail };
        let journal = Journal {
            dir: dir.to_owned(),
            path: dir.join(CURRENT),
            file,
            len,
            tail,
            is_dirty: false,
            bytes_max,
            reserve,
            has_beside: true,
            pending: VecDeque::new(),
            gap: None,
            failures: 0,
            dropped: 0,
            recent: Recent::default(),
            lock: Some(lock),
        };
        Ok((journal, restored))
    }

    /// Where the newest lines are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines that wait for the disk.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How often the disk has not taken a line, since the start.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Lines that were given up because too many waited, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The number of the last happening since the start; 0 before the first one.
    pub fn last_happening(&self) -> u64 {
        self.recent.last()
    }

    /// What has happened after the happening of this number, as far as it is kept: the last 256
    /// lines, those that wait for the disk among them.
    pub fn happenings(&self, after: u64) -> impl Iterator<Item = &Happening> {
        self.recent.after(after)
    }

    /// Writes one line, after those that wait: for what is not done unless it is recorded.
    ///
    /// # Errors
    /// When the disk does not take it; then there is no trace of it in the journal.
    pub fn write(
        &mut self,
        event: &str,
        actor: &Actor,
        detail: Value,
        state: &State,
        sync: Sync,
    ) -> io::Result<()> {
        self.write_pending()?;
        let entry = Entry::now(event, actor, detail, state);
        self.append(std::slice::from_ref(&entry), sync)?;
        self.reserve.make();
        // What may be lost is progress and no news.
        if sync == Sync::Now {
            self.recent.add(&entry);
        }
        Ok(())
    }

    /// Writes and syncs one line, or keeps it until the disk takes it: for what is done anyway.
    pub fn write_or_keep(&mut self, event: &str, actor: &Actor, detail: Value, state: &State) {
        let entry = Entry::now(event, actor, detail, state);
        self.recent.add(&entry);
        let written = self
            .write_pending()
            .and_then(|()| self.append(std::slice::from_ref(&entry), Sync::Now));
        match written {
            Ok(()) => self.reserve.make(),
            Err(error) => {
                tracing::error!(%error, event, "a change is not in the journal yet");
                self.keep(entry);
            }
        }
    }

    /// Writes the lines that wait, as many as the disk takes.
    ///
    /// # Errors
    /// When the disk does not take all of them.
    pub fn write_pending(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        while !self.pending.is_empty() {
            let count = self.batch();
            let batch: Vec<_> =
                self.gap.iter().chain(self.pending.iter().take(count)).cloned().collect();
            self.append(&batch, Sync::Now)?;
            self.gap = None;
            self.pending.drain(..count);
        }
        self.reserve.make();
        Ok(())
    }

    /// How many of the lines that wait are written at once: a disk that has little room takes a
    /// revert, though a long record waits behind it.
    fn batch(&self) -> usize {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.detail.to_string().len();
            bytes <= BATCH_BYTES
        };
        self.pending.iter().take(BATCH).take_while(fits).count().max(1)
    }

    /// Lets a line wait, and a next start know of that. Of too many the oldest are given up, and one
    /// line will say how many.
    fn keep(&mut self, entry: Entry) {
        if self.lock.is_some() {
            self.reserve.spend();
        }
        self.pending.push_back(entry);
        if self.pending.len() > PENDING_MAX
            && let Some(lost) = self.pending.pop_front()
        {
            self.dropped += 1;
            let before = self.gap.as_ref().and_then(|gap| gap.detail["lines"].as_u64());
            self.gap = Some(Entry {
                event: "lost".to_owned(),
                actor: Actor::Journal,
                detail: json!({ "lines": before.unwrap_or(0) + 1 }),
                ..lost
            });
        }
    }

    /// Writes these lines, all or none.
    fn append(&mut self, entries: &[Entry], sync: Sync) -> io::Result<()> {
        if self.lock.is_none() {
            return Err(handover::elsewhere());
        }
        if self.len > self.bytes_max
            && let Err(error) = self.rotate()
        {
            // A file that is too long is better than a change without a line.
            tracing::error!(%error, "full files of the journal cannot be put aside");
        }
        let mut tail = self.tail.clone();
        let mut bytes = Vec::new();
        for entry in entries {
            if !tail.is_ended {
                bytes.push(b'\n');
            }
            let line = entry.line(tail.seq + 1, &tail.hash);
            tail = Tail { seq: tail.seq + 1, hash: digest(&line), is_ended: true };
            bytes.extend(line);
            bytes.push(b'\n');
        }
        let written = match self.put(&bytes, sync) {
            Err(error) if is_full(&error) && self.reserve.spend() => {
                tracing::error!(%error, "the disk is full: writing to the space kept for that");
                self.put(&bytes, sync)
            }
            written => written,
        };
        written.inspect_err(|_| self.failures += 1)?;
        self.len += bytes.len() as u64;
        self.tail = tail;
        if sync == Sync::Now && std::mem::take(&mut self.has_beside) {
            state::remove_beside(&self.dir);
        }
        Ok(())
    }

    /// Removes what an earlier failure left.
    fn clean(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_dirty) {
            self.file.set_len(self.len).inspect_err(|_| self.is_dirty = true)?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], sync: Sync) -> io::Result<()> {
        self.clean()?;
        let written = self.file.write_all(bytes).and_then(|()| match sync {
            Sync::Now => self.file.sync_data(),
            Sync::Later => Ok(()),
        });
        if written.is_err() {
            // Half a line would spoil the next one, and a whole one would tell what did not happen.
            let removed = self.file.set_len(self.len).and_then(|()| self.file.sync_data());
            self.is_dirty = removed.is_err();
        }
        written
    }

    /// Puts the full file aside and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        let old = self.dir.join(files::full_name(self.tail.seq));
        if old.exists() {
            let why = format!("{} is there already", old.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        self.clean()?;
        self.file.sync_data()?;
        std::fs::rename(&self.path, &old)?;
        let begun =
            files::open_current(&self.dir).and_then(|new| files::sync_dir(&self.dir).map(|()| new));
        match begun {
            Ok(new) => self.file = new,
            Err(error) => {
                std::fs::rename(&old, &self.path)?;
                return Err(error);
            }
        }
        self.len = 0;
        self.tail.is_ended = true;
        let full = files::full(&self.dir)?;
        for (_, name) in &full[..full.len().saturating_sub(KEPT)] {
            std::fs::remove_file(self.dir.join(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
