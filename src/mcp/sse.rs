//! An incremental reader of event streams, as the HTML standard defines them (section 9.2.6) and
//! as servers write them: LF, CRLF or CR, fields in any order, comments, priming events without
//! data, pieces cut anywhere.
//!
//! It tells where events end and keeps a bounded part of one; what passes by is never changed
//! here. Does not know: JSON, who reads the stream.

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty means `message`.
    pub kind: Vec<u8>,
    /// The `data` lines, joined by LF.
    pub data: Vec<u8>,
    /// An `id` field was there: the client may resume after it.
    pub has_id: bool,
    /// More data than the reader keeps; `data` holds the beginning.
    pub cut: bool,
}

/// Reads one stream.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "five independent facts about the bytes so far")]
pub struct Reader {
    /// Bytes kept of a line and of an event's data.
    keep_max: usize,
    line: Vec<u8>,
    line_cut: bool,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    /// No byte of the stream has been read yet, so a byte order mark is skipped.
    at_start: bool,
    /// A line of the current event has been read, comments included.
    in_event: bool,
    /// The current event has at least one `data` line.
    has_data: bool,
    event: Event,
}

impl Reader {
    /// A reader that keeps at most this many bytes of a line and of an event's data.
    pub fn new(keep_max: usize) -> Reader {
        Reader {
            keep_max,
            line: Vec::new(),
            line_cut: false,
            after_cr: false,
            at_start: true,
            in_event: false,
            has_data: false,
            event: Event::default(),
        }
    }

    /// Reads up to the end of the next event. Returns how many bytes that took, and the event, or
    /// `None` when the bytes are used up before one ends.
    pub fn next(&mut self, bytes: &[u8]) -> (usize, Option<Event>) {
        for (at, &byte) in bytes.iter().enumerate() {
            let ends_line = match byte {
                b'\n' if self.after_cr => {
                    self.after_cr = false;
                    continue;
                }
                b'\r' | b'\n' => true,
                _ => false,
            };
            self.after_cr = byte == b'\r';
            if !ends_line {
                self.keep(byte);
            } else if let Some(event) = self.end_line() {
                return (at + 1, Some(event));
            }
        }
        (bytes.len(), None)
    }

    /// Whether the stream stands between two events, where a comment may be put in.
    pub fn at_boundary(&self) -> bool {
        !self.in_event && self.line.is_empty() && !self.line_cut
    }

    fn keep(&mut self, byte: u8) {
        if self.line.len() < self.keep_max {
            self.line.push(byte);
        } else {
            self.line_cut = true;
        }
        if self.at_start && self.line.len() == 3 {
            self.at_start = false;
            if self.line == b"\xef\xbb\xbf" {
                self.line.clear();
            }
        }
    }

    fn end_line(&mut self) -> Option<Event> {
        self.at_start = false;
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.line_cut);
        let event = if line.is_empty() && !cut {
            self.end_event()
        } else {
            self.in_event = true;
            self.field(&line, cut);
            None
        };
        self.line = line;
        self.line.clear();
        event
    }

    fn field(&mut self, line: &[u8], cut: bool) {
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => self.event.kind = value.to_vec(),
            b"id" => self.event.has_id = true,
            b"data" => {
                if self.has_data {
                    self.event.data.push(b'\n');
                }
                self.has_data = true;
                let room = self.keep_max.saturating_sub(self.event.data.len());
                self.event.cut |= cut || value.len() > room;
                self.event.data.extend_from_slice(&value[..value.len().min(room)]);
            }
            _ => {}
        }
    }

    /// A blank line: an event, unless there was nothing in it but comments.
    fn end_event(&mut self) -> Option<Event> {
        self.in_event = false;
        let has_data = std::mem::take(&mut self.has_data);
        let event = std::mem::take(&mut self.event);
        (has_data || event.has_id || !event.kind.is_empty()).then_some(event)
    }
}

#[cfg(test)]
mod tests;
