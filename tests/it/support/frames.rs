//! An HTTP/2 client that sends exactly the frames that it is told to.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::MODERN;

/// What an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The bytes of a SETTINGS frame.
pub fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = all
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// A header block: every field literal and unindexed (RFC 7541 section 6.2.2).
pub fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in all {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "{text}");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The head of a modern call.
pub fn head(method: &str) -> Vec<u8> {
    let own = [
        (":method", method),
        (":scheme", "http"),
        (":path", "/mcp"),
        (":authority", "localhost"),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
    ];
    fields(&[&own[..], &MODERN[..]].concat())
}

/// A connection.
pub struct Http2 {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http2 {
    /// One that has sent its preface and these settings.
    pub async fn open(to: SocketAddr, wanted: &[(u16, u32)]) -> Http2 {
        let mut connection =
            Http2 { stream: TcpStream::connect(to).await.unwrap(), buffer: Vec::new() };
        connection.send([PREFACE, &settings(wanted)].concat()).await;
        connection
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A POST with this body on a stream.
    pub async fn post(&mut self, stream: u32, body: &str) {
        let head = frame(HEADERS, END_HEADERS, stream, &head("POST"));
        self.send([head, frame(DATA, END_STREAM, stream, body.as_bytes())].concat()).await;
    }

    /// Sends these bytes again and again, and reads what comes meanwhile; how many times it took
    /// until the peer closed, if it did.
    pub async fn flood(
        &mut self,
        times: u32,
        mut piece: impl FnMut(u32) -> Vec<u8>,
    ) -> Option<u32> {
        let (mut reader, mut writer) = self.stream.split();
        let mut sent = 0;
        let write = async {
            while sent < times && writer.write_all(&piece(sent)).await.is_ok() {
                sent += 1;
            }
            sent == times
        };
        let read = async {
            let mut bytes = [0; 16 * 1024];
            while reader.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        };
        let all = tokio::select! {
            all = write => all,
            () = read => false,
        };
        (!all).then_some(sent)
    }

    /// The next frame; nothing once the peer has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let [a, b, c, kind, flags, d, e, f, g, rest @ ..] = &self.buffer[..] {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                let (kind, flags) = (*kind, *flags);
                let stream = u32::from_be_bytes([*d, *e, *f, *g]);
                if rest.len() >= length {
                    let payload = rest[..length].to_vec();
                    self.buffer.drain(..9 + length);
                    return Some(Frame { kind, flags, stream, payload });
                }
            }
            let read = tokio::time::timeout(ANSWER_MAX, self.stream.read_buf(&mut self.buffer));
            if read.await.expect("a frame within 20 s").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Waits for a frame of this type on a stream.
    pub async fn until(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().await.expect("closed before that frame");
            if frame.kind == kind && frame.stream == stream {
                return frame;
            }
        }
    }

    /// The body of a whole answer on a stream.
    pub async fn answer(&mut self, stream: u32) -> String {
        let mut body = Vec::new();
        loop {
            let frame = self.next().await.expect("closed before an answer");
            if frame.stream != stream {
                continue;
            }
            assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
            if frame.kind == DATA {
                body.extend(frame.payload);
            }
            if frame.flags & END_STREAM != 0 {
                return String::from_utf8(body).unwrap();
            }
        }
    }

    /// Whether the peer closes; what it said in farewell, if anything.
    pub async fn closed(&mut self) -> Option<Frame> {
        let mut farewell = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                farewell = Some(frame);
            }
        }
        farewell
    }
}
