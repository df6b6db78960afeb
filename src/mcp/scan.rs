//! An incremental JSON scanner in constant memory.
//!
//! A body is looked at while it passes and never kept: the scanner holds a bit per open bracket
//! and, near the top of the document only, the bytes of the token it is in. It checks the
//! structure and the UTF-8, so that what it calls complete is JSON for any parser; numbers are
//! checked only for their alphabet. Strings, which are nearly all of a large body, are passed over
//! in runs and not byte by byte. Does not know: JSON-RPC, what a key means.

use std::borrow::Cow;

use super::run;

/// Brackets that may be open at once. Parsers of servers give up at 100 to 1,000.
const DEPTH_MAX: usize = 256;

/// Bytes kept of one token; a longer one is reported as too long, never grown.
const TOKEN_MAX: usize = 1024;

/// What a visitor is told. `depth` counts the brackets around the token: the keys of a top-level
/// object stand at depth 1.
pub trait Visit {
    /// Whether tokens at this depth are worth keeping.
    fn wants(&self, depth: usize) -> bool;
    /// The key of the next value, as written, with its quotes.
    fn key(&mut self, depth: usize, token: Token<'_>);
    /// A string, number, `true`, `false` or `null`, as written.
    fn scalar(&mut self, depth: usize, token: Token<'_>);
    /// `{` or `[`; the new depth is `depth + 1`.
    fn open(&mut self, depth: usize, bracket: Bracket);
    /// The bracket that was opened at this depth is closed.
    fn close(&mut self, depth: usize);
}

/// A token as it stands in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// Longer than the scanner keeps.
    TooLong,
}

impl<'a> Token<'a> {
    /// The text of a string, without quotes and escapes; `None` when it is no string, was too long,
    /// or has half of a surrogate pair in it, which no text can hold.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let Token::Whole(token @ [b'"', inside @ .., b'"']) = self else { return None };
        if token.contains(&b'\\') {
            return serde_json::from_slice(token).ok().map(Cow::Owned);
        }
        str::from_utf8(inside).ok().map(Cow::Borrowed)
    }

    /// Whether it is a string, or too long for anything else.
    pub fn is_text(self) -> bool {
        matches!(self, Token::TooLong | Token::Whole([b'"', ..]))
    }
}

/// A kind of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bracket {
    /// `{`
    Object,
    /// `[`
    Array,
}

/// Where the scanner stands between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a value; in an array that has just been opened, `]` is allowed too.
    Value { or_end: bool },
    /// Before a key; in an object that has just been opened, `}` is allowed too.
    Key { or_end: bool },
    /// After a key.
    Colon,
    /// After a value inside a bracket.
    Comma,
    /// In a string; `escape` counts the bytes of an escape that are still to come, with 255 for
    /// the byte right after the backslash.
    Str { key: bool, escape: u8 },
    /// In a number.
    Number,
    /// In `true`, `false` or `null`.
    Literal,
    /// After the document: white space only.
    Done,
    /// Not JSON.
    Invalid,
    /// More brackets than we follow.
    TooDeep,
}

/// How far a document has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More has to come.
    Incomplete,
    /// A whole document.
    Complete,
    /// No JSON, whatever comes.
    Invalid,
    /// Nested deeper than we follow: whether it is JSON will not be known.
    TooDeep,
}

/// The scanner; feed it pieces of any size.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// One bit per open bracket: set for an object.
    stack: [u64; DEPTH_MAX / 64],
    depth: usize,
    /// What is left of a literal.
    literal: &'static [u8],
    utf8: Utf8,
    token: Vec<u8>,
    keeping: bool,
    too_long: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner {
            state: State::Value { or_end: false },
            stack: [0; DEPTH_MAX / 64],
            depth: 0,
            literal: &[],
            utf8: Utf8::default(),
            token: Vec::new(),
            keeping: false,
            too_long: false,
        }
    }
}

impl Scanner {
    /// Looks at the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8], visit: &mut impl Visit) {
        while let [byte, ..] = bytes {
            let passed = match self.state {
                State::Invalid | State::TooDeep => return,
                State::Str { escape: 0, .. } if self.utf8.left == 0 => self.plain_text(bytes),
                _ => 0,
            };
            if passed == 0 {
                self.step(*byte, visit);
            }
            bytes = &bytes[passed.max(1)..];
        }
    }

    /// Begins another document, in the same memory.
    pub fn restart(&mut self) {
        *self = Scanner { token: std::mem::take(&mut self.token), ..Scanner::default() };
    }

    /// Whether nothing but white space has come.
    pub fn is_blank(&self) -> bool {
        self.depth == 0 && self.state == State::Value { or_end: false }
    }

    /// The document's end: a top-level number is over only now.
    pub fn finish(&mut self, visit: &mut impl Visit) -> Progress {
        if self.state == State::Number && self.depth == 0 {
            self.end_scalar(visit);
        }
        match self.progress() {
            Progress::Incomplete => Progress::Invalid,
            other => other,
        }
    }

    /// How far the document has come.
    pub fn progress(&self) -> Progress {
        match self.state {
            State::Done => Progress::Complete,
            State::Invalid => Progress::Invalid,
            State::TooDeep => Progress::TooDeep,
            _ => Progress::Incomplete,
        }
    }

    fn step(&mut self, byte: u8, visit: &mut impl Visit) {
        match self.state {
            State::Str { key, escape } => self.in_string(byte, key, escape, visit),
            State::Number if is_number_byte(byte) => self.keep(&[byte]),
            State::Number => {
                self.end_scalar(visit);
                self.step(byte, visit);
            }
            State::Literal => self.in_literal(byte, visit),
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
            State::Value { or_end } => self.at_value(byte, or_end, visit),
            State::Key { or_end } => match byte {
                b'"' => self.begin(byte, State::Str { key: true, escape: 0 }, visit),
                b'}' if or_end => self.close(visit),
                _ => self.state = State::Invalid,
            },
            State::Colon if byte == b':' => self.state = State::Value { or_end: false },
            State::Comma => match (byte, self.in_object()) {
                (b',', true) => self.state = State::Key { or_end: false },
                (b',', false) => self.state = State::Value { or_end: false },
                (b'}', true) | (b']', false) => self.close(visit),
                _ => self.state = State::Invalid,
            },
            State::Colon | State::Done | State::Invalid | State::TooDeep => {
                self.state = State::Invalid;
            }
        }
    }

    fn at_value(&mut self, byte: u8, or_end: bool, visit: &mut impl Visit) {
        match byte {
            b'{' => self.open(Bracket::Object, visit),
            b'[' => self.open(Bracket::Array, visit),
            b']' if or_end => self.close(visit),
            b'"' => self.begin(byte, State::Str { key: false, escape: 0 }, visit),
            b't' => self.begin_literal(byte, b"rue", visit),
            b'f' => self.begin_literal(byte, b"alse", visit),
            b'n' => self.begin_literal(byte, b"ull", visit),
            b'-' | b'0'..=b'9' => self.begin(byte, State::Number, visit),
            _ => self.state = State::Invalid,
        }
    }

    /// Passes over text of a string up to what has to be looked at: its end, an escape, a control
    /// byte, or what is not UTF-8 or not yet. Returns the number of bytes.
    fn plain_text(&mut self, bytes: &[u8]) -> usize {
        // Control bytes and what is not ASCII are the signed bytes below the space.
        let ascii = run::length(bytes, *b"\"\\", |byte| byte.cast_signed() < 0x20);
        let length = match bytes[ascii..] {
            [byte, ..] if byte >= 0x80 => ascii + well_formed(&bytes[ascii..]),
            _ => ascii,
        };
        self.keep(&bytes[..length]);
        length
    }

    fn in_string(&mut self, byte: u8, key: bool, escape: u8, visit: &mut impl Visit) {
        if byte < 0x20 || !self.utf8.accepts(byte) {
            self.state = State::Invalid;
            return;
        }
        self.keep(&[byte]);
        let escape = match (escape, byte) {
            (0, b'"') => return self.end_string(key, visit),
            (0, b'\\') => 255,
            (0, _) | (255, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            (255, b'u') => 4,
            (1..=4, byte) if byte.is_ascii_hexdigit() => escape - 1,
            _ => {
                self.state = State::Invalid;
                return;
            }
        };
        self.state = State::Str { key, escape };
    }

    fn begin_literal(&mut self, byte: u8, rest: &'static [u8], visit: &mut impl Visit) {
        self.literal = rest;
        self.begin(byte, State::Literal, visit);
    }

    fn in_literal(&mut self, byte: u8, visit: &mut impl Visit) {
        let Some((next, rest)) = self.literal.split_first().filter(|(next, _)| **next == byte)
        else {
            self.state = State::Invalid;
            return;
        };
        self.keep(&[*next]);
        self.literal = rest;
        if rest.is_empty() {
            self.end_scalar(visit);
        }
    }

    fn begin(&mut self, byte: u8, state: State, visit: &mut impl Visit) {
        self.token.clear();
        self.too_long = false;
        self.keeping = visit.wants(self.depth);
        self.state = state;
        self.keep(&[byte]);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if !self.keeping {
            return;
        }
        if bytes.len() > TOKEN_MAX - self.token.len() {
            self.keeping = false;
            self.too_long = true;
            return;
        }
        self.token.extend_from_slice(bytes);
    }

    fn end_string(&mut self, key: bool, visit: &mut impl Visit) {
        if !key {
            return self.end_scalar(visit);
        }
        if let Some(token) = self.kept() {
            visit.key(self.depth, token);
        }
        self.state = State::Colon;
    }

    fn end_scalar(&mut self, visit: &mut impl Visit) {
        if let Some(token) = self.kept() {
            visit.scalar(self.depth, token);
        }
        self.after_value();
    }

    fn kept(&self) -> Option<Token<'_>> {
        match (self.keeping, self.too_long) {
            (_, true) => Some(Token::TooLong),
            (true, _) => Some(Token::Whole(&self.token)),
            _ => None,
        }
    }

    fn open(&mut self, bracket: Bracket, visit: &mut impl Visit) {
        if self.depth == DEPTH_MAX {
            self.state = State::TooDeep;
            return;
        }
        visit.open(self.depth, bracket);
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        match bracket {
            Bracket::Object => self.stack[word] |= bit,
            Bracket::Array => self.stack[word] &= !bit,
        }
        self.depth += 1;
        self.state = match bracket {
            Bracket::Object => State::Key { or_end: true },
            Bracket::Array => State::Value { or_end: true },
        };
    }

    fn close(&mut self, visit: &mut impl Visit) {
        self.depth -= 1;
        visit.close(self.depth);
        self.after_value();
    }

    fn after_value(&mut self) {
        self.state = if self.depth == 0 { State::Done } else { State::Comma };
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.stack[(self.depth - 1) / 64] & (1 << ((self.depth - 1) % 64)) != 0
    }
}

/// The number of bytes of text, ASCII or not, up to what has to be looked at.
fn well_formed(bytes: &[u8]) -> usize {
    let length = run::length(bytes, *b"\"\\", |byte| byte < 0x20);
    str::from_utf8(&bytes[..length]).map_or_else(|error| error.valid_up_to(), str::len)
}

fn is_number_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

/// UTF-8 as a state machine over the well-formed byte sequences of Unicode, table 3-7.
#[derive(Clone, Copy, Debug, Default)]
struct Utf8 {
    /// Continuation bytes still to come.
    left: u8,
    /// The range that the next one must be in.
    range: (u8, u8),
}

impl Utf8 {
    fn accepts(&mut self, byte: u8) -> bool {
        if self.left > 0 {
            let fits = (self.range.0..=self.range.1).contains(&byte);
            self.left -= 1;
            self.range = (0x80, 0xBF);
            return fits;
        }
        (self.left, self.range) = match byte {
            0x00..=0x7F => return true,
            0xC2..=0xDF => (1, (0x80, 0xBF)),
            0xE0 => (2, (0xA0, 0xBF)),
            0xED => (2, (0x80, 0x9F)),
            0xE1..=0xEF => (2, (0x80, 0xBF)),
            0xF0 => (3, (0x90, 0xBF)),
            0xF1..=0xF3 => (3, (0x80, 0xBF)),
            0xF4 => (3, (0x80, 0x8F)),
            _ => return false,
        };
        true
    }
}

#[cfg(test)]
pub(in crate::mcp) mod tests;
