//! Named, dated baselines: what an arm's usual work came to at some time, a file for each.
//!
//! Files and not one list, so that a damaged one costs no other. They are bounded: those that the
//! router keeps by itself make room, those that a person has named never do. Does not know: where
//! the figures come from, what they are compared with.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{Arm, BadName};

use super::figures::{Figures, Kind};
use super::keys::write_whole;

/// The folder in the state directory.
const FOLDER: &str = "baselines";
/// The only version of the format so far.
const VERSION: u8 = 1;
/// How many are kept.
pub const KEPT_MAX: usize = 200;
/// Files that are looked at, whatever somebody has put there.
const FILES_MAX: usize = 1000;
/// More than any that we write: 140 kinds of work of at most 3 KiB.
const BYTES_MAX: u64 = 1024 * 1024;
/// Characters of a name.
const NAME_MAX: usize = 64;
/// Exchanges of one outcome; what is more was edited, and its sums could not be.
const COUNT_MAX: u64 = 1 << 40;

/// The name of a baseline, which is also that of its file: letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The one of a day, such as `2026-11-23`.
    pub fn of_day(day: &str) -> Name {
        Name(format!("auto-{day}"))
    }

    /// The one from before a rollout.
    pub fn before(rollout: &str) -> Name {
        Name(format!("before-{rollout}"))
    }

    /// The one from after a rollout.
    pub fn after(rollout: &str) -> Name {
        Name(format!("after-{rollout}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one that the router gives.
    pub fn is_automatic(&self) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let of_rollout = ["before-r", "after-r"];
        let day = |text: &str| text.len() == 10 && digits(&text.replace('-', ""));
        of_rollout.iter().any(|front| self.0.strip_prefix(front).is_some_and(digits))
            || self.0.strip_prefix("auto-").is_some_and(day)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Name, BadName> {
        let fits = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
        let begins = text.starts_with(|it: char| it.is_ascii_alphanumeric());
        if begins && text.len() <= NAME_MAX && text.chars().all(fits) && text != "compare" {
            return Ok(Name(text.to_owned()));
        }
        Err(BadName(format!(
            "no name of a baseline: at most {NAME_MAX} letters, digits, `-`, `_` and `.`, a letter or \
             digit first, and not `compare`"
        )))
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Name, BadName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

/// What an arm's work came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    version: u8,
    /// What it is called.
    pub name: Name,
    /// When it was taken, as RFC 3339.
    pub at: String,
    /// Whose work.
    pub arm: Arm,
    /// Name and version of its server, in the server's own words, if it was known.
    pub server: Option<String>,
    /// How much time before that it is of.
    pub span_seconds: u64,
    /// By kind of work, no kind twice.
    pub kinds: Vec<Measured>,
}

/// The figures of one kind of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Which.
    pub kind: Kind,
    /// What became of it.
    pub figures: Figures,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Listed {
    /// Those that can be read, the newest first.
    pub baselines: Vec<Baseline>,
    /// The other files.
    pub skipped: Vec<Skipped>,
}

/// A file that is no baseline, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

/// Why a baseline was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Nothing is overwritten.
    #[error(
        "there is a baseline `{0}` already: take another name, or remove it with `tidegate baseline remove {0}`"
    )]
    Exists(Name),
    /// Those with names of people fill the place.
    #[error(
        "there are {KEPT_MAX} baselines already: remove some with `tidegate baseline remove NAME`"
    )]
    Full,
    /// The file system refused.
    #[error("cannot keep the baseline: {0}")]
    Io(#[from] io::Error),
}

impl Baseline {
    /// A baseline that is taken now.
    pub fn new(
        name: Name,
        at: String,
        arm: Arm,
        server: Option<String>,
        span_seconds: u64,
        kinds: Vec<Measured>,
    ) -> Baseline {
        Baseline { version: VERSION, name, at, arm, server, span_seconds, kinds }
    }

    /// All exchanges in it.
    pub fn exchanges(&self) -> u64 {
        self.kinds.iter().map(|it| it.figures.exchanges()).sum()
    }

    /// What cannot be in it.
    fn problem(&self) -> Option<String> {
        if self.version != VERSION {
            let version = self.version;
            return Some(format!("it is of version {version}, which this version does not know"));
        }
        let mut kinds: Vec<_> = self.kinds.iter().map(|it| &it.kind).collect();
        kinds.sort();
        kinds.dedup();
        if kinds.len() < self.kinds.len() {
            return Some("it has a kind of work twice".to_owned());
        }
        let odd = self.kinds.iter().find(|it| !can_be(&it.figures))?;
        Some(format!("its figures of `{}` cannot be", odd.kind.name()))
    }
}

/// Whether figures fit together, so that nothing made of them is no number.
fn can_be(figures: &Figures) -> bool {
    let (moments, count) = (figures.latency.moments(), figures.latency.count());
    let is_counted = figures.outcomes.values().all(|count| *count <= COUNT_MAX);
    is_counted
        && figures.faults <= figures.exchanges()
        && (moments.count - count as f64).abs() < 0.5
        && moments.logs.is_finite()
        && moments.squares.is_finite()
        && figures.latency.seconds().is_finite()
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join(FOLDER)
}

fn file(name: &Name) -> String {
    format!("{name}.json")
}

/// The names of all files that may be baselines, in no order.
fn files(state_dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let is_ours =
        |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "json");
    names.filter(|name| name.as_ref().map_or(true, is_ours)).take(FILES_MAX).collect()
}

/// Reads a file; what is wrong with it is for people.
fn parse(state_dir: &Path, file: &str) -> Result<Baseline, String> {
    let path = folder(state_dir).join(file);
    let told = |error: io::Error| format!("it cannot be read: {error}");
    let meta = std::fs::metadata(&path).map_err(told)?;
    if !meta.is_file() || meta.len() > BYTES_MAX {
        return Err(format!("it is no file of at most {BYTES_MAX} bytes"));
    }
    let mut bytes = Vec::new();
    File::open(&path).map_err(told)?.take(BYTES_MAX).read_to_end(&mut bytes).map_err(told)?;
    let baseline: Baseline =
        serde_json::from_slice(&bytes).map_err(|error| format!("it is damaged: {error}"))?;
    if file != self::file(&baseline.name) {
        return Err(format!("it says that it is `{}`", baseline.name));
    }
    match baseline.problem() {
        Some(problem) => Err(format!("it is damaged: {problem}")),
        None => Ok(baseline),
    }
}

/// All baselines.
///
/// # Errors
/// When the folder cannot be read; what is wrong with a file is no error.
pub fn list(state_dir: &Path) -> io::Result<Listed> {
    let mut listed = Listed::default();
    for file in files(state_dir)? {
        match parse(state_dir, &file) {
            Ok(baseline) => listed.baselines.push(baseline),
            Err(why) => listed.skipped.push(Skipped { file, why }),
        }
    }
    listed.baselines.sort_by(|one, other| (&other.at, &other.name).cmp(&(&one.at, &one.name)));
    listed.skipped.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(listed)
}

/// One baseline; `None` if there is none of that name.
///
/// # Errors
/// What is wrong with its file, for people.
pub fn read(state_dir: &Path, name: &Name) -> Result<Option<Baseline>, String> {
    if !folder(state_dir).join(file(name)).exists() {
        return Ok(None);
    }
    let told = |why| format!("the baseline `{name}` cannot be used: {why}");
    parse(state_dir, &file(name)).map(Some).map_err(told)
}

/// Keeps a baseline, and makes room for it if there is none.
///
/// # Errors
/// When it is there already, there is no room, or the disk does not take it.
pub fn keep(state_dir: &Path, baseline: &Baseline) -> Result<(), KeepError> {
    let folder = folder(state_dir);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let file = file(&baseline.name);
    if folder.join(&file).exists() {
        return Err(KeepError::Exists(baseline.name.clone()));
    }
    let count = files(state_dir)?.len();
    if count >= KEPT_MAX {
        let listed = list(state_dir)?.baselines;
        let oldest: Vec<_> = listed.iter().rev().filter(|it| it.name.is_automatic()).collect();
        let too_many = count + 1 - KEPT_MAX;
        if oldest.len() < too_many {
            return Err(KeepError::Full);
        }
        for one in &oldest[..too_many] {
            remove(state_dir, &one.name)?;
        }
    }
    let bytes = serde_json::to_vec(baseline).map_err(io::Error::from)?;
    Ok(write_whole(&folder, &file, &bytes)?)
}

/// Removes a baseline, also one that cannot be read; `false` if there is none of that name.
///
/// # Errors
/// When the file system refuses.
pub fn remove(state_dir: &Path, name: &Name) -> io::Result<bool> {
    match std::fs::remove_file(folder(state_dir).join(file(name))) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
