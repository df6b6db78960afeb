//! The stable arm's usual times, kept over a restart: what the candidate is measured against while
//! the stable arm gets nothing.
//!
//! Not worth a sync: a baseline that is lost is made anew. Does not know: how it is used.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::names::Arm;

use super::keys::write_whole;

/// The file in the state directory.
const FILE: &str = "baseline.json";
/// More than any that we write.
const BYTES_MAX: u64 = 256 * 1024;

/// The times of one kind of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The JSON-RPC method.
    pub method: String,
    /// The tool, for `tools/call`.
    pub tool: String,
    /// Calls.
    pub count: f64,
    /// The sum of the natural logarithms of their seconds.
    pub logs: f64,
    /// The sum of the squares of those.
    pub squares: f64,
}

/// The times of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The arm that they were measured on.
    pub arm: Arm,
    /// By kind of work.
    pub entries: Vec<Entry>,
}

/// Reads the recorded times; none if there are none that make sense.
pub fn read(state_dir: &Path) -> Option<Recorded> {
    let path = state_dir.join(FILE);
    let length = std::fs::metadata(&path).ok()?.len();
    let text = std::fs::read(&path).ok().filter(|_| length <= BYTES_MAX)?;
    match serde_json::from_slice(&text) {
        Ok(recorded) => Some(recorded),
        Err(error) => {
            tracing::warn!(%error, "{FILE} is damaged: the baseline is made anew");
            None
        }
    }
}

/// Keeps the times.
///
/// # Errors
/// When the disk does not take them; the old ones are still there then.
pub fn write(state_dir: &Path, recorded: &Recorded) -> io::Result<()> {
    write_whole(state_dir, FILE, &serde_json::to_vec(recorded)?)
}
