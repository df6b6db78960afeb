//! The `[health]` section: how often an endpoint is asked, what it is asked, and what it has to
//! answer.
//!
//! Does not know: how a handshake is made.

use std::time::Duration;

use serde_json::Value as Json;

use super::check::{distinct, fresh, host_value, without_password};
use super::file::{Field, Section};
use super::{Expect, Health, ProbeCall, Protocol, secret};
use crate::names::BadName;

/// Every call is made at every handshake; more belong into a test of the server.
const CALLS_MAX: usize = 16;

/// As many as a server commonly has.
const TOOLS_MAX: usize = 1000;

pub(super) fn health(mut section: Section<'_>) -> Health {
    let seconds = Duration::from_secs;
    let words = [
        ("auto", Protocol::Auto),
        ("modern", Protocol::Modern),
        ("legacy", Protocol::Legacy),
        ("sse", Protocol::Sse),
    ];
    Health {
        interval: section.duration_or_off("interval", seconds(5)),
        timeout: section.duration("timeout", seconds(5)),
        unhealthy_after: section.number("unhealthy_after", 1..=100, 3) as u32,
        healthy_after: section.number("healthy_after", 1..=100, 2) as u32,
        slow_start: section.duration_or_off("slow_start", seconds(30)),
        suspect_after: section.number("suspect_after", 1..=1000, 3) as u32,
        eject_after: section.number_or_off("eject_after", 1..=1000, 10).map(|it| it as u32),
        protocol: section.choice("protocol", &words),
        host: section.parse("host", None, |text| {
            let shown = || without_password(text);
            let bad = || BadName(format!("{} is no host, such as mcp.example.com", shown()));
            host_value(text).map(Some).ok_or_else(bad)
        }),
        token: section.take("token").and_then(|field| secret::bearer(&field)),
        expected_tools: expected_tools(section.take("expected_tools")),
        calls: calls(section.take("calls")),
    }
}

fn expected_tools(field: Option<Field<'_>>) -> Vec<String> {
    // To expect nothing is what holds without the key.
    let Some(field) = field.filter(|field| !field.is_empty_list()) else { return Vec::new() };
    distinct(&field, TOOLS_MAX, |field, taken| {
        field.parse_text(|text| fresh(name(text)?, text, taken))
    })
}

fn name(text: &str) -> Result<String, BadName> {
    if text.is_empty() { Err(BadName("is empty".into())) } else { Ok(text.to_owned()) }
}

fn calls(field: Option<Field<'_>>) -> Vec<ProbeCall> {
    let Some(field) = field.filter(|field| !field.is_empty_list()) else { return Vec::new() };
    distinct(&field, CALLS_MAX, |field, _| call(field))
}

fn call(field: &Field<'_>) -> Option<ProbeCall> {
    let mut section = field.section()?;
    let (tool, arguments) = tool_call(&mut section, field);
    let expect = expect(section.section("expect"));
    Some(ProbeCall { tool: tool?, arguments, expect })
}

/// A tool and its arguments.
pub(super) fn tool_call(
    section: &mut Section<'_>,
    field: &Field<'_>,
) -> (Option<String>, serde_json::Map<String, Json>) {
    let tool = section.take("tool");
    if tool.is_none() {
        field.problem("names no `tool`");
    }
    let arguments = section.take("arguments").and_then(|field| arguments(&field));
    (tool.and_then(|tool| tool.parse_text(name)), arguments.unwrap_or_default())
}

fn arguments(field: &Field<'_>) -> Option<serde_json::Map<String, Json>> {
    if let Json::Object(arguments) = field.json()? {
        return Some(arguments);
    }
    field.problem("must be a table: the arguments of a tool have names");
    None
}

fn expect(mut section: Section<'_>) -> Expect {
    Expect {
        is_error: section.take("is_error").and_then(|field| field.boolean()).unwrap_or_default(),
        text_contains: section.take("text_contains").and_then(|field| field.parse_text(name)),
        structured: section.take("structured").and_then(|field| field.json()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::environment::Environment;
    use super::super::load;
    use super::*;

    fn read(text: &str) -> Result<Health, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.toml");
        std::fs::write(&file, text).unwrap();
        let environment = Environment([("TOKEN".to_owned(), "s3cret".to_owned())].into());
        load(Some(Path::new(&file)), None, &environment)
            .map(|config| config.health)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_call_is_toml_made_json() {
        let health = read(
            "[[health.calls]]\ntool = 'add'\narguments = { a = 1, b = 2.5, c = [true, 'x'] }\n\
             expect = { structured = { sum = 3.5 }, text_contains = '3', is_error = true }\n\
             [[health.calls]]\ntool = 'plain'",
        )
        .unwrap();
        let [add, plain] = &health.calls[..] else { panic!("{health:?}") };
        let arguments = serde_json::json!({ "a": 1, "b": 2.5, "c": [true, "x"] });
        assert_eq!(Json::Object(add.arguments.clone()), arguments);
        assert_eq!(add.expect.structured, Some(serde_json::json!({ "sum": 3.5 })));
        assert_eq!((add.expect.is_error, add.expect.text_contains.as_deref()), (true, Some("3")));
        assert_eq!((plain.arguments.len(), &plain.expect), (0, &Expect::default()));
    }

    #[test]
    fn a_token_is_sent_as_bearer_and_never_shown() {
        let health = read("[health]\ntoken = '${TOKEN}'").unwrap();
        assert_eq!(health.token.as_ref().unwrap().as_bytes(), b"Bearer s3cret");
        assert!(!format!("{health:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_refused() {
        for (text, words) in [
            ("interval = '0s'", "more than 0s"),
            ("unhealthy_after = 0", "from 1 to 100"),
            ("protocol = 'http'", "`http` is none of `auto`, `modern`"),
            ("host = 'a b'", "is no host"),
            ("token = 'Bearer x'", "the token alone"),
            ("token = ''", "is empty"),
            ("expected_tools = ['a', 'a']", "there already"),
            ("calls = [{ arguments = {} }]", "names no `tool`"),
            ("calls = [{ tool = 'a', argument = {} }]", "did you mean `arguments`"),
            ("calls = [{ tool = 'a', arguments = [1] }]", "must be a table"),
            ("calls = [{ tool = 'a', arguments = { x = inf } }]", "not an infinite number"),
            ("calls = [{ tool = 'a', expect = { is_error = 'no' } }]", "must be true or false"),
        ] {
            let found = read(&format!("[health]\n{text}")).unwrap_err();
            assert!(found.contains(words), "{text}: {found}");
        }
    }
}
