//! The split in force, kept over a restart, with a revision that never repeats.
//!
//! What an operator has set holds until the configuration asks for another split than it did then:
//! who edits the file later means it. Written beside and renamed, so that a crash leaves the old
//! one or the new one. Does not know: how a split routes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::names::Split;

use super::journal::Actor;

/// The file in the state directory.
const FILE: &str = "state.json";

/// The only version of the format so far.
const VERSION: u8 = 1;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of this format.
    version: u8,
    /// Grows with every change of the split, also over restarts: a change names the one that it
    /// replaces.
    pub revision: u64,
    /// The split in force.
    pub split: Split,
    /// What the configuration asked for when it was set.
    pub configured: Split,
    /// Who set it.
    pub set_by: Actor,
    /// When, as RFC 3339.
    pub set_at: String,
}

impl State {
    /// The state of a router that has none yet.
    pub fn first(configured: Split) -> State {
        State {
            version: VERSION,
            revision: 1,
            split: configured,
            configured,
            set_by: Actor::Configuration,
            set_at: now(),
        }
    }

    /// The state after a damaged one: everything on the primary, since nobody knows how much of
    /// the secondary an operator had allowed. The revision is one that nobody can have seen.
    pub fn after_damage(configured: Split) -> State {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let revision = since.map_or(1, |since| since.as_secs());
        State {
            revision,
            split: Split::PRIMARY_ONLY,
            set_by: Actor::Start,
            ..State::first(configured)
        }
    }

    /// The state after somebody has set the split.
    #[must_use]
    pub fn next(&self, split: Split, configured: Split, set_by: Actor) -> State {
        let revision = self.revision + 1;
        State { version: VERSION, revision, split, configured, set_by, set_at: now() }
    }

    /// The state under this configuration: the same, unless the file asks for another split than
    /// it did.
    #[must_use]
    pub fn under(self, configured: Split) -> State {
        if self.configured == configured {
            return self;
        }
        self.next(configured, configured, Actor::Configuration)
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Not readable.
    #[error("cannot read {FILE}: {0}")]
    Io(#[from] io::Error),
    /// Not what we write.
    #[error("{FILE} is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("{FILE} is of version {0}, which this version does not know")]
    Unknown(u8),
}

/// Reads the state, if there is one.
///
/// # Errors
/// When there is one that cannot be read.
pub fn read(state_dir: &Path) -> Result<Option<State>, StateError> {
    match std::fs::read(state_dir.join(FILE)) {
        Ok(bytes) => match serde_json::from_slice::<State>(&bytes)? {
            State { version, .. } if version != VERSION => Err(StateError::Unknown(version)),
            state => Ok(Some(state)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes the state, whole or not at all.
///
/// # Errors
/// When the disk does not take it; then the old one is still there.
pub fn write(state_dir: &Path, state: &State) -> io::Result<()> {
    write_whole(state_dir, FILE, &serde_json::to_vec_pretty(state)?)
}

/// Replaces a file of the state directory in one step, readable by its owner only.
pub(super) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!("{name}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(secondary: u8) -> Split {
        Split::new(100 - secondary, secondary).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let state = State::first(split(0)).next(split(10), split(0), Actor::Start);
        write(dir.path(), &state).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(state.clone()));
        write(dir.path(), &State { version: 9, ..state }).unwrap();
        assert!(matches!(read(dir.path()), Err(StateError::Unknown(9))));
        std::fs::write(dir.path().join(FILE), "{\"version\":1").unwrap();
        assert!(matches!(read(dir.path()), Err(StateError::Damaged(_))));
    }

    #[test]
    fn an_edited_configuration_wins_and_what_it_overrode_does_not_come_back() {
        let set = State::first(split(0)).next(split(50), split(0), Actor::Start);
        assert_eq!(set.clone().under(split(0)), set);
        let edited = set.under(split(10));
        assert_eq!((edited.split, edited.revision), (split(10), 3));
        assert_eq!(edited.under(split(0)).split, split(0));
    }

    #[test]
    fn damage_never_raises_the_secondary() {
        assert_eq!(State::after_damage(split(50)).split, Split::PRIMARY_ONLY);
        assert_eq!(State::after_damage(split(50)).under(split(50)).split, Split::PRIMARY_ONLY);
    }
}
