//! Goes over the whole journal, from the oldest file to the newest, as far as it was kept.
//!
//! Needs no running router and no lock: a line that is just being written is at worst a remark.
//! Does not know: what the lines mean.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::KEPT;
use super::files::{self, CURRENT, Opened};
use super::walk::{Link, Problem, Walk};

/// What was found.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// Files that were read.
    pub files: usize,
    /// Lines in them, of any kind.
    pub lines: u64,
    /// The first line that can be read.
    pub first: Option<Link>,
    /// The last one. Nothing in the journal covers it: whoever keeps its hash elsewhere can tell
    /// later whether lines were cut off behind it or all were forged.
    pub last: Option<Link>,
    /// Lines that were edited, removed, added or moved.
    pub problems: Vec<Problem>,
    /// What is unusual, but explained.
    pub remarks: Vec<Problem>,
}

/// Follows the chain through all files in this directory.
///
/// # Errors
/// When a file cannot be read, or there is none.
pub fn verify(dir: &Path) -> io::Result<Verified> {
    let opened = files::open_all(dir)?;
    if opened.is_empty() {
        let why = format!("there is no {CURRENT} in {}", dir.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    let count = opened.len();
    let oldest = opened[0].name.clone();
    let is_shortened = opened.iter().filter(|it| it.name != CURRENT).count() >= KEPT;
    let mut walk = Walk::new();
    for Opened { name, file } in opened {
        for line in files::lines(file) {
            walk.step(&name, &line?);
        }
    }
    walk.finish();
    let mut problems = walk.problems;
    if walk.begins_late && !is_shortened {
        let what = "the lines before it are missing".to_owned();
        problems.insert(0, Problem { file: oldest, line: 1, what });
    }
    let Walk { lines, first, last, remarks, .. } = walk;
    Ok(Verified { files: count, lines, first, last, problems, remarks })
}
