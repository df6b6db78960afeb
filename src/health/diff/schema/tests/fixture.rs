//! Schemas and values to compare at random, and a small validator to judge by.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

/// Schemas made of the words that matter, often alike.
pub(super) fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(7)),
        Just(json!({"$ref": "#"})),
        Just(json!({"$ref": "#/properties/a"})),
        Just(json!({"type": "string", "minLength": 3, "description": "words"})),
        Just(json!({"type": ["integer", "null"], "maximum": 4})),
        Just(json!({"enum": ["a", 1, null, {}]})),
    ];
    leaf.prop_recursive(5, 60, 4, |inner| {
        let one = inner.clone();
        let words =
            vec!["items", "additionalProperties", "not", "if", "propertyNames", "type", "enum"];
        let lists = vec!["anyOf", "oneOf", "allOf", "prefixItems", "required", "enum", "type"];
        let maps = vec!["properties", "$defs", "patternProperties", "dependentSchemas"];
        let several = prop::collection::vec(inner.clone(), 0..4);
        let named = prop::collection::btree_map("[abc]", inner, 0..4);
        let each = prop_oneof![
            (prop::sample::select(words), one),
            (prop::sample::select(lists), several.prop_map(Value::from)),
            (prop::sample::select(maps), named.prop_map(|named| json!(named))),
        ];
        prop::collection::vec(each, 0..4)
            .prop_map(|each| json!(each.into_iter().collect::<BTreeMap<_, _>>()))
    })
}

/// Whether a value fits a schema of the words that [`plain_schemas`] has.
pub(super) fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(map) = schema.as_object() else { return schema != &json!(false) };
    let inner = |key: &str| map.get(key).unwrap_or(&Value::Bool(true));
    map.iter().all(|(key, rule)| match (key.as_str(), value) {
        ("type", _) => {
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_f64() => "number",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            let is = |word: &Value| word == kind || (word == "number" && kind == "integer");
            rule.as_array().map_or_else(|| is(rule), |words| words.iter().any(is))
        }
        ("enum", _) => rule.as_array().unwrap().contains(value),
        ("const", _) => rule == value,
        ("minimum", Value::Number(number)) => number.as_f64() >= rule.as_f64(),
        ("maximum", Value::Number(number)) => number.as_f64() <= rule.as_f64(),
        ("maxLength", Value::String(text)) => text.len() as u64 <= rule.as_u64().unwrap(),
        ("minItems", Value::Array(values)) => values.len() as u64 >= rule.as_u64().unwrap(),
        ("items", Value::Array(values)) => values.iter().all(|value| fits(root, rule, value)),
        ("required", Value::Object(members)) => {
            rule.as_array().unwrap().iter().all(|name| members.contains_key(name.as_str().unwrap()))
        }
        ("properties" | "additionalProperties", Value::Object(members)) => {
            members.iter().all(|(name, value)| {
                let own = inner("properties").get(name);
                fits(root, own.unwrap_or(inner("additionalProperties")), value)
            })
        }
        ("anyOf", _) => rule.as_array().unwrap().iter().any(|one| fits(root, one, value)),
        ("oneOf", _) => {
            rule.as_array().unwrap().iter().filter(|one| fits(root, one, value)).count() == 1
        }
        ("not", _) => !fits(root, rule, value),
        ("$ref", _) => fits(root, root.pointer("/$defs/d").unwrap_or(&Value::Bool(true)), value),
        _ => true,
    })
}

/// Schemas of everyday words, each with a definition that they may refer to.
pub(super) fn plain_schemas() -> impl Strategy<Value = Value> {
    let kinds = ["null", "boolean", "integer", "number", "string", "array", "object"];
    let rule = prop_oneof![
        prop::sample::select(kinds.to_vec()).prop_map(|kind| ("type", json!(kind))),
        prop::sample::subsequence(kinds.to_vec(), 1..3).prop_map(|each| ("type", json!(each))),
        prop::sample::subsequence(vec![json!(1), json!("a"), json!("bb"), json!(null)], 1..4)
            .prop_map(|each| ("enum", json!(each))),
        prop::sample::select(vec![json!(true), json!("a"), json!(2)])
            .prop_map(|one| ("const", one)),
        (0..3).prop_map(|least| ("minimum", json!(least))),
        (0..3).prop_map(|most| ("maximum", json!(most))),
        (1..3).prop_map(|most| ("maxLength", json!(most))),
        (0..2).prop_map(|least| ("minItems", json!(least))),
        prop::sample::subsequence(vec!["x", "y"], 0..=2).prop_map(|each| ("required", json!(each))),
        Just(("additionalProperties", json!(false))),
        Just(("$ref", json!("#/$defs/d"))),
    ];
    let leaf = prop::collection::btree_map(Just(()), rule.clone(), 0..=1)
        .prop_map(|rules| rules.into_values().map(|(key, rule)| (key.to_owned(), rule)).collect());
    let tree = leaf.prop_map(Value::Object).prop_recursive(3, 20, 3, move |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4);
        let holder = prop_oneof![
            (prop::sample::select(vec!["items", "additionalProperties", "not"]), inner.clone()),
            (prop::sample::select(vec!["anyOf", "oneOf"]), several.prop_map(Value::from)),
            prop::collection::btree_map("[xy]", inner, 1..3)
                .prop_map(|named| ("properties", json!(named))),
        ];
        (prop::collection::vec(holder, 0..3), prop::collection::vec(rule.clone(), 0..2)).prop_map(
            |(holders, rules)| {
                let all = holders.into_iter().chain(rules);
                Value::Object(all.map(|(key, rule)| (key.to_owned(), rule)).collect())
            },
        )
    });
    (tree.clone(), tree).prop_map(|(mut schema, mut definition)| {
        // The definition refers to nothing, so that `fits` ends.
        let plain = definition.to_string().replace("$ref", "x-ref");
        definition = serde_json::from_str(&plain).unwrap();
        schema["$defs"] = json!({"d": definition});
        schema
    })
}

pub(super) fn sample_values() -> Vec<Value> {
    let simple = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(2),
        json!(1.5),
        json!(9),
        json!("a"),
        json!("bb"),
        json!("ccc"),
        json!([]),
        json!({}),
    ];
    let mut all = simple.to_vec();
    for one in &simple {
        all.push(json!([one]));
        all.push(json!({"x": one}));
        all.push(json!({"y": one}));
        all.push(json!({"x": [one], "y": {"x": one}}));
        all.push(json!({"z": one}));
        all.push(json!([[one], "a"]));
    }
    all
}
