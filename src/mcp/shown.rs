//! Text that a server gave, made fit for a terminal and for one line of a log.
//!
//! A server chooses its names and descriptions; none of them may move a cursor, colour a screen,
//! turn the direction of writing or fill it. Does not know: where the text is shown.

use std::io::{self, Write};

use serde_json::Value;

/// The text on one line of at most `max` characters, and one more that says where it was cut; what
/// cannot be seen is written as an escape.
pub fn shown(text: &str, max: usize) -> String {
    let mut line = String::new();
    let mut room = max;
    for letter in text.chars() {
        let acts =
            is_hidden(letter) || matches!(letter, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}');
        let length = if acts { letter.escape_default().len() } else { 1 };
        if length > room {
            line.push('…');
            break;
        }
        room -= length;
        if acts {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

/// Characters of a name, a version or a message that are shown.
const NAME_MAX: usize = 128;

/// The same for a name, a version or a message: 128 characters.
pub fn plain(text: &str) -> String {
    shown(text, NAME_MAX)
}

/// A JSON value on one line, as [`shown`].
pub fn json(value: &Value, max: usize) -> String {
    // A character has four bytes at most, so more is never shown; one more tells that it was cut.
    let mut start = Start { kept: Vec::new(), max: 4 * max + 4 };
    // Fails only when enough was written.
    let _ = serde_json::to_writer(&mut start, value);
    shown(&String::from_utf8_lossy(&start.kept), max)
}

/// Whether a reader does not see the character: controls but line ends and tabs, zero width,
/// direction of writing, invisible tags and variants (Unicode `Default_Ignorable_Code_Point` and
/// category Cc).
pub fn is_hidden(letter: char) -> bool {
    match letter {
        '\n' | '\r' | '\t' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        // The last two of them choose how an emoji is drawn.
        | '\u{fe00}'..='\u{fe0d}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        other => other.is_control(),
    }
}

/// Takes so many bytes and refuses the rest, so that a huge value is not written out to be cut.
struct Start {
    kept: Vec<u8>,
    max: usize,
}

impl Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.max - self.kept.len());
        self.kept.extend_from_slice(&bytes[..fits]);
        if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        for (text, expected) in [
            ("plain ä 天気", "plain ä 天気"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("two\nl\tt\r", "two\\nl\\tt\\r"),
            ("a\u{202e}b\u{200b}", "a\\u{202e}b\\u{200b}"),
            ("a\u{202e}b\u{200b}c\u{200b}", "a\\u{202e}b\\u{200b}c…"),
            ("\u{e0041}", "\\u{e0041}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("0123456789abcdefghijklm", "0123456789abcdefghij…"),
            ("0123456789abcdefghij", "0123456789abcdefghij"),
        ] {
            assert_eq!(shown(text, 20), expected);
        }
        assert_eq!(shown("\u{1b}[2J", 9), "\\u{1b}[2J");
        assert_eq!(shown("\u{1b}[2J", 5), "…");
    }

    #[test]
    fn a_value_is_cut_while_it_is_written() {
        assert_eq!(json(&json!({"a": [1, "x"]}), 40), r#"{"a":[1,"x"]}"#);
        let long = json!("x".repeat(1_000_000));
        assert_eq!(json(&long, 5), "\"xxxx…");
        assert_eq!(json(&json!("天".repeat(100)), 3), "\"天天…");
        assert_eq!(json(&json!("😀".repeat(100)), 10), format!("\"{}…", "😀".repeat(9)));
        let mut start = Start { kept: Vec::new(), max: 4 };
        assert_eq!(start.write(b"abc").unwrap() + start.write(b"de").unwrap(), 4);
        assert!(start.write(b"f").is_err());
    }

    #[test]
    fn a_name_has_128_characters() {
        assert_eq!(plain("add"), "add");
        assert_eq!(plain(&"x".repeat(200)), format!("{}…", "x".repeat(128)));
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in "\\PC*|(?s).*", max in 0usize..50) {
            let line = shown(&text, max);
            prop_assert!(!line.chars().any(|letter| is_hidden(letter) || letter.is_control()));
            prop_assert!(line.chars().count() <= max + 1);
        }
    }
}
