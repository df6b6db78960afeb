//! Streams as servers write them, and the same result for every chunking.

use proptest::prelude::*;

use super::super::scan::tests::pieces;
use super::*;

/// What a stream comes to: its events with their data, and how it stands at its end.
#[derive(Debug, PartialEq)]
struct Read {
    events: Vec<(Event, String)>,
    at_boundary: bool,
    retry: Option<Duration>,
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let (mut reader, mut kept, mut events) = (Reader::default(), Kept::new(400), Vec::new());
    for mut piece in pieces {
        while let (used, Some(event)) = reader.next(piece, &mut kept) {
            let data = kept.whole().map_or("(cut)".into(), String::from_utf8_lossy).into_owned();
            kept.clear();
            events.push((event, data));
            piece = &piece[used..];
        }
    }
    Read { events, at_boundary: reader.at_boundary(), retry: reader.retry() }
}

/// Checks the kinds and data of the events, and whether the stream ends between two.
#[track_caller]
fn check(text: &str, want: &[(Kind, &str)], boundary: bool) {
    let read = read([text.as_bytes()]);
    let got: Vec<_> = read.events.iter().map(|(event, data)| (event.kind, data.as_str())).collect();
    assert_eq!(got, want, "{text:?}");
    assert_eq!(read.at_boundary, boundary, "{text:?}");
    for (event, data) in &read.events {
        assert_eq!(event.has_data, !data.trim_matches('\n').is_empty(), "{text:?}");
    }
}

use Kind::{Endpoint, Message, Other};

#[test]
fn streams_of_real_servers() {
    // Python: CRLF and pings. TypeScript: ids. rmcp: priming events, no `event` line.
    check(
        "event: message\r\ndata: {\"a\":1}\r\n\r\n: ping\r\n\r\n",
        &[(Message, "{\"a\":1}")],
        true,
    );
    check("event: message\nid: 7\ndata: {}\n\n: keepalive\n\n", &[(Message, "{}")], true);
    check("data: \nid: 0\nretry: 3000\n\ndata: {}\n\n", &[(Message, ""), (Message, "{}")], true);
    check(
        "event: endpoint\ndata: /messages/?session_id=1\n\n",
        &[(Endpoint, "/messages/?session_id=1")],
        true,
    );
}

#[test]
fn the_grammar() {
    check("", &[], true);
    check("data: a\rdata:b\r\rdata:  c\n\n", &[(Message, "a\nb"), (Message, " c")], true);
    check("\u{feff}data: a\n\n", &[(Message, "a")], true);
    check("\u{feff}", &[], true);
    check("\u{feff}\u{feff}data: a\n\ndata: b\n\n", &[(Message, "b")], true);
    check("data\n\n", &[(Message, "")], true);
    check("data\ndata\n\n", &[(Message, "\n")], true);
    check("data: a\nevent: made/up\n\n", &[(Other, "a")], true);
    check("event: message-of-a-server\ndata: a\n\n", &[(Other, "a")], true);
    check("event: endpoint\nevent:\ndata: a\n\n", &[(Message, "a")], true);
    check("data: a", &[], false);
    check("data: a\n", &[], false);
    check("data: a\r\n\r", &[(Message, "a")], true);
    check(": comment\n", &[], false);
    check("retry: 5\n\n", &[], true);
    check("event:\n\n", &[], true);
    check("\n\n\n", &[], true);
}

#[test]
fn ids_and_retry() {
    for (text, ids, retry) in [
        ("id: 0\ndata:\n\ndata: a\n\n", &[true, false][..], None),
        ("id:\ndata: a\n\n", &[false], None),
        ("retry: 3000\n\n", &[], Some(3000)),
        ("retry: 3000\nretry: x\nretry:\nretry: 1 \ndata: a\n\n", &[false], Some(3000)),
        ("retry: +5\n", &[], None),
        ("retry: 99999999999999999999999\n", &[], None),
    ] {
        let read = read([text.as_bytes()]);
        let got: Vec<_> = read.events.iter().map(|(event, _)| event.has_id).collect();
        assert_eq!((got.as_slice(), read.retry), (ids, retry.map(Duration::from_millis)), "{text}");
    }
}

#[test]
fn a_long_event_passes_in_pieces_and_is_not_kept() {
    let text = format!("data: {}\n\ndata: b\n\n", "x".repeat(1 << 20));
    let events = read([text.as_bytes()]).events;
    assert_eq!([&events[0].1, &events[1].1], ["(cut)", "b"]);
    assert!(events[0].0.has_data);
}

#[test]
fn what_is_kept_has_a_limit_over_all_pieces() {
    let mut kept = Kept::new(4);
    for (piece, want) in [("ab", Some("ab")), ("cd", Some("abcd")), ("", Some("abcd")), ("e", None)]
    {
        kept.data(piece.as_bytes());
        assert_eq!(kept.whole(), want.map(str::as_bytes), "{piece}");
    }
}

#[test]
fn boundaries_are_found_without_looking_at_data() {
    let mut reader = Reader::default();
    assert_eq!(reader.next(b"data: x\n", &mut ()), (8, None));
    assert!(!reader.at_boundary());
    assert_eq!(reader.next(b"\n", &mut ()).0, 1);
    assert!(reader.at_boundary());
    assert_eq!(reader.next(b"d", &mut ()), (1, None));
    assert!(!reader.at_boundary());
    let mut reader = Reader::default();
    assert_eq!(reader.next(b"\xef\xbb", &mut ()), (2, None));
    assert!(!reader.at_boundary());
}

proptest! {
    #[test]
    fn chunking_changes_nothing(
        text in "\u{feff}?([a-e:\r\n ☃]|data: ?|id|event:|retry: 5|endpoint|\r\n|\n\n){0,60}",
        cut in any::<Vec<u8>>(),
    ) {
        let whole = read([text.as_bytes()]);
        prop_assert_eq!(read(pieces(text.as_bytes(), &cut)), whole);
    }

    /// The standard's own algorithm, over a whole stream and by lines.
    #[test]
    fn the_standard_agrees(
        text in "([a-c:\n ]|data: ?|data: x\n|id|event:|\n\n){0,40}",
    ) {
        let (mut want, mut data) = (Vec::new(), None::<String>);
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            if line.is_empty() {
                want.extend(data.take());
            } else if name == "data" {
                let value = value.strip_prefix(' ').unwrap_or(value);
                data = Some(data.map_or(value.to_owned(), |data| format!("{data}\n{value}")));
            }
        }
        let got = read([text.as_bytes()]).events.into_iter();
        let got: Vec<_> = got.filter(|(event, _)| event.has_data).map(|(_, data)| data).collect();
        want.retain(|data| !data.trim_matches('\n').is_empty());
        prop_assert_eq!(got, want);
    }
}
