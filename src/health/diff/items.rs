//! Tools, prompts and resources, compared member by member.
//!
//! Does not know: which items there are, how schemas are compared.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema::{self, Direction};
use super::{Class, Mark, Out, headers};
use crate::health::catalogue::{Argument, Prompt, Resource, TaskSupport, Tool};
use crate::mcp::shown::{is_hidden, shown};

/// Characters of a text that are shown of each side.
const MAX_TEXT: usize = 80;

/// What a list is made of.
pub(super) trait Item: PartialEq {
    /// Says how it differs.
    fn compare(&self, new: &Self, out: &mut Out);

    /// Its texts and the JSON in it.
    fn parts(&self) -> (Vec<&Option<String>>, Vec<&Value>);
}

impl Item for Tool {
    fn compare(&self, new: &Tool, out: &mut Out) {
        words(out, "title", self.title.as_ref(), new.title.as_ref());
        words(out, "description", self.description.as_ref(), new.description.as_ref());
        headers::compare(&self.input, &new.input, out);
        for fact in schema::compare(Direction::Input, &self.input, &new.input, &mut out.work) {
            out.add(fact.class, fact.mark, &fact.path, &fact.text);
        }
        match (&self.output, &new.output) {
            (Some(was), Some(is)) => {
                for fact in schema::compare(Direction::Output, was, is, &mut out.work) {
                    out.add(fact.class, fact.mark, &fact.path, &fact.text);
                }
            }
            (Some(_), None) => {
                let text = "was promised and is no longer";
                out.add(Class::Breaking, Mark::Removed, "outputSchema", text);
            }
            (None, Some(_)) => out.add(Class::Additive, Mark::Added, "outputSchema", "is new"),
            (None, None) => {}
        }
        self.hints(new, out);
        if self.tasks != new.tasks {
            // The client chooses, and only `optional` lets it choose either.
            let class = match new.tasks {
                TaskSupport::Optional => Class::Additive,
                TaskSupport::Required | TaskSupport::Forbidden => Class::Breaking,
            };
            let text = format!("was {}, is {}", self.tasks.as_str(), new.tasks.as_str());
            out.add(class, Mark::Changed, "execution.taskSupport", &text);
        }
    }

    fn parts(&self) -> (Vec<&Option<String>>, Vec<&Value>) {
        let schemas = std::iter::once(&self.input).chain(&self.output).collect();
        (vec![&self.title, &self.description], schemas)
    }
}

impl Tool {
    /// Clients run read-only tools without asking, so less safety deserves an eye; the other
    /// hints are words. `destructiveHint` means something only where the tool is not read-only
    /// (S26 `ToolAnnotations`).
    fn hints(&self, new: &Tool, out: &mut Out) {
        let (was, is) = (self.hints, new.hints);
        for (name, was, is, turned) in [
            ("readOnlyHint", was.read_only, is.read_only, was.read_only),
            ("destructiveHint", was.destructive, is.destructive, is.destructive && !is.read_only),
            ("idempotentHint", was.idempotent, is.idempotent, false),
            ("openWorldHint", was.open_world, is.open_world, false),
        ] {
            if was != is {
                let class = if turned { Class::Suspicious } else { Class::Cosmetic };
                let path = format!("annotations.{name}");
                out.add(class, Mark::Changed, &path, &format!("was {was}, is {is}"));
            }
        }
    }
}

impl Item for Prompt {
    fn compare(&self, new: &Prompt, out: &mut Out) {
        words(out, "title", self.title.as_ref(), new.title.as_ref());
        words(out, "description", self.description.as_ref(), new.description.as_ref());
        for (name, was) in &self.arguments {
            let path = argument_path(name);
            if let Some(is) = new.arguments.get(name) {
                argument(was, is, &path, out);
            } else {
                let text = "argument removed; whether calls that give it are refused or it is \
                            ignored is up to the server";
                out.add(Class::Unknown, Mark::Removed, &path, text);
            }
        }
        for (name, is) in &new.arguments {
            if self.arguments.contains_key(name) {
                continue;
            }
            let (class, text) = if is.required {
                (Class::Breaking, "required argument added")
            } else {
                (Class::Additive, "optional argument added")
            };
            out.add(class, Mark::Added, &argument_path(name), text);
        }
    }

    fn parts(&self) -> (Vec<&Option<String>>, Vec<&Value>) {
        let each = self.arguments.values().flat_map(|one| [&one.title, &one.description]);
        ([&self.title, &self.description].into_iter().chain(each).collect(), Vec::new())
    }
}

fn argument_path(name: &str) -> String {
    format!("arguments{}", schema::segment(name))
}

fn argument(was: &Argument, is: &Argument, path: &str, out: &mut Out) {
    words(out, &format!("{path}.title"), was.title.as_ref(), is.title.as_ref());
    let described = format!("{path}.description");
    words(out, &described, was.description.as_ref(), is.description.as_ref());
    match (was.required, is.required) {
        (false, true) => out.add(Class::Breaking, Mark::Changed, path, "is now required"),
        (true, false) => out.add(Class::Additive, Mark::Changed, path, "is no longer required"),
        _ => {}
    }
}

impl Item for Resource {
    fn compare(&self, new: &Resource, out: &mut Out) {
        words(out, "name", self.name.as_ref(), new.name.as_ref());
        words(out, "title", self.title.as_ref(), new.title.as_ref());
        words(out, "description", self.description.as_ref(), new.description.as_ref());
        let (was, is) = (&self.mime_type, &new.mime_type);
        if was != is {
            // What comes is promised to the reader, as an output schema is.
            let class = if was.is_none() { Class::Additive } else { Class::Breaking };
            out.add(class, Mark::Changed, "mimeType", &was_is(was.as_ref(), is.as_ref()));
        }
    }

    fn parts(&self) -> (Vec<&Option<String>>, Vec<&Value>) {
        (vec![&self.name, &self.title, &self.description, &self.mime_type], Vec::new())
    }
}

/// A text for people.
fn words(out: &mut Out, path: &str, was: Option<&String>, is: Option<&String>) {
    if was != is {
        out.add(Class::Cosmetic, Mark::Changed, path, &was_is(was, is));
    }
}

fn was_is(was: Option<&String>, is: Option<&String>) -> String {
    match (was, is) {
        (Some(was), Some(is)) => {
            let (was, is) = from_difference(was, is);
            format!("was \"{was}\", is \"{is}\"")
        }
        (Some(was), None) => format!("was \"{}\", is gone", shown(was, MAX_TEXT)),
        (None, Some(is)) => format!("is new: \"{}\"", shown(is, MAX_TEXT)),
        (None, None) => "is the same".to_owned(),
    }
}

/// Both texts, begun some words before they part if that is far inside.
pub(super) fn from_difference(was: &str, is: &str) -> (String, String) {
    let alike = was.chars().zip(is.chars()).take_while(|(one, other)| one == other).count();
    let skip = if alike > MAX_TEXT / 2 { alike - MAX_TEXT / 4 } else { 0 };
    let begin = if skip > 0 { "…" } else { "" };
    let cut = |text: &str| {
        let at = text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at);
        format!("{begin}{}", shown(&text[at..], MAX_TEXT))
    };
    (cut(was), cut(is))
}

/// The characters in an item that nobody sees.
pub(super) fn hidden(name: &str, item: &impl Item) -> BTreeSet<char> {
    let mut found = BTreeSet::new();
    let mut see = |text: &str| {
        let mut before = ' ';
        for letter in text.chars() {
            // Joiners make one emoji of several and belong to Persian and Indian writing.
            let joins = matches!(letter, '\u{200c}' | '\u{200d}') && !before.is_ascii();
            if is_hidden(letter) && !joins {
                found.insert(letter);
            }
            before = letter;
        }
    };
    let (texts, values) = item.parts();
    see(name);
    texts.into_iter().flatten().for_each(|text| see(text));
    let mut open = values;
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => see(text),
            Value::Array(values) => open.extend(values),
            Value::Object(members) => {
                members.keys().for_each(|key| see(key));
                open.extend(members.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    found
}
