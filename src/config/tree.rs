//! TOML text to a tree whose every value knows its key path and its place in the file.
//!
//! The path is written down here, once, so that a value that a profile moves over the base still
//! says where it came from. Does not know: which keys exist, profiles, the environment.

use std::collections::BTreeMap;

use toml::de::{DeInteger, DeTable, DeValue};

use super::problem::{Problem, one_line};

/// A text and the name of the file that it came from.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

/// A value where it stands. No `Debug`: it may be a secret written out.
#[derive(Clone)]
pub(super) struct Node {
    /// As written: `profiles.staging.split.primary`.
    pub(super) path: String,
    /// Offset of the key, where an unknown key is shown.
    pub(super) key_at: usize,
    /// Offset of the value, where everything else is shown.
    pub(super) at: usize,
    pub(super) value: Value,
}

/// The kinds of value that the configuration tells apart.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// A finite one.
    Fraction(f64),
    List(Vec<Node>),
    Table(Table),
    /// A kind that no key takes, by its name with an article.
    Other(&'static str),
}

/// Keys and their values.
pub(super) type Table = BTreeMap<String, Node>;

impl Value {
    /// The kind with an article, for "must be a string, not …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Boolean(_) => "a boolean",
            Value::Fraction(_) => "a fraction",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

impl Source {
    /// Describes a problem at an offset, or with the file as a whole.
    pub(super) fn problem(&self, at: Option<usize>, key: &str, message: &str) -> Problem {
        let (line, column) = at.map_or((0, 0), |at| self.position(at));
        Problem {
            file: one_line(&self.name),
            line,
            column,
            key: one_line(key),
            message: one_line(message),
        }
    }

    /// Line and column, both from 1, of an offset in bytes.
    fn position(&self, at: usize) -> (usize, usize) {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// Reads what can be read, with the problems of what cannot.
pub(super) fn parse(source: &Source) -> (Table, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| source.problem(Some(error.span().unwrap_or(0..0).start), "", error.message()))
        .collect();
    // One slip makes the parser stumble several times on the same line; the first says it best.
    problems.sort();
    problems.dedup_by_key(|problem| problem.line);
    // A list that is never closed swallows the lines after it; where it first stumbles is enough.
    problems.dedup_by(|next, first| {
        next.message == first.message && next.message.starts_with("missing comma")
    });
    (table("", document.get_ref()), problems)
}

/// The path of a key under another path.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let key =
        if !key.is_empty() && key.chars().all(bare) { key.into() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn table(path: &str, from: &DeTable<'_>) -> Table {
    from.iter()
        .map(|(key, value)| {
            let path = join(path, key.get_ref());
            let at = value.span().start;
            let value = self::value(&path, value.get_ref());
            (key.get_ref().to_string(), Node { path, key_at: key.span().start, at, value })
        })
        .collect()
}

fn value(path: &str, from: &DeValue<'_>) -> Value {
    match from {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => integer(number),
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) if f64::is_finite(number) => Value::Fraction(number),
            _ => Value::Other("an infinite number"),
        },
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(from) => Value::Table(table(path, from)),
        DeValue::Array(from) => {
            let items = from.iter().enumerate().map(|(index, item)| {
                let path = format!("{path}[{index}]");
                let at = item.span().start;
                let value = value(&path, item.get_ref());
                Node { path, key_at: at, at, value }
            });
            Value::List(items.collect())
        }
    }
}

fn integer(number: &DeInteger<'_>) -> Value {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_or(Value::Other("an integer of more than 64 bits"), Value::Integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let source = Source { name: "x".into(), text: text.into() };
        parse(&source).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_slip_is_found_once() {
        assert!(lines("a = 1\n[b]\nc = [1, 2]").is_empty());
        let found = lines("a = \nb = 1\nb = 2\n[c\nd = 'x'\ne = \"\u{e9}\" \"\n");
        let starts: Vec<_> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(starts, ["x:1:5", "x:3:1", "x:4:3", "x:6:9"], "{found:#?}");
        assert_eq!(lines("a = [1\nb = 1\nc = 1\nd = 1\n").len(), 1);
    }

    #[test]
    fn paths_and_places() {
        let text = "\n[s]\nk = [1, { \"q r\" = 0xff }]\n";
        let source = Source { name: "x".into(), text: text.into() };
        let (root, _) = parse(&source);
        let Value::Table(section) = &root["s"].value else { panic!() };
        let Value::List(items) = &section["k"].value else { panic!() };
        let Value::Table(inline) = &items[1].value else { panic!() };
        let node = &inline["q r"];
        assert_eq!(node.path, "s.k[1].\"q r\"");
        assert!(matches!(node.value, Value::Integer(255)));
        assert_eq!(source.position(node.at), (3, 19));
    }

    #[test]
    fn columns_count_characters() {
        let source = Source { name: String::new(), text: "éé = 1".into() };
        assert_eq!(source.position(5), (1, 4));
        assert_eq!(source.position(99), (1, 7));
    }
}
