//! Envelopes by table, and the same result for every chunking.

use proptest::prelude::*;

use super::super::scan::tests::{json, pieces};
use super::*;

fn reader<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Progress, Reader) {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.feed(piece);
    }
    (reader.finish(), reader)
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Progress, Shape, Vec<RequestId>) {
    let (progress, reader) = reader(pieces);
    (progress, reader.shape(), reader.ids().to_vec())
}

#[track_caller]
fn check(text: &str, shape: Shape, ids: &[&str]) {
    let (progress, got, got_ids) = read([text.as_bytes()]);
    assert_eq!(progress, Progress::Complete, "{text}");
    assert_eq!(got, shape, "{text}");
    assert_eq!(got_ids.iter().map(RequestId::as_json).collect::<Vec<_>>(), ids, "{text}");
}

#[test]
fn messages() {
    let call = Method::named(b"tools/call");
    let list = Method::named(b"tools/list");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, Shape::Request(call), &["1"]);
    check(
        r#"{"method":"tools/call","params":{"id":7},"id":"1"}"#,
        Shape::Request(call),
        &["\"1\""],
    );
    check(r#"{"m\u0065thod":"tools\/list","id":0}"#, Shape::Request(list), &["0"]);
    check(r#"{"method":"x/y","id":-1.5e3}"#, Shape::Request(Method::OTHER), &["-1.5e3"]);
    check(r#"{"method":"x","id":null}"#, Shape::Request(Method::OTHER), &[]);
    check(r#"{"method":"x","id":{"a":1}}"#, Shape::Request(Method::OTHER), &[]);
    check(r#"{"method":"x","id":[1]}"#, Shape::Request(Method::OTHER), &[]);
    check(r#"{"method":"x","id":true}"#, Shape::Request(Method::OTHER), &[]);
    check(r#"{"method":"tools/list"}"#, Shape::Notification(list), &[]);
    check(r#"{"id":3,"result":{"method":"x"}}"#, Shape::Reply, &[]);
    check(r#"{"id":3,"error":{"code":1}}"#, Shape::Reply, &[]);
    check(r#"{"id":null,"error":{"code":1}}"#, Shape::Reply, &[]);
    check(r#"{"error":{"code":1}}"#, Shape::Reply, &[]);
    let batch = Shape::Batch { initialize: false };
    check(
        r#"[{"method":"tools/list","id":1},{"method":"ping","id":"a"},{"method":"x"}]"#,
        batch,
        &["1", "\"a\""],
    );
    check(r#"[{"id":1,"method":"initialize"}]"#, Shape::Batch { initialize: true }, &["1"]);
    check(r#"[{"params":{"method":"initialize"},"method":"ping"}]"#, batch, &[]);
}

/// What is kept of the parameters, in words, wherever the method stands.
fn kept(params: &str) -> String {
    let [before, after] = [
        format!(r#"{{"method":"tools/call","params":{params},"id":1,"name":"top"}}"#),
        format!(r#"{{"params":{params},"id":1,"name":"top","method":"tools/call"}}"#),
    ]
    .map(|text| {
        let (progress, reader) = reader([text.as_bytes()]);
        assert_eq!(progress, Progress::Complete, "{text}");
        assert_eq!(reader.shape(), Shape::Request(Method::named(b"tools/call")), "{text}");
        let mut words = vec![reader.name().unwrap_or("-"), reader.traceparent().unwrap_or("-")];
        words.extend(reader.has_cursor().then_some("cursor"));
        words.join(" ")
    });
    assert_eq!(before, after);
    before
}

#[test]
fn what_is_kept_of_parameters() {
    for (params, want) in [
        (r#"{"name":"add","arguments":{"name":"x","cursor":"y"}}"#, "add -"),
        (r#"{"a":{"_meta":{"traceparent":"x"}},"n\u0061me":"\u00e9\/"}"#, "é/ -"),
        (r#"{"cursor":""}"#, "- - cursor"),
        (r#"{"cursor":null,"name":7}"#, "- -"),
        (r#"{"_meta":{"traceparent":"00-0a-b7-01","name":"x"},"name":"a"}"#, "a 00-0a-b7-01"),
        (r#"{"name":"\ud800"}"#, "- -"),
        (r#"[{"name":"a"}]"#, "- -"),
        (r#"{"_meta":[{"traceparent":"x"}],"name":"a"}"#, "a -"),
        (r#"{"name":"a","name":"b"}"#, "b -"),
        (r#"{"name":"a"},"params":{}"#, "- -"),
    ] {
        assert_eq!(kept(params), want, "{params}");
    }
    let [most, more] = [256, 257].map(|length| "n".repeat(length));
    assert_eq!(kept(&format!(r#"{{"name":"{most}"}}"#)), format!("{most} -"));
    assert_eq!(kept(&format!(r#"{{"name":"{more}","_meta":{{"traceparent":"{more}"}}}}"#)), "- -");
    assert_eq!(kept(&format!(r#"{{"cursor":"{}"}}"#, "c".repeat(5000))), "- - cursor");
    let batch = br#"[{"method":"tools/call","id":1,"params":{"name":"a","cursor":"c"}}]"#;
    let (_, reader) = reader([batch.as_slice()]);
    assert_eq!((reader.name(), reader.has_cursor()), (None, false));
}

#[test]
fn what_is_no_message() {
    for text in [
        "",
        "1",
        "\"initialize\"",
        "null",
        "{}",
        "[]",
        "[1]",
        r#"[1,{"method":"ping","id":1}]"#,
        r#"[{"method":"ping","id":1},"x"]"#,
        "[[]]",
        r#"{"method":1}"#,
        r#"{"method":["initialize"]}"#,
        r#"{"method":1,"id":1,"result":{}}"#,
        r#"{"method":["initialize"],"id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"method":"ping","method":"initialize"}"#,
        r#"{"id":1,"id":2,"method":"ping"}"#,
        r#"{"method":"ping""#,
        &format!(r#"{{"method":"ping","params":{}"#, "[".repeat(300)),
    ] {
        assert_eq!(read([text.as_bytes()]).0, Progress::Invalid, "{text}");
    }
}

#[test]
fn a_method_is_known_before_the_body_ends() {
    let mut reader = Reader::default();
    reader.feed(br#"{"method":"tools/call","params":{"blob":""#);
    assert_eq!(reader.progress(), Progress::Incomplete);
    assert_eq!(reader.shape(), Shape::Request(Method::named(b"tools/call")));
    reader.feed(&b"x".repeat(1 << 20));
    assert_eq!(reader.progress(), Progress::Incomplete);
    let mut reader = Reader::default();
    reader.feed(br#"{"method":"notifications/cancelled","params":{"#);
    let cancelled = Method::named(b"notifications/cancelled");
    assert_eq!(reader.shape(), Shape::Notification(cancelled));
}

#[test]
fn a_reply_says_what_it_answers() {
    for (text, want) in [
        (r#"{"id":3,"result":{"id":4}}"#, Some("3")),
        (r#"{"error":{"code":1},"id":"a"}"#, Some("\"a\"")),
        (r#"{"error":{"code":1}}"#, None),
        (r#"{"id":3}"#, None),
        (r#"{"id":3,"method":"ping"}"#, None),
        (r#"[{"id":3,"result":{}}]"#, None),
    ] {
        let (_, reader) = reader([text.as_bytes()]);
        assert_eq!(reader.reply_id().map(RequestId::as_json), want, "{text}");
    }
}

#[test]
fn ids_of_a_batch_are_bounded() {
    let one = r#"{"method":"ping","id":1}"#;
    let text = format!("[{}]", vec![one; 500].join(","));
    assert_eq!(read([text.as_bytes()]).2.len(), BATCH_IDS_MAX);
}

proptest! {
    #[test]
    fn chunking_changes_nothing(text in prop_oneof![json(), any::<Vec<u8>>()], cut in any::<Vec<u8>>()) {
        let facts = |pieces| {
            let (progress, reader) = reader(pieces);
            let name = reader.name().map(str::to_owned);
            (progress, reader.shape(), reader.ids().to_vec(), name, reader.has_cursor())
        };
        prop_assert_eq!(facts(pieces(&text, &cut)), facts(vec![text.as_slice()]));
    }
}

#[test]
fn what_a_client_gives_up_is_named() {
    let cancelled = |method: &str, id: &str| {
        let mut reader = Reader::default();
        reader.feed(format!(r#"{{"method":"{method}","params":{{"requestId":{id}}}}}"#).as_bytes());
        reader.cancelled_id().map(|id| id.as_json().to_owned())
    };
    assert_eq!(cancelled("notifications/cancelled", "7").as_deref(), Some("7"));
    assert_eq!(cancelled("notifications/cancelled", r#""a""#).as_deref(), Some(r#""a""#));
    assert_eq!(cancelled("notifications/cancelled", "{}"), None);
    assert_eq!(cancelled("tools/call", "7"), None);
}
