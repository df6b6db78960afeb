//! Overlays: a profile over the base, the environment into strings.
//!
//! A profile changes what it names and leaves the rest, so tables merge; values that only make
//! sense whole (a split, a reference to a secret) are replaced whole. What came from the
//! environment is never shown again.
//! Does not know: types, ranges, where problems are collected.

use super::environment::Environment;
use super::tree::{Node, Table, Value};

/// Lays a profile over the base.
pub(super) fn overlay(base: &mut Table, profile: Table) {
    merge(base, profile, "");
}

fn merge(base: &mut Table, over: Table, section: &str) {
    for (key, node) in over {
        let path = super::tree::join(section, &key);
        match (base.get_mut(&key), node) {
            (
                Some(Node { value: Value::Table(under), .. }),
                Node { value: Value::Table(over), .. },
            ) if !is_one_value(&path) => {
                merge(under, over, &path);
            }
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

/// Tables that are one value: half of one and half of another make no sense.
fn is_one_value(path: &str) -> bool {
    let is_secret = path.starts_with("affinity.") || path.contains(".headers.");
    is_secret || matches!(path, "split" | "health.token")
}

/// A string after `${NAME}` was filled in. No `Debug`: what was filled in may be a secret.
pub(super) struct Filled {
    /// The string to use.
    pub(super) value: String,
    written: String,
    inserted: Vec<String>,
}

/// Why a string could not be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CannotFill {
    /// The environment lacks something: a fact about this machine.
    Missing(String),
    /// The string itself is wrong.
    Malformed(String),
}

impl Filled {
    /// A string that nothing needs to be filled into.
    pub(super) fn plain(text: &str) -> Filled {
        Filled { value: text.to_owned(), written: text.to_owned(), inserted: Vec::new() }
    }

    /// Takes what the environment gave out of a message about this string.
    pub(super) fn redact(&self, message: String) -> String {
        if self.inserted.is_empty() {
            return message;
        }
        let message = message.replace(&self.value, &self.written);
        if self.inserted.iter().any(|secret| message.contains(secret)) {
            return format!("`{}` does not fit here once it is filled in", self.written);
        }
        message
    }
}

/// Fills `${NAME}` from the environment; `$${` stands for `${` itself.
pub(super) fn fill(written: &str, env: &Environment) -> Result<Filled, Vec<CannotFill>> {
    let mut filled = Filled { value: String::new(), ..Filled::plain(written) };
    let mut wrong = Vec::new();
    let mut rest = written;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            filled.value.push_str(before);
            filled.value.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.value.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            wrong
                .push(CannotFill::Malformed("`${` has no `}`; write `$${` for `${` itself".into()));
            return Err(wrong);
        };
        match variable(&rest[at + 2..at + end], env) {
            Ok(value) => {
                filled.value.push_str(value);
                filled.inserted.push(value.to_owned());
            }
            Err(problem) => wrong.push(problem),
        }
        rest = &rest[at + end + 1..];
    }
    filled.value.push_str(rest);
    if wrong.is_empty() { Ok(filled) } else { Err(wrong) }
}

fn variable<'e>(name: &str, env: &'e Environment) -> Result<&'e str, CannotFill> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits)
    {
        return Err(CannotFill::Malformed(format!(
            "`${{{name}}}` names no environment variable; write `$${{` for `${{` itself"
        )));
    }
    env.get(name).ok_or_else(|| {
        let state = if env.0.contains_key(name) { "is empty" } else { "is not set" };
        CannotFill::Missing(format!("the environment variable `{name}` {state}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Source, parse};
    use super::*;

    fn env() -> Environment {
        let pairs = [("A", "one"), ("B_2", "two"), ("EMPTY", "")];
        Environment(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
    }

    #[test]
    fn variables_are_filled_in() {
        for (written, value) in [
            ("", ""),
            ("plain $A {A} $", "plain $A {A} $"),
            ("${A}", "one"),
            ("<${A}-${B_2}>", "<one-two>"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("é${A}é", "éoneé"),
        ] {
            assert_eq!(fill(written, &env()).ok().unwrap().value, value, "{written}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in() {
        for (written, words) in [
            ("${NOPE}", "`NOPE` is not set"),
            ("${EMPTY}", "`EMPTY` is empty"),
            ("${", "no `}`"),
            ("${}", "names no"),
            ("${A:-x}", "names no"),
            ("${1A}", "names no"),
        ] {
            let wrong = fill(written, &env()).err().unwrap();
            assert!(format!("{wrong:?}").contains(words), "{written}: {wrong:?}");
        }
        assert_eq!(fill("${X} ${A} ${Y}", &env()).err().unwrap().len(), 2);
    }

    #[test]
    fn what_was_filled_in_is_not_shown() {
        let filled = fill("ftp://${A}", &env()).ok().unwrap();
        assert_eq!(filled.redact("`ftp://one` is bad".into()), "`ftp://${A}` is bad");
        assert!(!filled.redact("one is bad".into()).contains("one is"));
        assert_eq!(Filled::plain("x").redact("x".into()), "x");
    }

    fn merged(base: &str, over: &str) -> Vec<String> {
        let tree = |text: &str| parse(&Source { name: String::new(), text: text.into() }).0;
        let mut base = tree(base);
        overlay(&mut base, tree(over));
        let mut leaves = Vec::new();
        list("", &base, &mut leaves);
        leaves
    }

    fn list(path: &str, table: &Table, into: &mut Vec<String>) {
        for (key, node) in table {
            match &node.value {
                Value::Table(inner) => list(&format!("{path}{key}."), inner, into),
                Value::Integer(number) => into.push(format!("{path}{key}={number}")),
                other => into.push(format!("{path}{key}={}", other.kind())),
            }
        }
    }

    #[test]
    fn tables_merge_and_all_else_replaces() {
        assert_eq!(merged("a=1\nb=2", "b=3\nc=4"), ["a=1", "b=3", "c=4"]);
        assert_eq!(merged("[s]\na=1\nb=2", "s.b=3"), ["s.a=1", "s.b=3"]);
        assert_eq!(merged("[s]\na=1", "s=[]"), ["s=a list"]);
        assert_eq!(
            merged("[p.headers]\na=1\nb=2", "p.headers.b=3"),
            ["p.headers.a=1", "p.headers.b=3"]
        );
        assert_eq!(merged("[split]\nprimary=1", "split.secondary=3"), ["split.secondary=3"]);
        assert_eq!(
            merged("affinity.key.file=1", "affinity.key.credential=2"),
            ["affinity.key.credential=2"]
        );
        assert_eq!(
            merged("p.headers.a.file=1", "p.headers.a.credential=2"),
            ["p.headers.a.credential=2"]
        );
    }
}
