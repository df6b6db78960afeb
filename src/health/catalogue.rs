//! What one endpoint offers: tools, prompts, resources and templates, gathered page by page.
//!
//! Only what two versions are compared by is kept: no icons, no `_meta`, no sizes or dates. A list
//! that could not be read is not an empty list, so each list remembers how it was come by.
//! Does not know: how pages are fetched, which arm they came from.

mod item;

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use item::{Argument, Prompt, Resource, TaskSupport, Tool};

use crate::mcp::shown::shown;
use crate::names::fingerprint;

/// Items of all lists together. The largest public servers list some hundred tools; a server that
/// lists every file as a resource is cut here.
pub const MAX_ITEMS: usize = 10_000;

/// Bytes of all items as they lie in memory, about. Parsed schemas take some twelve times their
/// text, so this is 500 tools with 5 KiB of schema each, several times what a model can be given.
pub const MAX_BYTES: usize = 32 << 20;

/// Characters of a reason that are kept.
const MAX_WHY: usize = 200;

/// One of the lists that a server may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum List {
    /// What a model can call.
    Tools,
    /// Templates of messages.
    Prompts,
    /// What can be read.
    Resources,
    /// Patterns of what can be read.
    #[serde(rename = "resourceTemplates")]
    Templates,
}

impl List {
    /// All of them, in the order in which people are shown them.
    pub const ALL: [List; 4] = [List::Tools, List::Prompts, List::Resources, List::Templates];

    /// The method that asks for it.
    pub const fn method(self) -> &'static str {
        match self {
            List::Tools => "tools/list",
            List::Prompts => "prompts/list",
            List::Resources => "resources/list",
            List::Templates => "resources/templates/list",
        }
    }

    /// Where the items are in the result.
    pub const fn key(self) -> &'static str {
        match self {
            List::Tools => "tools",
            List::Prompts => "prompts",
            List::Resources => "resources",
            List::Templates => "resourceTemplates",
        }
    }

    /// One of its items, for messages.
    pub const fn noun(self) -> &'static str {
        match self {
            List::Tools => "tool",
            List::Prompts => "prompt",
            List::Resources => "resource",
            List::Templates => "resource template",
        }
    }

    /// The member by which clients name an item.
    const fn id(self) -> &'static str {
        match self {
            List::Tools | List::Prompts => "name",
            List::Resources => "uri",
            List::Templates => "uriTemplate",
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.noun())
    }
}

/// How a list was come by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offered {
    /// Nobody asked yet.
    #[default]
    Unasked,
    /// The server has no such capability.
    No,
    /// Some pages were read, the last one was not.
    Part,
    /// Read to the last page.
    Known,
    /// It could not be read to its end; why, in a sentence.
    Failed(String),
}

/// Why an answer is no page of a list, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPage(String);

/// What one endpoint offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    tools: Listed<Tool>,
    prompts: Listed<Prompt>,
    resources: Listed<Resource>,
    templates: Listed<Resource>,
    /// Of all items, as [`MAX_BYTES`] counts.
    bytes: usize,
}

/// The items of one list, by the name that clients use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed<T> {
    pub(super) offered: Offered,
    pub(super) items: BTreeMap<String, T>,
    /// Names that came more than once; the first item counts.
    pub(super) twice: BTreeSet<String>,
    /// Whether items are missing because of the caps.
    pub(super) truncated: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        let (items, twice) = (BTreeMap::new(), BTreeSet::new());
        Listed { offered: Offered::Unasked, items, twice, truncated: false }
    }
}

impl<T: Clone> Listed<T> {
    fn keep(&mut self, older: &Listed<T>) {
        if !self.is_read() && older.is_read() {
            self.clone_from(older);
        }
    }
}

impl<T> Listed<T> {
    /// Whether the server said all of it.
    fn is_read(&self) -> bool {
        matches!(self.offered, Offered::No | Offered::Known)
    }

    /// Why an item may exist that is not here; `None` when all are here.
    pub(super) fn gap(&self) -> Option<String> {
        match &self.offered {
            Offered::Unasked => Some("it was not asked for".to_owned()),
            Offered::Part => Some("its last page was not read".to_owned()),
            Offered::Failed(why) => Some(why.clone()),
            Offered::No | Offered::Known if self.truncated => {
                Some(format!("it is longer than {MAX_ITEMS} items or {} MiB", MAX_BYTES >> 20))
            }
            Offered::No | Offered::Known => None,
        }
    }
}

impl Catalogue {
    /// Tells two catalogues apart in records.
    pub fn fingerprint(&self) -> String {
        fingerprint(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Adds a page, the `result` of the list's method, and gives the cursor of the next one.
    ///
    /// The last page has no `nextCursor`, or null, as some servers write it; an empty string is
    /// a cursor (S26 server/utilities/pagination). Of two items with one name the first counts.
    ///
    /// # Errors
    /// When it is no such page; nothing of it is kept then.
    pub fn add(&mut self, list: List, result: &Value) -> Result<Option<String>, BadPage> {
        let bad = |what: &str| BadPage(format!("the answer to {} {what}", list.method()));
        let page = result.as_object().ok_or_else(|| bad("is no object"))?;
        let items = page
            .get(list.key())
            .and_then(Value::as_array)
            .ok_or_else(|| bad(&format!("has no array `{}`", list.key())))?;
        let cursor = match page.get("nextCursor") {
            None | Some(Value::Null) => None,
            Some(Value::String(cursor)) => Some(cursor.clone()),
            Some(_) => return Err(bad("has a `nextCursor` that is no string")),
        };
        let mut named = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let name = item.get(list.id()).and_then(Value::as_str).ok_or_else(|| {
                let (key, id) = (list.key(), list.id());
                bad(&format!("has a `{key}[{place}]` without a string `{id}`"))
            })?;
            named.push((name, item));
        }
        let mut room = Room {
            items: MAX_ITEMS.saturating_sub(self.len()),
            bytes: MAX_BYTES.saturating_sub(self.bytes),
        };
        match list {
            List::Tools => self.tools.take(&named, &mut room, Tool::read, Tool::bytes),
            List::Prompts => self.prompts.take(&named, &mut room, Prompt::read, Prompt::bytes),
            List::Resources => {
                self.resources.take(&named, &mut room, Resource::read, Resource::bytes);
            }
            List::Templates => {
                self.templates.take(&named, &mut room, Resource::read, Resource::bytes);
            }
        }
        self.bytes = MAX_BYTES - room.bytes;
        let offered = if cursor.is_some() { Offered::Part } else { Offered::Known };
        self.set(list, offered);
        Ok(cursor)
    }

    /// Keeps of an older catalogue the lists that could not be read to their end this time.
    pub(super) fn keep(&mut self, older: &Catalogue) {
        self.tools.keep(&older.tools);
        self.prompts.keep(&older.prompts);
        self.resources.keep(&older.resources);
        self.templates.keep(&older.templates);
    }

    /// Notes that the server has no such capability.
    pub fn not_offered(&mut self, list: List) {
        self.set(list, Offered::No);
    }

    /// Notes that the list could not be read to its end, and why, in a sentence.
    pub fn failed(&mut self, list: List, why: &str) {
        self.set(list, Offered::Failed(shown(why, MAX_WHY)));
    }

    /// How a list was come by.
    pub fn offered(&self, list: List) -> &Offered {
        match list {
            List::Tools => &self.tools.offered,
            List::Prompts => &self.prompts.offered,
            List::Resources => &self.resources.offered,
            List::Templates => &self.templates.offered,
        }
    }

    /// Whether items are missing because the list is over the caps.
    pub fn truncated(&self, list: List) -> bool {
        match list {
            List::Tools => self.tools.truncated,
            List::Prompts => self.prompts.truncated,
            List::Resources => self.resources.truncated,
            List::Templates => self.templates.truncated,
        }
    }

    /// Items of a list, each name once.
    pub fn count(&self, list: List) -> usize {
        match list {
            List::Tools => self.tools.items.len(),
            List::Prompts => self.prompts.items.len(),
            List::Resources => self.resources.items.len(),
            List::Templates => self.templates.items.len(),
        }
    }

    /// The names of the tools, as the server wrote them, sorted.
    pub fn tools(&self) -> impl Iterator<Item = &str> {
        self.tools.items.keys().map(String::as_str)
    }

    /// Whether it is known which tools there are.
    pub fn knows_tools(&self) -> bool {
        self.tools.is_read()
    }

    /// Whether there is a tool of that name.
    pub fn lists(&self, tool: &str) -> bool {
        self.tools.items.contains_key(tool)
    }

    /// The tools, for comparison.
    pub(super) fn tool_list(&self) -> &Listed<Tool> {
        &self.tools
    }

    /// The prompts, for comparison.
    pub(super) fn prompt_list(&self) -> &Listed<Prompt> {
        &self.prompts
    }

    /// The resources, for comparison.
    pub(super) fn resource_list(&self) -> &Listed<Resource> {
        &self.resources
    }

    /// The resource templates, for comparison.
    pub(super) fn template_list(&self) -> &Listed<Resource> {
        &self.templates
    }

    fn len(&self) -> usize {
        List::ALL.into_iter().map(|list| self.count(list)).sum()
    }

    fn set(&mut self, list: List, offered: Offered) {
        match list {
            List::Tools => self.tools.offered = offered,
            List::Prompts => self.prompts.offered = offered,
            List::Resources => self.resources.offered = offered,
            List::Templates => self.templates.offered = offered,
        }
    }
}

/// What still fits under the caps.
struct Room {
    items: usize,
    bytes: usize,
}

impl<T> Listed<T> {
    /// Takes what fits; an item that does not marks the list, and smaller ones after it are still
    /// taken, since each that is there can be compared.
    fn take(
        &mut self,
        named: &[(&str, &Value)],
        room: &mut Room,
        read: impl Fn(&Value) -> T,
        bytes: impl Fn(&T) -> usize,
    ) {
        for (name, item) in named {
            match self.items.entry((*name).to_owned()) {
                Entry::Occupied(entry) => {
                    self.twice.insert(entry.key().clone());
                }
                Entry::Vacant(entry) => {
                    let item = read(item);
                    // The name may be kept a second time, in `twice`.
                    let bytes = bytes(&item) + size_of::<T>() + 2 * name.len();
                    if room.items == 0 || bytes > room.bytes {
                        self.truncated = true;
                        continue;
                    }
                    room.items -= 1;
                    room.bytes -= bytes;
                    entry.insert(item);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
