//! What servers really answer to the same fault, and every rule of attribution.

use super::super::answer::Body;
use super::*;

const MODERN: Era = Era::Modern;
const LEGACY: Era = Era::Legacy;

/// A request that waits for an answer.
fn asks(era: Era, method: &str) -> Facts {
    let call =
        Call { era, kind: Kind::Post, method: Method::named(method.as_bytes()), by_uri: false };
    Facts {
        call,
        wants: Wants::Answer,
        session_is_live: false,
        asks_other_arm_tool: false,
        has_cursor: false,
    }
}

fn tool(era: Era) -> Facts {
    asks(era, "tools/call")
}

/// Something else than a POST.
fn of_kind(kind: Kind, method: Method) -> Facts {
    let call = Call { kind, method, ..tool(LEGACY).call };
    Facts { call, wants: Wants::Nothing, ..tool(LEGACY) }
}

/// What is in a body, which is a stream if it looks like one.
fn heard(facts: &Facts, status: u16, body: &str) -> Heard {
    let json = body.is_empty() || body.starts_with(['{', '[', '<', 'N']);
    let mut reader = if json { Body::json() } else { Body::stream() };
    let mut request = Reader::default();
    request.feed(br#"{"method":"x","id":1}"#);
    let mut heard = Heard::default();
    let mut hear = |message| heard.hear(&message, facts, status, request.ids().first());
    reader.feed(body.as_bytes(), &mut hear);
    reader.finish(&mut hear);
    heard
}

fn words(verdict: Verdict) -> String {
    let Verdict { outcome, blame, reason } = verdict;
    format!("{} {} {reason}", outcome.as_str(), blame.as_str())
}

#[track_caller]
fn check_close(facts: Facts, status: u16, body: &str, close: Close, want: &str) {
    let heard = heard(&facts, status, body);
    let verdict = verdict(&facts, End::Head { status, heard, close });
    assert_eq!(words(verdict), want, "{facts:?} {status} {body} {close:?}");
}

#[track_caller]
fn check(facts: Facts, status: u16, body: &str, want: &str) {
    check_close(facts, status, body, Close::Complete, want);
}

#[track_caller]
fn check_end(end: End, want: &str) {
    assert_eq!(words(verdict(&tool(LEGACY), end)), want);
}

/// The same answer as the only event of a stream, as the servers write it.
fn python(json: &str) -> String {
    format!("event: message\r\ndata: {json}\r\n\r\n")
}

fn typescript(json: &str) -> String {
    format!("event: message\nid: 7f_1\ndata: \n\nevent: message\nid: 7f_2\ndata: {json}\n\n")
}

fn rust(json: &str) -> String {
    format!("data: \nid: 0/0\nretry: 3000\n\ndata: {json}\nid: 1/0\n\n")
}

/// A result that says `isError`.
fn failed(text: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":true}}}}"#
    )
}

fn error(code: i64, message: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"{message}"}}}}"#)
}

fn coded(code: i64) -> String {
    error(code, "x")
}

const PAGE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add"}],"ttlMs":0}}"#;

#[test]
fn a_tool_that_throws() {
    let want = "tool_error relative is_error";
    let hidden = failed("Error executing tool boom");
    check(tool(MODERN), 200, &hidden, want);
    check(tool(MODERN), 200, &failed("kaboom"), want);
    check(tool(MODERN), 200, &rust(&failed("kaboom")), want);
    check(tool(LEGACY), 200, &python(&hidden), want);
    check(tool(LEGACY), 200, &python(&failed("Error executing tool boom: kaboom")), want);
    check(tool(LEGACY), 200, &typescript(&failed("kaboom")), want);
    check(tool(LEGACY), 200, &rust(&failed("kaboom")), want);
}

#[test]
fn an_unknown_tool() {
    for (elsewhere, as_result, as_error) in [
        (false, "tool_error relative is_error", "client_error relative invalid_params"),
        (true, "skew skew tool_not_here", "skew skew tool_not_here"),
    ] {
        let calls = |era| Facts { asks_other_arm_tool: elsewhere, ..tool(era) };
        check(calls(MODERN), 200, &failed("Unknown tool: x"), as_result);
        check(calls(MODERN), 200, &error(-32602, "Tool x not found"), as_error);
        check(calls(MODERN), 200, &rust(&error(-32602, "tool not found")), as_error);
        check(calls(LEGACY), 200, &python(&failed("Unknown tool: x")), as_result);
        let wrapped = failed("MCP error -32602: Tool x not found");
        check(calls(LEGACY), 200, &typescript(&wrapped), as_result);
        check(calls(LEGACY), 200, &rust(&error(-32602, "tool not found")), as_error);
    }
}

#[test]
fn bad_arguments() {
    let want = "tool_error relative is_error";
    let text = failed("1 validation error for add\\nb\\n  Field required");
    for body in [text.clone(), python(&text), typescript(&text), rust(&text)] {
        check(tool(MODERN), 200, &body, want);
        check(tool(LEGACY), 200, &body, want);
    }
}

#[test]
fn a_handler_that_raises_an_internal_error() {
    let want = "rpc_error arm internal_error";
    let body = error(-32603, "Internal error");
    for body in [body.clone(), python(&body), typescript(&body), rust(&body)] {
        check(tool(MODERN), 200, &body, want);
        check(tool(LEGACY), 200, &body, want);
        // Even for a tool that only the other arm lists.
        check(Facts { asks_other_arm_tool: true, ..tool(LEGACY) }, 200, &body, want);
    }
    check(tool(MODERN), 400, &coded(-32603), want);
}

#[test]
fn a_handler_that_raises_invalid_params() {
    let want = "client_error relative invalid_params";
    check(tool(MODERN), 400, &error(-32602, "bad"), want);
    check(tool(MODERN), 200, &error(-32602, "bad"), want);
    check(tool(MODERN), 200, &rust(&error(-32602, "bad")), want);
    check(tool(LEGACY), 200, &python(&error(-32602, "bad")), want);
}

#[test]
fn an_unknown_method() {
    let want = "client_error relative method_not_found";
    let body = error(-32601, "Method not found");
    check(asks(MODERN, "made/up"), 404, &body, want);
    for body in [python(&body), typescript(&body), rust(&body)] {
        check(asks(LEGACY, "made/up"), 200, &body, want);
    }
    let body = python(&error(-32602, "Invalid request parameters"));
    check(asks(LEGACY, "made/up"), 200, &body, "client_error relative invalid_params");
}

#[test]
fn a_garbage_cursor() {
    let list = |era| Facts { has_cursor: true, ..asks(era, "tools/list") };
    for era in [MODERN, LEGACY] {
        for body in [PAGE.to_owned(), python(PAGE), typescript(PAGE), rust(PAGE)] {
            check(list(era), 200, &body, "ok nobody answered");
        }
        check(list(era), 200, &error(-32602, "Invalid cursor"), "skew skew cursor");
        check(list(era), 400, &error(-32602, "Invalid cursor"), "skew skew cursor");
    }
    let with_cursor = Facts { has_cursor: true, ..tool(LEGACY) };
    check(with_cursor, 200, &error(-32602, "x"), "client_error relative invalid_params");
}

#[test]
fn an_unknown_session() {
    let python =
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}"#;
    let python1 = r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}"#;
    let typescript =
        r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}"#;
    let rust = "Not Found: Session not found";
    for body in [python, python1, typescript, rust] {
        check(tool(LEGACY), 404, body, "client_error relative http_4xx");
        let lives = Facts { session_is_live: true, ..tool(LEGACY) };
        check(lives, 404, body, "http_error arm session_lost");
        check(
            Facts { call: of_kind(Kind::Stream, Method::STREAM).call, ..lives },
            404,
            body,
            "http_error arm session_lost",
        );
    }
    let everything = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    check(tool(LEGACY), 400, everything, "client_error relative http_4xx");
    check(tool(LEGACY), 200, PAGE, "ok nobody answered");
    let lives = Facts { session_is_live: true, ..asks(LEGACY, "made/up") };
    check(lives, 404, &coded(-32601), "client_error relative method_not_found");
}

#[test]
fn codes() {
    let state = r#"{"error":{"code":-32602,"message":"Invalid or expired requestState","data":{"reason":"invalid_request_state"}},"jsonrpc":"2.0","id":1}"#;
    check(tool(MODERN), 400, state, "skew skew request_state");
    for (code, in_200, in_400) in [
        (-32603, "rpc_error arm internal_error", "rpc_error arm internal_error"),
        (-32020, "skew skew header_mismatch", "skew skew header_mismatch"),
        (-32042, "ok nobody url_elicitation", "ok nobody url_elicitation"),
        (
            -32002,
            "client_error nobody resource_not_found",
            "client_error nobody resource_not_found",
        ),
        (-32800, "client_error nobody request_cancelled", "client_error nobody request_cancelled"),
        (-32700, "client_error nobody parse_error", "client_error nobody parse_error"),
        (-32600, "client_error relative invalid_request", "client_error relative http_4xx"),
        (
            -32601,
            "client_error relative method_not_found",
            "client_error relative method_not_found",
        ),
        (-32602, "client_error relative invalid_params", "client_error relative invalid_params"),
        (
            -32021,
            "client_error relative missing_capability",
            "client_error relative missing_capability",
        ),
        (
            -32022,
            "client_error relative unsupported_version",
            "client_error relative unsupported_version",
        ),
        (-32000, "rpc_error relative server_code", "client_error relative http_4xx"),
        (-32001, "rpc_error relative server_code", "client_error relative http_4xx"),
        (-32019, "rpc_error relative server_code", "client_error relative http_4xx"),
        (-32023, "rpc_error relative other_code", "rpc_error relative other_code"),
        (1, "rpc_error relative other_code", "rpc_error relative other_code"),
    ] {
        check(tool(MODERN), 200, &coded(code), in_200);
        check(tool(LEGACY), 200, &python(&coded(code)), in_200);
        check(tool(MODERN), 400, &coded(code), in_400);
        check(tool(LEGACY), 500, &coded(code), "http_error arm http_5xx");
    }
    check(tool(LEGACY), 200, r#"{"id":1,"error":"x"}"#, "rpc_error relative no_code");
    check(tool(LEGACY), 401, r#"{"error":"invalid_token"}"#, "client_error relative http_4xx");
}

#[test]
fn faults_of_the_arm() {
    check_end(End::Unreachable, "transport arm unreachable");
    check_end(End::Lost, "transport arm lost");
    check_end(End::Garbage, "transport arm garbage");
    check_end(End::BadSessionId, "transport arm bad_session_id");
    check_end(End::NoHeadInTime, "timeout arm no_head");
    for status in [500, 502, 503, 504] {
        check(tool(LEGACY), status, "<html>", "http_error arm http_5xx");
        check(tool(LEGACY), status, PAGE, "http_error arm http_5xx");
    }
    for status in [101, 199, 600, 999] {
        check(tool(LEGACY), status, "", "http_error arm odd_status");
    }
    check(tool(LEGACY), 200, ": ping\r\n\r\n", "transport arm empty");
    let progress = python(r#"{"method":"notifications/progress","params":{}}"#);
    check(tool(LEGACY), 200, &progress, "transport arm no_answer");
    check_close(tool(LEGACY), 200, &progress, Close::NotResumed, "transport arm not_resumed");
    check_close(tool(LEGACY), 200, &progress, Close::Broken, "transport arm broken");
    check_close(tool(LEGACY), 200, "", Close::Stalled { asked: false }, "timeout arm stalled");
    check(tool(LEGACY), 200, "<html>Welcome</html>", "rpc_error arm not_json");
    check(tool(LEGACY), 200, "{}", "rpc_error arm no_message");
    check(tool(LEGACY), 200, r#"{"id":2,"result":{}}"#, "rpc_error arm wrong_id");
    check(tool(LEGACY), 200, r#"{"id":"1","result":{}}"#, "rpc_error arm wrong_id");
    check(tool(LEGACY), 200, r#"{"result":{}}"#, "rpc_error arm wrong_id");
    check(tool(LEGACY), 200, "data: {broken\n\n", "rpc_error arm bad_event");
    check(tool(LEGACY), 202, "", "rpc_error arm accepted_request");
    check(tool(LEGACY), 202, PAGE, "rpc_error arm accepted_request");
    check(tool(LEGACY), 200, "", "transport arm empty");
    check(tool(LEGACY), 204, "", "transport arm empty");
    let task = r#"{"id":1,"result":{"taskId":"t","status":"failed","error":{"code":-32603}}}"#;
    check(asks(MODERN, "tasks/get"), 200, task, "rpc_error arm task_internal_error");
}

#[test]
fn faults_relative_to_the_other_arm() {
    for status in [400, 401, 403, 404, 406, 413, 415, 421, 429] {
        check(tool(LEGACY), status, "", "client_error relative http_4xx");
        check(tool(MODERN), status, "Not Acceptable", "client_error relative http_4xx");
        check(tool(MODERN), status, PAGE, "client_error relative http_4xx");
    }
    let task = r#"{"id":1,"result":{"taskId":"t","status":"failed","error":{"code":-32603}}}"#;
    check(asks(LEGACY, "tasks/get"), 200, task, "tool_error relative task_failed");
    let task = r#"{"id":1,"result":{"task":{"taskId":"t","status":"failed"}}}"#;
    check(tool(MODERN), 200, task, "tool_error relative task_failed");
}

#[test]
fn what_never_counts() {
    check_end(End::Rejected, "rejected nobody rejected");
    check_end(End::ClientLeft, "cancelled nobody client_left");
    check_end(End::Raced, "race nobody raced");
    // But that a server had no room for it counts, if the other arm's had.
    check_end(End::NoRoom, "rejected relative no_room");
    let stream = of_kind(Kind::Stream, Method::STREAM);
    let delete = of_kind(Kind::Delete, Method::DELETE);
    let python_405 = r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Method Not Allowed"}}"#;
    for body in ["", python_405] {
        check(stream, 405, body, "client_error nobody not_offered");
        check(delete, 405, body, "client_error nobody not_offered");
        check(tool(LEGACY), 405, body, "client_error relative http_4xx");
        check(stream, 409, body, "client_error nobody conflict");
    }
    check(delete, 200, "", "ok nobody accepted");
    let asks_back = r#"{"id":1,"result":{"resultType":"input_required","requestState":"v1.x"}}"#;
    check(tool(MODERN), 200, asks_back, "ok nobody input_required");
    let waits = r#"{"id":1,"result":{"taskId":"t","status":"input_required"}}"#;
    check(asks(MODERN, "tasks/get"), 200, waits, "ok nobody input_required");
    let told = Facts { wants: Wants::Nothing, ..asks(LEGACY, "notifications/initialized") };
    for (status, body) in [(202, ""), (200, ""), (202, "Accepted"), (204, ""), (200, "null")] {
        check(told, status, body, "ok nobody accepted");
    }
    check(told, 400, "", "client_error relative http_4xx");
    for status in [301, 304, 307, 308] {
        check(tool(LEGACY), status, "", "ok nobody redirect");
    }
    check_close(tool(LEGACY), 200, "", Close::ClientLeft, "cancelled nobody client_left");
    let sampling = python(r#"{"method":"sampling/createMessage","id":0,"params":{}}"#);
    let asked = Close::Stalled { asked: true };
    check_close(tool(LEGACY), 200, &sampling, asked, "timeout nobody client_asked");
}

#[test]
fn streams_end_as_they_like() {
    let listen = asks(MODERN, "subscriptions/listen");
    let opened = of_kind(Kind::LegacyStream, Method::STREAM);
    for facts in [of_kind(Kind::Stream, Method::STREAM), opened, listen] {
        let event = python(r#"{"method":"notifications/message"}"#);
        for close in [Close::Complete, Close::ClientLeft, Close::Stalled { asked: false }] {
            check_close(facts, 200, &event, close, "ok nobody stream_ended");
        }
        check_close(facts, 200, &event, Close::Broken, "transport nobody broken");
        check(facts, 503, "", "http_error arm http_5xx");
    }
    let refused = "client_error relative method_not_found";
    check(listen, 200, &python(&coded(-32601)), refused);
    check(listen, 200, &python(PAGE), "ok nobody stream_ended");
}

#[test]
fn a_response_decides_whatever_follows() {
    let body = format!("data: nonsense\n\n{}data: x\n\n", python(PAGE));
    for close in [Close::Broken, Close::ClientLeft, Close::Stalled { asked: false }] {
        check_close(tool(LEGACY), 200, &body, close, "ok nobody answered");
        let throws = python(&coded(-32603));
        check_close(tool(LEGACY), 200, &throws, close, "rpc_error arm internal_error");
        check_close(tool(LEGACY), 200, "data: x\n\n", close, "rpc_error arm bad_event");
    }
    let other_first = format!("data: {{\"id\":7,\"result\":{{}}}}\n\n{}", python(PAGE));
    check(tool(LEGACY), 200, &other_first, "ok nobody answered");
}

#[test]
fn what_could_not_be_read() {
    let deep = format!(r#"{{"id":1,"result":{}"#, "[".repeat(300));
    check(tool(LEGACY), 200, &deep, "unclassified nobody too_deep");
    check(tool(LEGACY), 200, &python(&deep), "unclassified nobody too_deep");
    let spoilt = format!("data: x\n\n{}", python(&deep));
    check(tool(LEGACY), 200, &spoilt, "unclassified nobody too_deep");
    check(tool(LEGACY), 400, &deep, "client_error relative http_4xx");
    for (heard, want) in [
        (Heard::Encoded, "unclassified nobody encoded"),
        (Heard::NotRead, "unclassified nobody not_read"),
        (Heard::WrongType, "rpc_error arm wrong_content_type"),
    ] {
        let end = |status, close| End::Head { status, heard, close };
        check_end(end(200, Close::Complete), want);
        check_end(end(400, Close::Complete), "client_error relative http_4xx");
        check_end(end(500, Close::Complete), "http_error arm http_5xx");
    }
    let end = End::Head { status: 200, heard: Heard::Encoded, close: Close::Broken };
    check_end(end, "transport arm broken");
}

#[test]
fn answers_that_come_on_the_stream_of_a_session() {
    let mut facts = tool(LEGACY);
    facts.call.by_uri = true;
    check(facts, 202, PAGE, "ok nobody answered");
    check(facts, 202, &coded(-32603), "rpc_error arm internal_error");
    check(facts, 202, "", "transport arm no_answer");
    check_close(facts, 202, "", Close::Broken, "transport arm broken");
    check_close(facts, 202, "", Close::ClientLeft, "cancelled nobody client_left");
    let end = End::Head { status: 202, heard: Heard::WrongType, close: Close::Complete };
    assert_eq!(words(verdict(&facts, end)), "transport arm no_answer");
    check(facts, 404, "", "client_error relative http_4xx");
    check(Facts { session_is_live: true, ..facts }, 404, "", "http_error arm session_lost");
}

#[test]
fn what_is_not_mcp_goes_by_its_status() {
    for kind in [Kind::Other, Kind::Preflight, Kind::Unsupported] {
        let facts = of_kind(kind, Method::NONE);
        check(facts, 200, "<html>", "ok nobody not_mcp");
        check(facts, 302, "", "ok nobody redirect");
        for status in [401, 404, 405, 409] {
            check(facts, status, &coded(-32603), "client_error nobody not_mcp");
        }
        check(facts, 500, "", "http_error arm http_5xx");
    }
}

#[test]
fn a_batch_is_as_bad_as_its_worst_answer() {
    let batch = Facts { wants: Wants::Batch, ..asks(LEGACY, "_batch") };
    for (others, want) in [
        ("", "ok nobody answered"),
        (r#",{"id":2,"error":{"code":-32020}}"#, "skew skew header_mismatch"),
        (r#",{"id":3,"result":{"isError":true}}"#, "tool_error relative is_error"),
        (
            r#",{"id":3,"result":{"isError":true}},{"id":4,"error":{"code":1}}"#,
            "tool_error relative is_error",
        ),
        (r#",{"id":4,"error":{"code":-32603}},{"method":"x"}"#, "rpc_error arm internal_error"),
    ] {
        let body = format!(r#"[{{"id":1,"result":{{}}}}{others},{{"id":9,"result":{{}}}}]"#);
        check(batch, 200, &body, want);
        check(batch, 200, &python(&body), want);
        let events = body[1..body.len() - 1].replace(",{\"", "\n\ndata: {\"");
        check(batch, 200, &format!("data: {events}\n\n"), want);
    }
    check(batch, 200, "", "transport arm empty");
    check(batch, 400, &coded(-32600), "client_error relative http_4xx");
    check(batch, 400, &format!("[{}]", coded(-32603)), "rpc_error arm internal_error");
}

#[test]
fn what_a_client_waits_for() {
    for (posted, want) in [
        (r#"{"method":"tools/call","id":1}"#, Wants::Answer),
        (r#"{"method":"notifications/initialized"}"#, Wants::Nothing),
        (r#"{"id":1,"result":{}}"#, Wants::Nothing),
        (r#"[{"method":"ping","id":1}]"#, Wants::Batch),
        (r#"[{"method":"notifications/progress"}]"#, Wants::Nothing),
        (r#"{"params":{"#, Wants::Unknown),
    ] {
        let mut reader = Reader::default();
        reader.feed(posted.as_bytes());
        assert_eq!(Wants::of(&tool(LEGACY).call, &reader), want, "{posted}");
        let stream = of_kind(Kind::Stream, Method::STREAM).call;
        assert_eq!(Wants::of(&stream, &reader), Wants::Nothing);
    }
    let unknown = Facts { wants: Wants::Unknown, ..tool(LEGACY) };
    check(unknown, 202, "", "ok nobody accepted");
    check(unknown, 200, PAGE, "ok nobody answered");
}
