//! Streams as servers write them, and the same result for every chunking.

use proptest::prelude::*;

use super::super::scan::tests::pieces;
use super::*;

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
    let (mut reader, mut events) = (Reader::new(64), Vec::new());
    for mut piece in pieces {
        while let (used, Some(event)) = reader.next(piece) {
            events.push(event);
            piece = &piece[used..];
        }
    }
    (events, reader.at_boundary())
}

#[track_caller]
fn check(text: &str, want: &[(&str, &str)], boundary: bool) {
    let (events, at_boundary) = read([text.as_bytes()]);
    let got: Vec<_> = events
        .iter()
        .map(|event| (str::from_utf8(&event.kind).unwrap(), str::from_utf8(&event.data).unwrap()))
        .collect();
    assert_eq!(got, want, "{text:?}");
    assert_eq!(at_boundary, boundary, "{text:?}");
}

#[test]
fn streams_of_real_servers() {
    // Python: CRLF and pings. TypeScript: ids. rmcp: priming events, no `event` line.
    check(
        "event: message\r\ndata: {\"a\":1}\r\n\r\n: ping\r\n\r\n",
        &[("message", "{\"a\":1}")],
        true,
    );
    check("event: message\nid: 7\ndata: {}\n\n: keepalive\n\n", &[("message", "{}")], true);
    check("data: \nid: 0\nretry: 3000\n\ndata: {}\n\n", &[("", ""), ("", "{}")], true);
    check(
        "event: endpoint\ndata: /messages/?session_id=1\n\n",
        &[("endpoint", "/messages/?session_id=1")],
        true,
    );
}

#[test]
fn the_grammar() {
    check("", &[], true);
    check("data: a\rdata:b\r\rdata:  c\n\n", &[("", "a\nb"), ("", " c")], true);
    check("\u{feff}data: a\n\n", &[("", "a")], true);
    check("data\n\n", &[("", "")], true);
    check("data: a", &[], false);
    check("data: a\n", &[], false);
    check("data: a\r\n\r", &[("", "a")], true);
    check(": comment\n", &[], false);
    check("\n\n\n", &[], true);
}

#[test]
fn a_long_event_is_cut_and_not_kept() {
    let text = format!("data: {}\n\ndata: b\n\n", "x".repeat(1 << 20));
    let (events, _) = read([text.as_bytes()]);
    assert!(events[0].cut && events[0].data.len() <= 64);
    assert_eq!((events[1].cut, events[1].data.as_slice()), (false, b"b".as_slice()));
}

#[test]
fn a_reader_that_keeps_nothing_still_finds_the_boundaries() {
    let mut reader = Reader::new(0);
    assert_eq!(reader.next(b"data: x\n"), (8, None));
    assert!(!reader.at_boundary());
    assert_eq!(reader.next(b"\n").0, 1);
    assert!(reader.at_boundary());
}

proptest! {
    #[test]
    fn chunking_changes_nothing(text in "([a-e:\r\n ]|data: ?|id|event:|\r\n|\n\n){0,60}", cut in any::<Vec<u8>>()) {
        let whole = read([text.as_bytes()]);
        prop_assert_eq!(read(pieces(text.as_bytes(), &cut)), whole);
    }
}
