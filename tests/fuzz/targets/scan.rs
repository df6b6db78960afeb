//! JSON of both sides: the same for every cut, and nothing refused that a complete parser accepts.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::mcp::answer::{Body, Message, Why};
use tidegate::mcp::message::Reader;
use tidegate_fuzz::{messages, split};

/// What a client's message turns out to be.
fn posted(pieces: &[&[u8]]) -> String {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.feed(piece);
    }
    let progress = reader.finish();
    let kept = (reader.name(), reader.traceparent(), reader.has_cursor());
    let shape = (reader.shape(), reader.ids(), reader.reply_id(), reader.cancelled_id());
    format!("{progress:?} {shape:?} {kept:?}")
}

fuzz_target!(|input: &[u8]| {
    let (text, pieces) = split(input);
    assert_eq!(posted(&pieces), posted(&[text]));
    let (whole, _) = messages(Body::json(), &[text]);
    assert_eq!(messages(Body::json(), &pieces).0, whole);
    if serde_json::from_slice::<serde_json::Value>(text).is_ok() {
        assert!(!whole.is_empty());
        assert!(!whole.contains(&Message::Invalid(Why::NotJson)));
    }
});
