//! How the offer of a candidate differs from that of the stable version, and whom that breaks.
//!
//! Seen by a client that learnt the stable version's lists and meets the candidate: what it may
//! still send, and what it may rely on in answers. Where that cannot be known the class says so;
//! nothing is guessed. The order of lists, of enum values and of properties is no difference.
//! Every text in a [`Diff`] is escaped and cut, so it can be printed as it is, and its size is
//! bounded whatever the servers say. Does not know: which arm is which, what follows from it.

mod headers;

mod items;

mod schema;

use std::fmt;

use serde::{Deserialize, Serialize};

use self::items::Item;
use super::catalogue::{Catalogue, List, Listed, Offered};
use crate::mcp::shown::shown;

/// Changes of one class that are kept; more are counted. Nobody reads so many, and the whole stays
/// below 5 MiB.
pub const MAX_CHANGES: usize = 1_000;

/// Characters of a name that are kept: the length that S26 server/tools asks names to stay under.
const MAX_NAME: usize = 128;

/// Steps of comparing schemas in one diff, about a tenth of a microsecond each.
const MAX_WORK: usize = 2_000_000;

/// Whom a change concerns, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Words only: nothing that a program relies on.
    Cosmetic,
    /// More is offered; what was right stays right.
    Additive,
    /// Something differs, and whether that breaks anybody could not be told.
    Unknown,
    /// Works as before but deserves a person's eye: a tool turns destructive, text hides letters.
    Suspicious,
    /// A call or a reader that was right no longer is.
    Breaking,
}

impl Class {
    /// All of them, the mildest first.
    pub const ALL: [Class; 5] =
        [Class::Cosmetic, Class::Additive, Class::Unknown, Class::Suspicious, Class::Breaking];

    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Cosmetic => "cosmetic",
            Class::Additive => "additive",
            Class::Unknown => "unknown",
            Class::Suspicious => "suspicious",
            Class::Breaking => "breaking",
        }
    }
}

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Only the stable version has it.
    Removed,
    /// Only the candidate has it.
    Added,
    /// Both have it, and it differs.
    Changed,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whom it concerns.
    pub class: Class,
    /// What kind it is.
    pub mark: Mark,
    /// The list that it is in.
    pub list: List,
    /// The item; empty where the list as a whole is meant.
    pub name: String,
    /// The place in the item, such as `inputSchema.properties.city.type`; empty where the item as
    /// a whole is meant.
    pub path: String,
    /// What it was and what it is, in a sentence.
    pub text: String,
}

/// How two catalogues differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// By list, name and place.
    pub changes: Vec<Change>,
    /// What could not be compared, and why, a sentence each.
    pub unknown: Vec<String>,
    /// Changes beyond [`MAX_CHANGES`] of their class.
    pub left_out: usize,
}

impl Diff {
    /// The gravest class, [`Class::Unknown`] at least if something could not be compared; `None`
    /// if the two are the same.
    ///
    /// For exit codes: none, cosmetic and additive are 0; breaking and suspicious are 1, since
    /// both ask a person to look before clients do; unknown is 2.
    pub fn worst(&self) -> Option<Class> {
        let doubt = (!self.unknown.is_empty()).then_some(Class::Unknown);
        self.changes.iter().map(|change| change.class).max().max(doubt)
    }
}

/// Compares what the two versions offer.
pub fn diff(stable: &Catalogue, candidate: &Catalogue) -> Diff {
    let at = (List::Tools, String::new());
    let mut out = Out { diff: Diff::default(), at, found: Default::default(), work: MAX_WORK };
    out.compare(List::Tools, stable.tool_list(), candidate.tool_list());
    out.compare(List::Prompts, stable.prompt_list(), candidate.prompt_list());
    out.compare(List::Resources, stable.resource_list(), candidate.resource_list());
    out.compare(List::Templates, stable.template_list(), candidate.template_list());
    out.diff
}

/// The diff while it grows.
struct Out {
    diff: Diff,
    /// The item that is compared, its name as shown.
    at: (List, String),
    /// Changes of each class that were found.
    found: [usize; Class::ALL.len()],
    /// Steps that are left.
    work: usize,
}

impl Out {
    fn compare<T: Item>(&mut self, list: List, old: &Listed<T>, new: &Listed<T>) {
        let gaps = (old.gap(), new.gap());
        let mut missing = (0, 0);
        for (name, was) in &old.items {
            self.at = (list, shown(name, MAX_NAME));
            match new.items.get(name) {
                Some(is) => self.pair(name, was, is, (old, new)),
                None if gaps.1.is_none() => {
                    self.add(Class::Breaking, Mark::Removed, "", "is no longer there");
                }
                None => missing.1 += 1,
            }
        }
        for (name, is) in new.items.iter().filter(|(name, _)| !old.items.contains_key(*name)) {
            self.at = (list, shown(name, MAX_NAME));
            if gaps.0.is_none() {
                self.add(Class::Additive, Mark::Added, "", "is new");
            } else {
                missing.0 += 1;
            }
            self.hidden(&items::hidden(name, is).into_iter().collect::<Vec<_>>());
        }
        self.at = (list, String::new());
        let sides = [("stable", gaps.0, missing.0), ("candidate", gaps.1, missing.1)];
        for (side, gap, missing) in sides {
            let Some(why) = gap else { continue };
            let of_other = match missing {
                0 => String::new(),
                count => format!("; {count} of the other version's were not found in it"),
            };
            self.diff.unknown.push(format!("the {side} version's {list} list: {why}{of_other}"));
        }
        let empty = old.items.is_empty() && new.items.is_empty();
        match (&old.offered, &new.offered) {
            (Offered::Known, Offered::No) if empty => {
                let text = "was offered, with nothing in it, and is no longer";
                self.add(Class::Cosmetic, Mark::Removed, "", text);
            }
            (Offered::No, Offered::Known) if empty => {
                self.add(Class::Cosmetic, Mark::Added, "", "is offered now, with nothing in it");
            }
            _ => {}
        }
    }

    fn pair<T: Item>(&mut self, name: &str, was: &T, is: &T, lists: (&Listed<T>, &Listed<T>)) {
        if lists.1.twice.contains(name) && !lists.0.twice.contains(name) {
            let text = "is listed more than once now; the first one was compared";
            self.add(Class::Unknown, Mark::Changed, "", text);
        }
        if was == is {
            return;
        }
        let before = items::hidden(name, was);
        let new: Vec<char> = items::hidden(name, is).difference(&before).copied().collect();
        self.hidden(&new);
        was.compare(is, self);
    }

    /// Text that a model reads and a person does not see is how a description gives orders.
    fn hidden(&mut self, letters: &[char]) {
        if letters.is_empty() {
            return;
        }
        let some: Vec<_> =
            letters.iter().take(5).map(|letter| format!("U+{:04X}", u32::from(*letter))).collect();
        let more = if letters.len() > some.len() { " and more" } else { "" };
        let text = format!("has text with characters that nobody sees: {}{more}", some.join(", "));
        self.add(Class::Suspicious, Mark::Changed, "", &text);
    }

    /// `path` and `text` are fit to be shown.
    fn add(&mut self, class: Class, mark: Mark, path: &str, text: &str) {
        let found = &mut self.found[class as usize];
        *found += 1;
        if *found > MAX_CHANGES {
            self.diff.left_out += 1;
            return;
        }
        let (list, name) = self.at.clone();
        let (path, text) = (path.to_owned(), text.to_owned());
        self.diff.changes.push(Change { class, mark, list, name, path, text });
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut heading = None;
        for change in &self.changes {
            let own = (change.list, &change.name);
            if heading.replace(own) != Some(own) {
                match change.name.as_str() {
                    "" => writeln!(f, "{}", change.list)?,
                    name => writeln!(f, "{} {name}", change.list.noun())?,
                }
            }
            let mark = match (change.class, change.mark) {
                (Class::Suspicious | Class::Unknown, _) => '!',
                (_, Mark::Removed) => '-',
                (_, Mark::Added) => '+',
                (_, Mark::Changed) => '~',
            };
            let place = if change.path.is_empty() { "" } else { ": " };
            let (path, text) = (&change.path, &change.text);
            writeln!(f, "  {mark} {:<10}  {path}{place}{text}", change.class.as_str())?;
        }
        for why in &self.unknown {
            writeln!(f, "could not tell: {why}")?;
        }
        let counts: Vec<_> = Class::ALL
            .into_iter()
            .rev()
            .map(|class| (class, self.changes.iter().filter(|it| it.class == class).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(class, count)| format!("{count} {}", class.as_str()))
            .collect();
        match (counts.is_empty(), self.unknown.is_empty()) {
            (true, true) => f.write_str("no difference")?,
            (true, false) => f.write_str("no difference in what could be compared")?,
            (false, _) => f.write_str(&counts.join(", "))?,
        }
        match self.left_out {
            0 => Ok(()),
            more => write!(f, ", and {more} more that are not shown"),
        }
    }
}

#[cfg(test)]
mod tests;
