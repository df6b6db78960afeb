//! A reader over the tree: sections hand out typed values and remember who asked for what.
//!
//! A key is known because something takes it; there is no second list that could differ. What
//! nobody took is unknown. Getters give the default when a value is wrong, so that one pass finds
//! every problem; the result is thrown away then.
//! Does not know: which keys exist.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::mem;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::Environment;
use super::problem::Problem;
use super::profile::{CannotFill, Filled, fill};
use super::tree::{Node, Source, Table, Value, join};
use super::units;
use super::unknown::Unknown;
use crate::names::BadName;

/// Longer waits than a day are a slip of the unit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What all sections of one reading share.
pub(super) struct Reader<'a> {
    pub(super) env: &'a Environment,
    /// Relative paths start here.
    pub(super) folder: &'a Path,
    source: &'a Source,
    strict: bool,
    problems: RefCell<Vec<Problem>>,
    known: RefCell<BTreeSet<String>>,
    unknown: RefCell<Vec<Unknown>>,
}

/// A table of the file.
pub(super) struct Section<'r> {
    reader: &'r Reader<'r>,
    /// Without the profile it may have come from.
    path: String,
    table: Table,
}

/// A value of the file.
pub(super) struct Field<'r> {
    pub(super) reader: &'r Reader<'r>,
    /// Without the profile it may have come from.
    path: String,
    node: Node,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Unless `strict`, what only this machine lacks (variables, files, users) is no problem.
    pub(super) fn new(
        source: &'a Source,
        folder: &'a Path,
        env: &'a Environment,
        strict: bool,
    ) -> Self {
        Reader {
            env,
            folder,
            source,
            strict,
            problems: RefCell::default(),
            known: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    /// The whole file as a section.
    pub(super) fn root(&self, table: Table) -> Section<'_> {
        Section { reader: self, path: String::new(), table }
    }

    /// The problems, once every section is gone.
    pub(super) fn finish(self) -> Vec<Problem> {
        let known = self.known.into_inner();
        let mut problems = self.problems.into_inner();
        for unknown in self.unknown.into_inner() {
            let message = unknown.message(&known);
            problems.push(self.source.problem(Some(unknown.at), &unknown.path, &message));
        }
        problems
    }

    /// Counts a key as known that is taken before any section is read.
    pub(super) fn know(&self, key: &str) {
        self.known.borrow_mut().insert(key.to_owned());
    }

    /// Every key that was asked for.
    #[cfg(test)]
    pub(super) fn known(&self) -> Vec<String> {
        self.known.borrow().iter().cloned().collect()
    }
}

// === impl Section ===

impl<'r> Section<'r> {
    /// Takes a value as it is.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'r>> {
        let path = join(&self.path, key);
        self.reader.known.borrow_mut().insert(path.clone());
        let node = self.table.remove(key)?;
        Some(Field { reader: self.reader, path, node })
    }

    /// The environment, for defaults.
    pub(super) fn env(&self) -> &'r Environment {
        self.reader.env
    }

    /// Takes everything that is left, for tables whose keys are names.
    pub(super) fn take_all(mut self) -> Vec<(String, Field<'r>)> {
        let field = |(key, node): (String, Node)| {
            let path = join(&self.path, &key);
            (key, Field { reader: self.reader, path, node })
        };
        mem::take(&mut self.table).into_iter().map(field).collect()
    }

    /// Takes a table; a missing one is empty.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'r> {
        let (reader, path) = (self.reader, join(&self.path, key));
        let found = self.take(key).and_then(|field| field.section());
        found.unwrap_or(Section { reader, path, table: Table::new() })
    }

    /// Takes a string or an integer and reads it.
    pub(super) fn parse<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, BadName>,
    ) -> T {
        self.take(key).and_then(|field| field.parse(read)).unwrap_or(default)
    }

    /// Takes a whole number.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: usize,
    ) -> usize {
        let read = |text: &str| {
            let number =
                text.parse().map_err(|_| BadName(format!("`{text}` is no whole number")))?;
            within(number, &range, |number| number.to_string())
        };
        self.parse(key, default as u64, read) as usize
    }

    /// Takes a number, or `off`.
    pub(super) fn number_or_off(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: usize,
    ) -> Option<usize> {
        let number = |text: &str| {
            let number = text
                .parse()
                .map_err(|_| BadName(format!("`{text}` is neither a whole number nor `off`")))?;
            within(number, &range, |number| number.to_string())
        };
        let read = |text: &str| if text == "off" { Ok(None) } else { number(text).map(Some) };
        self.parse(key, Some(default as u64), read).map(|number| number as usize)
    }

    /// Takes a size; the range is in KiB.
    pub(super) fn kibibytes(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let range = range.start() * 1024..=range.end() * 1024;
        let read = |size: &str| {
            units::bytes(size).and_then(|size| within(size, &range, units::bytes_text))
        };
        self.parse(key, default * 1024, read)
    }

    /// Takes a duration.
    pub(super) fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        self.parse(key, default, |text| units::duration(text).and_then(usable))
    }

    /// Takes a duration or `off`.
    pub(super) fn duration_or_off(
        &mut self,
        key: &'static str,
        default: Duration,
    ) -> Option<Duration> {
        self.parse(key, Some(default), |text| units::duration_or_off(text)?.map(usable).transpose())
    }

    /// Takes one of a few words.
    pub(super) fn choice<T: Copy + Default>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> T {
        self.choice_or(key, words, T::default())
    }

    /// The same, where what holds without the key is not always the same word.
    pub(super) fn choice_or<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        default: T,
    ) -> T {
        self.parse(key, default, |text| {
            let all = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>();
            let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            found.ok_or_else(|| BadName(format!("`{text}` is none of {}", all.join(", "))))
        })
    }

    /// Takes a path; a relative one starts at the file's folder.
    pub(super) fn path(
        &mut self,
        key: &'static str,
        default: PathBuf,
        check: impl FnOnce(PathBuf) -> Result<PathBuf, BadName>,
    ) -> PathBuf {
        let folder = self.reader.folder;
        self.parse(key, default, |text| {
            if text.is_empty() {
                return Err(BadName("is an empty path".into()));
            }
            check(folder.join(text))
        })
    }
}

/// Hands what nobody took to the reader, so that no section can forget to.
impl Drop for Section<'_> {
    fn drop(&mut self) {
        let unknown = mem::take(&mut self.table).into_iter().map(|(key, node)| Unknown {
            section: self.path.clone(),
            key,
            path: node.path,
            at: node.key_at,
        });
        self.reader.unknown.borrow_mut().extend(unknown);
    }
}

fn within(
    number: u64,
    range: &RangeInclusive<u64>,
    text: impl Fn(u64) -> String,
) -> Result<u64, BadName> {
    if range.contains(&number) {
        return Ok(number);
    }
    Err(BadName(format!("must be from {} to {}", text(*range.start()), text(*range.end()))))
}

fn usable(duration: Duration) -> Result<Duration, BadName> {
    if !duration.is_zero() && duration <= LONGEST {
        return Ok(duration);
    }
    Err(BadName("must be more than 0s and at most 24h".into()))
}

// === impl Field ===

impl<'r> Field<'r> {
    /// Records a problem with this value.
    pub(super) fn problem(&self, message: &str) {
        let problem = self.reader.source.problem(Some(self.node.at), &self.node.path, message);
        self.reader.problems.borrow_mut().push(problem);
    }

    /// Records a problem that another machine might not have.
    pub(super) fn machine_problem(&self, message: &str) {
        if self.reader.strict {
            self.problem(message);
        }
    }

    /// Reads a string or an integer, naming the value in a problem only as the file has it.
    pub(super) fn parse<T>(&self, read: impl FnOnce(&str) -> Result<T, BadName>) -> Option<T> {
        match &self.node.value {
            Value::Integer(number) => self.read(&Filled::plain(&number.to_string()), read),
            _ => self.parse_text(read),
        }
    }

    /// The same, where an integer would not say what was meant.
    pub(super) fn parse_text<T>(&self, read: impl FnOnce(&str) -> Result<T, BadName>) -> Option<T> {
        self.read(&self.text()?, read)
    }

    fn read<T>(&self, filled: &Filled, read: impl FnOnce(&str) -> Result<T, BadName>) -> Option<T> {
        read(&filled.value).map_err(|bad| self.problem(&filled.redact(bad.0))).ok()
    }

    /// A string, filled in.
    pub(super) fn text(&self) -> Option<Filled> {
        let Value::Text(written) = &self.node.value else {
            self.problem(&format!("must be a string, not {}", self.node.value.kind()));
            return None;
        };
        let report = |problem: &CannotFill| match problem {
            CannotFill::Missing(message) => self.machine_problem(message),
            CannotFill::Malformed(message) => self.problem(message),
        };
        fill(written, self.reader.env).map_err(|problems| problems.iter().for_each(report)).ok()
    }

    /// The value as JSON, its strings filled in.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        let under = |node: &Node| Field { path: self.path.clone(), node: node.clone(), ..*self };
        Some(match &self.node.value {
            Value::Text(_) => Json::String(self.text()?.value),
            Value::Integer(number) => Json::from(*number),
            Value::Boolean(value) => Json::Bool(*value),
            Value::Fraction(number) => Json::from(*number),
            Value::List(items) => {
                Json::Array(items.iter().map(|node| under(node).json()).collect::<Option<_>>()?)
            }
            Value::Table(table) => Json::Object(
                table
                    .iter()
                    .map(|(key, node)| Some((key.clone(), under(node).json()?)))
                    .collect::<Option<_>>()?,
            ),
            Value::Other(kind) => {
                self.problem(&format!("must be something that JSON has, not {kind}"));
                return None;
            }
        })
    }

    /// Either of two words that TOML has for this.
    pub(super) fn boolean(&self) -> Option<bool> {
        let Value::Boolean(value) = self.node.value else {
            self.problem(&format!("must be true or false, not {}", self.node.value.kind()));
            return None;
        };
        Some(value)
    }

    /// The items of a list; a single value stands for a list of one.
    pub(super) fn items(&self) -> Vec<Field<'r>> {
        let nodes = match &self.node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&self.node),
        };
        let field = |node: &Node| Field { path: self.path.clone(), node: node.clone(), ..*self };
        nodes.iter().map(field).collect()
    }

    /// Whether this is `[]`.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::List(items) if items.is_empty())
    }

    /// Whether this is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Whether this is a table.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// The keys of a table.
    pub(super) fn section(&self) -> Option<Section<'r>> {
        if let Value::Table(table) = &self.node.value {
            let (reader, path) = (self.reader, self.path.clone());
            return Some(Section { reader, path, table: table.clone() });
        }
        self.problem(&format!("must be a table, not {}", self.node.value.kind()));
        None
    }
}
