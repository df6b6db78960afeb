//! The split in force and the alerts, kept over a restart; the split has a revision that never
//! repeats.
//!
//! What an operator has set holds until the configuration asks for another split than it did then:
//! who edits the file later means it. Each line of the journal has the state after it; earlier
//! versions kept it in a file beside. Does not know: how a split routes.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::alerts::Alerts;
use crate::names::Split;

use super::journal::Actor;

/// Where earlier versions kept it in the state directory.
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
    /// Security alerts; they have no part in the revision.
    #[serde(default)]
    pub alerts: Alerts,
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
            alerts: Alerts::default(),
        }
    }

    /// The state where later ones than `last` may have been lost: everything on the primary, since
    /// nobody knows how much of the secondary an operator had allowed. The revision is one that
    /// nobody can have seen.
    pub fn after_damage(last: Option<&State>, configured: Split) -> State {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.map_or(1, |since| since.as_secs());
        State {
            revision: last.map_or(0, |last| last.revision + 1).max(seconds),
            split: Split::PRIMARY_ONLY,
            set_by: Actor::Start,
            ..State::first(configured)
        }
    }

    /// Whether this version knows what it says.
    pub(super) fn is_known(&self) -> bool {
        self.version == VERSION
    }

    /// The state after somebody has set the split.
    #[must_use]
    pub fn next(&self, split: Split, configured: Split, set_by: Actor) -> State {
        let revision = self.revision + 1;
        let alerts = self.alerts.clone();
        State { version: VERSION, revision, split, configured, set_by, set_at: now(), alerts }
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

/// A state file of an earlier version that cannot be used.
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

/// Reads the state that an earlier version kept beside its journal, if it is still there.
///
/// # Errors
/// When there is one that cannot be read.
pub(super) fn read_beside(state_dir: &Path) -> Result<Option<State>, StateError> {
    match std::fs::read(state_dir.join(FILE)) {
        Ok(bytes) => match serde_json::from_slice::<State>(&bytes)? {
            state if state.is_known() => Ok(Some(state)),
            State { version, .. } => Err(StateError::Unknown(version)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes it, once the journal holds the state.
pub(super) fn remove_beside(state_dir: &Path) {
    match std::fs::remove_file(state_dir.join(FILE)) {
        Ok(()) => tracing::info!("the state is in audit.jsonl from now on; {FILE} is removed"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // The next start finds it older than the journal and tries again.
        Err(error) => tracing::warn!(%error, "cannot remove {FILE}, which nobody needs any more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(secondary: u8) -> Split {
        Split::new(100 - secondary, secondary).unwrap()
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let beside = |bytes: &[u8]| {
            std::fs::write(dir.path().join(FILE), bytes).unwrap();
            read_beside(dir.path())
        };
        assert_eq!(read_beside(dir.path()).unwrap(), None);
        let state = State::first(split(0)).next(split(10), split(0), Actor::Start);
        assert_eq!(beside(&serde_json::to_vec(&state).unwrap()).unwrap(), Some(state.clone()));
        let later = State { version: 9, ..state };
        let later = beside(&serde_json::to_vec(&later).unwrap());
        assert!(matches!(later, Err(StateError::Unknown(9))));
        assert!(matches!(beside(b"{\"version\":1"), Err(StateError::Damaged(_))));
        remove_beside(dir.path());
        assert_eq!(read_beside(dir.path()).unwrap(), None);
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
        let far = State { revision: u64::MAX - 1, ..State::first(split(50)) };
        for last in [None, Some(&far)] {
            let safe = State::after_damage(last, split(50));
            assert_eq!(safe.split, Split::PRIMARY_ONLY);
            assert!(safe.revision > last.map_or(0, |last| last.revision));
            assert_eq!(safe.under(split(50)).split, Split::PRIMARY_ONLY);
        }
    }
}
