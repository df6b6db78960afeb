//! Text that a server gave, made fit to be shown: short, and nothing in it acts on a terminal.
//!
//! Does not know: where the text stands.

/// Characters kept of a name, a version or a message.
pub const KEPT_MAX: usize = 128;

/// The beginning of a text with everything escaped that is not simply seen.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars().take(KEPT_MAX) {
        if is_seen(letter) {
            plain.push(letter);
        } else {
            plain.extend(letter.escape_unicode());
        }
    }
    if text.chars().nth(KEPT_MAX).is_some() {
        plain.push('…');
    }
    plain
}

/// Whether a character is what it looks like: no control, no change of direction, not invisible.
fn is_seen(letter: char) -> bool {
    let hidden = matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !letter.is_control() && !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts() {
        for (text, shown) in [
            ("server-everything 2.0 é", "server-everything 2.0 é"),
            ("a\u{1b}[2Jb\n", "a\\u{1b}[2Jb\\u{a}"),
            ("\u{202e}evil\u{200b}", "\\u{202e}evil\\u{200b}"),
        ] {
            assert_eq!(plain(text), shown);
        }
        assert_eq!(plain(&"é".repeat(1 << 20)).chars().count(), KEPT_MAX + 1);
        assert_eq!(plain(&"x".repeat(KEPT_MAX)), "x".repeat(KEPT_MAX));
    }
}
