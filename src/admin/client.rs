//! The other end of the admin socket: one request, one answer.
//!
//! Does not know: what is asked.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::wire::Refused;

/// How long the router may take; a reload reads files and writes a record.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long it may take for an upgrade, at the end of which it has either handed over or taken all
/// back.
pub const UPGRADE_MAX: Duration = Duration::from_secs(28);

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers.
    #[error(
        "no tidegate answers on {path} ({source}): is it running? choose it with --socket, or with --config and its --profile"
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody answers, but not this user.
    #[error(
        "this user may not connect to {0}: ask its owner (`[admin] mode`, users and groups), or, to look and change nothing, name the socket of [admin.read_only] with --socket"
    )]
    NotAllowed(PathBuf),
    /// Not in time.
    #[error(
        "the router did not answer within {} s: see its log, and whether its machine has CPU to spare",
        .0.as_secs()
    )]
    Timeout(Duration),
    /// The connection broke.
    #[error("the connection to the router broke: {0}; see whether it still runs, and its log")]
    Broken(#[from] hyper::Error),
    /// What came is not what this version of the command line knows.
    #[error("the router's answer cannot be read ({0}): are both of the same version?")]
    Unreadable(#[from] serde_json::Error),
    /// The router said no.
    #[error("{}", .0.error)]
    Refused(Box<Refused>),
}

/// Asks the router behind a socket.
///
/// # Errors
/// When it is not there, or says no.
pub async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<T, AskError> {
    ask_within(ANSWER_MAX, socket, method, path, body).await
}

/// The same where the router may take so long.
///
/// # Errors
/// As above.
pub async fn ask_within<T: DeserializeOwned>(
    most: Duration,
    socket: &Path,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<T, AskError> {
    tokio::time::timeout(most, exchange(socket, method, path, body))
        .await
        .unwrap_or(Err(AskError::Timeout(most)))
}

async fn exchange<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<T, AskError> {
    let stream = UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => AskError::NotAllowed(socket.to_owned()),
        _ => AskError::NotRunning { path: socket.to_owned(), source },
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "tidegate")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(body)?)))
        .expect("method and path are our own");
    let response = sender.send_request(request).await?;
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    if status.is_success() {
        return Ok(serde_json::from_slice(&bytes)?);
    }
    Err(AskError::Refused(Box::new(serde_json::from_slice(&bytes)?)))
}
