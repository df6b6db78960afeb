//! The scanner agrees with a complete parser, whatever the pieces.

use proptest::prelude::*;

use super::*;

/// Writes down what it is told.
#[derive(Default, PartialEq, Debug)]
struct Notes(Vec<String>);

impl Visit for Notes {
    fn wants(&self, depth: usize) -> bool {
        depth <= 2
    }
    fn key(&mut self, depth: usize, token: Token<'_>) {
        self.0.push(format!("{depth} key {token:?}"));
    }
    fn scalar(&mut self, depth: usize, token: Token<'_>) {
        self.0.push(format!("{depth} scalar {token:?}"));
    }
    fn open(&mut self, depth: usize, bracket: Bracket) {
        self.0.push(format!("{depth} open {bracket:?}"));
    }
    fn close(&mut self, depth: usize) {
        self.0.push(format!("{depth} close"));
    }
}

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Progress, Notes) {
    let (mut scanner, mut notes) = (Scanner::default(), Notes::default());
    for piece in pieces {
        scanner.feed(piece, &mut notes);
    }
    (scanner.finish(&mut notes), notes)
}

#[track_caller]
fn check(text: &[u8], valid: bool) {
    let (progress, _) = scan([text]);
    assert_eq!(progress == Progress::Complete, valid, "{}", String::from_utf8_lossy(text));
    if valid {
        assert!(serde_json::from_slice::<serde_json::Value>(text).is_ok());
    }
}

#[test]
fn documents() {
    for good in [
        "{}",
        "[]",
        " [1, -2.5e3 ,\"a\\n\\u00e9\"] ",
        "{\"a\":{\"b\":[{}]}}",
        "0",
        "\"é\"",
        "null",
        "true",
        "false",
        "{\"a\":1,\"b\":2}",
    ] {
        check(good.as_bytes(), true);
    }
    for bad in [
        "",
        "{",
        "}",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\";1}",
        "{a:1}",
        "{\"a\":1,}",
        "[1 2]",
        "tru",
        "nul1",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "{} {}",
        "[}",
        "{]",
        "garbage",
        "{\"a\":1]",
    ] {
        check(bad.as_bytes(), false);
    }
}

#[test]
fn text_is_utf8_whatever_the_pieces() {
    let edges = "\u{80}\u{7ff}\u{800}\u{fff}\u{1000}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{3ffff}\
                 \u{40000}\u{fffff}\u{100000}\u{10ffff}";
    for (text, valid) in [
        (edges.as_bytes(), true),
        (b"\xff", false),
        (b"\xc3", false),
        (b"\xc3a\xa9", false),
        (b"\x80", false),
        (b"\xc1\xbf", false),
        (b"\xe0\x9f\xbf", false),
        (b"\xed\xa0\x80", false),
        (b"\xf0\x8f\xbf\xbf", false),
        (b"\xf4\x90\x80\x80", false),
        (b"\xf5\x80\x80\x80", false),
    ] {
        let text = [b"\"", text, b"\""].concat();
        check(&text, valid);
        assert_eq!(scan(text.chunks(1)), scan([text.as_slice()]), "{text:?}");
    }
}

#[test]
fn what_is_no_json_is_known_before_its_end() {
    let mut scanner = Scanner::default();
    scanner.feed(b"[}", &mut Notes::default());
    assert_eq!(scanner.progress(), Progress::Invalid);
}

#[test]
fn depth_is_bounded() {
    let deepest = [b"[".repeat(DEPTH_MAX), b"]".repeat(DEPTH_MAX)].concat();
    assert_eq!(scan([deepest.as_slice()]).0, Progress::Complete);
    let objects = [b"{\"a\":".repeat(DEPTH_MAX), b"1".into(), b"}".repeat(DEPTH_MAX)].concat();
    assert_eq!(scan([objects.as_slice()]).0, Progress::Complete);
    for more in ["", "]", "garbage"] {
        let text = [b"[".repeat(DEPTH_MAX + 1).as_slice(), more.as_bytes()].concat();
        assert_eq!(scan([text.as_slice()]).0, Progress::TooDeep, "{more}");
    }
}

#[test]
fn long_tokens_are_not_kept() {
    let text = format!("{{\"{}\":\"{}\"}}", "k".repeat(2000), "v".repeat(5000));
    let (progress, notes) = scan([text.as_bytes()]);
    assert_eq!(progress, Progress::Complete);
    assert!(notes.0.contains(&"1 key TooLong".to_owned()));
    assert!(notes.0.contains(&"1 scalar TooLong".to_owned()));
    for (size, kept) in [(TOKEN_MAX - 2, true), (TOKEN_MAX - 1, false)] {
        let text = format!("[\"{}\"]", "v".repeat(size));
        let (_, notes) = scan([text.as_bytes()]);
        assert_eq!(notes.0.contains(&"1 scalar TooLong".to_owned()), !kept, "{size}");
    }
}

#[test]
fn a_document_after_another_is_read_afresh() {
    let (mut scanner, mut notes) = (Scanner::default(), Notes::default());
    for text in ["[1, {\"a", "\"\u{1}", " garbage", "[[["] {
        scanner.feed(text.as_bytes(), &mut notes);
        scanner.restart();
        assert!(scanner.is_blank());
        assert_eq!(scanner.progress(), Progress::Incomplete);
        scanner.feed(b" ", &mut notes);
        assert!(scanner.is_blank());
        scanner.feed(b" {}", &mut notes);
        assert_eq!((scanner.is_blank(), scanner.progress()), (false, Progress::Complete));
        scanner.restart();
    }
}

proptest! {
    #[test]
    fn chunking_changes_nothing(text in prop_oneof![json(), any::<Vec<u8>>()], cut in any::<Vec<u8>>()) {
        let whole = scan([text.as_slice()]);
        prop_assert_eq!(scan(pieces(&text, &cut)), whole);
    }

    #[test]
    fn runs_of_text_are_read_as_bytes_are(
        text in "\"[a☃é😀\"\\\\u0\u{0}\u{7f}]{0,200}\"", at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        for bytes in [text.clone().into_bytes(), {
            let mut broken = text.into_bytes();
            let at = at.index(broken.len());
            broken[at] = byte;
            broken
        }] {
            prop_assert_eq!(scan(bytes.chunks(1)), scan([bytes.as_slice()]));
            // A parser refuses half a surrogate pair, which is JSON all the same.
            if serde_json::from_slice::<serde_json::Value>(&bytes).is_ok() {
                prop_assert_eq!(scan([bytes.as_slice()]).0, Progress::Complete);
            }
        }
    }

    #[test]
    fn a_parser_agrees(text in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        prop_assert_eq!(scan([text.as_slice()]).0, Progress::Complete);
        let mut broken = text;
        let at = at.index(broken.len());
        broken[at] = byte;
        // Numbers are the one thing that the scanner reads loosely, so it may only accept more.
        if serde_json::from_slice::<serde_json::Value>(&broken).is_ok() {
            prop_assert_eq!(scan([broken.as_slice()]).0, Progress::Complete);
        }
    }
}

/// Any JSON document, as bytes.
pub(in crate::mcp) fn json() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map(
                "method|id|params|name|cursor|result|error|code|.{0,6}",
                inner,
                0..5
            )
            .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
    .prop_map(|value| value.to_string().into_bytes())
}

/// Cuts a text into pieces of the lengths that `cut` gives, zeros included.
pub(in crate::mcp) fn pieces<'a>(mut text: &'a [u8], cut: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &length in cut {
        let (piece, rest) = text.split_at(usize::from(length % 7).min(text.len()));
        pieces.push(piece);
        text = rest;
    }
    pieces.push(text);
    pieces
}
