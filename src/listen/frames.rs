//! HTTP/2 frames that ask for nothing, counted against what a client may need of them.
//!
//! The protocol's library bounds resets, header fragments and empty data, but takes any number of
//! `PING`, `SETTINGS`, `PRIORITY`, `WINDOW_UPDATE` and unknown frames (measured), each a few bytes. An honest client sends them in proportion to what it asks for and takes, so that is what
//! they are paid with. Only the nine bytes in front of each frame are read (RFC 9113 section 4.1).
//! Does not know: what is in a frame.

use std::time::Duration;

use tokio::time::Instant;

/// Payload of one frame at most: what HTTP/2 begins with and we never announce more of.
pub const FRAME_MAX: u32 = 16 * 1024;

/// The client's preface, which stands in front of the first frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;

/// What a connection begins with: browsers send a dozen such frames, and tools that probe a
/// server's limits some hundred.
const BUDGET: u32 = 500;
/// What it gets each second, whatever it does.
const PER_SECOND: u64 = 20;
/// What it may save up: a burst of small events is acknowledged in a burst.
const SAVED_MAX: u32 = 64 * 1024;
/// What a request brings.
const PER_REQUEST: u32 = 2;
/// What a piece of an answer brings: two windows may be opened for it, and its round trip measured.
const PER_PIECE: u32 = 4;
/// And one more for each so many bytes of it: clients open windows after 4 KiB or more.
const PIECE_BYTES: usize = 2048;
/// What taking a request back costs: more than the request brought, so that asking and taking back
/// cannot go on for ever, and less than an answer brings.
const PER_RESET: u32 = 5;

/// Types of frames (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// More than a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Frames that ask for nothing.
    #[error("more HTTP/2 frames that ask for nothing than any client needs")]
    Frames,
    /// A frame above the announced size.
    #[error("an HTTP/2 frame above the announced size")]
    Size,
}

/// Counts the frames that come in on one connection.
#[derive(Debug)]
pub struct Frames {
    /// Bytes to go until the next frame's header.
    skip: usize,
    header: [u8; 9],
    /// Bytes of `header` that are there.
    have: usize,
    budget: u32,
    /// Up to when `budget` has been paid.
    paid: Instant,
    /// When the head began that is not complete yet.
    head: Option<Instant>,
    /// The frame that is being skipped completes it.
    ends_head: bool,
}

impl Frames {
    /// Before the first byte of a connection.
    pub fn new(now: Instant) -> Frames {
        Frames {
            skip: PREFACE,
            header: [0; 9],
            have: 0,
            budget: BUDGET,
            paid: now,
            head: None,
            ends_head: false,
        }
    }

    /// When the request head began that is still to be completed.
    pub fn head(&self) -> Option<Instant> {
        self.head
    }

    /// A piece of an answer was handed over to be sent.
    pub fn earn(&mut self, bytes: usize) {
        let more = u32::try_from(bytes / PIECE_BYTES).unwrap_or(u32::MAX);
        self.credit(PER_PIECE.saturating_add(more));
    }

    /// Reads on.
    ///
    /// # Errors
    /// When it is too much.
    pub fn read(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Excess> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip > 0 {
                break;
            }
            self.end_of_frame();
            let taken = (self.header.len() - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.header.len() {
                self.have = 0;
                self.frame(now)?;
            }
        }
        if self.skip == 0 {
            self.end_of_frame();
        }
        Ok(())
    }

    fn end_of_frame(&mut self) {
        if std::mem::take(&mut self.ends_head) {
            self.head = None;
        }
    }

    /// A whole frame header is there.
    fn frame(&mut self, now: Instant) -> Result<(), Excess> {
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        if length > FRAME_MAX {
            return Err(Excess::Size);
        }
        self.skip = length as usize;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.head.get_or_insert(now);
            self.ends_head = flags & END_HEADERS != 0;
        }
        match kind {
            HEADERS => self.credit(PER_REQUEST),
            DATA if length > 0 || flags & END_STREAM != 0 => {}
            RST_STREAM => self.charge(PER_RESET, now)?,
            _ => self.charge(1, now)?,
        }
        Ok(())
    }

    fn credit(&mut self, amount: u32) {
        self.budget = self.budget.saturating_add(amount).min(SAVED_MAX);
    }

    fn charge(&mut self, amount: u32, now: Instant) -> Result<(), Excess> {
        if self.budget < amount {
            let seconds = (now - self.paid).as_secs();
            self.paid += Duration::from_secs(seconds);
            let earned = seconds.saturating_mul(PER_SECOND).min(u64::from(BUDGET));
            self.credit(u32::try_from(earned).unwrap_or(BUDGET));
        }
        self.budget = self.budget.checked_sub(amount).ok_or(Excess::Frames)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
