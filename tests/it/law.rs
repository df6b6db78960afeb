//! The law of HTTP at the door: what is refused never reaches a server, what passes reaches it in
//! one form only, and where it is in doubt where the next request begins, there is no next one.

mod browsers;

mod corpus;

mod h2;

mod passing;

mod recorder;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Router;
use recorder::Recorder;

/// A router in front of one recorder, whichever arm is chosen.
struct Scene {
    router: Router,
    server: Recorder,
}

impl Scene {
    async fn with(settings: &str) -> Scene {
        let server = Recorder::start().await;
        let router = Router::start(&[server.address], &[server.address], settings).await;
        Scene { router, server }
    }

    /// Sends bytes and reads until the router closes.
    async fn send(&self, bytes: &[u8]) -> Vec<Answer> {
        exchange(self.router.address, bytes).await
    }
}

/// An answer of the router.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// The head in lower case.
    head: String,
    body: String,
}

impl Answer {
    /// All values of a header.
    fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(own, _)| *own == name).map(|(_, value)| value).collect()
    }

    /// The reason in an answer of our own.
    fn reason(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"]["data"]["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// Says all of this and hears everything that is answered before the router closes.
async fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<Answer> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut heard = Vec::new();
    let all = async { while stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {} };
    let in_time = tokio::time::timeout(Duration::from_secs(20), all).await;
    let shown = String::from_utf8_lossy(bytes).chars().take(400).collect::<String>();
    assert!(in_time.is_ok(), "not closed: {shown:?} {:?}", String::from_utf8_lossy(&heard));
    answers(&String::from_utf8_lossy(&heard))
}

fn answers(mut text: &str) -> Vec<Answer> {
    let mut found = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let (body, rest) = rest.split_at(length.map_or(0, |it| it.parse().unwrap()));
        found.push(Answer { status, head, body: body.to_owned() });
        text = rest;
    }
    assert_eq!(text, "", "half an answer");
    found
}
