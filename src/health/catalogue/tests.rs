//! Pages, caps and what is kept.

use serde_json::json;

use super::*;

fn page(list: List, result: &Value) -> (Catalogue, Result<Option<String>, BadPage>) {
    let mut catalogue = Catalogue::default();
    let next = catalogue.add(list, result);
    (catalogue, next)
}

fn tool(name: &str) -> Value {
    json!({"name": name, "inputSchema": {"type": "object"}})
}

#[test]
fn the_cursor_is_what_the_server_wrote() {
    for (given, expected, offered) in [
        (None, None, Offered::Known),
        (Some(json!(null)), None, Offered::Known),
        (Some(json!("")), Some(""), Offered::Part),
        (Some(json!("p2")), Some("p2"), Offered::Part),
    ] {
        let mut result = json!({"tools": [tool("a")]});
        if let Some(cursor) = given {
            result["nextCursor"] = cursor;
        }
        let (catalogue, next) = page(List::Tools, &result);
        assert_eq!(next.unwrap().as_deref(), expected);
        assert_eq!(catalogue.offered(List::Tools), &offered);
    }
}

#[test]
fn what_is_no_page_is_named_and_leaves_nothing() {
    for (list, result, expected) in [
        (List::Tools, json!([]), "the answer to tools/list is no object"),
        (List::Tools, json!({}), "the answer to tools/list has no array `tools`"),
        (
            List::Templates,
            json!({"resources": []}),
            "the answer to resources/templates/list has no array `resourceTemplates`",
        ),
        (
            List::Prompts,
            json!({"prompts": [], "nextCursor": 2}),
            "the answer to prompts/list has a `nextCursor` that is no string",
        ),
        (
            List::Tools,
            json!({"tools": [tool("a"), {"title": "b"}]}),
            "the answer to tools/list has a `tools[1]` without a string `name`",
        ),
        (
            List::Resources,
            json!({"resources": [{"name": "a"}]}),
            "the answer to resources/list has a `resources[0]` without a string `uri`",
        ),
    ] {
        let (catalogue, next) = page(list, &result);
        assert_eq!(next.unwrap_err().to_string(), expected);
        assert_eq!(catalogue, Catalogue::default());
    }
}

#[test]
fn pages_add_up_and_the_first_of_two_counts() {
    let mut catalogue = Catalogue::default();
    let first = json!({"tools": [tool("b"), tool("a")], "nextCursor": "2"});
    assert_eq!(catalogue.add(List::Tools, &first).unwrap().as_deref(), Some("2"));
    let second = json!({"tools": [{"name": "a", "title": "another"}, tool("c")]});
    assert_eq!(catalogue.add(List::Tools, &second).unwrap(), None);
    assert_eq!(catalogue.tools().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(catalogue.lists("a") && !catalogue.lists("d"));
    assert_eq!(catalogue.count(List::Tools), 3);
    assert_eq!(catalogue.tools.items["a"].title, None);
    assert_eq!(catalogue.tools.twice.iter().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn the_rest_of_a_catalogue_goes_over_the_wire() {
    let mut catalogue = Catalogue::default();
    catalogue.add(List::Tools, &json!({"tools": [tool("a")], "nextCursor": "2"})).unwrap();
    catalogue.not_offered(List::Prompts);
    catalogue.failed(List::Resources, "503 \u{1b}[31m");
    let text = serde_json::to_string(&catalogue).unwrap();
    assert_eq!(serde_json::from_str::<Catalogue>(&text).unwrap(), catalogue);
    assert_eq!(catalogue.offered(List::Prompts), &Offered::No);
    assert_eq!(catalogue.offered(List::Resources), &Offered::Failed("503 \\u{1b}[31m".to_owned()));
    assert_eq!(catalogue.offered(List::Templates), &Offered::Unasked);
}

#[test]
fn a_list_is_cut_by_count_and_by_size() {
    let many: Vec<_> = (0..=MAX_ITEMS).map(|count| tool(&format!("t{count}"))).collect();
    let (mut catalogue, _) = page(List::Tools, &json!({"tools": many}));
    assert_eq!(catalogue.count(List::Tools), MAX_ITEMS);
    assert!(catalogue.truncated(List::Tools));
    catalogue.add(List::Prompts, &json!({"prompts": [{"name": "p"}]})).unwrap();
    assert!(catalogue.truncated(List::Prompts) && catalogue.count(List::Prompts) == 0);

    let mut large = tool("large");
    large["inputSchema"] = json!({"enum": vec![0; MAX_BYTES / size_of::<Value>()]});
    let (catalogue, _) = page(List::Tools, &json!({"tools": [large, tool("small")]}));
    assert_eq!(catalogue.tools().collect::<Vec<_>>(), ["small"]);
    assert!(catalogue.truncated(List::Tools));
}

#[test]
fn hints_have_the_defaults_of_the_specification() {
    let hints = |tool: &Value| {
        let hints = Tool::read(tool).hints;
        [hints.read_only, hints.destructive, hints.idempotent, hints.open_world]
    };
    assert_eq!(hints(&json!({})), [false, true, false, true]);
    assert_eq!(hints(&json!({"annotations": {"readOnlyHint": "yes"}})), [false, true, false, true]);
    let all = json!({"annotations": {"readOnlyHint": true, "destructiveHint": false,
        "idempotentHint": true, "openWorldHint": false}});
    assert_eq!(hints(&all), [true, false, true, false]);
}
