//! Answers as servers write them, and the same messages for every chunking.

use proptest::prelude::*;

use super::super::scan::tests::{json, pieces};
use super::*;

fn id(text: &str) -> RequestId {
    RequestId::of(Token::Whole(text.as_bytes())).unwrap()
}

/// The messages in short.
fn told<'a>(mut body: Body, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut messages = Vec::new();
    for piece in pieces {
        body.feed(piece, &mut |message| messages.push(short(&message)));
    }
    body.finish(&mut |message| messages.push(short(&message)));
    messages.join(", ")
}

fn short(message: &Message) -> String {
    let of = |id: &Option<RequestId>| id.as_ref().map_or("-", RequestId::as_json).to_owned();
    match message {
        Message::Notification => "notification".to_owned(),
        Message::Request(id) => format!("request {}", of(id)),
        Message::Invalid(why) => format!("{why:?}"),
        Message::Response(Response { id, content }) => match *content {
            Content::Error { code, invalid_request_state } => {
                let state = if invalid_request_state { " state" } else { "" };
                format!("{} error {}{state}", of(id), code.map_or("-".into(), |c| c.to_string()))
            }
            Content::Result { is_error, input_required, task_failed, task_error_code } => {
                let mut words = vec![of(id), "result".to_owned()];
                words.extend(is_error.then(|| "is_error".to_owned()));
                words.extend(input_required.then(|| "input".to_owned()));
                words.extend(task_failed.then(|| "failed".to_owned()));
                words.extend(task_error_code.map(|code| code.to_string()));
                words.join(" ")
            }
        },
    }
}

#[track_caller]
fn check(text: &str, want: &str) {
    assert_eq!(told(Body::json(), [text.as_bytes()]), want, "{text}");
}

#[track_caller]
fn check_stream(text: &str, want: &str) {
    assert_eq!(told(Body::stream(), [text.as_bytes()]), want, "{text:?}");
}

#[test]
fn responses() {
    check(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "1 result");
    check(r#"{"result":{"content":[{"isError":true}],"isError":false},"id":"a"}"#, "\"a\" result");
    check(r#"{"id":1,"result":{"structuredContent":{"isError":true}}}"#, "1 result");
    check(r#"{"id":1,"result":{"content":[],"is\u0045rror":true}}"#, "1 result is_error");
    check(r#"{"id":1,"result":{"isError":"true"}}"#, "1 result");
    check(r#"{"id":1,"result":{"resultType":"input_required"}}"#, "1 result input");
    check(r#"{"id":1,"result":null}"#, "1 result");
    check(r#"{"id":1,"result":[{"isError":true}],"error":null}"#, "1 result");
    check(r#"{"id":null,"error":{"code":-32600,"message":"x"}}"#, "- error -32600");
    check(r#"{"id":"server-error","error":{"code":-32600}}"#, "\"server-error\" error -32600");
    check(r#"{"error":{"data":{"code":1},"code":-32603},"result":null}"#, "- error -32603");
    check(r#"{"error":"invalid_token"}"#, "- error -");
    check(r#"{"error":[],"id":1}"#, "1 error -");
    check(r#"{"error":{"code":"x"},"id":1}"#, "1 error -");
    check(
        r#"{"error":{"code":-32602,"data":{"a":[],"reason":"invalid_request_state"}},"id":2}"#,
        "2 error -32602 state",
    );
    check(r#"{"id":1,"id":2,"result":{"isError":true,"isError":false}}"#, "2 result");
    let long = "x".repeat(5000);
    check(&format!(r#"{{"id":"{long}","{long}":0,"result":{{}}}}"#), "- result");
}

#[test]
fn tasks() {
    let failed = r#"{"id":1,"result":{"taskId":"t","status":"failed","error":{"code":-32603}}}"#;
    check(failed, "1 result failed -32603");
    check(r#"{"id":1,"result":{"status":"failed","taskId":"t"}}"#, "1 result failed");
    check(r#"{"id":1,"result":{"task":{"taskId":"t","status":"failed"}}}"#, "1 result failed");
    check(r#"{"id":1,"result":{"task":{"taskId":"t","status":"working"}}}"#, "1 result");
    check(r#"{"id":1,"result":{"taskId":"t","status":"input_required"}}"#, "1 result input");
    check(r#"{"id":1,"result":{"status":"failed"}}"#, "1 result");
}

#[test]
fn other_messages_and_none() {
    check(r#"{"method":"sampling/createMessage","id":0,"params":{"id":7}}"#, "request 0");
    check(r#"{"id":[],"method":"ping"}"#, "request -");
    check(r#"{"method":"notifications/progress","params":{"result":{}}}"#, "notification");
    check("", "");
    check(" \n", "");
    check("{}", "NoMessage");
    check("[]", "NoMessage");
    check("1", "NoMessage");
    check("\"x\"", "NoMessage");
    check(r#"{"detail":"Not Found"}"#, "NoMessage");
    check("Not Found", "NotJson");
    check(r#"{"id":1,"result":{}"#, "NotJson");
    check(r#"{"id":1,"result":{}} x"#, "NotJson");
    check(&format!(r#"{{"id":1,"result":{}"#, "[".repeat(300)), "TooDeep");
}

#[test]
fn batches() {
    check(
        r#"[{"id":1,"result":{"isError":true}},{"error":{"code":1},"id":2},{"method":"x"}]"#,
        "1 result is_error, 2 error 1, notification",
    );
    check(
        r#"[1,[{"id":1,"result":{}}],{},{"id":2,"result":{"task":{}}}]"#,
        "NoMessage, NoMessage, NoMessage, 2 result",
    );
    check(r#"[{"id":1,"result":{}},"#, "NotJson");
    let many = format!("[{}]", vec![r#"{"id":1,"result":{}}"#; 500].join(","));
    assert_eq!(told(Body::json(), [many.as_bytes()]).split(", ").count(), MESSAGES_MAX);
}

#[test]
fn streams() {
    let result = r#"{"id":1,"result":{}}"#;
    check_stream(&format!("event: message\r\ndata: {result}\r\n\r\n: ping\r\n\r\n"), "1 result");
    check_stream(&format!("data: \nid: 0\nretry: 3000\n\ndata: {result}\n\n"), "1 result");
    check_stream("data: {\"id\":1,\ndata: \"result\":\ndata: {}}\n\n", "1 result");
    check_stream("data: {\"id\":1\n\ndata: ,\"result\":{}}\n\n", "BadEvent, BadEvent");
    check_stream(&format!("data: {result}"), "");
    check_stream(&format!("data: {result}\n"), "");
    check_stream(&format!("data: {result} x\n\ndata: {result}\n\n"), "BadEvent, 1 result");
    check_stream(&format!("data: [{result},{result}]\n\n"), "1 result, 1 result");
    check_stream("data: {}\n\ndata:\ndata:\n\ndata:  \n\n", "BadEvent");
    check_stream(&format!("data: {}\n\ndata: {result}\n\n", "[".repeat(999)), "TooDeep, 1 result");
    check_stream(
        &format!("event: endpoint\ndata: /m?a=1\n\ndata: x\nevent: y\n\ndata: {result}\n\n"),
        "1 result",
    );
    check_stream(
        "data: {\"method\":\"roots/list\",\"id\":0}\n\ndata: {\"method\":\"x\"}\n\n",
        "request 0, notification",
    );
}

#[test]
fn what_a_stream_says_of_itself() {
    let (mut body, mut ignore) = (Body::stream(), |_| {});
    assert!(!body.saw_event_id());
    body.feed(b"id: 1\nretry: 3000\n", &mut ignore);
    assert!(!body.saw_event_id());
    body.feed(b"data:\n\n", &mut ignore);
    assert!(body.saw_event_id());
    assert_eq!(body.retry(), Some(Duration::from_secs(3)));
}

#[test]
fn ids_are_compared_by_value() {
    for (one, other, same) in [
        ("1", "1", true),
        ("1", "1.0", true),
        ("10", "1e1", true),
        ("0", "-0", true),
        ("1", "2", false),
        ("1", "\"1\"", false),
        (r#""a""#, r#""\u0061""#, true),
        (r#""a/b""#, r#""a\/b""#, true),
        (r#""a""#, r#""A""#, false),
    ] {
        assert_eq!(id(one).matches(&id(other)), same, "{one} {other}");
        assert_eq!(id(other).matches(&id(one)), same, "{other} {one}");
    }
}

#[test]
fn which_responses_answer() {
    let result = Content::Result {
        is_error: false,
        input_required: false,
        task_failed: false,
        task_error_code: None,
    };
    let error = Content::Error { code: None, invalid_request_state: false };
    for (given, content, want) in [
        (Some("1"), result, true),
        (Some("2"), result, false),
        (None, result, false),
        (Some("2"), error, true),
        (None, error, true),
    ] {
        let response = Response { id: given.map(id), content };
        assert_eq!(response.answers(Some(&id("1"))), want, "{response:?}");
        assert!(response.answers(None));
    }
}

/// A stream of lines, some of which are data.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        json().prop_map(|json| [b"data: ".as_slice(), &json, b"\n\n"].concat()),
        Just(b"data: {\"id\":1,\"result\":{\"isError\":true}}\r\n\r\n".to_vec()),
        Just(b"data: [{\"id\":1,\"error\":{\"code\":1}},{\"method\":\"x\"}]\r\r".to_vec()),
        Just(b"event: endpoint\n".to_vec()),
        Just(b"data: {\ndata:}\n\n".to_vec()),
        "(data|id|retry)?:? ?[0-9a-z☃{}\"]{0,9}(\n|\r\n|\r)".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn chunking_changes_nothing(
        text in prop_oneof![stream(), json(), any::<Vec<u8>>()], cut in any::<Vec<u8>>(),
    ) {
        for body in [Body::json, Body::stream] {
            let whole = told(body(), [text.as_slice()]);
            prop_assert_eq!(told(body(), pieces(&text, &cut)), whole);
        }
    }

    #[test]
    fn events_are_read_as_bodies_are(text in json()) {
        let event = [b"data: ".as_slice(), &text, b"\n\n"].concat();
        let body = told(Body::json(), [text.as_slice()]).replace("NoMessage", "BadEvent");
        prop_assert_eq!(told(Body::stream(), [event.as_slice()]), body);
    }
}
