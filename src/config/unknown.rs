//! Keys that nobody takes: what was probably meant.
//!
//! A key that does nothing is worse than an error, and an error that only says "unknown" sends
//! people to the manual. Does not know: what the keys mean.

use std::collections::BTreeSet;

use super::tree::join;

/// Keys that are gone or were never wanted: a sentence helps more than "unknown".
const TOMBSTONES: &[(&str, &str)] = &[
    (
        "timeouts.total",
        "a total timeout would cut event streams; see `first_byte` and `stream_idle`",
    ),
    ("profiles", "neither a profile nor a plan can hold profiles"),
    ("rollout", "the keys of a plan stand at the top, not under `[rollout]`"),
];

/// How many letters may differ for a guess of what was meant.
const FAR: usize = 3;

/// A key that nobody took.
pub(super) struct Unknown {
    /// The section without the profile that it may have come from.
    pub(super) section: String,
    pub(super) key: String,
    /// The whole path as written.
    pub(super) path: String,
    /// Where the key stands.
    pub(super) at: usize,
}

impl Unknown {
    /// What to say about it, given every key that there is.
    pub(super) fn message(&self, known: &BTreeSet<String>) -> String {
        let path = join(&self.section, &self.key);
        if let Some((_, sentence)) = TOMBSTONES.iter().find(|(gone, _)| *gone == path) {
            return (*sentence).to_owned();
        }
        let split = |path: &'_ str| match path.rsplit_once('.') {
            Some((section, key)) => (section.to_owned(), key.to_owned()),
            None => (String::new(), path.to_owned()),
        };
        let here =
            known.iter().map(|path| split(path)).filter(|(section, _)| *section == self.section);
        let siblings: Vec<String> = here.map(|(_, key)| key).collect();
        if let Some(near) = nearest(&self.key, siblings.iter().map(String::as_str)) {
            return format!("unknown key `{}`; did you mean `{near}`?", self.key);
        }
        let elsewhere = known.iter().map(|path| split(path)).find(|(_, key)| *key == self.key);
        let hint = match elsewhere {
            Some((section, _)) if section.is_empty() => {
                "; it belongs to the top, before the first `[section]`".to_owned()
            }
            Some((section, key)) => format!("; did you mean `{section}.{key}`?"),
            None => String::new(),
        };
        format!("unknown key `{}`{hint}", self.key)
    }
}

/// The word that was probably meant.
pub(super) fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let far = FAR.min(1 + word.chars().count() / 3);
    words
        .map(|candidate| (distance(word, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= far)
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be added, removed, changed or exchanged with the next one to make one
/// word of the other (the optimal string alignment distance).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for at in 0..=one.len() {
        for to in 0..=other.len() {
            if at == 0 || to == 0 {
                rows[at][to] = at + to;
                continue;
            }
            let change = usize::from(one[at - 1] != other[to - 1]);
            let mut least =
                (rows[at - 1][to] + 1).min(rows[at][to - 1] + 1).min(rows[at - 1][to - 1] + change);
            if at > 1 && to > 1 && one[at - 1] == other[to - 2] && one[at - 2] == other[to - 1] {
                least = least.min(rows[at - 2][to - 2] + 1);
            }
            rows[at][to] = least;
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses() {
        let known = ["listen", "path", "primary", "primary.endpoints", "limits.body", "profiles"];
        let known = known.map(str::to_owned).into();
        for (path, words) in [
            ("lisen", "did you mean `listen`?"),
            ("profile", "did you mean `profiles`?"),
            ("primary.enpoints", "`enpoints`; did you mean `endpoints`?"),
            ("endpoints", "did you mean `primary.endpoints`?"),
            ("primary.listen", "`listen`; it belongs to the top, before the first `[section]`"),
            ("limits.colour", "unknown key `colour`"),
            ("timeouts.total", "would cut event streams"),
            ("profiles", "can hold profiles"),
        ] {
            let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
            let (section, key, path) = (section.into(), key.into(), path.into());
            let message = Unknown { section, key, path, at: 0 }.message(&known);
            assert!(message.contains(words), "{message}");
        }
    }
}
