//! The keywords that are compared: values, bounds, texts, elements, members.
//!
//! Does not know: references and alternatives.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::node::{Node, Types, resolve};
use super::{Class, Direction, Effect, MAX_VALUE, Mark, Walk, segment, was_is};
use crate::mcp::shown::json;

/// What a property without a schema of its own follows.
static ANYTHING: Value = Value::Bool(true);

/// Values that are named in one sentence.
const MAX_NAMED: usize = 5;

/// The largest whole number that every JSON reader keeps exact (RFC 8259 section 6). Newer
/// generators write it as the bound of every integer, which forbids nothing in practice.
const EXACT: f64 = 9_007_199_254_740_991.0;

/// Keywords that are only held against each other, since their sense depends on others.
pub(super) const OPAQUE: [&str; 24] = [
    "$dynamicRef",
    "$recursiveRef",
    "$ref",
    "additionalItems",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "discriminator",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "nullable",
    "oneOf",
    "patternProperties",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

impl<'a> Walk<'a> {
    /// `enum` and `const`.
    pub(super) fn values(&mut self, old: &Node<'a>, new: &Node<'a>) {
        let (effect, text) = match (&old.values, &new.values) {
            (None, None) => return,
            (None, Some(is)) => (Effect::Fewer, format!("only {} now", named(is.values()))),
            (Some(was), None) => (Effect::More, format!("no longer only {}", named(was.values()))),
            (Some(was), Some(is)) => {
                let lost = || was.iter().filter(|(key, _)| !is.contains_key(*key)).map(|it| it.1);
                let gained = || is.iter().filter(|(key, _)| !was.contains_key(*key)).map(|it| it.1);
                match (lost().next().is_some(), gained().next().is_some()) {
                    (false, false) => return,
                    (true, false) => (Effect::Fewer, format!("no longer {}", named(lost()))),
                    (false, true) => (Effect::More, format!("also {} now", named(gained()))),
                    (true, true) => {
                        let (lost, gained) = (named(lost()), named(gained()));
                        (Effect::Other, format!("no longer {lost}, but {gained}"))
                    }
                }
            }
        };
        let constant = [old, new].iter().any(|node| node.map.contains_key("const"));
        let word = if constant { ".const" } else { ".enum" };
        self.say(effect, word, text);
    }

    /// The lowest and highest of everything that is counted.
    pub(super) fn bounds(&mut self, old: &Node<'a>, new: &Node<'a>, both: Types) {
        for (types, low, high) in [
            (Types::STRING, "minLength", "maxLength"),
            (Types::ARRAY, "minItems", "maxItems"),
            (Types::OBJECT, "minProperties", "maxProperties"),
        ] {
            if both.has(types) {
                let count = |node: &Node<'a>, key| node.map.get(key).and_then(Value::as_f64);
                let least = |node| count(node, low).filter(|least| *least > 0.0);
                self.bound(low, least(old), least(new), 1.0);
                self.bound(high, count(old, high), count(new, high), -1.0);
            }
        }
        if both.has(Types::NUMBER) {
            let wide = |bound: &f64| bound.abs() < EXACT;
            let read =
                |node: &Node<'a>, key| node.map.get(key).and_then(Value::as_f64).filter(wide);
            for (key, sign) in [
                ("minimum", 1.0),
                ("exclusiveMinimum", 1.0),
                ("maximum", -1.0),
                ("exclusiveMaximum", -1.0),
            ] {
                self.bound(key, read(old, key), read(new, key), sign);
            }
            self.multiples(old, new);
        }
    }

    /// A bound that forbids more the higher it is, or with a negative sign the lower.
    fn bound(&mut self, key: &str, was: Option<f64>, is: Option<f64>, sign: f64) {
        let place = format!(".{key}");
        match (was, is) {
            (None, Some(is)) => self.say(Effect::Fewer, &place, format!("{is} is new")),
            (Some(was), None) => self.say(Effect::More, &place, format!("{was} is gone")),
            (Some(was), Some(is)) if (is - was) * sign > 0.0 => {
                self.say(Effect::Fewer, &place, format!("was {was}, is {is}"));
            }
            (Some(was), Some(is)) if (is - was) * sign < 0.0 => {
                self.say(Effect::More, &place, format!("was {was}, is {is}"));
            }
            _ => {}
        }
    }

    fn multiples(&mut self, old: &Node<'a>, new: &Node<'a>) {
        let read = |node: &Node<'a>| {
            node.map.get("multipleOf").and_then(Value::as_f64).filter(|step| *step > 0.0)
        };
        let (effect, text) = match (read(old), read(new)) {
            (None, Some(is)) => (Effect::Fewer, format!("{is} is new")),
            (Some(was), None) => (Effect::More, format!("{was} is gone")),
            (Some(was), Some(is)) if was.to_bits() != is.to_bits() => {
                let effect = match (is % was == 0.0, was % is == 0.0) {
                    (true, _) => Effect::Fewer,
                    (_, true) => Effect::More,
                    _ => Effect::Other,
                };
                (effect, format!("was {was}, is {is}"))
            }
            _ => return,
        };
        self.say(effect, ".multipleOf", text);
    }

    /// What a string must look like, and how wide a number is.
    pub(super) fn texts(&mut self, old: &Node<'a>, new: &Node<'a>, both: Types) {
        let keys: &[&str] = match both {
            _ if both.has(Types::STRING) => {
                &["contentEncoding", "contentMediaType", "format", "pattern"]
            }
            _ if both.has(Types::NUMBER) => &["format"],
            _ => &[],
        };
        for key in keys {
            let (was, is) = (old.map.get(*key), new.map.get(*key));
            if was == is {
                continue;
            }
            let (place, text) = (format!(".{key}"), was_is(was, is));
            match (was.is_some(), is.is_some()) {
                // Which of two patterns or widths takes more is not found out.
                (true, true) if *key == "pattern" || !both.has(Types::STRING) => {
                    self.doubt(&place, &text);
                }
                (true, true) => self.say(Effect::Other, &place, text),
                // `int64` and its like only tell the language that a server is written in.
                _ if !both.has(Types::STRING) => {
                    self.push(Class::Cosmetic, Mark::Changed, &place, text);
                }
                (false, _) => self.say(Effect::Fewer, &place, text),
                (_, false) => self.say(Effect::More, &place, text),
            }
        }
    }

    /// The elements of an array.
    pub(super) fn elements(&mut self, old: &Node<'a>, new: &Node<'a>) {
        let unique = |node: &Node<'a>| node.map.get("uniqueItems") == Some(&ANYTHING);
        match (unique(old), unique(new)) {
            (false, true) => self.say(Effect::Fewer, ".uniqueItems", "is new".to_owned()),
            (true, false) => self.say(Effect::More, ".uniqueItems", "is gone".to_owned()),
            _ => {}
        }
        let first = |node: &Node<'a>| node.map.get("prefixItems");
        let all = |node: &Node<'a>| node.map.get("items").unwrap_or(&ANYTHING);
        let ((first_old, first_new), (old, new)) = ((first(old), first(new)), (all(old), all(new)));
        match (first_old.and_then(Value::as_array), first_new.and_then(Value::as_array)) {
            (Some(was), Some(is)) if was.len() == is.len() => {
                for (place, (was, is)) in was.iter().zip(is).enumerate() {
                    self.within(format!(".prefixItems[{place}]"), |walk| walk.compare(was, is));
                }
            }
            _ if first_old != first_new => self.doubt(".prefixItems", "changed"),
            _ => {}
        }
        // Up to draft 7 a list there was what `prefixItems` is now.
        if old.is_array() || new.is_array() {
            if old != new {
                self.doubt(".items", "changed");
            }
        } else {
            self.within(".items".to_owned(), |walk| walk.compare(old, new));
        }
    }

    /// The members of an object.
    pub(super) fn members(&mut self, old: &Node<'a>, new: &Node<'a>) {
        let (was, is) = (Members::read(old.map), Members::read(new.map));
        for (name, schema) in was.properties.into_iter().flatten() {
            let path = format!(".properties{}", segment(name));
            match is.properties.and_then(|all| all.get(name)) {
                Some(new) => self.within(path, |walk| walk.compare(schema, new)),
                None => self.gone(&path, schema, was.required.contains(name.as_str()), &is),
            }
        }
        let known = |name: &str| was.properties.is_some_and(|all| all.contains_key(name));
        for (name, schema) in is.properties.into_iter().flatten() {
            if !known(name) {
                let path = format!(".properties{}", segment(name));
                self.come(&path, schema, is.required.contains(name.as_str()), &was);
            }
        }
        // What came or went as a whole was told above.
        let told =
            |name: &str| known(name) != is.properties.is_some_and(|all| all.contains_key(name));
        for name in is.required.difference(&was.required).filter(|name| !told(name)) {
            let place = format!(".properties{}", segment(name));
            self.say(Effect::Fewer, &place, "is now required".to_owned());
        }
        for name in was.required.difference(&is.required).filter(|name| !told(name)) {
            let place = format!(".properties{}", segment(name));
            self.say(Effect::More, &place, "is no longer required".to_owned());
        }
        match (was.others == &Value::Bool(false), is.others == &Value::Bool(false)) {
            (true, true) => {}
            (false, true) => {
                let text = "others than those named are no longer allowed".to_owned();
                self.say(Effect::Fewer, ".additionalProperties", text);
            }
            (true, false) => {
                let text = "others than those named are allowed now".to_owned();
                self.say(Effect::More, ".additionalProperties", text);
            }
            (false, false) => {
                let (was, is) = (was.others, is.others);
                self.within(".additionalProperties".to_owned(), |walk| walk.compare(was, is));
            }
        }
    }

    /// A property that only the new schema has.
    fn come(&mut self, place: &str, schema: &'a Value, required: bool, old: &Members<'a>) {
        let class = match (self.direction, required) {
            (Direction::Input, true) => Class::Breaking,
            _ if old.patterns => Class::Unknown,
            // A reader that checks against the schema it has refuses what that forbids.
            (Direction::Output, _) if old.others == &Value::Bool(false) => Class::Breaking,
            _ => Class::Additive,
        };
        let need = if required { "required" } else { "optional" };
        let text = format!("{need} {} added", self.noun());
        self.push(class, Mark::Added, place, text);
        if old.others.as_object().is_some_and(|map| !map.is_empty()) {
            self.within(place.to_owned(), |walk| walk.compare(old.others, schema));
        }
    }

    /// A property that only the old schema has.
    fn gone(&mut self, place: &str, schema: &'a Value, required: bool, new: &Members<'a>) {
        let noun = self.noun();
        let closed = new.others == &Value::Bool(false) && !new.patterns;
        let (class, text) = match (self.direction, required, closed) {
            (Direction::Input, _, true) => {
                (Class::Breaking, format!("{noun} removed; calls that give it are refused"))
            }
            (Direction::Input, _, false) => {
                let text = "calls that give it are taken, perhaps without heed to it";
                (Class::Unknown, format!("{noun} removed; {text}"))
            }
            (Direction::Output, true, _) => {
                (Class::Breaking, format!("{noun} removed that was always there"))
            }
            (Direction::Output, false, _) => {
                let text = "a reader had to do without it, but perhaps never did";
                (Class::Unknown, format!("optional {noun} removed; {text}"))
            }
        };
        self.push(class, Mark::Removed, place, text);
        if new.others.as_object().is_some_and(|map| !map.is_empty()) {
            self.within(place.to_owned(), |walk| walk.compare(schema, new.others));
        }
    }

    fn noun(&self) -> &'static str {
        if self.depth == 1 { self.direction.noun() } else { "property" }
    }

    /// Keywords whose sense is not followed: fine while they say the same.
    pub(super) fn opaque(&mut self, old: &Node<'a>, new: &Node<'a>) {
        for key in OPAQUE {
            let same = match (old.map.get(key), new.map.get(key)) {
                (None, None) => true,
                (Some(was), Some(is)) => self.same(|walk| walk.held(key, was, is)),
                _ => false,
            };
            if !same {
                self.doubt(&format!(".{key}"), &was_is(old.map.get(key), new.map.get(key)));
            }
        }
    }

    /// The schemas in a keyword, one by one; what it refers to may differ though it reads the same.
    fn held(&mut self, key: &str, old: &'a Value, new: &'a Value) {
        match (key, old, new) {
            ("$ref", ..) => match (resolve(self.roots.0, old), resolve(self.roots.1, new)) {
                (Some(old), Some(new)) => self.compare(old, new),
                _ => self.equal(old, new),
            },
            ("allOf" | "anyOf" | "oneOf", Value::Array(old), Value::Array(new))
                if old.len() == new.len() =>
            {
                old.iter().zip(new).for_each(|(old, new)| self.compare(old, new));
            }
            ("patternProperties" | "dependentSchemas", Value::Object(old), Value::Object(new))
                if old.keys().eq(new.keys()) =>
            {
                old.values().zip(new.values()).for_each(|(old, new)| self.compare(old, new));
            }
            (
                "additionalItems"
                | "contains"
                | "else"
                | "if"
                | "not"
                | "propertyNames"
                | "then"
                | "unevaluatedItems"
                | "unevaluatedProperties",
                ..,
            ) => self.compare(old, new),
            _ => self.equal(old, new),
        }
    }

    fn equal(&mut self, old: &Value, new: &Value) {
        // Its size is not known here, so it is taken for a large one.
        if self.spend(1_000) && old != new {
            self.doubt("", "differs");
        }
    }
}

/// What a schema says of the members of an object.
struct Members<'a> {
    properties: Option<&'a Map<String, Value>>,
    required: BTreeSet<&'a str>,
    /// The schema of those that are not named.
    others: &'a Value,
    /// Whether some of those are named by a pattern.
    patterns: bool,
}

impl<'a> Members<'a> {
    fn read(map: &'a Map<String, Value>) -> Members<'a> {
        let required = map.get("required").and_then(Value::as_array);
        Members {
            properties: map.get("properties").and_then(Value::as_object),
            required: required.into_iter().flatten().filter_map(Value::as_str).collect(),
            others: map.get("additionalProperties").unwrap_or(&ANYTHING),
            patterns: map.contains_key("patternProperties"),
        }
    }
}

/// Some values, for a sentence.
fn named<'v>(values: impl Iterator<Item = &'v &'v Value>) -> String {
    let mut words = Vec::new();
    let mut more = 0;
    for value in values {
        if words.len() < MAX_NAMED { words.push(json(value, MAX_VALUE)) } else { more += 1 }
    }
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") + &more }
}
