//! Versions: what people name, what commands and servers say.
//!
//! A version goes into the environment of the operator's scripts, and may come from a server: so
//! nothing in it means anything to a shell. Does not know: where one comes from.

use crate::names::BadName;

/// Characters of a version.
const LENGTH_MAX: usize = 128;

/// Reads a version: letters, digits and `._+:@/~-`, at most 128, and none of `-` and `/` at its
/// beginning.
///
/// # Errors
/// When it is no version.
pub fn version(text: &str) -> Result<String, BadName> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._+:@/~-".contains(letter);
    if text.is_empty() || text.len() > LENGTH_MAX || !text.chars().all(fits) {
        return Err(BadName(format!(
            "a version has 1 to {LENGTH_MAX} letters, digits and `._+:@/~-`, such as 2.1.0"
        )));
    }
    if text.starts_with(['-', '/']) {
        return Err(BadName(format!("`{text}` does not begin as a version does")));
    }
    Ok(text.to_owned())
}

/// The version that a line names: all of it, or the first word that begins with a number, as in
/// `server 2.1.0 (linux)`.
pub fn version_in(line: &str) -> Option<String> {
    let numbered = |word: &&str| bare(word).starts_with(|letter: char| letter.is_ascii_digit());
    version(line.trim()).ok().or_else(|| version(line.split_whitespace().find(numbered)?).ok())
}

/// Whether two versions are the same one: `v2.1.0` is `2.1.0`.
pub fn is_same(one: &str, other: &str) -> bool {
    bare(one) == bare(other)
}

fn bare(version: &str) -> &str {
    let rest = version.strip_prefix(['v', 'V']);
    rest.filter(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit())).unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_version() {
        for good in ["2.1.0", "v2", "sha256:abc", "registry/app:1.0-rc.1+7", "previous"] {
            assert_eq!(version(good).as_deref(), Ok(good));
        }
        for bad in ["", "-rf", "/etc", "a b", "$(reboot)", "`x`", "é", "a\n", &"1".repeat(129)] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_line_says() {
        for (line, found) in [
            (" 2.1.0 \n", Some("2.1.0")),
            ("server 2.1.0 (linux)", Some("2.1.0")),
            ("server version v3", Some("v3")),
            ("unknown version", None),
            ("", None),
        ] {
            assert_eq!(version_in(line).as_deref(), found, "{line}");
        }
        assert!(is_same("v2.1.0", "2.1.0") && is_same("vnext", "vnext"));
        assert!(!is_same("2.1.0", "2.1") && !is_same("vnext", "next"));
    }
}
