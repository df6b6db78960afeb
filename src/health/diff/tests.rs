//! Catalogues against each other, and how the result reads.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::health::catalogue::MAX_ITEMS;

/// A catalogue of which every list was read.
fn catalogue(lists: &[(List, Value)]) -> Catalogue {
    let mut whole = Catalogue::default();
    for list in List::ALL {
        let items = lists.iter().find(|(other, _)| *other == list).map(|(_, items)| items.clone());
        let result = json!({ list.key(): items.unwrap_or_else(|| json!([])) });
        whole.add(list, &result).unwrap();
    }
    whole
}

/// `class place` of each change of one tool.
fn changes(old: &Value, new: &Value) -> String {
    let tools = |tool: &Value| {
        let mut tool = tool.clone();
        tool["name"] = json!("t");
        catalogue(&[(List::Tools, json!([tool]))])
    };
    let found = diff(&tools(old), &tools(new));
    assert!(found.unknown.is_empty());
    let line = |change: &Change| format!("{} {}", change.class.as_str(), change.path);
    found
        .changes
        .iter()
        .map(|change| line(change).trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn tools_change_in_many_ways() {
    let input = |schema: Value| json!({"inputSchema": schema});
    let output = |schema: Value| json!({"outputSchema": schema});
    let hints = |hints: Value| json!({"annotations": hints});
    let tasks = |word: &str| json!({"execution": {"taskSupport": word}});
    for (old, new, expected) in [
        (json!({}), json!({"icons": [1], "_meta": {"a": 1}}), ""),
        (json!({"title": "a"}), hints(json!({"title": "a"})), ""),
        (json!({"title": "a"}), json!({"title": "b"}), "cosmetic title"),
        (json!({}), json!({"description": "b"}), "cosmetic description"),
        (
            input(json!({"properties": {"a": {"type": "string"}}})),
            input(json!({"properties": {"a": {"type": "null"}}})),
            "breaking inputSchema.properties.a.type",
        ),
        (output(json!({})), json!({}), "breaking outputSchema"),
        (json!({}), output(json!({})), "additive outputSchema"),
        (
            output(json!({"required": ["a"]})),
            output(json!({})),
            "breaking outputSchema.properties.a",
        ),
        (json!({}), hints(json!({"readOnlyHint": false, "destructiveHint": true})), ""),
        (hints(json!({"readOnlyHint": true})), json!({}), "suspicious annotations.readOnlyHint"),
        (json!({}), hints(json!({"readOnlyHint": true})), "cosmetic annotations.readOnlyHint"),
        (
            hints(json!({"destructiveHint": false})),
            json!({}),
            "suspicious annotations.destructiveHint",
        ),
        (
            hints(json!({"readOnlyHint": true, "destructiveHint": false})),
            hints(json!({"readOnlyHint": true})),
            "cosmetic annotations.destructiveHint",
        ),
        (
            json!({}),
            hints(json!({"idempotentHint": true, "openWorldHint": false})),
            "cosmetic annotations.idempotentHint; cosmetic annotations.openWorldHint",
        ),
        (tasks("forbidden"), json!({}), ""),
        (tasks("optional"), tasks("required"), "breaking execution.taskSupport"),
        (tasks("required"), tasks("optional"), "additive execution.taskSupport"),
        (tasks("optional"), json!({}), "breaking execution.taskSupport"),
        (
            json!({"description": "a"}),
            json!({"description": "a\u{200b}\u{202e}"}),
            "suspicious; cosmetic description",
        ),
        (
            json!({"description": "\u{200b}"}),
            json!({"description": "b\u{200b}"}),
            "cosmetic description",
        ),
        (json!({"title": "a"}), json!({"title": "👩\u{200d}💻"}), "cosmetic title"),
        (
            input(json!({"properties": {"a": {"description": "a"}}})),
            input(json!({"properties": {"a": {"description": "a\u{1b}"}}})),
            "suspicious; cosmetic inputSchema.properties.a.description",
        ),
    ] {
        assert_eq!(changes(&old, &new), expected, "{old}\n{new}");
    }
}

#[test]
fn headers_are_part_of_the_call() {
    let schema = |a: Value, b: Value| json!({"inputSchema": {"properties": {"a": a, "b": {"properties": {"c": b}}}}});
    let plain = || json!({"type": "string"});
    let header = |name: &str| json!({"type": "string", "x-mcp-header": name});
    let at = "inputSchema.properties.a.x-mcp-header";
    let deep = "inputSchema.properties.b.properties.c.x-mcp-header";
    for (old, new, expected) in [
        (schema(plain(), plain()), schema(header("A"), plain()), format!("breaking {at}")),
        (schema(plain(), plain()), schema(plain(), header("A")), format!("breaking {deep}")),
        (schema(header("A"), plain()), schema(plain(), plain()), format!("breaking {at}")),
        (schema(header("A"), plain()), schema(header("B"), plain()), format!("breaking {at}")),
        (schema(header("A"), plain()), schema(header("a"), plain()), String::new()),
        (
            schema(header("A"), plain()),
            json!({"inputSchema": {"properties": {"b": {"properties": {"c": plain()}}}}}),
            format!("breaking {at}; unknown inputSchema.properties.a"),
        ),
        (
            json!({"inputSchema": {"properties": {"b": {"properties": {"c": plain()}}}}}),
            schema(header("A"), plain()),
            "additive inputSchema.properties.a".to_owned(),
        ),
    ] {
        assert_eq!(changes(&old, &new), expected, "{old}\n{new}");
    }
    // Whole tools that clients of that revision leave out.
    for bad in [
        schema(header(""), plain()),
        schema(header("a b"), plain()),
        schema(header("A"), header("a")),
        schema(json!({"type": "string", "x-mcp-header": 1}), plain()),
        schema(json!({"type": "number", "x-mcp-header": "A"}), plain()),
        schema(json!({"items": header("A")}), plain()),
        schema(json!({"items": {"properties": {"d": header("A")}}}), plain()),
        schema(json!({"anyOf": [header("A")]}), plain()),
        json!({"inputSchema": {"x-mcp-header": "A"}}),
    ] {
        let good = schema(plain(), plain());
        assert!(changes(&good, &bad).starts_with("breaking inputSchema"), "{bad}");
        assert!(changes(&bad, &good).starts_with("additive inputSchema"), "{bad}");
    }
    // Names and values that only look like annotations.
    let names = json!({"inputSchema": {"properties": {"x-mcp-header": {"type": "string"}},
        "default": {"x-mcp-header": ""}}});
    assert_eq!(
        changes(&names, &json!({"title": "a", "inputSchema": names["inputSchema"]})),
        "cosmetic title"
    );
}

#[test]
fn prompts_and_resources_change_too() {
    let prompt = |arguments: Value| (List::Prompts, json!([{"name": "p", "arguments": arguments}]));
    let resource = |kind: Value| (List::Resources, json!([{"uri": "r:1", "mimeType": kind}]));
    let template = |name: &str| (List::Templates, json!([{"uriTemplate": "r:{a}", "name": name}]));
    let some = json!([{"name": "a", "required": false}]);
    let needed = json!([{"name": "a", "required": true}]);
    for (old, new, expected) in [
        (prompt(json!([])), prompt(some.clone()), "additive arguments.a"),
        (prompt(json!([])), prompt(needed.clone()), "breaking arguments.a"),
        (prompt(some.clone()), prompt(needed.clone()), "breaking arguments.a"),
        (prompt(needed.clone()), prompt(some.clone()), "additive arguments.a"),
        (prompt(some.clone()), prompt(json!([])), "unknown arguments.a"),
        (
            prompt(some.clone()),
            prompt(json!([{"name": "a", "description": "x"}])),
            "cosmetic arguments.a.description",
        ),
        (resource(json!("text/plain")), resource(json!("text/html")), "breaking mimeType"),
        (resource(json!("text/plain")), resource(json!(null)), "breaking mimeType"),
        (resource(json!(null)), resource(json!("text/plain")), "additive mimeType"),
        (template("a"), template("b"), "cosmetic name"),
        (template("a"), (List::Templates, json!([])), "breaking "),
        ((List::Resources, json!([])), resource(json!(null)), "additive "),
    ] {
        let found = diff(&catalogue(&[old]), &catalogue(&[new]));
        let [change] = found.changes.as_slice() else { panic!("{expected}: {found:?}") };
        assert_eq!(format!("{} {}", change.class.as_str(), change.path), expected);
        assert_eq!(found.worst(), Some(change.class));
    }
}

#[test]
fn a_list_that_is_not_known_is_no_empty_list() {
    let two = || catalogue(&[(List::Tools, json!([{"name": "a"}, {"name": "b"}]))]);
    let one = || catalogue(&[(List::Tools, json!([{"name": "a", "title": "new"}]))]);
    let mut failed = one();
    failed.failed(List::Tools, "the connection was reset");
    let found = diff(&two(), &failed);
    assert_eq!(
        found.unknown,
        ["the candidate version's tools list: the connection was reset; 1 of the other version's \
          were not found in it"]
    );
    assert_eq!(found.worst(), Some(Class::Unknown));
    assert_eq!(found.changes.len(), 1, "what is there is compared");
    assert!(diff(&failed, &two()).changes.iter().all(|change| change.class == Class::Cosmetic));
    assert_eq!(diff(&two(), &one()).worst(), Some(Class::Breaking));
    assert_eq!(diff(&Catalogue::default(), &two()).unknown.len(), 4);

    let mut none = catalogue(&[]);
    none.not_offered(List::Tools);
    assert_eq!(diff(&two(), &none).worst(), Some(Class::Breaking));
    assert_eq!(diff(&none, &two()).worst(), Some(Class::Additive));
    assert_eq!(diff(&none, &catalogue(&[])).worst(), Some(Class::Cosmetic));
    assert_eq!(diff(&catalogue(&[]), &none).worst(), Some(Class::Cosmetic));
    assert_eq!(diff(&none, &none).worst(), None);

    let twice = catalogue(&[(List::Tools, json!([{"name": "a", "title": "new"}, {"name": "a"}]))]);
    assert_eq!(diff(&one(), &twice).worst(), Some(Class::Unknown));
    assert_eq!(diff(&twice, &twice), Diff::default());
}

#[test]
fn it_reads_like_a_diff() {
    let stable = catalogue(&[
        (
            List::Tools,
            json!([
                {"name": "forecast", "description": "Tells the weather", "inputSchema": {
                    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}}}},
                {"name": "gone"},
                {"name": "wipe\u{1b}[2J", "annotations": {"destructiveHint": false}},
            ]),
        ),
        (List::Prompts, json!([{"name": "p"}])),
    ]);
    let mut candidate = catalogue(&[(
        List::Tools,
        json!([
            {"name": "forecast", "description": "Tells the weather soon", "inputSchema": {
                "properties": {"city": {"type": ["string", "null"]}, "unit": {"enum": ["C"]},
                    "days": {}}, "required": ["days"]}},
            {"name": "new", "title": "\u{202e}x"},
            {"name": "wipe\u{1b}[2J"},
        ]),
    )]);
    candidate.failed(List::Prompts, "no answer within 5 s");
    let found = diff(&stable, &candidate);
    let expected = r#"tool forecast
  ~ cosmetic    description: was "Tells the weather", is "Tells the weather soon"
  ~ additive    inputSchema.properties.city.type: was string, is string or null
  ~ breaking    inputSchema.properties.unit.enum: no longer "F"
  + breaking    inputSchema.properties.days: required parameter added
tool gone
  - breaking    is no longer there
tool wipe\u{1b}[2J
  ! suspicious  annotations.destructiveHint: was false, is true
tool new
  + additive    is new
  ! suspicious  has text with characters that nobody sees: U+202E
could not tell: the candidate version's prompts list: no answer within 5 s; 1 of the other version's were not found in it
3 breaking, 2 suspicious, 2 additive, 1 cosmetic"#;
    assert_eq!(found.to_string(), expected);
    let wire = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Diff>(&wire).unwrap(), found);
    assert_eq!(diff(&stable, &stable).to_string(), "no difference");
}

#[test]
fn texts_are_shown_from_where_they_part() {
    let long = "x".repeat(300);
    let (was, is) = items::from_difference(&format!("{long}one"), &format!("{long}two"));
    assert_eq!((was, is), (format!("…{}one", "x".repeat(20)), format!("…{}two", "x".repeat(20))));
}

#[test]
fn a_diff_is_bounded_and_keeps_the_gravest() {
    let tools = |count: usize| -> Vec<Value> {
        (0..count).map(|place| json!({"name": format!("{place}{}", "n".repeat(500))})).collect()
    };
    let many = catalogue(&[(List::Tools, json!(tools(MAX_ITEMS)))]);
    let found = diff(&many, &catalogue(&[(List::Tools, json!([{"name": "new"}]))]));
    assert_eq!(found.changes.len(), MAX_CHANGES + 1);
    assert_eq!(found.left_out, MAX_ITEMS - MAX_CHANGES);
    assert!(found.changes.iter().all(|change| change.name.chars().count() <= MAX_NAME + 1));
    assert!(found.to_string().ends_with(", and 9000 more that are not shown"));
}

/// JSON of any shape, with the words that are looked for.
fn values() -> impl Strategy<Value = Value> {
    let words = vec![
        "name",
        "uri",
        "uriTemplate",
        "title",
        "description",
        "inputSchema",
        "outputSchema",
        "type",
        "properties",
        "required",
        "items",
        "anyOf",
        "$ref",
        "#",
        "string",
        "annotations",
        "arguments",
        "x-mcp-header",
        "\u{1b}\u{202e}",
        "default",
    ];
    let word = prop::sample::select(words);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 80, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(word.clone(), inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

fn catalogues() -> impl Strategy<Value = Catalogue> {
    let items =
        prop::collection::vec((prop::sample::select(List::ALL.to_vec()), "[ab]", values()), 0..12);
    items.prop_map(|items| {
        let mut whole = catalogue(&[]);
        for (list, name, mut item) in items {
            if !item.is_object() {
                item =
                    json!({"inputSchema": item.clone(), "outputSchema": item, "description": "d"});
            }
            for id in ["name", "uri", "uriTemplate"] {
                item[id] = json!(name);
            }
            whole.add(list, &json!({ list.key(): [item] })).unwrap();
        }
        whole
    })
}

proptest! {
    #[test]
    fn a_catalogue_is_like_itself(one in catalogues()) {
        prop_assert_eq!(diff(&one, &one.clone()), Diff::default());
    }

    #[test]
    fn any_two_are_compared_and_can_be_printed(old in catalogues(), new in catalogues()) {
        let found = diff(&old, &new);
        prop_assert_eq!(old == new, found.worst().is_none() && old == new);
        for line in found.to_string().lines() {
            prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
            prop_assert!(line.chars().count() < 2_000);
        }
    }

    #[test]
    fn any_json_is_a_page_or_is_not(value in values()) {
        let mut whole = Catalogue::default();
        for list in List::ALL {
            let wrapped = json!({ list.key(): [value.clone()] });
            for result in [&value, &wrapped] {
                let before = whole.clone();
                prop_assert!(whole.add(list, result).is_ok() || whole == before);
            }
        }
    }
}
