//! A client that says exactly what it is told and shows exactly what it got.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What an answer may take; a test that waits longer has failed.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body had an end of its own, and it came.
    pub complete: bool,
}

impl Reply {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The session id that it carries.
    pub fn session(&self) -> String {
        self.header("mcp-session-id").expect("a session id").to_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What the tool `whoami` answered.
    pub fn server(&self) -> String {
        self.json()["result"]["server"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", self.text()))
            .to_owned()
    }
}

/// What a connection is made over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to the router.
pub struct Connection {
    stream: Box<dyn Stream>,
    peer: SocketAddr,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> Connection {
        Connection::over(TcpStream::connect(to).await.unwrap(), to)
    }

    /// The same over something else than TCP alone.
    pub fn over(stream: impl Stream + 'static, peer: SocketAddr) -> Connection {
        Connection { stream: Box::new(stream), peer, buffer: Vec::new() }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a piece again and again, and reads what comes meanwhile; ends early when the peer
    /// closes.
    pub async fn flood(&mut self, piece: &[u8], times: usize) {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let write = async {
            for _ in 0..times {
                if writer.write_all(piece).await.is_err() {
                    return;
                }
            }
        };
        let read =
            async { while reader.read_buf(&mut self.buffer).await.is_ok_and(|it| it > 0) {} };
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    }

    /// Sends a whole request.
    pub async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        self.send(request(self.peer, method, target, headers, body)).await;
    }

    /// Reads up to the end of the answer's head.
    pub async fn head(&mut self) -> Reply {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            assert!(
                self.more().await,
                "closed before an answer: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Reply { status, headers, body: Vec::new(), complete: false }
    }

    /// Reads a whole answer, or what there is of it when the connection ends early.
    pub async fn answer(&mut self) -> Reply {
        let mut reply = self.head().await;
        let length = reply.header("content-length").map(|length| length.parse::<usize>().unwrap());
        let chunked = reply.header("transfer-encoding") == Some("chunked");
        if reply.status == 204
            || (length.is_none()
                && !chunked
                && reply.status < 300
                && reply.header("content-type").is_none())
        {
            reply.complete = true;
            return reply;
        }
        loop {
            let done = match length {
                Some(length) if self.buffer.len() >= length => {
                    reply.body.extend(self.buffer.drain(..length));
                    true
                }
                Some(_) => false,
                None => self.take_chunks(&mut reply.body),
            };
            if done {
                reply.complete = true;
                return reply;
            }
            if !self.more().await {
                let rest = std::mem::take(&mut self.buffer);
                reply.body.extend(rest);
                return reply;
            }
        }
    }

    /// The same; nothing if the connection ends without one.
    pub async fn try_answer(&mut self) -> Option<Reply> {
        let there = !self.buffer.is_empty() || self.more().await;
        if there { Some(self.answer().await) } else { None }
    }

    /// Reads pieces of a chunked body until they hold this text.
    pub async fn until(&mut self, text: &str) -> String {
        let mut body = Vec::new();
        loop {
            let ended = self.take_chunks(&mut body);
            let so_far = String::from_utf8_lossy(&body).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            assert!(!ended && self.more().await, "ended without {text:?}: {so_far:?}");
        }
    }

    /// Whether a chunked body comes to its end.
    pub async fn ended(&mut self) -> bool {
        self.rest().await.1
    }

    /// What is left of a chunked body, and whether it comes to its end.
    pub async fn rest(&mut self) -> (String, bool) {
        let mut rest = Vec::new();
        loop {
            let ended = self.take_chunks(&mut rest);
            if ended || !self.more().await {
                return (String::from_utf8_lossy(&rest).into_owned(), ended);
            }
        }
    }

    /// How many of this many bytes of a body come.
    pub async fn body(&mut self, bytes: usize) -> usize {
        let mut read = 0;
        loop {
            read += self.buffer.len();
            self.buffer.clear();
            if read >= bytes || !self.more().await {
                return read;
            }
        }
    }

    /// Whether the peer has closed, with nothing more to read.
    pub async fn closed(&mut self) -> bool {
        while self.more().await {}
        true
    }

    /// Ends our direction if the peer is still there.
    pub async fn try_half_close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Ends our direction only.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    fn take_chunks(&mut self, body: &mut Vec<u8>) -> bool {
        while let Some(line) = find(&self.buffer, b"\r\n") {
            let size = String::from_utf8_lossy(&self.buffer[..line]).into_owned();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if self.buffer.len() < line + 2 + size + 2 {
                return false;
            }
            body.extend_from_slice(&self.buffer[line + 2..line + 2 + size]);
            self.buffer.drain(..line + 2 + size + 2);
            if size == 0 {
                return true;
            }
        }
        false
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(ANSWER_MAX, self.stream.read_buf(&mut self.buffer));
        match read.await.expect("an answer within 20 s") {
            Ok(read) => read > 0,
            Err(_) => false,
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The text of a request with its length; `Host`, `Accept` and the content type are added unless
/// they are given.
pub fn request(
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    let host = to.to_string();
    let own = [
        ("host", host.as_str()),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
    ];
    let given = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    for (name, value) in
        own.into_iter().filter(|(name, _)| !given(name)).chain(headers.iter().copied())
    {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        text += &format!("content-length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

/// One request on a connection of its own.
pub async fn once(
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut connection = Connection::open(to).await;
    connection.request(method, target, headers, body).await;
    connection.answer().await
}

/// POST to `/mcp`.
pub async fn post(to: SocketAddr, headers: &[(&str, &str)], body: &str) -> Reply {
    once(to, "POST", "/mcp", headers, body).await
}

/// GET of a path.
pub async fn get(to: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Reply {
    once(to, "GET", target, headers, "").await
}

/// DELETE of a session.
pub async fn delete(to: SocketAddr, session: &str) -> Reply {
    once(to, "DELETE", "/mcp", &[("mcp-session-id", session)], "").await
}
