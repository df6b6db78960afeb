//! Which tools the servers have listed, and the label of each in counts and metrics.
//!
//! Labels come only from lists that a server gave, one hundred at most, so no client can make up
//! a series. A label that was given is never taken back while the process lives: the series of a
//! name stays the series of that name. Does not know: where the lists come from.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::names::{Arm, PerArm};

/// Tools that have a label of their own.
pub const LABELS_MAX: usize = 100;
/// Bytes of a name that may become a label.
const NAME_MAX: usize = 128;

/// The label of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolLabel(u8);

impl ToolLabel {
    /// No tool is called.
    pub const NONE: ToolLabel = ToolLabel(u8::MAX);
    /// A tool without a label of its own.
    pub const OTHER: ToolLabel = ToolLabel(u8::MAX - 1);
}

/// What is known of one tool.
#[derive(Clone, Debug)]
struct Tool {
    label: ToolLabel,
    /// Which arm's list has it now.
    listed: PerArm<bool>,
}

/// The tools of both arms.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// Names by label.
    labels: Vec<Box<str>>,
    by_name: HashMap<Box<str>, Tool>,
    /// Whether an arm's list is known at all.
    known: PerArm<bool>,
}

impl Tools {
    /// The tools after new lists; `None` for an arm whose list is not known: nothing is said of
    /// what it lacks, and its labels stay.
    #[must_use]
    pub fn with(&self, lists: &PerArm<Option<Vec<String>>>) -> Tools {
        let mut next = self.clone();
        for arm in Arm::ALL {
            let names = lists.get(arm).as_deref();
            *next.known.get_mut(arm) = names.is_some();
            for tool in next.by_name.values_mut() {
                *tool.listed.get_mut(arm) = false;
            }
            for name in names.unwrap_or_default() {
                next.list(arm, name);
            }
        }
        let labels = next.labels.len();
        next.by_name.retain(|_, tool| {
            let is_listed = Arm::ALL.into_iter().any(|arm| *tool.listed.get(arm));
            is_listed || usize::from(tool.label.0) < labels
        });
        next
    }

    fn list(&mut self, arm: Arm, name: &str) {
        let tool = match self.by_name.entry(name.into()) {
            Entry::Occupied(tool) => tool.into_mut(),
            Entry::Vacant(place) => {
                // A name with an underscore in front could be taken for a word of ours.
                let fits = name.len() <= NAME_MAX && !name.is_empty() && !name.starts_with('_');
                let label = if fits && self.labels.len() < LABELS_MAX {
                    self.labels.push(name.into());
                    ToolLabel((self.labels.len() - 1) as u8)
                } else {
                    ToolLabel::OTHER
                };
                place.insert(Tool { label, listed: PerArm::default() })
            }
        };
        *tool.listed.get_mut(arm) = true;
    }

    /// The label of a tool that is called by this name.
    pub fn label(&self, name: &str) -> ToolLabel {
        self.by_name.get(name).map_or(ToolLabel::OTHER, |tool| tool.label)
    }

    /// The label with this text; `None` if no tool has it.
    pub fn known(&self, text: &str) -> Option<ToolLabel> {
        if text.is_empty() {
            return Some(ToolLabel::NONE);
        }
        let at = self.labels.iter().position(|label| **label == *text)?;
        Some(ToolLabel(u8::try_from(at).ok()?))
    }

    /// The text of a label.
    pub fn text(&self, label: ToolLabel) -> &str {
        match label {
            ToolLabel::NONE => "",
            ToolLabel(index) => self.labels.get(usize::from(index)).map_or("_other", |it| it),
        }
    }

    /// Whether the other arm lists this tool and this one does not, as far as both lists are known.
    pub fn is_only_on_other(&self, arm: Arm, name: &str) -> bool {
        self.known.primary
            && self.known.secondary
            && self
                .by_name
                .get(name)
                .is_some_and(|tool| !tool.listed.get(arm) && *tool.listed.get(arm.other()))
    }

    /// Tools that have a label of their own.
    pub fn labelled(&self) -> usize {
        self.labels.len()
    }

    /// Tools that are listed and have no label of their own.
    pub fn unlabelled(&self) -> usize {
        self.by_name.values().filter(|tool| tool.label == ToolLabel::OTHER).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(primary: &[&str], secondary: &[&str]) -> PerArm<Option<Vec<String>>> {
        let own = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        PerArm { primary: own(primary), secondary: own(secondary) }
    }

    #[test]
    fn a_label_stays_with_its_name() {
        let first = Tools::default().with(&lists(&["a", "b"], &["c"]));
        let label = first.label("b");
        let second = first.with(&lists(&["x"], &["y"]));
        assert_eq!(second.label("b"), label);
        assert_eq!(second.text(label), "b");
        assert_eq!(second.text(second.label("y")), "y");
        assert_eq!(second.text(second.label("made up")), "_other");
        assert_eq!(second.known("b"), Some(label));
        assert_eq!((second.known(""), second.known("made up")), (Some(ToolLabel::NONE), None));
        assert_eq!(second.text(ToolLabel::NONE), "");
    }

    #[test]
    fn only_a_hundred_have_one() {
        let names: Vec<_> = (0..300).map(|number| format!("tool{number}")).collect();
        let tools =
            Tools::default().with(&PerArm { primary: Some(names.clone()), secondary: None });
        assert_eq!(tools.label("tool100"), ToolLabel::OTHER);
        assert_eq!(tools.text(tools.label("tool99")), "tool99");
        assert_eq!((tools.labelled(), tools.unlabelled()), (100, 200));
        // What is listed no more and has no label is forgotten.
        let later = tools.with(&lists(&["another"], &[]));
        assert_eq!(later.unlabelled(), 1);
        for odd in ["_other", "", &"x".repeat(200)] {
            let tools = Tools::default().with(&lists(&[odd], &[]));
            assert_eq!(tools.label(odd), ToolLabel::OTHER);
        }
    }

    #[test]
    fn skew_needs_both_lists() {
        let one =
            Tools::default().with(&PerArm { primary: Some(vec!["a".into()]), secondary: None });
        assert!(!one.is_only_on_other(Arm::Secondary, "a"));
        let both = one.with(&lists(&["a", "c"], &["b", "c"]));
        assert!(Arm::ALL.iter().all(|arm| !both.is_only_on_other(*arm, "c")));
        assert!(both.is_only_on_other(Arm::Secondary, "a"));
        assert!(!both.is_only_on_other(Arm::Primary, "a"));
        assert!(!both.is_only_on_other(Arm::Primary, "nowhere"));
        // Nothing is held against an arm that has not told.
        let kept = both.with(&PerArm { primary: None, secondary: Some(vec!["a".into()]) });
        assert!(!kept.is_only_on_other(Arm::Primary, "a"));
        assert_eq!(kept.label("a"), both.label("a"));
    }
}
