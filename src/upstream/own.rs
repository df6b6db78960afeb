//! Requests on the router's own behalf: the same way to a server as real traffic has, whole bodies
//! out, bounded answers in.
//!
//! A connection serves one request, so that no answer depends on the one before it, and closes
//! when the answer is dropped. Does not know: MCP, why anything is asked.

use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Duration;

use http::{Request, response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;

use crate::route::Endpoint;
use crate::tls::client::Secured;
use crate::tls::fault::Fault;

use super::connect::{self, ConnectError, Opened};

/// Why there is no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// The server reset the connection.
    #[error("the server reset the connection")]
    Reset,
    /// The server closed it before the answer was whole.
    #[error("the server closed the connection")]
    Closed,
    /// What came is no TLS, or TLS where none should be.
    #[error("{0}")]
    Tls(Fault),
    /// What came is no HTTP, or its head is too long.
    #[error("what came is no HTTP: {0}")]
    NotHttp(String),
    /// The body is longer than this many bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
}

/// A connection for one request.
#[derive(Debug)]
pub struct Line {
    sender: SendRequest<Full<Bytes>>,
    secured: Option<Secured>,
    _carrier: Carrier,
}

/// Ends the connection when it is dropped.
#[derive(Debug)]
struct Carrier(AbortHandle);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Line {
    /// Connects within this time.
    ///
    /// # Errors
    /// When the endpoint is not to be reached.
    pub async fn open(endpoint: &Endpoint, limit: Duration) -> Result<Line, ConnectError> {
        let Opened { sender, connection, tls, .. } = connect::open(endpoint, limit).await?;
        let task = tokio::task::spawn_local(async move {
            // What went wrong is told to the request that was on it.
            let _ = connection.await;
        });
        let secured = tls.map(|(_, secured)| secured);
        Ok(Line { sender, secured, _carrier: Carrier(task.abort_handle()) })
    }

    /// What the server has shown, if TLS is spoken.
    pub fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    /// Sends a request and waits for the head of its answer, for as long as the caller does.
    ///
    /// # Errors
    /// When no head comes.
    pub async fn send(mut self, request: Request<Full<Bytes>>) -> Result<Answer, OwnError> {
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Answer { head, body, _line: self })
    }
}

/// An answer while it comes.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: response::Parts,
    body: Incoming,
    _line: Line,
}

impl Answer {
    /// The next piece of the body; `None` after the last.
    ///
    /// # Errors
    /// When the body breaks off.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, OwnError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole body, if it has no more than this many bytes.
    ///
    /// # Errors
    /// When it breaks off or is longer.
    pub async fn whole(mut self, max: usize) -> Result<Vec<u8>, OwnError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            if piece.len() > max - whole.len() {
                return Err(OwnError::TooLarge(max));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

impl From<hyper::Error> for OwnError {
    fn from(error: hyper::Error) -> OwnError {
        if let Some(fault) = Fault::within(&error) {
            return OwnError::Tls(fault.clone());
        }
        let kind = error.source().and_then(|it| it.downcast_ref::<std::io::Error>());
        match kind.map(std::io::Error::kind) {
            _ if error.is_parse() => OwnError::NotHttp(error.to_string()),
            Some(ErrorKind::InvalidData | ErrorKind::InvalidInput) => {
                OwnError::NotHttp(error.source().unwrap_or(&error).to_string())
            }
            Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => OwnError::Reset,
            _ => OwnError::Closed,
        }
    }
}
