//! Backups of configuration and state: one folder each, made before what could go wrong.
//!
//! Does not know: when one is made, how it is put back.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::exported::Exported;
use super::keys::write_whole;

/// The folder in the state directory.
const FOLDER: &str = "backups";
/// How many are kept.
const KEPT: usize = 50;
/// A longer configuration is not read by the router either.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// More than any state has.
const STATE_BYTES_MAX: u64 = 1024 * 1024;
const ABOUT: &str = "about.json";
const STATE: &str = "state.json";
const CONFIG: &str = "config.toml";

/// Held while one is made: two at once would take each other's number and folder.
static MAKING: Mutex<()> = Mutex::new(());

/// A backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// What it is called: `b` and a number.
    pub id: String,
    /// When it was made, as RFC 3339.
    pub at: String,
    /// What it was made for.
    pub reason: String,
    /// Who had it made.
    pub by: String,
    /// The configuration file, if there was one.
    pub config: Option<String>,
}

/// Everything in a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// What it is.
    pub about: Backup,
    /// The state as it was.
    pub state: Exported,
    /// The text of the configuration file, if there was one.
    pub config: Option<String>,
}

/// Makes one; the oldest of too many is removed.
///
/// # Errors
/// When the disk does not take it; then there is no trace of it.
pub fn make(state_dir: &Path, reason: &str, by: &str, state: &Exported) -> io::Result<Backup> {
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = state_dir.join(FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let numbers = numbers(&folder)?;
    let id = name(numbers.last().unwrap_or(&0) + 1);
    let (at, config) = (state.at.clone(), state.config.clone());
    let about = Backup { id, at, reason: reason.to_owned(), by: by.to_owned(), config };
    let beside = folder.join("new");
    let _ = std::fs::remove_dir_all(&beside);
    DirBuilder::new().mode(0o700).create(&beside)?;
    let written = write(&beside, &about, state)
        .and_then(|()| std::fs::rename(&beside, folder.join(&about.id)))
        .and_then(|()| File::open(&folder)?.sync_all());
    if let Err(error) = written {
        let _ = std::fs::remove_dir_all(&beside);
        return Err(error);
    }
    for old in numbers.iter().rev().skip(KEPT - 1) {
        std::fs::remove_dir_all(folder.join(name(*old)))?;
    }
    Ok(about)
}

fn write(folder: &Path, about: &Backup, state: &Exported) -> io::Result<()> {
    write_whole(folder, STATE, &serde_json::to_vec_pretty(state)?)?;
    if let Some(config) = &about.config {
        // It can be gone: the router goes on with what it has read.
        match bounded(Path::new(config), CONFIG_BYTES_MAX) {
            Ok(bytes) => write_whole(folder, CONFIG, &bytes)?,
            Err(error) => tracing::warn!(%error, %config, "a backup has no configuration"),
        }
    }
    write_whole(folder, ABOUT, &serde_json::to_vec_pretty(about)?)
}

/// Those that are there, the newest first; what cannot be read is left out.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(state_dir: &Path) -> io::Result<Vec<Backup>> {
    let folder = state_dir.join(FOLDER);
    let about = |number: &u64| about(&folder.join(name(*number))).ok();
    Ok(numbers(&folder)?.iter().rev().filter_map(about).collect())
}

/// Everything in one of them; `None` if there is none of this name.
///
/// # Errors
/// When it cannot be read, or its state is damaged.
pub fn read(state_dir: &Path, id: &str) -> io::Result<Option<Contents>> {
    let folder = state_dir.join(FOLDER);
    if !numbers(&folder)?.iter().any(|number| name(*number) == id) {
        return Ok(None);
    }
    let folder = folder.join(id);
    let about = about(&folder)?;
    let state = Exported::read(&bounded(&folder.join(STATE), STATE_BYTES_MAX)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let config = match bounded(&folder.join(CONFIG), CONFIG_BYTES_MAX) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(Some(Contents { about, state, config }))
}

fn about(folder: &Path) -> io::Result<Backup> {
    Ok(serde_json::from_slice(&bounded(&folder.join(ABOUT), STATE_BYTES_MAX)?)?)
}

fn name(number: u64) -> String {
    format!("b{number}")
}

/// Their numbers, ascending.
fn numbers(folder: &PathBuf) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        let number = file.to_str().and_then(|name| name.strip_prefix('b')?.parse().ok());
        numbers.extend(number.filter(|number| name(*number).as_str() == file));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A file that is not longer than it can be.
fn bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{PerArm, Split};
    use crate::records::state::State;

    #[test]
    fn the_newest_are_kept_and_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("t.toml");
        std::fs::write(&config, "workers = 1").unwrap();
        let about = (Some(config.display().to_string()), None, "0".to_owned());
        let state = State::first(Split::PRIMARY_ONLY);
        let exported = Exported::new("now".into(), about, PerArm::default(), state);
        assert_eq!(list(dir.path()).unwrap(), []);
        for _ in 0..KEPT + 3 {
            make(dir.path(), "a test", "me", &exported).unwrap();
        }
        let all = list(dir.path()).unwrap();
        assert_eq!((all.len(), all[0].id.as_str()), (KEPT, "b53"));
        let newest = read(dir.path(), "b53").unwrap().unwrap();
        assert_eq!((newest.state, newest.config.as_deref()), (exported, Some("workers = 1")));
        for none in ["b3", "b053", "../backups/b53", "x"] {
            assert_eq!(read(dir.path(), none).unwrap(), None, "{none}");
        }
        std::fs::write(dir.path().join("backups/b53/state.json"), "{").unwrap();
        assert!(read(dir.path(), "b53").is_err());
    }

    #[test]
    fn two_at_once_are_two() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::first(Split::PRIMARY_ONLY);
        let about = (None, None, "0".to_owned());
        let exported = Exported::new("now".into(), about, PerArm::default(), state);
        let make = || make(dir.path(), "a test", "me", &exported).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(make);
            }
        });
        assert_eq!(list(dir.path()).unwrap().len(), 8);
    }
}
