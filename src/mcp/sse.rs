//! An incremental reader of event streams, as the HTML standard defines them (section 9.2.6) and
//! as servers write them: LF, CRLF or CR, fields in any order, comments, priming events without
//! data, pieces cut anywhere.
//!
//! It tells where events end and shows their data as it passes, in constant memory whatever the
//! size of an event; what passes by is never changed here. Does not know: JSON, who reads the
//! stream.

use std::time::Duration;

use super::run;

/// Bytes kept of a field's name or of a short value: `endpoint`, or the longest time that makes
/// sense.
const WORD_MAX: usize = 16;

/// The mark that a stream may begin with.
const BYTE_ORDER_MARK: [u8; 3] = *b"\xef\xbb\xbf";

/// Sees the data of an event while it passes.
pub trait Visit {
    /// A piece of the event's data; its lines are joined by one LF. The event has happened only
    /// when the reader says so.
    fn data(&mut self, piece: &[u8]);
}

/// Whoever wants to know only where events end.
impl Visit for () {
    fn data(&mut self, _: &[u8]) {}
}

/// Keeps the data of an event whole, up to a limit.
#[derive(Debug)]
pub struct Kept {
    max: usize,
    data: Vec<u8>,
    cut: bool,
}

impl Kept {
    /// Keeps at most this many bytes.
    pub fn new(max: usize) -> Kept {
        Kept { max, data: Vec::new(), cut: false }
    }

    /// The data since the last `clear`; `None` when there was more than the limit.
    pub fn whole(&self) -> Option<&[u8]> {
        (!self.cut).then_some(&self.data)
    }

    /// Forgets it, before the next event.
    pub fn clear(&mut self) {
        self.data.clear();
        self.cut = false;
    }
}

impl Visit for Kept {
    fn data(&mut self, piece: &[u8]) {
        let room = self.max - self.data.len();
        self.cut |= piece.len() > room;
        self.data.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// What the `event` field of an event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// `message`, or nothing, which means the same: a JSON-RPC message.
    #[default]
    Message,
    /// `endpoint`: the message URI of a 2024-11-05 session.
    Endpoint,
    /// Something that MCP does not define.
    Other,
}

/// One event of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// What kind of event it is.
    pub kind: Kind,
    /// It has data that is not empty. An event without it primes the client and says nothing.
    pub has_data: bool,
    /// It has an id that is not empty: the client may resume after it.
    pub has_id: bool,
}

/// A field that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Id,
    Retry,
    /// A comment, or a name that nobody knows.
    Other,
}

/// Where in a line the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// At the beginning of the stream, after this many bytes of a byte order mark.
    Mark(usize),
    /// In a field's name.
    Name,
    /// After the colon, where a space is not part of the value.
    Space(Field),
    /// In a value.
    Value(Field),
}

/// What has come since the last blank line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Block {
    #[default]
    Nothing,
    /// Lines that make no event, such as comments.
    Lines,
    /// A field that makes an event.
    Event,
}

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    line: Line,
    /// The name or the short value that the reader is in.
    word: Word,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    block: Block,
    /// The current event has a `data` line, so the next one begins with an LF.
    data_line: bool,
    event: Event,
    retry: Option<Duration>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            line: Line::Mark(0),
            word: Word::default(),
            after_cr: false,
            block: Block::Nothing,
            data_line: false,
            event: Event::default(),
            retry: None,
        }
    }
}

impl Reader {
    /// Reads up to the end of the next event. Returns how many bytes that took, and the event, or
    /// `None` when the bytes are used up before one ends.
    pub fn next(&mut self, bytes: &[u8], visit: &mut impl Visit) -> (usize, Option<Event>) {
        let mut at = 0;
        while let Some(&first) = bytes.get(at) {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                at += 1;
                continue;
            }
            let length = run::length(&bytes[at..], *b"\r\n", |_| false);
            self.inside_line(&bytes[at..at + length], visit);
            at += length;
            let Some(&end) = bytes.get(at) else { break };
            at += 1;
            self.after_cr = end == b'\r';
            if let Some(event) = self.end_line(visit) {
                return (at, Some(event));
            }
        }
        (bytes.len(), None)
    }

    /// Whether the stream stands between two events, where a comment may be put in.
    pub fn at_boundary(&self) -> bool {
        self.block == Block::Nothing && self.at_line_start()
    }

    /// How long a client is to wait before it comes back after the stream's end, as the last
    /// `retry` field said. A field of its own makes no event.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn at_line_start(&self) -> bool {
        match self.line {
            Line::Mark(0) => true,
            Line::Name => self.word.length == 0,
            _ => false,
        }
    }

    /// Reads a piece of a line, without its end.
    fn inside_line(&mut self, mut piece: &[u8], visit: &mut impl Visit) {
        while let [first, rest @ ..] = piece {
            match self.line {
                Line::Mark(at) if *first == BYTE_ORDER_MARK[at] => {
                    let last = at + 1 == BYTE_ORDER_MARK.len();
                    self.line = if last { Line::Name } else { Line::Mark(at + 1) };
                    piece = rest;
                }
                Line::Mark(0) => self.line = Line::Name,
                // A part of the mark begins a name that nobody knows.
                Line::Mark(_) => self.line = Line::Value(Field::Other),
                Line::Name => {
                    let length = run::length(piece, *b":", |_| false);
                    self.word.extend(&piece[..length]);
                    piece = &piece[length..];
                    if !piece.is_empty() {
                        self.line = Line::Space(self.end_name(visit));
                        piece = &piece[1..];
                    }
                }
                Line::Space(field) => {
                    self.line = Line::Value(field);
                    piece = piece.strip_prefix(b" ").unwrap_or(piece);
                }
                Line::Value(Field::Data) => {
                    self.event.has_data = true;
                    return visit.data(piece);
                }
                Line::Value(Field::Other) => return,
                Line::Value(_) => return self.word.extend(piece),
            }
        }
    }

    /// The name of a field is over: which one is it?
    fn end_name(&mut self, visit: &mut impl Visit) -> Field {
        let field = match self.word.take() {
            Some(b"data") => Field::Data,
            Some(b"event") => Field::Event,
            Some(b"id") => Field::Id,
            Some(b"retry") => Field::Retry,
            _ => Field::Other,
        };
        if field == Field::Data && std::mem::replace(&mut self.data_line, true) {
            visit.data(b"\n");
        }
        field
    }

    fn end_line(&mut self, visit: &mut impl Visit) -> Option<Event> {
        if self.at_line_start() {
            self.line = Line::Name;
            return self.end_block();
        }
        let field = match self.line {
            Line::Mark(_) => Field::Other,
            Line::Name => self.end_name(visit),
            Line::Space(field) | Line::Value(field) => field,
        };
        self.line = Line::Name;
        self.end_field(field);
        None
    }

    fn end_field(&mut self, field: Field) {
        let empty = self.word.length == 0;
        let value = self.word.take();
        let makes_event = match field {
            Field::Data => true,
            Field::Id => {
                self.event.has_id = !empty;
                true
            }
            Field::Event => {
                self.event.kind = match value {
                    Some(b"" | b"message") => Kind::Message,
                    Some(b"endpoint") => Kind::Endpoint,
                    _ => Kind::Other,
                };
                !empty
            }
            Field::Retry => {
                self.retry = value.and_then(milliseconds).or(self.retry);
                false
            }
            Field::Other => false,
        };
        if makes_event {
            self.block = Block::Event;
        } else if self.block == Block::Nothing {
            self.block = Block::Lines;
        }
    }

    /// A blank line: an event, unless there was nothing in it but comments.
    fn end_block(&mut self) -> Option<Event> {
        self.data_line = false;
        let event = std::mem::take(&mut self.event);
        (std::mem::take(&mut self.block) == Block::Event).then_some(event)
    }
}

/// A time in ASCII digits and nothing else.
fn milliseconds(text: &[u8]) -> Option<Duration> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok().map(Duration::from_millis)
}

/// A short text, or the fact that it is longer.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; WORD_MAX],
    /// Of all that came, so more than `WORD_MAX` for a text that is not kept.
    length: usize,
}

impl Word {
    fn extend(&mut self, piece: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..) {
            let fits = piece.len().min(room.len());
            room[..fits].copy_from_slice(&piece[..fits]);
        }
        self.length = self.length.saturating_add(piece.len());
    }

    /// The text, unless it was too long; the next one begins.
    fn take(&mut self) -> Option<&[u8]> {
        self.bytes.get(..std::mem::take(&mut self.length))
    }
}

#[cfg(test)]
mod tests;
