//! Numbers, moments and JSON as people read them. Every text that comes from a server or a person
//! goes through here, and is one line of bounded length then.
//!
//! Does not know: Markdown, HTML, what is told.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::mcp::shown::{json, shown};
use crate::records::journal::Record;

/// Characters of a text.
const TEXT_MAX: usize = 400;
/// Facts of a record.
const FACTS_MAX: usize = 40;
/// Characters of all facts of a record.
const CHARS_MAX: usize = 3_000;

/// A text on one line.
pub(super) fn line(text: &str) -> String {
    shown(text, TEXT_MAX)
}

/// The text under a key, on one line.
pub(super) fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(line)
}

/// When a record was written, in milliseconds since 1970.
pub(super) fn at(record: &Record) -> Option<u64> {
    let at = humantime::parse_rfc3339(&record.at).ok()?;
    Some(crate::records::history::millis(at))
}

/// A moment: `2026-02-06 13:04:05`, UTC.
pub(super) fn moment(at: u64) -> String {
    stamp(at).replace('T', " ").replace('Z', "")
}

/// A moment as records have it, to the second.
pub(super) fn stamp(at: u64) -> String {
    // The last second that RFC 3339 can write.
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at.min(253_402_300_799_000));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A span: `2d 4h 5m`, `12m 5s`, `1s 234ms`.
pub(super) fn span(millis: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    // What is much shorter than the whole is not told.
    let finest = match millis {
        0..10_000 => 1,
        10_000..7_200_000 => 1_000,
        _ => 60_000,
    };
    let mut rest = millis;
    let mut told = Vec::new();
    for (length, unit) in units.into_iter().filter(|(length, _)| *length >= finest) {
        if rest >= length {
            told.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if told.is_empty() { "0s".to_owned() } else { told.join(" ") }
}

/// A count with thousands apart: `12 345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A share, 0 to 1, in percent.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        it if it < 0.01 => "< 0.01 %".to_owned(),
        it if it < 10.0 => format!("{it:.2} %"),
        it if it < 99.995 => format!("{it:.1} %"),
        _ => "100 %".to_owned(),
    }
}

/// A time in milliseconds.
pub(super) fn time(millis: f64) -> String {
    match millis {
        it if it < 10.0 => format!("{it:.2} ms"),
        it if it < 100.0 => format!("{it:.1} ms"),
        it if it < 10_000.0 => format!("{it:.0} ms"),
        it => format!("{:.1} s", it / 1e3),
    }
}

/// A value that may be missing.
pub(super) fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

/// What a record says, by name, without what is told elsewhere (`but`) and what is empty.
pub(super) fn facts(detail: &Value, but: &[&str]) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for (key, value) in detail.as_object().into_iter().flatten() {
        if !but.contains(&key.as_str()) {
            add(&mut facts, &line(key), value, 0);
        }
    }
    let mut room = CHARS_MAX;
    let mut fits = |(key, value): &&(String, String)| {
        room = room.saturating_sub(key.chars().count() + value.chars().count());
        room > 0
    };
    let kept = facts.iter().take(FACTS_MAX).take_while(|fact| fits(fact)).count();
    let left_out = facts.len() - kept;
    facts.truncate(kept);
    if left_out > 0 {
        facts.push(("…".to_owned(), format!("{left_out} more in the journal")));
    }
    facts
}

fn add(facts: &mut Vec<(String, String)>, name: &str, value: &Value, depth: usize) {
    match value {
        Value::Null => {}
        Value::Object(members) if depth < 2 && !is_split(value) => {
            for (key, value) in members {
                add(facts, &format!("{name} {}", line(key)), value, depth + 1);
            }
        }
        Value::Array(items)
            if depth < 2 && items.iter().any(|it| it.is_object() || it.is_array()) =>
        {
            for (number, item) in items.iter().enumerate() {
                facts.push((format!("{name} {}", number + 1), plain(item)));
            }
        }
        other => facts.push((name.to_owned(), plain(other))),
    }
}

fn is_split(value: &Value) -> bool {
    let members = value.as_object().map_or(0, serde_json::Map::len);
    members == 2 && value["primary"].is_u64() && value["secondary"].is_u64()
}

/// A value without the quotes and braces of JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => line(text),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(it) if !number.is_u64() && !number.is_i64() => rounded(it),
            _ => number.to_string(),
        },
        Value::Array(items) if items.iter().all(|it| !it.is_object() && !it.is_array()) => {
            line(&items.iter().take(FACTS_MAX).map(plain).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) if members.values().all(|it| !it.is_object() && !it.is_array()) => {
            let told = members.iter().filter(|(_, it)| !it.is_null()).take(FACTS_MAX);
            let told = told.map(|(key, it)| format!("{key} {}", plain(it)));
            line(&told.collect::<Vec<_>>().join(", "))
        }
        other => json(other, TEXT_MAX),
    }
}

/// A number with three digits that count.
pub(super) fn rounded(number: f64) -> String {
    match number.abs() {
        it if it >= 1e6 || (it > 0.0 && it < 1e-3) => format!("{number:.1e}"),
        it if it >= 1e3 => format!("{number:.0}"),
        it if it >= 10.0 => format!("{number:.1}"),
        it if it.fract().abs() < f64::EPSILON => format!("{number:.0}"),
        _ => format!("{number:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((count(0), count(999)), ("0".to_owned(), "999".to_owned()));
        for (share, told) in
            [(0.0, "0 %"), (1e-6, "< 0.01 %"), (0.0123, "1.23 %"), (0.5, "50.0 %"), (1.0, "100 %")]
        {
            assert_eq!(percent(share), told);
        }
        assert_eq!(
            (time(1.234), time(45.67), time(12_345.0)),
            ("1.23 ms".into(), "45.7 ms".into(), "12.3 s".into())
        );
        assert_eq!(
            (span(1_234), span(65_432), span(90_061_000)),
            ("1s 234ms".into(), "1m 5s".into(), "1d 1h 1m".into())
        );
        assert_eq!(moment(1_770_000_000_000), "2026-02-02 02:40:00");
        assert_eq!(moment(u64::MAX), "9999-12-31 23:59:59");
    }

    #[test]
    fn facts_are_flat_and_few() {
        let detail = json!({
            "arm": "secondary", "why": null, "split": { "primary": 90, "secondary": 10 },
            "versions": { "primary": "one\n2", "secondary": null },
            "checks": [{ "id": "handshake", "ok": true }, { "id": "sla", "ok": false }],
            "left": "out",
        });
        let told = facts(&detail, &["left"]);
        let told: Vec<_> = told.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            told,
            [
                "arm=secondary",
                "checks 1=id handshake, ok yes",
                "checks 2=id sla, ok no",
                "split=primary 90, secondary 10",
                "versions primary=one\\n2",
            ]
        );
        let many = json!({ "all": vec![json!({ "text": "x".repeat(900) }); 100] });
        let told = facts(&many, &[]);
        assert!(told.len() < 10, "{}", told.len());
        assert!(told.last().unwrap().1.ends_with("more in the journal"));
    }
}
