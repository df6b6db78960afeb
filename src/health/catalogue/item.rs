//! The items of the lists: what of each is kept and compared.
//!
//! Reading is lenient: a member of the wrong type counts as absent, since real clients differ in
//! what they refuse. Does not know: which change breaks whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::bounded::tree;

/// One tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::health) struct Tool {
    pub(in crate::health) title: Option<String>,
    pub(in crate::health) description: Option<String>,
    /// Null where there is none, against the specification.
    pub(in crate::health) input: Value,
    pub(in crate::health) output: Option<Value>,
    pub(in crate::health) hints: Hints,
    pub(in crate::health) tasks: TaskSupport,
}

/// What a tool says of its behaviour; absent hints have the defaults of S26 `ToolAnnotations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "four independent hints of the specification")]
pub(in crate::health) struct Hints {
    pub(in crate::health) read_only: bool,
    pub(in crate::health) destructive: bool,
    pub(in crate::health) idempotent: bool,
    pub(in crate::health) open_world: bool,
}

/// `execution.taskSupport` of S25-11-25; another word counts as absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::health) enum TaskSupport {
    #[default]
    Forbidden,
    Optional,
    Required,
}

/// One prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::health) struct Prompt {
    pub(in crate::health) title: Option<String>,
    pub(in crate::health) description: Option<String>,
    /// By name; of two with one name the first.
    pub(in crate::health) arguments: BTreeMap<String, Argument>,
}

/// An argument of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::health) struct Argument {
    pub(in crate::health) title: Option<String>,
    pub(in crate::health) description: Option<String>,
    pub(in crate::health) required: bool,
}

/// One resource or resource template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::health) struct Resource {
    pub(in crate::health) name: Option<String>,
    pub(in crate::health) title: Option<String>,
    pub(in crate::health) description: Option<String>,
    pub(in crate::health) mime_type: Option<String>,
}

impl Tool {
    pub(super) fn read(item: &Value) -> Tool {
        let hint = |name: &str, default| {
            let hints = item.get("annotations");
            hints.and_then(|hints| hints.get(name)).and_then(Value::as_bool).unwrap_or(default)
        };
        Tool {
            title: text(item, "title").or_else(|| text(item.get("annotations")?, "title")),
            description: text(item, "description"),
            input: item.get("inputSchema").cloned().unwrap_or_default(),
            output: item.get("outputSchema").filter(|schema| !schema.is_null()).cloned(),
            hints: Hints {
                read_only: hint("readOnlyHint", false),
                destructive: hint("destructiveHint", true),
                idempotent: hint("idempotentHint", false),
                open_world: hint("openWorldHint", true),
            },
            tasks: match item.pointer("/execution/taskSupport").and_then(Value::as_str) {
                Some("required") => TaskSupport::Required,
                Some("optional") => TaskSupport::Optional,
                _ => TaskSupport::Forbidden,
            },
        }
    }

    pub(super) fn bytes(&self) -> usize {
        length([&self.title, &self.description])
            + weight(&self.input)
            + self.output.as_ref().map_or(0, weight)
    }
}

impl TaskSupport {
    pub(in crate::health) const fn as_str(self) -> &'static str {
        match self {
            TaskSupport::Forbidden => "forbidden",
            TaskSupport::Optional => "optional",
            TaskSupport::Required => "required",
        }
    }
}

impl Prompt {
    pub(super) fn read(item: &Value) -> Prompt {
        let mut arguments = BTreeMap::new();
        for given in item.get("arguments").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = text(given, "name") else { continue };
            arguments.entry(name).or_insert_with(|| Argument {
                title: text(given, "title"),
                description: text(given, "description"),
                required: given.get("required").and_then(Value::as_bool).unwrap_or(false),
            });
        }
        Prompt { title: text(item, "title"), description: text(item, "description"), arguments }
    }

    pub(super) fn bytes(&self) -> usize {
        let argument = |(name, one): (&String, &Argument)| {
            size_of::<Argument>() + name.len() + length([&one.title, &one.description])
        };
        length([&self.title, &self.description])
            + self.arguments.iter().map(argument).sum::<usize>()
    }
}

impl Resource {
    pub(super) fn read(item: &Value) -> Resource {
        Resource {
            name: text(item, "name"),
            title: text(item, "title"),
            description: text(item, "description"),
            mime_type: text(item, "mimeType"),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        length([&self.name, &self.title, &self.description, &self.mime_type])
    }
}

fn text(item: &Value, key: &str) -> Option<String> {
    item.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn length<'a>(texts: impl IntoIterator<Item = &'a Option<String>>) -> usize {
    texts.into_iter().flatten().map(String::len).sum()
}

/// About the memory of a value: `[0,0]` takes sixteen times its text, so text is no measure.
fn weight(value: &Value) -> usize {
    let mut sum = 0;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        sum += size_of::<Value>();
        match value {
            Value::String(text) => sum += text.len(),
            Value::Array(values) => open.extend(values),
            Value::Object(members) => {
                sum += tree(members.len()) + members.keys().map(String::len).sum::<usize>();
                open.extend(members.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    sum
}
