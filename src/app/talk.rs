//! What a router and the one that takes over from it say to each other: a line of JSON each, over a
//! socket that only the two have.
//!
//! Does not know: what is done about it.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::Instant;

/// Bytes of a line: an arm has at most 64 endpoints, and each a sentence.
const LINE_MAX: u64 = 256 * 1024;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub(super) enum Said {
    /// The new one lives.
    Started {
        /// Its process.
        pid: u32,
    },
    /// The new one has configuration and sockets, and has made a handshake with each endpoint.
    Ready {
        /// What it is.
        version: String,
        /// Where it would find and keep its state.
        state_dir: PathBuf,
        /// The endpoints that are not well, and why.
        unwell: Vec<(String, String)>,
    },
    /// The new one cannot.
    Refused {
        /// Why.
        why: String,
    },
    /// The old one has let go of the state directory.
    Take {
        /// What it is.
        version: String,
        /// Its process.
        pid: u32,
        /// The endpoints that are down, which only a row of handshakes tells.
        down: Vec<String>,
    },
    /// The new one takes in clients.
    Serving,
    /// The old one has told the service manager who is next, and will not speak to it again. It
    /// keeps this line open until it has finished what it has.
    Yours,
}

/// One end of it.
pub(super) struct Talk(BufReader<UnixStream>);

impl Talk {
    /// Needs a tokio runtime.
    pub(super) fn over(stream: StdStream) -> io::Result<Talk> {
        stream.set_nonblocking(true)?;
        Ok(Talk(BufReader::new(UnixStream::from_std(stream)?)))
    }

    pub(super) async fn say(&mut self, said: &Said) -> io::Result<()> {
        let mut line = serde_json::to_vec(said)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }

    /// Returns when the other one is gone; what it says until then is not heard.
    pub(super) async fn gone(&mut self) {
        while self.0.fill_buf().await.is_ok_and(|it| !it.is_empty()) {
            let read = self.0.buffer().len();
            self.0.consume(read);
        }
    }

    /// The next line.
    ///
    /// # Errors
    /// When the other one is gone, says nothing until then, or something else.
    pub(super) async fn hear(&mut self, until: Instant) -> Result<Said, Silence> {
        let mut line = String::new();
        let read = async { (&mut self.0).take(LINE_MAX).read_line(&mut line).await };
        match tokio::time::timeout_at(until, read).await {
            Err(_) => Err(Silence::Late),
            Ok(Ok(1..)) if line.ends_with('\n') => {
                serde_json::from_str(&line).map_err(|_| Silence::Odd)
            }
            Ok(_) => Err(Silence::Gone),
        }
    }
}

/// Why nothing was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Silence {
    #[error("it said nothing in time")]
    Late,
    #[error("it has ended: the log says why")]
    Gone,
    #[error("it speaks another language: is it tidegate, and of this time?")]
    Odd,
}

/// A moment from now.
pub(super) fn within(span: Duration) -> Instant {
    Instant::now() + span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_go_over_and_silence_has_a_reason() {
        let (one, two) = StdStream::pair().unwrap();
        let (mut one, mut two) = (Talk::over(one).unwrap(), Talk::over(two).unwrap());
        let unwell = vec![("a".into(), "b".into())];
        let ready = Said::Ready { version: "1".into(), state_dir: "/s".into(), unwell };
        for said in [
            ready,
            Said::Serving,
            Said::Take { version: "1".into(), pid: 7, down: vec!["a".into()] },
        ] {
            one.say(&said).await.unwrap();
            assert_eq!(two.hear(within(Duration::from_secs(5))).await, Ok(said));
        }
        assert_eq!(two.hear(within(Duration::from_millis(1))).await, Err(Silence::Late));
        one.0.write_all(b"hello\nhalf").await.unwrap();
        assert_eq!(two.hear(within(Duration::from_secs(5))).await, Err(Silence::Odd));
        drop(one);
        two.gone().await;
        assert_eq!(two.hear(within(Duration::from_secs(5))).await, Err(Silence::Gone));
    }
}
