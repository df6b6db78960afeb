//! Event streams: the same messages, and the same said of the stream, for every cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::mcp::answer::Body;
use tidegate_fuzz::{messages, split};

fuzz_target!(|input: &[u8]| {
    let (text, pieces) = split(input);
    let (told, cut) = messages(Body::stream(), &pieces);
    let (want, whole) = messages(Body::stream(), &[text]);
    assert_eq!(told, want);
    assert_eq!(cut.saw_event_id(), whole.saw_event_id());
    assert_eq!(cut.retry(), whole.retry());
});
