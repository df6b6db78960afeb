//! The journal goes to another process, and comes back if that one does not get on its feet.
//!
//! While it is away nothing is written, as on a full disk. Does not know: who the other one is.

use std::io;

use super::files::{self, CURRENT};
use super::lock::Lock;
use super::reserve::Reserve;
use super::restore::{self, Tail};
use super::{Journal, JournalError};

/// Why nothing is written meanwhile.
pub(super) fn elsewhere() -> io::Error {
    io::Error::other("an upgrade is under way and another process has the journal")
}

impl Journal {
    /// Lets another process have the state directory.
    ///
    /// # Errors
    /// When there are lines that the disk has not taken, which would be lost, or when it is so full
    /// that the reserve has gone: whoever opens the journal then has to take it for incomplete.
    pub fn hand_over(&mut self) -> io::Result<()> {
        self.write_pending()?;
        self.reserve.make();
        if !self.reserve.is_held() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.sync_data()?;
        self.lock = None;
        Ok(())
    }

    /// Whether another process has it.
    pub fn is_away(&self) -> bool {
        self.lock.is_none()
    }

    /// Takes the state directory back, with what the other process has written.
    ///
    /// # Errors
    /// When the other one still has it, or the file system refuses.
    pub fn take_back(&mut self) -> Result<(), JournalError> {
        let lock = Lock::take(&self.dir)?;
        let fail = |source| JournalError::Io { dir: self.dir.clone(), source };
        let (_, tail) = restore::restore(&self.dir).map_err(fail)?;
        let file = files::open_current(&self.dir).map_err(fail)?;
        self.len = file.metadata().map_err(fail)?.len();
        self.tail = Tail { is_ended: tail.is_ended || self.len == 0, ..tail };
        (self.file, self.path) = (file, self.dir.join(CURRENT));
        (self.is_dirty, self.lock) = (false, Some(lock));
        // The other one may have needed it. While lines wait there is none: a start has to know.
        self.reserve = Reserve::new(&self.dir);
        if self.pending.is_empty() {
            self.reserve.make();
        } else {
            self.reserve.spend();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Actor, Sync, verify};
    use super::*;
    use crate::names::Split;
    use crate::records::state::State;

    fn write(journal: &mut Journal) -> io::Result<()> {
        let state = State::first(Split::new(100, 0).unwrap());
        journal.write("event", &Actor::Start, json!({}), &state, Sync::Now)
    }

    #[test]
    fn it_does_not_go_without_its_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, _) = Journal::open(dir.path()).unwrap();
        write(&mut one).unwrap();
        assert!(one.reserve.spend());
        // It cannot be made again.
        std::fs::create_dir(dir.path().join("audit.reserve")).unwrap();
        assert!(one.hand_over().is_err() && !one.is_away());
        write(&mut one).unwrap();
    }

    #[test]
    fn it_goes_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, _) = Journal::open(dir.path()).unwrap();
        write(&mut one).unwrap();
        one.hand_over().unwrap();
        assert!(write(&mut one).unwrap_err().to_string().contains("upgrade"));
        let state = State::first(Split::new(100, 0).unwrap());
        one.write_or_keep("kept", &Actor::Start, json!({}), &state);
        let (mut two, restored) = Journal::open(dir.path()).unwrap();
        assert!(restored.holds && restored.state.is_some());
        write(&mut two).unwrap();
        assert!(matches!(one.take_back(), Err(JournalError::InUse { .. })));
        drop(two);
        one.take_back().unwrap();
        // A line waits: a start now would have to know.
        assert!(!one.reserve.exists());
        one.write_pending().unwrap();
        write(&mut one).unwrap();
        let verified = verify(dir.path()).unwrap();
        assert_eq!((verified.lines, verified.problems.len()), (4, 0));
        one.hand_over().unwrap();
        // The other one has needed it.
        std::fs::remove_file(dir.path().join("audit.reserve")).unwrap();
        one.take_back().unwrap();
        drop(one);
        assert!(Journal::open(dir.path()).unwrap().1.holds);
    }
}
