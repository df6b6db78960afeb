//! A server that keeps every byte that reaches it, and answers each request with the same.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it answers.
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                      access-control-allow-origin: *\r\naccess-control-made-up: x\r\n\
                      connection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\n\
                      proxy-authenticate: Basic\r\nupgrade: h2c\r\nvia: 1.0 behind\r\n\
                      content-length: 38\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":null}";

pub struct Recorder {
    pub address: SocketAddr,
    bytes: Arc<Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Recorder {
    pub async fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&bytes);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&record)));
            }
        });
        Recorder { address, bytes, task }
    }

    /// All that has come since this was last asked; names that chance gives are replaced.
    pub fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.bytes.lock().unwrap());
        let text = String::from_utf8(bytes).expect("only ASCII passes");
        let line = |line: &str| match line.split_once(": ") {
            Some(("x-request-id", id)) if id.len() == 36 => "x-request-id: NEW".to_owned(),
            _ => match line.split_once(" tidegate-") {
                Some((before, name)) => format!("{before} tidegate-SELF{}", &name[16..]),
                None => line.to_owned(),
            },
        };
        text.split("\r\n").map(line).collect::<Vec<_>>().join("\r\n")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, record: Arc<Mutex<Vec<u8>>>) {
    let mut unanswered = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        record.lock().unwrap().extend_from_slice(&piece[..read]);
        unanswered.extend_from_slice(&piece[..read]);
        if is_whole(&String::from_utf8_lossy(&unanswered)) {
            unanswered.clear();
            if stream.write_all(ANSWER.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Whether this is one request to its end; the router sends no second before the answer.
fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) => body.len() >= length.parse().unwrap(),
        None if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
        None => true,
    }
}
