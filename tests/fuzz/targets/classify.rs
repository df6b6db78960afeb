//! A request's head and body: the same call for every cut, and the one that a complete parser
//! sees.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Uri};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::mcp::classify::Paths;
use tidegate::mcp::message::{Reader, Shape};
use tidegate::mcp::scan::Progress;
use tidegate::mcp::{Call, Kind, Method, header, trace};
use tidegate::route::affinity::uri_tag;
use tidegate_fuzz::split;

/// The head of an input: `METHOD TARGET`, then headers, a line each, up to an empty one.
fn head(text: &[u8]) -> Option<(HttpMethod, Uri, HeaderMap, &[u8])> {
    let end = text.windows(2).position(|two| two == b"\n\n")?;
    let mut lines = text[..end].split(|byte| *byte == b'\n');
    let (method, target) = str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?);
    }
    Some((method.parse().ok()?, target.parse().ok()?, headers, &text[end + 2..]))
}

fn read(pieces: &[&[u8]]) -> (Progress, Shape) {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.feed(piece);
    }
    (reader.finish(), reader.shape())
}

/// That a whole message is what a complete parser says it is.
fn agrees(body: &[u8], shape: Shape) {
    let whole: Value = serde_json::from_slice(body).expect("what we call whole is JSON");
    let method = |value: &Value| match value["method"].as_str() {
        Some(name) => Some(Method::named(name.as_bytes())),
        None => None,
    };
    let has_id = |value: &Value| value.get("id").is_some();
    match shape {
        Shape::Request(it) => assert!(method(&whole) == Some(it) && has_id(&whole)),
        Shape::Notification(it) => {
            assert!(method(&whole) == Some(it) && (!has_id(&whole) || it.is_notification()));
        }
        Shape::Reply => assert!(method(&whole).is_none()),
        Shape::Batch { initialize } => {
            let members = whole.as_array().expect("a batch is a list");
            let found = members.iter().any(|it| method(it) == Some(Method::INITIALIZE));
            assert_eq!(initialize, found);
        }
        Shape::Unknown => panic!("whole, and yet nothing"),
    }
}

fuzz_target!(|input: &[u8]| {
    let (text, _) = split(input);
    let Some((method, uri, headers, body)) = head(text) else { return };
    let (_, pieces) = split(&input[input.len() - body.len()..]);
    let paths = Paths { mcp: "/mcp", sse: "/sse" };
    let call = Call::of(&method, uri.path(), &headers, paths, uri_tag(&uri).is_some());
    if let Some(traceparent) = header::traceparent(&headers)
        && let Some(id) = trace::TraceId::of(traceparent)
    {
        assert_eq!(id.as_str().len(), 32);
    }
    assert!(!call.opens_session() || matches!(call.kind, Kind::Post | Kind::LegacyStream));
    assert!(!call.by_uri || call.kind == Kind::Post);
    if !call.needs_body(&headers) {
        return;
    }
    // The first four bytes of the body say where it is cut, and are part of it all the same.
    let pieces = [&[&body[..body.len().min(4)]], pieces.as_slice()].concat();
    let (progress, shape) = read(&pieces);
    assert_eq!((progress, shape), read(&[body]));
    assert_eq!(call.with_body(shape), call.with_body(read(&[body]).1));
    // Numbers are checked for their alphabet only, so a parser may still find fault with one.
    if progress == Progress::Complete && serde_json::from_slice::<Value>(body).is_ok() {
        agrees(body, shape);
    }
});
