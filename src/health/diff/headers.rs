//! `x-mcp-header`: which arguments of a tool a client repeats as `Mcp-Param-*` headers.
//!
//! A client works from the list that it has cached; the other version refuses a header that is
//! missing or different with -32020. The place and the rules are those of S26
//! basic/transports/streamable-http: a member of a property's schema that is reached from the root
//! by `properties` alone. Does not know: how else the schemas differ.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema::{MAX_PATH, segment};
use super::{Class, Mark, Out};
use crate::mcp::shown::{json, shown};

const KEY: &str = "x-mcp-header";

/// Characters of a header's name that are shown.
const MAX_NAME: usize = 60;

const MISMATCH: &str = "calls made from the other list may be refused with -32020";

/// Says how the annotations of two input schemas differ.
pub(super) fn compare(old: &Value, new: &Value, out: &mut Out) {
    match (fault(old), fault(new)) {
        (None, Some(fault)) => {
            let text = format!("clients of 2026-07-28 leave the tool out now, since {fault}");
            out.add(Class::Breaking, Mark::Changed, "inputSchema", &text);
        }
        (Some(_), None) => {
            let text = "clients of 2026-07-28 left the tool out and take it now";
            out.add(Class::Additive, Mark::Changed, "inputSchema", text);
        }
        // Such clients have the tool neither before nor after.
        (Some(_), Some(_)) => {}
        (None, None) => properties(old, new, out),
    }
}

/// Goes down the properties of both schemas.
fn properties(old: &Value, new: &Value, out: &mut Out) {
    let mut open = vec![("inputSchema".to_owned(), old, Some(new))];
    while let Some((path, old, new)) = open.pop() {
        let header = |schema: &Value| schema.get(KEY).and_then(Value::as_str).map(str::to_owned);
        let change = match (header(old), new.and_then(header)) {
            (Some(was), Some(is)) if !was.eq_ignore_ascii_case(&is) => {
                let (was, is) = (shown(&was, MAX_NAME), shown(&is, MAX_NAME));
                Some((Mark::Changed, format!("was {was}, is {is}")))
            }
            (Some(was), None) => {
                Some((Mark::Removed, format!("{} is gone", shown(&was, MAX_NAME))))
            }
            (None, Some(is)) => Some((Mark::Added, format!("{} is new", shown(&is, MAX_NAME)))),
            _ => None,
        };
        if let Some((mark, text)) = change {
            let text = format!("{text}; {MISMATCH}");
            out.add(Class::Breaking, mark, &format!("{path}.{KEY}"), &text);
        }
        // What only the candidate has is in no argument that a client of the other list sends.
        let members = old.get("properties").and_then(Value::as_object);
        for (name, old) in members.into_iter().flatten().rev() {
            let more = path.len() < MAX_PATH;
            let end = if more { format!(".properties{}", segment(name)) } else { String::new() };
            let new = new.and_then(|new| new.get("properties")?.get(name));
            open.push((format!("{path}{end}"), old, new));
        }
    }
}

/// What a client refuses the whole tool for, if anything.
fn fault(schema: &Value) -> Option<String> {
    let mut taken = BTreeSet::new();
    // Each schema, whether only `properties` lead to it, and whether it is a property at all.
    let mut open = vec![(schema, true, false)];
    while let Some((schema, reached, property)) = open.pop() {
        for (key, value) in schema.as_object().into_iter().flatten() {
            match key.as_str() {
                KEY if !property => {
                    return Some(format!("an `{KEY}` is elsewhere than at a reachable property"));
                }
                KEY => {
                    if let Some(fault) = name_fault(value, schema.get("type"), &mut taken) {
                        return Some(fault);
                    }
                }
                "properties" => {
                    let each = value.as_object().into_iter().flat_map(|each| each.values());
                    open.extend(each.map(|value| (value, reached, reached)));
                }
                _ => open.extend(inner(key, value).into_iter().map(|value| (value, false, false))),
            }
        }
    }
    None
}

/// The schemas that a keyword holds, but for what is on the chain of properties.
fn inner<'a>(key: &str, value: &'a Value) -> Vec<&'a Value> {
    match key {
        "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "items"
        | "additionalItems"
        | "unevaluatedItems"
        | "contains"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contentSchema"
        | "prefixItems"
        | "anyOf"
        | "oneOf"
        | "allOf" => value.as_array().map_or_else(|| vec![value], |each| each.iter().collect()),
        "patternProperties" | "dependentSchemas" | "$defs" | "definitions" => {
            value.as_object().into_iter().flat_map(|each| each.values()).collect()
        }
        _ => Vec::new(),
    }
}

/// What is wrong with one annotation, if anything.
fn name_fault(value: &Value, kind: Option<&Value>, taken: &mut BTreeSet<String>) -> Option<String> {
    let quoted = json(value, MAX_NAME);
    let Some(name) = value.as_str() else {
        return Some(format!("the `{KEY}` {quoted} is no string"));
    };
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Some(format!("the `{KEY}` {quoted} is no header name"));
    }
    if !taken.insert(name.to_ascii_lowercase()) {
        return Some(format!("the `{KEY}` {quoted} is there twice"));
    }
    // What the specification leaves open, such as several types, is not held against anybody.
    match kind.and_then(Value::as_str) {
        Some(kind @ ("number" | "object" | "array" | "null")) => {
            Some(format!("the `{KEY}` {quoted} is at a {kind}"))
        }
        _ => None,
    }
}
