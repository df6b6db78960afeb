//! Pairs of schemas, and whom the change concerns.

mod fixture;

use proptest::prelude::*;
use serde_json::{Value, json};

use self::fixture::{fits, plain_schemas, sample_values, schemas};
use super::*;

/// `class path` of each difference, below the root of the schema.
fn found(direction: Direction, old: &Value, new: &Value) -> String {
    let facts = compare(direction, old, new, &mut 1_000_000);
    let line = |fact: &Fact| {
        let path = fact.path.strip_prefix(direction.root()).unwrap();
        format!("{} {path}", fact.class.as_str()).trim_end().to_owned()
    };
    facts.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// What it is for what is sent, and for what is read.
#[track_caller]
fn check(old: &Value, new: &Value, input: &str, output: &str) {
    for (direction, expected) in [(Direction::Input, input), (Direction::Output, output)] {
        assert_eq!(found(direction, old, new), expected, "{direction:?}\n{old}\n{new}");
    }
}

/// A change that allows fewer values at the path, and its reverse.
#[track_caller]
fn narrows(old: &Value, new: &Value, path: &str) {
    let (breaking, additive) = (format!("breaking {path}"), format!("additive {path}"));
    check(old, new, breaking.trim_end(), additive.trim_end());
    check(new, old, additive.trim_end(), breaking.trim_end());
}

/// A change that is the same for both directions and for its reverse.
#[track_caller]
fn both_ways(old: &Value, new: &Value, expected: &str) {
    check(old, new, expected, expected);
    check(new, old, expected, expected);
}

#[test]
fn what_means_the_same_is_no_difference() {
    for (old, new) in [
        (json!({"type": "string"}), json!({"type": ["string"]})),
        (json!({"required": []}), json!({})),
        (json!({"required": ["b", "a"]}), json!({"required": ["a", "b"]})),
        (json!({"enum": ["a", "b"]}), json!({"enum": ["b", "a"]})),
        (json!({"enum": [1, 2]}), json!({"enum": [1.0, 2]})),
        (json!({"enum": ["a"]}), json!({"const": "a"})),
        (json!({"enum": ["a"]}), json!({"type": "string", "enum": ["a", 7]})),
        (json!({"enum": [true, false]}), json!({"type": "boolean"})),
        (json!({"const": null}), json!({"type": "null"})),
        (json!({"additionalProperties": true}), json!({"additionalProperties": {}})),
        (json!({"items": true}), json!({})),
        (json!({"minLength": 0, "minItems": 0, "uniqueItems": false}), json!({})),
        (
            json!({"type": "integer", "maximum": 9_007_199_254_740_991_u64}),
            json!({"type": "integer"}),
        ),
        (json!({"type": "integer", "minLength": 5, "pattern": "a"}), json!({"type": "integer"})),
        (json!({"$defs": {"A": {}}}), json!({})),
        (json!(true), json!({})),
        (json!({"allOf": [{"type": "string"}]}), json!({"oneOf": [{"type": "string"}]})),
        (
            json!({"type": ["string", "null"]}),
            json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
        ),
        (
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": "string"}}}),
            json!({"$ref": "#/definitions/B", "definitions": {"B": {"type": "string"}}}),
        ),
    ] {
        both_ways(&old, &new, "");
    }
}

#[test]
fn fewer_values_break_who_sends_and_more_break_who_reads() {
    for (wide, narrow, path) in [
        (json!({"type": ["string", "null"]}), json!({"type": "string"}), ".type"),
        (json!({}), json!({"type": "string"}), ".type"),
        (json!({"type": "number"}), json!({"type": "integer"}), ".type"),
        (json!({}), json!(false), ".type"),
        (json!({"enum": ["a", "b"]}), json!({"enum": ["a"]}), ".enum"),
        (json!({"type": "string"}), json!({"type": "string", "enum": ["a"]}), ".enum"),
        (json!({"type": "string"}), json!({"type": "string", "const": "a"}), ".const"),
        (json!({"enum": ["a", "b"]}), json!({"const": "a"}), ".const"),
        (json!({"minimum": 1}), json!({"minimum": 2}), ".minimum"),
        (json!({"exclusiveMinimum": 1}), json!({"exclusiveMinimum": 1.5}), ".exclusiveMinimum"),
        (json!({}), json!({"maximum": 2}), ".maximum"),
        (json!({"exclusiveMaximum": -1}), json!({"exclusiveMaximum": -2}), ".exclusiveMaximum"),
        (json!({"minLength": 1}), json!({"minLength": 2}), ".minLength"),
        (json!({}), json!({"minLength": 1}), ".minLength"),
        (json!({"maxLength": 9}), json!({"maxLength": 8}), ".maxLength"),
        (json!({}), json!({"maxLength": 0}), ".maxLength"),
        (json!({"minItems": 1}), json!({"minItems": 2}), ".minItems"),
        (json!({"maxItems": 9}), json!({"maxItems": 8}), ".maxItems"),
        (json!({}), json!({"minProperties": 8}), ".minProperties"),
        (json!({}), json!({"maxProperties": 8}), ".maxProperties"),
        (json!({}), json!({"uniqueItems": true}), ".uniqueItems"),
        (json!({}), json!({"multipleOf": 5}), ".multipleOf"),
        (json!({"multipleOf": 5}), json!({"multipleOf": 10}), ".multipleOf"),
        (json!({}), json!({"pattern": "a"}), ".pattern"),
        (json!({}), json!({"format": "date"}), ".format"),
    ] {
        narrows(&wide, &narrow, path);
    }
}

#[test]
fn what_is_inside_counts_as_well() {
    for (wide, narrow, path) in [
        (
            json!({"type": "array"}),
            json!({"type": "array", "items": {"type": "string"}}),
            ".items.type",
        ),
        (
            json!({"prefixItems": [{}]}),
            json!({"prefixItems": [{"minLength": 1}]}),
            ".prefixItems[0].minLength",
        ),
        (json!({}), json!({"additionalProperties": false}), ".additionalProperties"),
        (
            json!({"additionalProperties": {"type": "string"}}),
            json!({"additionalProperties": false}),
            ".additionalProperties",
        ),
        (
            json!({"additionalProperties": {"maximum": 5}}),
            json!({"additionalProperties": {"maximum": 4}}),
            ".additionalProperties.maximum",
        ),
        (
            json!({"properties": {"a": {}}}),
            json!({"properties": {"a": {}}, "required": ["a"]}),
            ".properties.a",
        ),
        (json!({}), json!({"required": ["a"]}), ".properties.a"),
        (
            json!({"properties": {"a": {"properties": {"b c": {"type": ["null", "string"]}}}}}),
            json!({"properties": {"a": {"properties": {"b c": {"type": "null"}}}}}),
            ".properties.a.properties[\"b c\"].type",
        ),
        (
            json!({"items": {"$ref": "#/$defs/A"}, "$defs": {"A": {"type": "number"}}}),
            json!({"items": {"$ref": "#/$defs/A"}, "$defs": {"A": {"type": "integer"}}}),
            ".items.type",
        ),
        (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!({"type": "string"}), ""),
        (
            json!({"anyOf": [{"maxLength": 5, "type": "string"}, {"type": "null"}]}),
            json!({"anyOf": [{"type": "null"}, {"maxLength": 4, "type": "string"}]}),
            ".maxLength",
        ),
        (
            json!({"anyOf": [{"const": "a"}, {"const": "b"}]}),
            json!({"anyOf": [{"const": "b"}]}),
            ".anyOf",
        ),
    ] {
        narrows(&wide, &narrow, path);
    }
}

#[test]
fn what_loses_and_gains_breaks_both() {
    for (old, new, path) in [
        (json!({"type": "string"}), json!({"type": "integer"}), ".type"),
        (json!({"enum": ["a", "b"]}), json!({"enum": ["a", "c"]}), ".enum"),
        (json!({"enum": ["a"]}), json!({"enum": [1]}), ".enum"),
        (json!({"format": "date"}), json!({"format": "date-time"}), ".format"),
        (json!({"multipleOf": 4}), json!({"multipleOf": 6}), ".multipleOf"),
    ] {
        both_ways(&old, &new, &format!("breaking {path}"));
    }
}

#[test]
fn words_are_cosmetic() {
    for (old, new, path) in [
        (json!({"title": "A"}), json!({"title": "B"}), ".title"),
        (json!({"description": "A"}), json!({}), ".description"),
        (json!({"default": 1}), json!({"default": 2}), ".default"),
        (json!({"examples": [1]}), json!({}), ".examples"),
        (json!({"x-ours": {"type": 1}}), json!({}), ".x-ours"),
        (json!({"type": "integer", "format": "int64"}), json!({"type": "integer"}), ".format"),
        (
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"description": "old"}}}),
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"description": "new"}}}),
            ".description",
        ),
        (
            json!({"anyOf": [{"type": "null"}, {"type": "string", "title": "A"}]}),
            json!({"anyOf": [{"type": "null"}, {"type": "string", "title": "B"}]}),
            ".title",
        ),
    ] {
        both_ways(&old, &new, &format!("cosmetic {path}"));
    }
    // A property of that name is none.
    let named = |kind: &str| json!({"properties": {"title": {"type": kind}}});
    both_ways(&named("string"), &named("null"), "breaking .properties.title.type");
}

#[test]
fn properties_come_and_go() {
    let (none, one) = (json!({"type": "object"}), json!({"properties": {"a": {"type": "string"}}}));
    let one = merged(&none, &one);
    let required = |schema: &Value| merged(schema, &json!({"required": ["a"]}));
    let closed = |schema: &Value| merged(schema, &json!({"additionalProperties": false}));
    let at = |class: &str| format!("{class} .properties.a");
    let (breaking, additive, unknown) = (at("breaking"), at("additive"), at("unknown"));
    check(&none, &one, &additive, &additive);
    check(&none, &required(&one), &breaking, &additive);
    check(&closed(&none), &closed(&one), &additive, &breaking);
    check(&closed(&none), &closed(&required(&one)), &breaking, &breaking);
    check(&one, &none, &unknown, &unknown);
    check(&required(&one), &none, &unknown, &breaking);
    check(&closed(&one), &closed(&none), &breaking, &unknown);
    check(&closed(&required(&one)), &closed(&none), &breaking, &breaking);
    let others = |kind: &str| json!({"type": "object", "additionalProperties": {"type": kind}});
    let and_one = |kind: &str| merged(&others(kind), &one);
    check(&others("string"), &and_one("string"), &additive, &additive);
    let typed = "breaking .properties.a.type";
    check(
        &others("null"),
        &and_one("null"),
        &format!("{additive}; {typed}"),
        &format!("{additive}; {typed}"),
    );
    check(
        &and_one("null"),
        &others("null"),
        &format!("{unknown}; {typed}"),
        &format!("{unknown}; {typed}"),
    );
}

fn merged(one: &Value, other: &Value) -> Value {
    let members = [one, other].into_iter().flat_map(|value| value.as_object().unwrap().clone());
    Value::Object(members.collect())
}

#[test]
fn what_is_not_followed_could_not_be_told() {
    for (old, new, path) in [
        (
            json!({"oneOf": [{"type": "string"}, {}]}),
            json!({"oneOf": [{"type": "null"}, {}]}),
            ".oneOf",
        ),
        (json!({"oneOf": [{}, {}]}), json!({}), ".oneOf"),
        (
            json!({"allOf": [{"minLength": 1}, {}]}),
            json!({"allOf": [{"minLength": 2}, {}]}),
            ".allOf",
        ),
        (json!({"not": {"type": "null"}}), json!({"not": {"type": "string"}}), ".not"),
        (json!({"if": {"minimum": 1}}), json!({"if": {"minimum": 2}}), ".if"),
        (json!({"patternProperties": {"^a": {"maximum": 1}}}), json!({}), ".patternProperties"),
        (
            json!({"patternProperties": {"^a": {"maximum": 1}}}),
            json!({"patternProperties": {"^a": {"maximum": 2}}}),
            ".patternProperties",
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"dependentRequired": {}}),
            ".dependentRequired",
        ),
        (json!({"unevaluatedProperties": false}), json!({}), ".unevaluatedProperties"),
        (json!({"propertyNames": {"maxLength": 4}}), json!({}), ".propertyNames"),
        (json!({"pattern": "a"}), json!({"pattern": "b"}), ".pattern"),
        (json!({"items": [{}]}), json!({"items": [{}, {}]}), ".items"),
        (json!({"prefixItems": [{}]}), json!({"prefixItems": [{}, {}]}), ".prefixItems"),
        (
            json!({"type": "integer", "format": "int64"}),
            json!({"type": "integer", "format": "int32"}),
            ".format",
        ),
        (json!({"$ref": "https://a.example/b"}), json!({"$ref": "https://a.example/c"}), ".$ref"),
        (json!({"$ref": "#/nowhere"}), json!({"$ref": "#/elsewhere"}), ".$ref"),
        (json!({"type": "text"}), json!({"type": "string"}), ""),
        (json!(null), json!({"type": "object"}), ""),
        (json!({"properties": {"a": 1}}), json!({"properties": {"a": 2}}), ".properties.a"),
        (
            json!({"type": "string", "anyOf": [{"minLength": 3}]}),
            json!({"type": "string", "anyOf": [{"minLength": 4}]}),
            ".anyOf",
        ),
        (
            json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"}),
            json!({"anyOf": [{"required": ["a"]}, {"required": ["c"]}], "type": "object"}),
            ".anyOf",
        ),
        // Beside others, a reference adds to what is said there.
        (
            json!({"minLength": 1, "$ref": "#/$defs/A", "$defs": {"A": {"maxLength": 5}}}),
            json!({"minLength": 1, "$ref": "#/$defs/A", "$defs": {"A": {"maxLength": 6}}}),
            ".$ref",
        ),
    ] {
        both_ways(&old, &new, format!("unknown {path}").trim_end());
    }
}

#[test]
fn what_is_not_followed_may_read_differently_and_say_the_same() {
    let with = |name: &str, kind: &str| {
        let path = format!("#/$defs/{name}");
        json!({"oneOf": [{"$ref": path}, {"type": "null"}], "$defs": {name: {"type": kind}}})
    };
    check(&with("A", "string"), &with("B", "string"), "", "");
    check(&with("A", "string"), &with("A", "integer"), "unknown .oneOf", "unknown .oneOf");
}

#[test]
fn variants_of_one_type_are_counted() {
    let shape = |name: &str, text: &str| json!({"type": "object", "properties": {"kind": {"const": name, "description": text}}});
    let union = |each: &[Value]| json!({"anyOf": each});
    let two = union(&[shape("a", "1"), shape("b", "1")]);
    let reordered = union(&[shape("b", "other words"), shape("a", "1")]);
    let three = union(&[shape("a", "1"), shape("c", "1"), shape("b", "1")]);
    let other = union(&[shape("a", "1"), shape("c", "1")]);
    check(&two, &reordered, "", "");
    narrows(&three, &two, ".anyOf");
    both_ways(&two, &other, "unknown .anyOf");
}

#[test]
fn a_shared_definition_is_told_once_and_cycles_end() {
    let tree = |kind: &str| {
        json!({
            "properties": {"one": {"$ref": "#/$defs/T"}, "two": {"$ref": "#/$defs/T"}},
            "$defs": {"T": {"properties": {
                "v": {"type": kind}, "left": {"$ref": "#/$defs/T"}, "all": {"items": {"$ref": "#"}},
            }}},
        })
    };
    narrows(&tree("number"), &tree("integer"), ".properties.one.properties.v.type");
    let node = |kind: &str| {
        json!({"oneOf": [{"type": kind}, {"items": {"$ref": "#"}}], "properties": {
            "down": {"oneOf": [{"$ref": "#"}, {"type": "null"}]}}})
    };
    check(
        &node("string"),
        &merged(&node("string"), &json!({"title": "a"})),
        "cosmetic .title",
        "cosmetic .title",
    );
    check(&node("string"), &node("number"), "unknown .oneOf", "unknown .oneOf");
    let linked = |kind: &str| {
        json!({"$ref": "#/$defs/L", "$defs": {"L": {"type": "object", "properties": {
            "v": {"type": kind}, "next": {"anyOf": [{"$ref": "#/$defs/L"}, {"type": "null"}]}}}}})
    };
    narrows(&linked("number"), &linked("integer"), ".properties.v.type");
    // Under `not` more is fewer, so nothing harmless is said of what refers to itself there.
    let denies =
        |kind: Value| json!({"properties": {"v": {"type": kind}, "w": {"not": {"$ref": "#"}}}});
    let (one, two) = (denies(json!("null")), denies(json!(["null", "string"])));
    let at = ".properties.v.type";
    check(&two, &one, &format!("breaking {at}"), &format!("additive {at}; unknown"));
    let ring = |text: &str| {
        json!({"$ref": "#/$defs/A", "description": text,
        "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}})
    };
    assert!(found(Direction::Input, &ring("a"), &ring("b")).starts_with("cosmetic"));
}

#[test]
fn hostile_schemas_end_soon() {
    let mut deep = (json!({"type": "string"}), json!({"type": "null"}));
    for _ in 0..100 {
        deep = (json!({"items": deep.0}), json!({"items": deep.1}));
    }
    assert!(found(Direction::Input, &deep.0, &deep.1).starts_with("unknown .items.items"));
    // Each definition refers to the next one ten times, behind keywords that are held together.
    let laughs = |end: &str| {
        let mut defs = Map::new();
        for at in 0..40 {
            let next = json!({"$ref": format!("#/$defs/L{}", at + 1)});
            defs.insert(format!("L{at}"), json!({"oneOf": vec![next; 10]}));
        }
        defs.insert("L40".to_owned(), json!({"type": end}));
        json!({"$ref": "#/$defs/L0", "$defs": defs})
    };
    let mut work = 1_000_000;
    let facts = compare(Direction::Input, &laughs("string"), &laughs("null"), &mut work);
    assert!(facts.iter().any(|fact| fact.class == Class::Unknown), "{facts:?}");
    assert!(facts.len() < 5 && work >= 1_000_000 - MAX_STEPS);
}

/// A value of the candidate's is not read over and over, however it is wrapped up, for each place
/// that the stable version has.
#[test]
fn large_values_are_paid_for() {
    let places = 50;

    let properties = |each: &Value| -> Value {
        Value::Object((0..places).map(|at| (format!("p{at}"), each.clone())).collect())
    };
    let optional = json!({"anyOf": [{"type": "string"}, {"type": "null"}]});
    let old = json!({"properties": properties(&optional)});
    let link = json!({"$ref": "#/$defs/x"});
    for each in [link.clone(), json!({"anyOf": vec![link; 100]})] {
        let large = json!({"enum": [{"k": ["x".repeat(1 << 20)]}]});
        let new = json!({"properties": properties(&each), "$defs": {"x": large}});
        let mut work = 1_000_000;
        let facts = compare(Direction::Input, &old, &new, &mut work);
        assert_eq!(work, 1_000_000 - MAX_STEPS);
        assert!(facts.last().is_some_and(|fact| fact.class == Class::Unknown), "{facts:?}");
    }
}

proptest! {
    #[test]
    fn a_schema_is_like_itself(schema in schemas()) {
        // A note beside it, so that the walk is taken.
        let (old, new) = (json!({"items": &schema}), json!({"items": &schema, "x-other": null}));
        prop_assert_eq!(found(Direction::Input, &old, &new), "cosmetic .x-other");
    }

    #[test]
    fn any_two_schemas_are_compared_in_bounds(old in schemas(), new in schemas()) {
        let mut work = 1_000_000;
        for direction in [Direction::Input, Direction::Output] {
            let facts = compare(direction, &old, &new, &mut work);
            prop_assert!(facts.iter().all(|fact| fact.path.len() <= MAX_PATH + 2 * MAX_VALUE));
        }
        let there = compare(Direction::Input, &old, &new, &mut work);
        let back = compare(Direction::Input, &new, &old, &mut work);
        prop_assert_eq!(there.is_empty(), back.is_empty());
    }
}

proptest! {
    /// What is lost or gained is never called harmless.
    #[test]
    fn no_lost_value_is_missed(old in plain_schemas(), new in plain_schemas(), small in any::<bool>()) {
        let new = if small { merged(&old, &new) } else { new };
        for direction in [Direction::Input, Direction::Output] {
            let facts = compare(direction, &old, &new, &mut 1_000_000);
            // A property that came is said to be harmless where any value was allowed for it.
            let harmless = facts.iter().all(|fact| fact.class <= Class::Additive);
            if harmless && facts.iter().all(|fact| fact.mark == Mark::Changed) {
                for value in sample_values() {
                    let (was, is) = (fits(&old, &old, &value), fits(&new, &new, &value));
                    let lost = if direction == Direction::Input { was && !is } else { is && !was };
                    prop_assert!(!lost, "{:?} {} {:?}", direction, value, facts);
                }
            }
        }
    }
}
