//! Whether the answer to a probe call has the shape that the operator expects.
//!
//! Pure. Does not know: how the call was made.

use serde_json::Value;

use crate::config::Expect;

use crate::mcp::shown::plain;

/// Compares the `result` of a `tools/call` with what is expected of it.
///
/// # Errors
/// What came instead, in one sentence.
pub(super) fn check(expect: &Expect, result: &Value) -> Result<(), String> {
    let texts =
        || result["content"].as_array().into_iter().flatten().filter_map(|it| it["text"].as_str());
    let said = || plain(texts().next().unwrap_or("nothing"));
    if let Some(kind @ ("input_required" | "task")) = result["resultType"].as_str() {
        return Err(format!("the result is not there yet: {kind}"));
    }
    match (expect.is_error, result["isError"].as_bool().unwrap_or(false)) {
        (false, true) => return Err(format!("the tool says isError: {}", said())),
        (true, false) => return Err(format!("the tool was to say isError, and says: {}", said())),
        _ => {}
    }
    if let Some(wanted) = &expect.text_contains
        && !texts().any(|text| text.contains(wanted))
    {
        return Err(format!("no text contains `{}`; it says: {}", plain(wanted), said()));
    }
    match &expect.structured {
        Some(wanted) => within("structuredContent", wanted, &result["structuredContent"]),
        None => Ok(()),
    }
}

/// Whether a value holds at least what is wanted: objects may have more keys, all else is equal.
fn within(path: &str, wanted: &Value, found: &Value) -> Result<(), String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().try_for_each(|(key, wanted)| {
                let path = format!("{path}.{}", plain(key));
                match found.get(key) {
                    Some(found) => within(&path, wanted, found),
                    None => Err(format!("{path} is missing")),
                }
            })
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let mut pairs = wanted.iter().zip(found).enumerate();
            pairs.try_for_each(|(at, (wanted, found))| {
                within(&format!("{path}[{at}]"), wanted, found)
            })
        }
        _ if is_same(wanted, found) => Ok(()),
        _ => {
            let [found, wanted] = [found, wanted].map(|it| plain(&it.to_string()));
            Err(format!("{path} is {found} and not {wanted}"))
        }
    }
}

/// 1 and 1.0 are one number in JSON.
fn is_same(one: &Value, two: &Value) -> bool {
    one == two || one.as_f64().is_some_and(|number| two.as_f64() == Some(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shapes() {
        let expect = |is_error, text: &str, structured: Value| Expect {
            is_error,
            text_contains: (!text.is_empty()).then(|| text.to_owned()),
            structured: (!structured.is_null()).then_some(structured),
        };
        let text =
            json!({ "content": [{ "type": "image" }, { "type": "text", "text": "it is ok" }] });
        let error = json!({ "isError": true, "content": [{ "type": "text", "text": "broken\n" }] });
        let data = json!({ "structuredContent": { "ok": true, "n": 1, "more": { "a": [1, { "b": 2, "c": 3 }] } } });
        for (expect, result, why) in [
            (expect(false, "", json!(null)), &text, ""),
            (expect(false, "is ok", json!(null)), &text, ""),
            (expect(false, "no", json!(null)), &text, "no text contains `no`; it says: it is ok"),
            (expect(false, "", json!(null)), &error, "says isError: broken\\n"),
            (expect(true, "broken", json!(null)), &error, ""),
            (expect(true, "", json!(null)), &text, "was to say isError"),
            (expect(false, "", json!({ "ok": true, "n": 1.0 })), &data, ""),
            (expect(false, "", json!({ "more": { "a": [1, { "b": 2 }] } })), &data, ""),
            (
                expect(false, "", json!({ "ok": false })),
                &data,
                "structuredContent.ok is true and not false",
            ),
            (
                expect(false, "", json!({ "more": { "a": [1] } })),
                &data,
                "structuredContent.more.a is",
            ),
            (expect(false, "", json!({ "x": 1 })), &data, "structuredContent.x is missing"),
            (expect(false, "", json!({ "x": 1 })), &text, "structuredContent is null"),
            (
                expect(false, "", json!(null)),
                &json!({ "resultType": "input_required" }),
                "not there yet",
            ),
        ] {
            let found = check(&expect, result);
            match found {
                Ok(()) => assert_eq!(why, "", "{expect:?}"),
                Err(found) => {
                    assert!(!why.is_empty() && found.contains(why), "{expect:?}: {found}");
                }
            }
        }
    }
}
