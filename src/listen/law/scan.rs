//! Reads the bytes of an HTTP/1 connection as strictly as RFC 9112 allows, beside the library that
//! serves it.
//!
//! The library forgives what two programs in a row may forgive in two ways: lines that end in LF
//! alone, a length beside chunks, a fragment. So every request head gets a verdict of its own
//! here. A state machine of fixed size; bodies are counted, not looked at. What is passed here is
//! never more than what the library passes. Does not know: what the headers mean but for framing.

use std::collections::VecDeque;

use super::{Fault, Framing, Verdict};

/// Bytes of a method.
const METHOD_MAX: u32 = 32;
/// Empty lines in front of a request; some old clients send one behind a body.
const EMPTY_LINES_MAX: u32 = 1;
/// Bytes of a value that is looked at: no length and no coding that we take is longer.
const VALUE_MAX: usize = 32;
/// Hexadecimal digits of a chunk's size.
const SIZE_DIGITS_MAX: u32 = 15;
/// Bytes of the extensions of one chunk. Nobody uses any.
const EXTENSION_MAX: u32 = 256;
/// Bytes of a trailer section.
const TRAILER_MAX: u32 = 8 * 1024;

/// What the next byte is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first byte of a request, behind this many empty lines.
    Start(u32),
    /// The LF of an empty line before a request.
    StartLf(u32),
    Method(u32),
    /// The target; whether there has been anything of it.
    Target(bool),
    /// The version, with this many bytes of it read.
    Version(usize),
    /// The first byte of a header line.
    Field,
    Name,
    Value,
    /// The LF that ends a line of a head.
    LineLf,
    /// The LF that ends a head.
    HeadLf,
    /// This many bytes of a body.
    Body(u64),
    /// The size of a chunk: its value and its digits.
    Size(u64, u32),
    /// Extensions of a chunk of this size, with this many bytes of them read.
    Extension(u64, u32),
    SizeLf(u64),
    /// This many bytes of a chunk.
    Data(u64),
    DataCr,
    DataLf,
    /// The first byte of a line behind the last chunk. The number counts the section's bytes.
    Trailer(u32),
    TrailerName(u32),
    TrailerValue(u32),
    TrailerLf(u32),
    EndLf,
    /// A head was at fault: whatever follows is not read, and gets no verdict.
    Lost,
}

/// A header that decides where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Other,
    Length,
    Coding,
}

/// What a head has said so far.
#[derive(Clone, Debug, Default)]
struct Head {
    is_old: bool,
    length: Option<u64>,
    is_chunked: bool,
}

/// A piece of a line, as far as it matters.
#[derive(Clone, Debug)]
struct Kept {
    bytes: [u8; VALUE_MAX],
    length: usize,
}

impl Kept {
    const NOTHING: Kept = Kept { bytes: [0; VALUE_MAX], length: 0 };

    /// Keeps what fits, and knows that more has come.
    fn push(&mut self, more: &[u8]) {
        let room = self.bytes.len().saturating_sub(self.length).min(more.len());
        let start = self.length.min(self.bytes.len());
        self.bytes[start..start + room].copy_from_slice(&more[..room]);
        self.length = self.length.saturating_add(more.len());
    }

    /// The whole; `None` if it did not fit.
    fn whole(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }
}

/// The state of one connection.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    head: Head,
    kept: Kept,
    field: Field,
    verdicts: VecDeque<Verdict>,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner {
            state: State::Start(0),
            head: Head::default(),
            kept: Kept::NOTHING,
            field: Field::Other,
            verdicts: VecDeque::new(),
        }
    }
}

impl Scanner {
    /// The verdict on the next request in order, once its head has been read or found at fault.
    pub fn next_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// Reads on. A fault in a head becomes its verdict.
    ///
    /// # Errors
    /// The place of the first byte that breaks the framing of a body.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.state {
                State::Lost => return Ok(()),
                State::Body(left) | State::Data(left) => self.skip(left, rest.len()),
                State::Target(begun) => self.target(begun, rest),
                State::Name => self.name(rest),
                State::Value => self.value(rest),
                _ if self.is_in_body() => {
                    self.state = self.body_byte(rest[0]).ok_or(at)?;
                    1
                }
                _ => {
                    match self.head_byte(rest[0]) {
                        Ok(next) => self.state = next,
                        Err(fault) => self.give_up(fault),
                    }
                    1
                }
            };
        }
        Ok(())
    }

    fn is_in_body(&self) -> bool {
        matches!(
            self.state,
            State::Size(..)
                | State::Extension(..)
                | State::SizeLf(_)
                | State::DataCr
                | State::DataLf
                | State::Trailer(_)
                | State::TrailerName(_)
                | State::TrailerValue(_)
                | State::TrailerLf(_)
                | State::EndLf
        )
    }

    fn give_up(&mut self, fault: Fault) {
        self.verdicts.push_back(Verdict(Err(fault)));
        self.state = State::Lost;
    }

    /// Counts bytes of a body or a chunk.
    fn skip(&mut self, left: u64, there: usize) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        let left = left - taken as u64;
        self.state = match (self.state, left) {
            (State::Body(_), 0) => State::Start(0),
            (State::Body(_), left) => State::Body(left),
            (_, 0) => State::DataCr,
            (_, left) => State::Data(left),
        };
        taken
    }

    /// Reads a target to its end, or to the end of what is there.
    fn target(&mut self, begun: bool, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| !is_target(*byte)).unwrap_or(bytes.len());
        match bytes.get(end) {
            None => {
                self.state = State::Target(true);
                return end;
            }
            Some(b' ') if begun || end > 0 => self.state = State::Version(0),
            // What it would take for a line of HTTP/0.9.
            Some(b'\r' | b'\n') => self.give_up(Fault::Line),
            Some(_) => self.give_up(Fault::Target),
        }
        end + 1
    }

    /// Reads a header's name to its end, or to the end of what is there.
    fn name(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len());
        self.kept.push(&bytes[..end]);
        match bytes.get(end) {
            None => return end,
            Some(b':') => {
                self.field = match self.kept.whole() {
                    Some(name) if name.eq_ignore_ascii_case(b"content-length") => Field::Length,
                    Some(name) if name.eq_ignore_ascii_case(b"transfer-encoding") => Field::Coding,
                    _ => Field::Other,
                };
                self.kept.length = 0;
                self.state = State::Value;
            }
            Some(b'\n') => self.give_up(Fault::LineEnd),
            Some(_) => self.give_up(Fault::Field),
        }
        end + 1
    }

    /// Reads a value to its end, or to the end of what is there.
    fn value(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| !is_value(*byte)).unwrap_or(bytes.len());
        if self.field != Field::Other {
            self.kept.push(&bytes[..end]);
        }
        match bytes.get(end) {
            None => return end,
            Some(b'\r') => match self.take_field() {
                Ok(()) => self.state = State::LineLf,
                Err(fault) => self.give_up(fault),
            },
            Some(b'\n') => self.give_up(Fault::LineEnd),
            Some(_) => self.give_up(Fault::Field),
        }
        end + 1
    }

    /// One byte of a head.
    fn head_byte(&mut self, byte: u8) -> Result<State, Fault> {
        Ok(match (self.state, byte) {
            (State::Start(lines), b'\r') if lines < EMPTY_LINES_MAX => State::StartLf(lines + 1),
            (State::StartLf(lines), b'\n') => State::Start(lines),
            (State::Start(_), byte) if is_token(byte) => {
                self.head = Head::default();
                State::Method(1)
            }
            (State::Method(length), byte) if is_token(byte) && length < METHOD_MAX => {
                State::Method(length + 1)
            }
            (State::Method(_), b' ') => State::Target(false),
            (State::Version(read), byte) => self.version(read, byte)?,
            (State::LineLf, b'\n') => State::Field,
            (State::Field, b'\r') => State::HeadLf,
            (State::Field, byte) if is_token(byte) => {
                self.kept.length = 0;
                self.kept.push(&[byte]);
                State::Name
            }
            (State::HeadLf, b'\n') => self.head_is_over()?,
            (_, b'\n') | (State::LineLf | State::HeadLf | State::StartLf(_), _) => {
                return Err(Fault::LineEnd);
            }
            (State::Field, _) => return Err(Fault::Field),
            _ => return Err(Fault::Line),
        })
    }

    /// `HTTP/1.0` or `HTTP/1.1`, and the CR behind it.
    fn version(&mut self, read: usize, byte: u8) -> Result<State, Fault> {
        const START: &[u8] = b"HTTP/1.";
        match (START.get(read), byte) {
            (Some(expected), byte) if byte == *expected => {}
            (None, b'0' | b'1') if read == START.len() => self.head.is_old = byte == b'0',
            (None, b'\r') if read > START.len() => return Ok(State::LineLf),
            (None, b'\n') if read > START.len() => return Err(Fault::LineEnd),
            _ => return Err(Fault::Line),
        }
        Ok(State::Version(read + 1))
    }

    /// A header line is over.
    fn take_field(&mut self) -> Result<(), Fault> {
        let value = self.kept.whole().map(<[u8]>::trim_ascii);
        match self.field {
            Field::Other => {}
            Field::Length => {
                let length = value.and_then(length).ok_or(Fault::Length)?;
                if self.head.length.replace(length).is_some() {
                    return Err(Fault::Length);
                }
            }
            Field::Coding => {
                check_coding(value)?;
                if std::mem::replace(&mut self.head.is_chunked, true) {
                    return Err(Fault::Coding);
                }
            }
        }
        Ok(())
    }

    /// A head is over: its verdict, and what its body is.
    fn head_is_over(&mut self) -> Result<State, Fault> {
        let Head { is_old, length, is_chunked } = self.head;
        if is_chunked && (is_old || length.is_some()) {
            return Err(Fault::Coding);
        }
        let (framing, next) = match (is_chunked, length.unwrap_or(0)) {
            (true, _) => (Framing::Chunked, State::Size(0, 0)),
            (false, 0) => (Framing::Length(0), State::Start(0)),
            (false, length) => (Framing::Length(length), State::Body(length)),
        };
        self.verdicts.push_back(Verdict(Ok(framing)));
        Ok(next)
    }

    /// One byte of a body in chunks that is no data.
    fn body_byte(&self, byte: u8) -> Option<State> {
        let line_end = |read: u32| (read < TRAILER_MAX).then_some(State::TrailerLf(read));
        Some(match (self.state, byte) {
            (State::Size(size, digits), byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16)?;
                (digits < SIZE_DIGITS_MAX).then_some(())?;
                State::Size(size * 16 + u64::from(digit), digits + 1)
            }
            (State::Size(size, 1..) | State::Extension(size, 1..), b'\r') => State::SizeLf(size),
            (State::Size(size, 1..), b';') => State::Extension(size, 0),
            (State::Extension(size, read), byte) if is_value(byte) && read < EXTENSION_MAX => {
                State::Extension(size, read + 1)
            }
            (State::SizeLf(0), b'\n') => State::Trailer(0),
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0, 0),
            (State::Trailer(_), b'\r') => State::EndLf,
            (State::Trailer(read) | State::TrailerName(read), byte)
                if is_token(byte) && read < TRAILER_MAX =>
            {
                State::TrailerName(read + 1)
            }
            (State::TrailerName(read), b':') => State::TrailerValue(read + 1),
            (State::TrailerValue(read), b'\r') => line_end(read)?,
            (State::TrailerValue(read), byte) if is_value(byte) && read < TRAILER_MAX => {
                State::TrailerValue(read + 1)
            }
            (State::TrailerLf(read), b'\n') => State::Trailer(read + 2),
            (State::EndLf, b'\n') => State::Start(0),
            _ => return None,
        })
    }
}

/// Digits and nothing else, as a number that is far below every limit of a counter.
fn length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit) && (1..=18).contains(&value.len());
    digits.then(|| value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// One `chunked` and nothing else.
fn check_coding(value: Option<&[u8]>) -> Result<(), Fault> {
    let value = value.ok_or(Fault::UnknownCoding)?;
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let names = || value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let all_named = names().all(|name| !name.is_empty() && name.iter().all(|it| is_token(*it)));
    let is_known = names().all(|name| name.eq_ignore_ascii_case(b"chunked"));
    Err(if all_named && !is_known { Fault::UnknownCoding } else { Fault::Coding })
}

/// RFC 9110 section 5.6.2.
pub const fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'0'..=b'9'
            | b'A'..=b'Z'
            | b'^'..=b'z'
            | b'!'
            | b'#'..=b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'|'
            | b'~'
    )
}

/// Visible ASCII, but neither what a fragment begins with nor what some read as a slash.
const fn is_target(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'#' | b'\\')
}

/// RFC 9110 section 5.5.
const fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
