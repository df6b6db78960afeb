//! One schema, read: the types and values it allows, the alternatives it has, where it refers to.
//!
//! Does not know: the other schema.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::rules::OPAQUE;

/// Keywords that are compared by their sense, with [`OPAQUE`] all that decide which values are
/// allowed (JSON Schema 2020-12 core and validation, and what is left of draft 7).
const COMPARED: [&str; 26] = [
    "additionalProperties",
    "const",
    "contentEncoding",
    "contentMediaType",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "prefixItems",
    "properties",
    "required",
    "type",
    "uniqueItems",
    // Where they are referred to.
    "$defs",
    "definitions",
];

/// The members of a schema that is `true` or `false`.
pub(super) static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// References that are followed in a row.
const MAX_HOPS: usize = 32;

/// Alternatives of one `anyOf` that are compared; each costs a step for each of the other side.
const MAX_ALTERNATIVES: usize = 100;

/// Whether a keyword is for people and tools.
pub(super) fn is_note(key: &str) -> bool {
    // The header of an argument is compared by itself.
    key != "x-mcp-header" && !COMPARED.contains(&key) && !OPAQUE.contains(&key)
}

/// The types of JSON values; a number is an integer or a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NONE: Types = Types(0);
    const NULL: Types = Types(1);
    const BOOLEAN: Types = Types(2);
    pub(super) const OBJECT: Types = Types(4);
    pub(super) const ARRAY: Types = Types(8);
    pub(super) const STRING: Types = Types(16);
    const INTEGER: Types = Types(32);
    pub(super) const NUMBER: Types = Types(32 + 64);
    const ALL: Types = Types(127);

    /// What alternatives are sorted by.
    pub(super) const KINDS: [Types; 6] =
        [Types::NULL, Types::BOOLEAN, Types::OBJECT, Types::ARRAY, Types::STRING, Types::NUMBER];

    const WORDS: [(&'static str, Types); 7] = [
        ("object", Types::OBJECT),
        ("array", Types::ARRAY),
        ("string", Types::STRING),
        ("number", Types::NUMBER),
        ("integer", Types::INTEGER),
        ("boolean", Types::BOOLEAN),
        ("null", Types::NULL),
    ];

    fn declared(kind: Option<&Value>) -> Option<Types> {
        let one = |word: &Value| {
            let word = word.as_str()?;
            Types::WORDS.iter().find(|(name, _)| *name == word).map(|(_, types)| *types)
        };
        match kind {
            None => Some(Types::ALL),
            Some(Value::Array(words)) => {
                words.iter().try_fold(Types::NONE, |sum, word| Some(sum.or(one(word)?)))
            }
            Some(word) => one(word),
        }
    }

    fn of(value: &Value) -> Types {
        match value {
            Value::Null => Types::NULL,
            Value::Bool(_) => Types::BOOLEAN,
            Value::Object(_) => Types::OBJECT,
            Value::Array(_) => Types::ARRAY,
            Value::String(_) => Types::STRING,
            Value::Number(number) => match number.as_f64() {
                Some(float) if float.fract() != 0.0 => Types::NUMBER.minus(Types::INTEGER),
                _ => Types::INTEGER,
            },
        }
    }

    pub(super) fn and(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }

    fn or(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }

    pub(super) fn minus(self, other: Types) -> Types {
        Types(self.0 & !other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether some value is of both.
    pub(super) fn has(self, other: Types) -> bool {
        !self.and(other).is_empty()
    }

    /// For messages, such as `string or null`.
    pub(super) fn words(self) -> String {
        if self == Types::ALL {
            return "anything".to_owned();
        }
        let mut left = self;
        let mut words = Vec::new();
        for (word, types) in Types::WORDS {
            // A fraction alone is a number too: no word says more.
            if left.has(types) && (types != Types::NUMBER || left.and(types) != Types::INTEGER) {
                words.push(word);
                left = left.minus(types);
            }
        }
        if words.is_empty() { "nothing".to_owned() } else { words.join(" or ") }
    }
}

/// One schema that refers to nothing else as a whole.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) map: &'a Map<String, Value>,
    /// What it was narrowed to by [`Node::only`], where that is less than it allows.
    pub(super) kind: Types,
    /// Of the values that `type`, `enum` and `const` allow.
    pub(super) types: Types,
    /// The values of `enum` and `const`, each under one spelling.
    pub(super) values: Option<BTreeMap<String, &'a Value>>,
    /// Steps that one look at it is worth.
    pub(super) cost: usize,
}

impl<'a> Node<'a> {
    /// Reads what [`settle`] gave; `None` where it is no schema.
    pub(super) fn read(value: &'a Value) -> Option<Node<'a>> {
        let map = match value {
            Value::Object(map) => map,
            Value::Bool(true) => {
                return Some(Node::new(&EMPTY, Types::ALL, None));
            }
            Value::Bool(false) => {
                return Some(Node::new(&EMPTY, Types::NONE, None));
            }
            _ => return None,
        };
        let mut types = Types::declared(map.get("type"))?;
        let named: Option<Vec<&Value>> = match (map.get("const"), map.get("enum")) {
            (Some(one), None) => Some(vec![one]),
            (None, Some(Value::Array(several))) => Some(several.iter().collect()),
            (Some(one), Some(Value::Array(several))) => {
                Some(several.iter().filter(|value| *value == one).collect())
            }
            (_, Some(_)) => return None,
            (None, None) => None,
        };
        let values = named.map(|named| {
            let allowed = named.into_iter().filter(|value| types.has(Types::of(value)));
            allowed.map(|value| (spelling(value), value)).collect::<BTreeMap<_, _>>()
        });
        if let Some(values) = &values {
            types = values.values().fold(Types::NONE, |sum, value| sum.or(Types::of(value)));
        }
        Some(Node::new(map, types, values))
    }

    fn new(
        map: &'a Map<String, Value>,
        types: Types,
        values: Option<BTreeMap<String, &'a Value>>,
    ) -> Node<'a> {
        // `enum: [true, false]` says no more than `type: boolean`, and so with null.
        let few = |kind, count| if types.has(kind) { count } else { 0 };
        let count = few(Types::NULL, 1) + few(Types::BOOLEAN, 2);
        let rest = types.minus(Types::NULL).minus(Types::BOOLEAN);
        let values = values.filter(|values| !rest.is_empty() || values.len() < count);
        Node { map, kind: Types::ALL, types, values, cost: cost(map) }
    }

    /// What remains of it for one kind of values.
    pub(super) fn only(&self, kind: Types) -> Option<Node<'a>> {
        let types = self.types.and(kind);
        let fits = |(spelling, value): (&String, &&'a Value)| {
            kind.has(Types::of(value)).then(|| (spelling.clone(), *value))
        };
        let values = self.values.as_ref().map(|all| all.iter().filter_map(fits).collect());
        // One that allows no other kind is still the same schema.
        let kind = if types == self.types { self.kind } else { kind };
        (!types.is_empty()).then(|| Node { kind, ..Node::new(self.map, types, values) })
    }

    /// Steps that it is worth to read those of [`Node::alternatives`].
    pub(super) fn alternatives_cost(&self, root: &'a Value) -> usize {
        let each = self.map.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let each = each.take(MAX_ALTERNATIVES);
        each.map(|value| settle(root, value).as_object().map_or(1, cost)).sum()
    }

    /// The schemas of which one must fit: those of `anyOf` if that is all it says, or itself.
    pub(super) fn alternatives(&self, root: &'a Value) -> Option<Vec<Node<'a>>> {
        let Some(each) = self.map.get("anyOf") else { return Some(vec![self.clone()]) };
        let each = each.as_array().filter(|each| (1..=MAX_ALTERNATIVES).contains(&each.len()))?;
        if !self.map.keys().all(|key| key == "anyOf" || says_nothing(key)) {
            return None;
        }
        let nodes = each.iter().map(|value| Node::read(settle(root, value)));
        nodes.map(|node| node.filter(|node| !node.map.contains_key("anyOf"))).collect()
    }
}

/// The schema that is meant: follows `$ref` in the document, and `allOf`, `anyOf` or `oneOf` of
/// one, where nothing but notes stands beside them.
pub(super) fn settle<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
    let mut at = value;
    for _ in 0..MAX_HOPS {
        let Some(map) = at.as_object() else { return at };
        let alone = |keyword: &str| map.keys().all(|key| key == keyword || says_nothing(key));
        let only = |keyword: &str| map.get(keyword).filter(|_| alone(keyword));
        let single = |keyword: &&str| match only(keyword)?.as_array()?.as_slice() {
            [one] => Some(one),
            _ => None,
        };
        let reference = only("$ref").and_then(|reference| resolve(root, reference));
        match reference.or_else(|| ["allOf", "anyOf", "oneOf"].iter().find_map(single)) {
            Some(next) => at = next,
            None => return at,
        }
    }
    value
}

/// Whether a keyword by itself allows and forbids nothing where it stands.
fn says_nothing(key: &str) -> bool {
    matches!(key, "$defs" | "definitions" | "x-mcp-header") || is_note(key)
}

/// Steps that one look at the members of a schema is worth, those inside them not counted but for
/// the values of `enum` and `const`, which are spelt out.
pub(super) fn cost(map: &Map<String, Value>) -> usize {
    let text = |value: &Value| value.as_str().map_or(0, |text| text.len() / 64);
    let one = |(key, value): (&String, &Value)| match value {
        value if matches!(key.as_str(), "enum" | "const") => weight(value),
        Value::Array(values) => values.iter().map(|value| 1 + text(value)).sum(),
        value => text(value),
    };
    1 + map.iter().map(|member| 1 + one(member)).sum::<usize>()
}

/// Steps that a value is worth, with all that is in it.
fn weight(value: &Value) -> usize {
    let (mut open, mut steps) = (vec![value], 0);
    while let Some(value) = open.pop() {
        steps += 1;
        match value {
            Value::String(text) => steps += text.len() / 64,
            Value::Array(values) => open.extend(values),
            Value::Object(members) => {
                steps += members.keys().map(|key| key.len() / 64).sum::<usize>();
                open.extend(members.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    steps
}

/// What a reference inside the document points to.
pub(super) fn resolve<'a>(root: &'a Value, reference: &Value) -> Option<&'a Value> {
    root.pointer(reference.as_str()?.strip_prefix('#')?)
}

/// One spelling for equal values: 1 and 1.0 are the same number.
fn spelling(value: &Value) -> String {
    match value.as_f64() {
        // Beyond it a float no longer tells neighbours apart.
        Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => format!("{float:.0}"),
        _ => value.to_string(),
    }
}
