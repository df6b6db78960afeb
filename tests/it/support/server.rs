//! A scripted MCP server: it notes what it sees and does what the script says, down to the byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A request as the server got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// The name in the certificate that the client has shown, if it has.
    pub client: Option<String>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The JSON-RPC method, or nothing.
    pub fn rpc(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["method"].as_str().unwrap_or_default().to_owned()
    }
}

/// What a server does with a request.
pub enum Step {
    /// Sends this text.
    Send(String),
    /// Sends these bytes, which may be half a character.
    Bytes(Vec<u8>),
    /// Waits until the test says so.
    Wait(Arc<Notify>),
    /// Takes its time.
    Rest(Duration),
    /// Sends what comes from here, until that ends or the client has gone.
    Follow(UnboundedReceiver<String>),
    /// Waits until the client has gone, and tells the test.
    UntilGone(Arc<Notify>),
    /// Ends our direction and reads on.
    HalfClose,
    /// Closes the connection.
    Close,
    /// Closes it with a reset.
    Reset,
}

type Script = dyn Fn(&Seen) -> Vec<Step> + Send + Sync;

/// A server; ended when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    is_forgetful: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// A server that follows a script.
    pub async fn scripted(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Server::on(listener, script)
    }

    /// The same over TLS.
    pub async fn secure(
        tls: TlsAcceptor,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Server::accepting(listener, Some(tls), script)
    }

    /// A server on a listener of the test's.
    pub fn on(
        listener: TcpListener,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Server {
        Server::accepting(listener, None, script)
    }

    /// A server that notes nothing, for those who ask without end.
    pub async fn forgetful(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Server {
        let server = Server::scripted(script).await;
        server.is_forgetful.store(true, Ordering::Relaxed);
        server
    }

    fn accepting(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Server {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let is_forgetful = Arc::new(AtomicBool::default());
        let (script, notes): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        let forgets = Arc::clone(&is_forgetful);
        let task = tokio::spawn(async move {
            // Dropping the set ends every connection with the server.
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (script, tls) = (Arc::clone(&script), tls.clone());
                let notes = (!forgets.load(Ordering::Relaxed)).then(|| Arc::clone(&notes));
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, number, script, notes).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, number, script, notes).await;
                            }
                        }
                    }
                });
            }
        });
        Server { address, seen, is_forgetful, task }
    }

    /// A small MCP server of both eras that answers `whoami` with its name and, in the legacy era,
    /// keeps sessions called `NAME-0`, `NAME-1` and so on.
    pub async fn mcp(name: &'static str) -> Server {
        Server::scripted(mcp(name)).await
    }

    /// The same on a listener of the test's.
    pub fn mcp_on(name: &'static str, listener: TcpListener) -> Server {
        Server::on(listener, mcp(name))
    }

    /// What it has seen.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests with this body it has seen.
    pub fn count(&self, body: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.body == body).count()
    }

    /// Waits for the first request.
    pub async fn arrived(&self) {
        super::eventually("a request", || async { (!self.seen().is_empty()).then_some(()) }).await;
    }

    /// The last request that it has seen.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The script of [`Server::mcp`].
pub fn mcp(name: &'static str) -> impl Fn(&Seen) -> Vec<Step> {
    let sessions = AtomicUsize::new(0);
    move |seen| vec![Step::Send(mcp_answer(name, &sessions, seen))]
}

fn mcp_answer(name: &str, sessions: &AtomicUsize, seen: &Seen) -> String {
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap_or_default();
    let id = &body["id"];
    let session = seen.header("mcp-session-id");
    match (seen.method.as_str(), seen.rpc().as_str()) {
        ("DELETE", _) => answer(200, &[], ""),
        ("GET", _) => answer(405, &[], ""),
        (_, "initialize") => {
            let number = sessions.fetch_add(1, Ordering::Relaxed);
            let result = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-06-18","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"{name}","version":"1"}}}}}}"#
            );
            answer(200, &[("mcp-session-id", &format!("{name}-{number}"))], &result)
        }
        _ if session.is_some_and(|id| !id.starts_with(name)) => answer(
            404,
            &[],
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}"#,
        ),
        _ if id.is_null() => answer(202, &[], ""),
        (_, "server/discover") => rpc_result(
            id,
            &format!(
                r#"{{"supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"{name}","version":"1"}}}}"#
            ),
        ),
        (_, "tools/list") => {
            rpc_result(id, r#"{"tools":[{"name":"whoami","inputSchema":{"type":"object"}}]}"#)
        }
        _ => {
            let result = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"server":"{name}"}}}}"#);
            let own: Vec<_> = session.map(|id| ("mcp-session-id", id)).into_iter().collect();
            answer(200, &own, &result)
        }
    }
}

/// The answer to a request of this id.
fn rpc_result(id: &serde_json::Value, result: &str) -> String {
    answer(200, &[], &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

/// The text of an answer with a length.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status} Some\r\ncontent-length: {}\r\n", body.len());
    if !body.is_empty() {
        text += "content-type: application/json\r\n";
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n" + body
}

/// The head of an event stream, and a chunk of it.
pub fn stream_head(headers: &[(&str, &str)]) -> String {
    let mut text =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
            .to_owned();
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n"
}

/// One piece of a chunked body; an empty one ends it.
pub fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// A connection, with TLS or without.
trait Peer: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
    fn client(&self) -> Option<String>;
}

impl Peer for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn client(&self) -> Option<String> {
        None
    }
}

impl Peer for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn client(&self) -> Option<String> {
        let shown = self.get_ref().1.peer_certificates()?.first()?;
        tidegate::tls::identity::facts(shown).unwrap().names.first().map(ToString::to_string)
    }
}

async fn serve(
    mut stream: impl Peer,
    connection: usize,
    script: Arc<Script>,
    notes: Option<Arc<Mutex<Vec<Seen>>>>,
) {
    let mut buffer = Vec::new();
    stream.tcp().set_nodelay(true).unwrap();
    while let Some(mut seen) = read(&mut stream, &mut buffer, connection).await {
        seen.client = stream.client();
        if let Some(notes) = &notes {
            notes.lock().unwrap().push(seen.clone());
        }
        for step in script(&seen) {
            match step {
                Step::Send(bytes) => {
                    if send(&mut stream, bytes.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Step::Bytes(bytes) => {
                    if send(&mut stream, &bytes).await.is_err() {
                        return;
                    }
                    // Who reads shall have a chance to see this piece alone.
                    tokio::task::yield_now().await;
                }
                Step::Wait(until) => until.notified().await,
                Step::Rest(time) => tokio::time::sleep(time).await,
                Step::Follow(pieces) => {
                    if !follow(&mut stream, pieces).await {
                        return;
                    }
                }
                Step::UntilGone(told) => {
                    let mut rest = [0; 1024];
                    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                    told.notify_one();
                    return;
                }
                Step::HalfClose => stream.shutdown().await.unwrap(),
                Step::Close => return,
                Step::Reset => {
                    stream.tcp().set_zero_linger().unwrap();
                    return;
                }
            }
        }
    }
}

/// Whether the client is still there at the end of it.
async fn follow(stream: &mut impl Peer, mut pieces: UnboundedReceiver<String>) -> bool {
    let mut more = [0; 1];
    loop {
        tokio::select! {
            piece = pieces.recv() => match piece {
                Some(piece) if send(stream, piece.as_bytes()).await.is_ok() => {}
                Some(_) => return false,
                None => return true,
            },
            // Nobody sends another request before this answer has ended.
            _ = stream.read(&mut more) => return false,
        }
    }
}

async fn send(stream: &mut impl Peer, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Reads one request with its body.
async fn read(stream: &mut impl Peer, buffer: &mut Vec<u8>, connection: usize) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut seen = Seen { method, target, headers, body: String::new(), connection, client: None };
    let mut body = Vec::new();
    if seen.header("transfer-encoding") == Some("chunked") {
        loop {
            while let Some(line) = buffer.windows(2).position(|window| window == b"\r\n") {
                let size = usize::from_str_radix(str::from_utf8(&buffer[..line]).ok()?, 16).ok()?;
                if buffer.len() < line + 4 + size {
                    break;
                }
                body.extend_from_slice(&buffer[line + 2..line + 2 + size]);
                buffer.drain(..line + 4 + size);
                if size == 0 {
                    seen.body = String::from_utf8_lossy(&body).into_owned();
                    return Some(seen);
                }
            }
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
    }
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = String::from_utf8_lossy(&buffer[..length]).into_owned();
    buffer.drain(..length);
    Some(seen)
}
