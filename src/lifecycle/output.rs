//! What a command says, as much of it as anybody reads.
//!
//! Does not know: when a command has ended.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStderr, ChildStdout};

/// Bytes of its end that are kept.
const TAIL_MAX: usize = 64 * 1024;
/// Bytes of the beginning of its standard output that are kept.
const FIRST_MAX: usize = 4 * 1024;
/// Bytes that are read at once.
const PIECE: usize = 16 * 1024;

/// What a command has said: the last 64 KiB, and the first 4 KiB of its standard output.
#[derive(Debug, Default)]
pub struct Output {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    first: Vec<u8>,
    tail: VecDeque<u8>,
    bytes: u64,
}

impl Output {
    /// That of a command whose pipes nobody has taken yet.
    pub(super) fn of(child: &mut Child) -> Output {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Output { stdout, stderr, ..Output::default() }
    }

    /// Reads a piece; never returns once there is nothing more.
    pub(super) async fn read(&mut self) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        tokio::select! {
            more = piece(&mut self.stdout, &mut out) => if !more { self.stdout = None },
            more = piece(&mut self.stderr, &mut err) => if !more { self.stderr = None },
        }
        let room = FIRST_MAX - self.first.len();
        self.first.extend(&out[..out.len().min(room)]);
        for read in [out, err] {
            self.bytes += read.len() as u64;
            self.tail.extend(read);
        }
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_MAX));
    }

    /// Reads until everybody who could write has gone.
    pub(super) async fn rest(&mut self) {
        while self.stdout.is_some() || self.stderr.is_some() {
            self.read().await;
        }
    }

    /// The end of what it said.
    pub fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The first line on standard output that is not empty.
    pub fn first_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.first);
        text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Bytes that were thrown away.
    pub fn left_out(&self) -> u64 {
        self.bytes - self.tail.len() as u64
    }
}

/// Reads what there is; `false` when there will be nothing more.
async fn piece(pipe: &mut Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> bool {
    let Some(pipe) = pipe else { return std::future::pending().await };
    into.reserve(PIECE);
    let read: io::Result<usize> = pipe.read_buf(into).await;
    read.is_ok_and(|read| read > 0)
}
