//! The other end of the admin socket: one request, one answer.
//!
//! Does not know: what is asked.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};

use super::wire::Refused;

/// How long the router may take; a reload reads files and writes a record.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Bytes of all metrics; a router of many tools and endpoints has about one MiB.
const SCRAPE_MAX: usize = 32 << 20;

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
    /// Not in time.
    #[error(
        "the router did not answer within {} s: see its log, and whether its machine has CPU to spare",
        ANSWER_MAX.as_secs()
    )]
    Timeout,
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
    tokio::time::timeout(ANSWER_MAX, exchange(socket, method, path, body))
        .await
        .unwrap_or(Err(AskError::Timeout))
}

/// What Prometheus would get from the router's own listener.
///
/// # Errors
/// When it is not there, or does not answer with figures.
pub async fn scrape(listener: SocketAddr) -> Result<String, AskError> {
    let fail = |source| AskError::NotRunning { path: listener.to_string().into(), source };
    let scraping = async {
        let stream = TcpStream::connect(listener).await.map_err(fail)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get("/metrics")
            .header(HOST, listener.to_string())
            .body(Full::new(Bytes::new()))
            .expect("path and address are well formed");
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), SCRAPE_MAX).collect().await;
        let text = body.map_err(|error| fail(io::Error::other(error)))?.to_bytes();
        if !status.is_success() {
            return Err(fail(io::Error::other(format!("HTTP {}", status.as_u16()))));
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    tokio::time::timeout(ANSWER_MAX, scraping).await.unwrap_or(Err(AskError::Timeout))
}

async fn exchange<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<T, AskError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| AskError::NotRunning { path: socket.to_owned(), source })?;
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
