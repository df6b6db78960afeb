//! Metrics, matchers and lists of labels in an expression of Prometheus. What a router exposes is
//! written with the same names and braces, so this reads a sample of it just as well.

use std::collections::BTreeSet;

/// A metric that an expression names.
#[derive(Debug, Default, PartialEq)]
pub struct Named {
    pub metric: String,
    /// Label and value, whatever the operator.
    pub matchers: Vec<(String, String)>,
}

/// What an expression names.
#[derive(Debug, Default)]
pub struct Expression {
    pub metrics: Vec<Named>,
    /// Labels in `by (…)`.
    pub by: BTreeSet<String>,
    /// Labels in `ignoring (…)` and `without (…)`.
    pub without: BTreeSet<String>,
    /// Labels in `on (…)`, `group_left (…)` and `group_right (…)`.
    pub on: BTreeSet<String>,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Reads an expression, or a sample.
pub fn read(text: &str) -> Expression {
    let mut found = Expression::default();
    let mut tokens = tokens(text).into_iter().peekable();
    while let Some(token) = tokens.next() {
        let Token::Word(word) = token else { continue };
        let list = match word.as_str() {
            "by" => Some(&mut found.by),
            "ignoring" | "without" => Some(&mut found.without),
            "on" | "group_left" | "group_right" => Some(&mut found.on),
            _ => None,
        };
        if let Some(list) = list {
            // The brackets may be missing after `group_left`.
            if tokens.next_if_eq(&Token::Sign('(')).is_some() {
                list.extend(
                    tokens.by_ref().take_while(|it| *it != Token::Sign(')')).filter_map(word_of),
                );
            }
            continue;
        }
        let mut named = Named { metric: word, ..Named::default() };
        if tokens.next_if_eq(&Token::Sign('{')).is_some() {
            let mut label = String::new();
            for token in tokens.by_ref().take_while(|it| *it != Token::Sign('}')) {
                match token {
                    Token::Word(word) => label = word,
                    Token::Text(value) => named.matchers.push((std::mem::take(&mut label), value)),
                    Token::Sign(_) => {}
                }
            }
        }
        if named.metric.starts_with("tidegate_") || named.metric.contains(':') {
            found.metrics.push(named);
        }
    }
    found
}

fn word_of(token: Token) -> Option<String> {
    if let Token::Word(word) = token { Some(word) } else { None }
}

/// Numbers, operators and what stands in square brackets name nothing, and come as signs or not at
/// all.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                let mut value = String::new();
                while let Some(letter) = letters.next().filter(|&letter| letter != '"') {
                    value.push(if letter == '\\' {
                        letters.next().unwrap_or('\\')
                    } else {
                        letter
                    });
                }
                tokens.push(Token::Text(value));
            }
            '[' => while letters.next().is_some_and(|letter| letter != ']') {},
            _ if letter.is_ascii_alphanumeric() || letter == '_' => {
                let mut word = String::from(letter);
                let inside = |it: &char| it.is_ascii_alphanumeric() || *it == '_' || *it == ':';
                while let Some(letter) = letters.next_if(inside) {
                    word.push(letter);
                }
                if !letter.is_ascii_digit() {
                    tokens.push(Token::Word(word));
                }
            }
            _ if letter.is_whitespace() => {}
            _ => tokens.push(Token::Sign(letter)),
        }
    }
    tokens
}

#[test]
fn names_are_found_where_they_stand() {
    let read = read(
        "sum by (arm, le) (rate(tidegate_a_bucket{arm=~\"x|y\",tool!=\"a\\\"}\"}[5m] offset 1m))\n\
         / on (job) group_left () (job:b:sum5m > 0.5e3) and ignoring (kind) time() - tidegate_c",
    );
    let metrics: Vec<_> = read.metrics.iter().map(|it| it.metric.as_str()).collect();
    assert_eq!(metrics, ["tidegate_a_bucket", "job:b:sum5m", "tidegate_c"]);
    let matchers: Vec<_> = read.metrics[0].matchers.iter().map(|(l, v)| (&**l, &**v)).collect();
    assert_eq!(matchers, [("arm", "x|y"), ("tool", "a\"}")]);
    let list = |of: &BTreeSet<String>| of.iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        (list(&read.by), list(&read.on), list(&read.without)),
        ("arm le".into(), "job".into(), "kind".into())
    );
}
