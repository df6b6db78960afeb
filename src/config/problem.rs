//! What is wrong with a configuration, and where.
//!
//! A person mends a file once if they see everything at once, so problems are collected, never
//! thrown. Does not know: what the keys mean.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything that is wrong, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The file as it was named, or `(defaults)` where none was.
    pub file: String,
    /// The line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// The key as written, such as `profiles.staging.secondary.endpoints[1]`; empty where the
    /// text is no TOML.
    pub key: String,
    /// What is wrong and what to write instead; one line, without secrets.
    pub message: String,
}

impl Problems {
    /// Sorts by place and drops what was found twice; `None` if nothing is wrong.
    pub(super) fn of(mut list: Vec<Problem>) -> Option<Problems> {
        list.sort();
        list.dedup();
        (!list.is_empty()).then_some(Problems(list))
    }

    /// Each problem, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Keeps text from a file on one line and away from the terminal's control sequences.
pub(super) fn one_line(text: &str) -> String {
    let escape =
        |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escape).collect()
}
